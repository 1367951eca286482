#!/usr/bin/env python3
"""Aim: the subscriber in Python, which knows docs/protocol.md alone, ends with the store's
documents: from a snapshot, by news or by questions, when news are lost, when the server is killed
under it, when it comes back with a position that it kept, and when that is of no use any more.

Method: churn.c changes everything at random (the seed is printed); examples/python/subscribe.py
runs as a process beside it; at the end its documents, with their seqs and when they end, are
compared with what `merle dump` says of the directory. What it counted tells that the way was the
one meant.
What it cannot see: whether each change was told once; examples/together.py counts that.
Usage: python_test.py CHURN MERLE PYTHON. SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import shutil
import signal
import subprocess
import sys

import harness
from harness import PATIENCE_S, PYTHON, ROOT, Server, assert_same, case, of, wait_until

ALL = ("mixed", "short", "renewed", "loaded")


class Client:
    def __init__(self, server, collections, *options, news=True):
        self.place, self.collections = server.place, collections
        words = ["--service", server.service[0], "--until", "mixed/over",
                 "--dump", str(self.place / "dump.txt"), *options]
        words += ["--news", server.news[0]] if news else []
        self.said = self.place / "client.txt"
        with open(self.said, "w", encoding="utf-8") as out:
            self.process = subprocess.Popen(
                [PYTHON, str(ROOT / "examples/python/subscribe.py"), *words, *collections],
                stdout=out, stderr=subprocess.STDOUT)

    def text(self):
        return self.said.read_text(errors="replace")

    def wait_for_lines(self, count):
        wait_until(lambda: self.text().count("\n") >= count or self.process.poll() is not None,
                   f"the client says {count} lines")
        assert self.process.poll() is None, self.text()[-2000:]

    def end(self):
        """Its figures."""
        try:
            assert self.process.wait(PATIENCE_S) == 0, self.text()[-2000:]
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("the client does not end: " + self.text()[-2000:]) from None
        return json.loads(self.text().splitlines()[-1])

    def leave(self):
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def dump(self):
        return harness.read_dump((self.place / "dump.txt").read_text(errors="surrogateescape"))


def end_and_compare(server, client):
    server.order("over")
    figures = client.end()
    server.stop()
    assert_same(client.dump(), of(server.store(), *client.collections))
    return figures


@case
def copy_by_snapshot_and_news_equals_the_store(place):
    server = Server(place)
    client = Client(server, ALL)
    client.wait_for_lines(3000)
    figures = end_and_compare(server, client)
    assert figures["news"] > 20, figures
    assert figures["snapshots"] > 1, f"bulk loads ask for snapshots: {figures}"


@case
def news_that_are_lost_are_fetched(place):
    server = Server(place)
    client = Client(server, ALL, "--lose", "3")
    client.wait_for_lines(3000)
    figures = end_and_compare(server, client)
    assert figures["missed"] > 10, figures


@case
def without_news_everything_is_asked_for(place):
    server = Server(place)
    client = Client(server, ALL, news=False)
    client.wait_for_lines(3000)
    figures = end_and_compare(server, client)
    assert figures["news"] == 0, figures


@case
def server_killed_twice_takes_nothing(place):
    server = Server(place)
    client = Client(server, ("mixed", "short"))
    for lines in (800, 1600):
        client.wait_for_lines(lines)
        server.kill()
        server.start()
    client.wait_for_lines(2400)
    figures = end_and_compare(server, client)
    assert figures["snapshots"] == 1 and figures["restarts"] in (1, 2), figures


@case
def kept_position_goes_on_without_a_snapshot(place):
    server, kept = Server(place), str(place / "kept")
    client = Client(server, ("mixed", "short"), "--keep", kept)
    client.wait_for_lines(500)
    before = client.leave()
    server.kill()
    server.start()
    client = Client(server, ("mixed", "short"), "--keep", kept)
    client.wait_for_lines(500)
    figures = end_and_compare(server, client)
    assert before["snapshots"] == 1 and figures["snapshots"] == 0, (before, figures)


@case
def position_of_another_database_begins_anew(place):
    server, kept = Server(place), str(place / "kept")
    client = Client(server, ALL, "--keep", kept)
    client.wait_for_lines(300)
    client.leave()
    server.kill()
    shutil.rmtree(server.directory)
    server.start()
    client = Client(server, ALL, "--keep", kept)
    client.wait_for_lines(300)
    assert ": history" in client.text(), client.text()[:2000]
    end_and_compare(server, client)


@case
def position_that_the_log_has_forgotten_begins_anew(place):
    server, kept = Server(place, rate=3000), str(place / "kept")
    client = Client(server, ("mixed",), "--keep", kept)
    client.wait_for_lines(300)
    client.leave()
    first = min(server.directory.glob("log-*"))
    wait_until(lambda: len(list(server.directory.glob("log-????????????????"))) > 2, "log files")
    while first.exists():
        server.order("checkpoint")
    server.kill()  # else the log in memory reaches back as well
    server.start()
    client = Client(server, ("mixed",), "--keep", kept)
    client.wait_for_lines(300)
    assert ": gap" in client.text(), client.text()[:2000]
    end_and_compare(server, client)


if __name__ == "__main__":
    sys.exit(harness.main(None if os.path.exists(PYTHON) else
                          f"{PYTHON} is not there; ./dev test makes it"))
