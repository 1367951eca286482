#!/usr/bin/env python3
"""examples/python/subscribe.py - hears every change of a merle database, in another language.

Written from docs/protocol.md alone; needs pynng and msgpack, and nothing of merle's. `Subscriber`
is the client: it takes a snapshot, then hears of changes from the news, notices by their numbers
what it has missed, asks the service for that, and goes on where it was after a restart of either
side. It keeps a copy of the documents, `copy.tables`. Below stands a command that shows all this:

    subscribe.py --service tcp://127.0.0.1:4001 --news tcp://127.0.0.1:4000 players things
    subscribe.py ... --keep kept.bin     go on where the last run ended, be it days ago
    subscribe.py ... --lose 5            throw away each fifth message of news, to see it mended

Not here, to stay short: conditions, and a limit on the documents that are held.
SPDX-License-Identifier: Apache-2.0
"""
import argparse
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field

import msgpack
import pynng

VERSION = 1
HELLO, CHANGES, SNAPSHOT, NEWEST, BYE = 1, 2, 3, 4, 5
BATCH, BEAT = 1, 2
OK, GAP, HISTORY, LOST, RESET, TOKEN, SECRET, BUSY, BAD = range(9)
PUT, PATCH, REMOVE, DEFINE, TRUNCATE, DROP, SEQUENCE, LOADED, INSERT, EXPIRE, RENEW = range(1, 12)
KINDS = {PUT: "update", PATCH: "update", REMOVE: "remove", DEFINE: "define", TRUNCATE: "truncate",
         DROP: "drop", LOADED: "loaded", INSERT: "insert", EXPIRE: "expire", RENEW: "insert"}
REASONS = {GAP: "gap", HISTORY: "history", LOST: "lost", RESET: "reset"}
BEGIN, POLL, MISSED, RESUME = 1, 2, 3, 4  # why changes are asked for
RECEIVE_MS, SILENCE_S, WAIT_MS, ANSWER_MS, AGAIN_S = 250, 3, 1000, 4000, 0.2


class Refused(Exception):
    """The service has said no, with a status of docs/protocol.md."""

    def __init__(self, status, text="", number=0, *_):
        super().__init__(f"status {status}: {text}")
        self.status, self.text, self.number = status, text, number


class Again(Exception):
    """What is held is of no use: a snapshot is needed."""


class Silence(Exception):
    """The service does not answer."""


@dataclass
class Change:
    """One thing that happened. document: after it, or what was removed; None if it is not known."""
    kind: str
    collection: str
    key: bytes = None
    document: dict = None


@dataclass
class Heard:
    """Either the changes of one commit, or a note: "snapshot", "gap", "silence", "idle"...

    whole: the tables now are what the database was at `seq`.
    """
    kind: str
    seq: int
    changes: list = field(default_factory=list)
    whole: bool = True
    text: str = ""


def unpack(data):
    return msgpack.unpackb(data, raw=False, strict_map_key=False, unicode_errors="surrogateescape")


def patched(place, path, value):
    """What `place` is after one entry of a patch's effect: docs/format.md. Nothing is changed."""
    step = path[0]
    copy = list(place) if isinstance(place, list) else dict(place)
    if len(path) > 1:
        below = copy.get(step, {}) if isinstance(copy, dict) else copy[step]
        copy[step] = patched(below, path[1:], value)
    elif not value:
        del copy[step]
    elif isinstance(copy, list) and step == len(copy):
        copy.append(value[0])
    else:
        copy[step] = value[0]
    return copy


class Copy:
    """The documents: tables[name][key] is (seq of the document, document, when it ends or None)."""

    def __init__(self, wanted):
        self.wanted = wanted  # names; None: every collection
        self.tables = {name: {} for name in wanted or []}
        self.ids = {}  # name: number of the collection that the table is of
        self.names = {}  # number: name
        self.removed = {}  # while a snapshot is completed: (name, key): seq

    def is_wanted(self, name):
        return name is not None and (self.wanted is None or name in self.wanted)

    def apply_whole(self, seq, kind, number, name):
        table = self.tables.setdefault(name, {})
        if kind == DEFINE:
            self.ids[name] = number
        if kind == LOADED:
            raise Again(f"a bulk load of {name} has ended")
        if kind in (TRUNCATE, DROP):
            for key in [key for key, held in table.items() if held[0] < seq]:
                del table[key]
        if kind == DROP:
            self.ids.pop(name, None)

    def apply_patch(self, table, seq, operation):
        held = table.get(operation[2])
        if held is None:
            raise Again(f"commit {seq} patches {operation[2]}, which is not here")
        document = held[1]
        try:
            for path, *value in operation[4]:
                document = patched(document, path, value)
        except (KeyError, IndexError, TypeError) as error:
            raise Again(f"commit {seq} patches {operation[2]}, and does not fit") from error
        return document

    def apply(self, seq, operation, snapshot_seq):
        """Does what the operation says; gives the Change, or None."""
        number, _, key, kind, payload, expires = operation[:6]
        if kind == DEFINE:
            self.names[number] = payload["name"]
        name = self.names.get(number)
        if kind == SEQUENCE or kind not in KINDS or not self.is_wanted(name):
            return None
        if key is None:
            self.apply_whole(seq, kind, number, name)
            return Change(KINDS[kind], name)
        table = self.tables.setdefault(name, {})
        if seq <= snapshot_seq:
            held = table.get(key)
            if seq <= (held[0] if held else self.removed.get((name, key), 0)):
                return None
            if kind == PATCH and held is None:
                return None  # it was removed later, and its page has seen that
        if kind in (REMOVE, EXPIRE):
            if seq <= snapshot_seq:
                self.removed[(name, key)] = seq
            held = table.pop(key, None)
            return Change(KINDS[kind], name, key, held[1] if held else None)
        document = self.apply_patch(table, seq, operation) if kind == PATCH else payload
        table[key] = (seq, document, expires)
        return Change(KINDS[kind], name, key, document)


