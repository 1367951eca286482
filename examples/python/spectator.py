#!/usr/bin/env python3
"""examples/python/spectator.py - looks on at the game of live.c, as spectator.c does, in Python.

It judges each commit as a whole: the gold must always be 10,000 in all, and each tick must follow
the one before, also across a restart of the server. It ends with the game; its last line says what
it has come to. The result is 0 if all was as it must be.

    spectator.py SERVICE [NEWS]
SPDX-License-Identifier: Apache-2.0
"""
import sys

from subscribe import Subscriber

GOLD_TOTAL, TICKS_A_WORD = 10000, 60


class Spectator:
    def __init__(self, subscriber):
        self.subscriber = subscriber
        self.tick, self.ticks, self.wrong, self.restarts = None, 0, 0, 0

    def documents(self):
        for table in self.subscriber.copy.tables.values():
            yield from table.values()

    def gold(self):
        return sum(document.get("gold", 0) for _, document, _ in self.documents())

    def thing(self, key):
        return self.subscriber.copy.tables["things"].get(key, (0, {}, None))[1]

    def complain(self, text):
        self.wrong += 1
        print(text, flush=True)

    def look_at_tick(self, heard):
        tick = self.thing(b"bank").get("tick", 0)
        if self.tick is None or heard.kind == "snapshot":
            self.tick = tick
        if tick == self.tick:
            return
        if tick != self.tick + 1:
            self.complain(f"tick {tick} came after tick {self.tick}")
        self.tick, self.ticks = tick, self.ticks + 1
        if tick % TICKS_A_WORD == 0:
            print(f"tick {tick}; the gold is {self.gold()}", flush=True)

    def look(self, heard):
        if heard.kind not in ("changes", "idle"):
            print(f"{heard.kind} {heard.text}".rstrip(), flush=True)
        restarts = self.subscriber.figures["restarts"]
        if restarts > self.restarts:
            self.restarts = restarts
            print(f"the server was started anew; I go on behind commit {heard.seq}", flush=True)
        if heard.kind not in ("changes", "snapshot") or not heard.whole:
            return
        self.look_at_tick(heard)
        if self.gold() != GOLD_TOTAL:
            self.complain(f"commit {heard.seq}: the gold is {self.gold()}")

    def total(self):
        held = list(self.documents())
        figures = self.subscriber.figures
        return (f"heard documents={len(held)} seqs={sum(seq for seq, _, _ in held)} "
                f"gold={self.gold()} tick={self.tick} ticks={self.ticks} wrong={self.wrong} "
                f"snapshots={figures['snapshots']} missed={figures['missed']} "
                f"restarts={figures['restarts']}")


def main(arguments):
    if len(arguments) < 2:
        print("usage: spectator.py SERVICE [NEWS]", file=sys.stderr)
        return 2
    subscriber = Subscriber(arguments[1], *arguments[2:3], wanted=["players", "things"],
                            name="spectator.py")
    spectator = Spectator(subscriber)
    for heard in subscriber.hear():
        spectator.look(heard)
        if heard.whole and b"over" in subscriber.copy.tables["things"]:
            break
    print(spectator.total(), flush=True)
    subscriber.close()
    return 0 if spectator.wrong == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