class Service:
    """Questions and answers."""

    def __init__(self, address, secret, name):
        self.secret, self.name = secret, name
        self.token, self.is_greeted, self.questions = None, False, 0
        self.socket = pynng.Req0(resend_time=600000, send_timeout=ANSWER_MS,
                                 reconnect_time_min=10, reconnect_time_max=200,
                                 recv_max_size=40 << 20)
        self.socket.dial(address, block=False)

    def ask_once(self, op, rest, wait_ms):
        self.questions += 1
        self.socket.recv_timeout = ANSWER_MS + wait_ms
        try:
            self.socket.send(msgpack.packb([VERSION, op, self.token, *rest]))
            answer = unpack(self.socket.recv())
        except pynng.Timeout:
            raise Silence() from None
        if answer[0] != VERSION:
            raise Refused(BAD, "it speaks another version", answer[0])
        if answer[2] != OK:
            raise Refused(*answer[2:])
        return answer[3:]

    def hello(self):
        answer = self.ask_once(HELLO, [self.secret, self.name], 0)
        self.token, self.is_greeted = answer[3], True
        return answer

    def ask(self, op, *rest, wait_ms=0):
        if not self.is_greeted:
            self.hello()
        try:
            return self.ask_once(op, rest, wait_ms)
        except Refused as no:
            if no.status != TOKEN:
                raise
        self.hello()  # it was restarted, or has forgotten us
        return self.ask_once(op, rest, wait_ms)


class Subscriber:
    """hear() yields what has happened, in order, each once, for ever."""

    def __init__(self, service, news=None, wanted=None, secret=None, name="python", prefix=None,
                 lose=0):
        self.prefix, self.lose, self.received = prefix, lose, 0
        self.copy = Copy(list(wanted) if wanted else None)
        self.history, self.seq, self.position = None, 0, 0  # while history is None there is none
        self.why, self.lost = BEGIN, 0
        self.figures = {"commits": 0, "changes": 0, "snapshots": 0, "missed": 0, "restarts": 0}
        self.service = Service(service, secret, name)
        self.news = self.listen(news) if news and prefix is None else None
        self.is_live, self.heard_s = False, 0
        self.gathered, self.flush = {}, None  # batches of a flush that has not ended yet

    def listen(self, address):
        wanted = self.copy.wanted
        topics = [b""] if wanted is None else [b"\0"] + [n.encode() + b"\0" for n in wanted]
        news = pynng.Sub0(topics=topics, recv_timeout=RECEIVE_MS, recv_buffer_size=4096,
                          reconnect_time_min=10, reconnect_time_max=200, recv_max_size=40 << 20)
        news.dial(address, block=False)
        return news

    def close(self):
        self.service.socket.close()
        if self.news is not None:
            self.news.close()

    # ---- a position that lives longer than this process ----

    def keep(self, path):
        """Writes position and documents, at once or not at all."""
        kept = [self.history, self.seq, self.position, self.copy.ids, list(self.copy.names.items()),
                [[name, list(table.items())] for name, table in self.copy.tables.items()]]
        with open(path + ".new", "wb") as file:
            file.write(msgpack.packb(kept, unicode_errors="surrogateescape"))
        os.replace(path + ".new", path)

    def resume(self, path):
        """Goes on where keep() was called last. False: it never was."""
        if not os.path.exists(path):
            return False
        with open(path, "rb") as file:
            self.history, self.seq, self.position, ids, names, tables = unpack(file.read())
        self.copy.ids, self.copy.names = ids, dict(names)
        for name, rows in tables:
            self.copy.tables[name] = {key: tuple(held) for key, held in rows}
        self.why = RESUME
        return True

    # ---- what hear() does ----

    def hear(self):
        while True:
            try:
                if self.history is None:
                    yield from self.take_snapshot()
                elif self.is_live:
                    yield from self.hear_news()
                else:
                    yield from self.catch_up()
            except Refused as no:
                if no.status not in (*REASONS, TOKEN, BUSY):
                    raise  # asking again will not help
                if no.status in REASONS:
                    yield self.void(REASONS[no.status], no.text)
                else:
                    time.sleep(AGAIN_S)
            except Again as reason:
                yield self.void("again", str(reason))
            except Silence:
                self.is_live = False
                yield Heard("silence", self.seq, whole=False)

    def void(self, kind, text):
        """What lies between the position and now cannot be had."""
        self.history, self.is_live = None, False
        return Heard(kind, self.seq, whole=False, text=text or "")

    def hello(self):
        answer = self.service.hello()
        for name, number, *_ in answer[7]:
            self.copy.names[number] = name
        if self.news is not None and not answer[8]:
            self.news = None  # a secret is asked for: there are only beats
        return answer[0], answer[1]

    def filters(self):
        if self.copy.wanted is None:
            return None
        return [[name, self.copy.ids.get(name), self.prefix, None] for name in self.copy.wanted]

    def ask_changes(self, wait_ms=0, snapshot_seq=0):
        """Yields what comes behind the position, which at the end is what the answer says."""
        history, self.newest, seq, position, commits = self.service.ask(
            CHANGES, self.history, self.seq, self.position, self.filters(), wait_ms, 0, self.why,
            self.lost, wait_ms=wait_ms)[:5]
        if history != self.history:
            self.figures["restarts"] += 1
            self.history = history
        for commit in commits:
            whole = commit[0] <= seq
            heard = self.apply(commit[0], commit[5][1::2], whole, snapshot_seq)
            if whole:
                self.seq, self.position = commit[0], 0
                yield heard
        was_in_commit = self.position > 0
        self.seq, self.position, self.why, self.lost = seq, position, POLL, 0
        if commits and not whole or was_in_commit and not commits:
            yield Heard("changes", seq, heard.changes if commits else [], position == 0)

    def apply(self, seq, operations, whole, snapshot_seq=0):
        changes = [self.copy.apply(seq, operation, snapshot_seq) for operation in operations]
        heard = Heard("changes", seq, [c for c in changes if c is not None], whole)
        self.figures["commits"] += whole
        self.figures["changes"] += len(heard.changes)
        return heard

    def catch_up(self):
        if not self.service.is_greeted:
            self.hello()
        yield from self.ask_changes(0 if self.news is not None else WAIT_MS)
        if self.seq < self.newest or self.position > 0:
            return
        self.is_live, self.heard_s = self.news is not None, time.monotonic()
        if not self.is_live:
            yield Heard("idle", self.seq)

    def take_snapshot(self):
        history, begin = self.hello()
        copy = Copy(self.copy.wanted)
        copy.names = self.copy.names
        end = begin
        for name in copy.wanted or sorted(set(copy.names.values())):
            table, cursor, is_first = copy.tables.setdefault(name, {}), None, True
            while is_first or cursor is not None:
                page_history, number, seq, cursor, rows = self.service.ask(
                    SNAPSHOT, name, self.prefix, None, cursor, 0)[:5]
                if page_history != history:
                    raise Again("the database was opened anew during a snapshot")
                if number is not None:
                    copy.ids[name], copy.names[number] = number, name
                for key, document, document_seq, expires, *_ in rows:
                    table[key] = (document_seq, document, expires)
                end, is_first = max(end, seq), False
        self.copy, self.history, self.seq, self.position = copy, history, begin, 0
        try:  # the pages are of several moments: what happened between them makes them one
            while self.seq < end or self.position > 0:
                for _ in self.ask_changes(0, end):
                    pass
        except (Refused, Silence):
            self.history = None
            raise
        self.copy.removed = {}
        self.figures["snapshots"] += 1
        yield Heard("snapshot", self.seq)

    # ---- news ----

    def hear_news(self):
        try:
            message = self.news.recv()
        except pynng.Timeout:
            if time.monotonic() > self.heard_s + SILENCE_S:
                self.is_live = self.service.ask(NEWEST)[1] <= self.seq
                self.heard_s = time.monotonic()
            yield Heard("idle", self.seq)
            return
        self.received += 1
        self.heard_s = time.monotonic()
        if self.lose and self.received % self.lose == 0:
            return
        topic, _, data = message.partition(b"\0")
        news = unpack(data)
        if news[0] != VERSION:
            return
        if news[2] != self.history:
            self.service.is_greeted = self.is_live = False  # the service judges our position
        elif news[1] == BATCH:
            self.gather(topic.decode(errors="surrogateescape"), *news[3:8])
        elif news[1] == BEAT:
            yield from self.end_flush(*news[3:6])

    def gather(self, name, begin, end, _, number, commits):
        if self.flush != (begin, end):
            self.flush, self.gathered = (begin, end), {}
        self.gathered[number] = commits
        self.copy.names[number] = name

    def is_missing(self, number):
        if number in self.gathered:
            return self.gathered[number] is None
        return number not in self.copy.names or self.copy.is_wanted(self.copy.names[number])

    def end_flush(self, begin, end, numbers):
        if self.flush != (begin, end):
            self.gathered = {}
        missing = [number for number in numbers if self.is_missing(number)]
        batches, self.flush, self.gathered = self.gathered, None, {}
        if end <= self.seq:
            return
        if begin > self.seq or missing:
            if any(number not in self.copy.names for number in missing):
                self.service.is_greeted = False  # a new collection: hello knows its name
            self.figures["missed"] += 1
            self.lost += max(1, len(missing))
            self.why, self.is_live = MISSED, False
            return
        commits = {}  # one commit may have changed several collections
        for batch in batches.values():
            for commit in batch:
                operations = commits.setdefault(commit[0], {})
                operations.update(zip(commit[5][0::2], commit[5][1::2]))
        for seq in sorted(seq for seq in commits if seq > self.seq):
            heard = self.apply(seq, [commits[seq][at] for at in sorted(commits[seq])], True)
            self.seq = seq
            yield heard
        self.seq = end


# ---- the command ----

def key_text(key):
    """As `merle` writes keys: bytes that do not print are \\xNN."""
    return "".join("\\\\" if byte == 0x5c else chr(byte) if 0x20 < byte < 0x7f else
                   f"\\x{byte:02x}" for byte in key)


def as_json(value):
    return value.hex() if isinstance(value, bytes) else str(value)


def say(heard):
    if heard.kind == "idle":
        return
    if heard.kind != "changes":
        print(f"seq {heard.seq}: {heard.kind} {heard.text}".rstrip(), flush=True)
    for change in heard.changes:
        key = key_text(change.key or b"")
        document = json.dumps(change.document, ensure_ascii=False, default=as_json)
        print(f"seq {heard.seq}: {change.kind} {change.collection} {key} {document}", flush=True)


def write_dump(copy, path):
    """One line a document, as `merle dump` writes them, in the order of collections and keys."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        for name in sorted(copy.tables):
            for key, (seq, document, expires) in sorted(copy.tables[name].items()):
                row = {"collection": name, "key": key_text(key), "seq": seq, "expires_ns": expires,
                       "document": document}
                file.write(json.dumps(row, ensure_ascii=False, default=as_json) + "\n")


def is_until(copy, until):
    name, _, key = until.partition("/")
    return key.encode() in copy.tables.get(name, {})


def listen(subscriber, options):
    """Until it is over, or a signal comes: that is looked at where position and copy agree."""
    signals = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: signals.append(number))
    for heard in subscriber.hear():
        if not options.quiet:
            say(heard)
        if options.until and heard.whole and is_until(subscriber.copy, options.until):
            return
        if signals:
            return


def main():
    parser = argparse.ArgumentParser(description="hears every change of a merle database")
    parser.add_argument("--service", required=True, help="address of the service")
    parser.add_argument("--news", help="address of the news; without it everything is asked for")
    parser.add_argument("--secret", help="which the service asks for")
    parser.add_argument("--prefix", help="only keys that begin so")
    parser.add_argument("--keep", metavar="FILE", help="go on from this file; written at the end")
    parser.add_argument("--dump", metavar="FILE", help="write all documents there at the end")
    parser.add_argument("--until", metavar="COLLECTION/KEY", help="end when this document is there")
    parser.add_argument("--lose", type=int, default=0, metavar="N", help="lose each N-th news")
    parser.add_argument("--quiet", action="store_true", help="only the figures, at the end")
    parser.add_argument("collection", nargs="*", help="none: all")
    options = parser.parse_args()
    secret, prefix = (word and word.encode() for word in (options.secret, options.prefix))
    subscriber = Subscriber(options.service, options.news, options.collection, secret,
                            prefix=prefix, lose=options.lose)
    if options.keep:
        subscriber.resume(options.keep)
    listen(subscriber, options)
    if options.keep and subscriber.history is not None:
        subscriber.keep(options.keep)
    if options.dump:
        write_dump(subscriber.copy, options.dump)
    figures = dict(subscriber.figures, seq=subscriber.seq, questions=subscriber.service.questions,
                   news=subscriber.received)
    print(json.dumps(figures))
    subscriber.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
