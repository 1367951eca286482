"""tests/clients/harness.py - what the tests of clients in other languages share: a server that
changes everything (churn.c), what its store has at the end, cases and their counting.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("MERLE_TEST_SEED", "1"))
CHURN, MERLE, PYTHON = sys.argv[1:4]
PATIENCE_S = 60
CASES = []


def case(function):
    CASES.append(function)
    return function


def wait_until(holds, what):
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.01)


class Server:
    """churn in a directory of its own, at addresses that stay the same from life to life."""

    def __init__(self, place, rate=300):
        self.place, self.directory, self.rate = place, place / "store", rate
        self.lives, self.said = 0, place / "server.txt"
        self.news = ["tcp://127.0.0.1:0", "ws://127.0.0.1:0/news"]
        self.service = ["tcp://127.0.0.1:0", "ws://127.0.0.1:0/service"]
        self.process = None
        self.start()

    def start(self):
        words = [word for url in self.news for word in ("--news", url)]
        words += [word for url in self.service for word in ("--service", url)]
        self.said.write_text("")
        self.lives += 1
        with open(self.said, "w", encoding="utf-8") as out:
            self.process = subprocess.Popen(
                [CHURN, str(self.directory), str(SEED * 100 + self.lives), str(self.rate), *words],
                stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, text=True)
        self.wait_for("ready")
        lines = self.said.read_text().splitlines()
        self.news, self.service = (
            [line.split()[1] for line in lines if line.startswith(word + " ")]
            for word in ("news", "service"))

    def wait_for(self, word):
        wait_until(lambda: word in self.said.read_text().split() or self.process.poll() is not None,
                   f"the server says {word}")
        assert word in self.said.read_text().split(), self.said.read_text()

    def order(self, word):
        """Says it, and waits until the server has done it once more."""
        before = self.said.read_text().split().count(word)
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        wait_until(lambda: self.said.read_text().split().count(word) > before or
                   self.process.poll() is not None, f"the server says {word}")
        assert self.process.poll() is None, self.said.read_text()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.stdin.close()
        assert self.process.wait(PATIENCE_S) == 0, self.said.read_text()

    def store(self):
        """{(collection, key): [seq, expires_ns, document]} of the directory, when nobody has it."""
        done = subprocess.run([MERLE, "dump", str(self.directory), "--json"], check=True,
                              capture_output=True, timeout=PATIENCE_S)
        return read_dump(done.stdout.decode())


def read_dump(text):
    rows = [json.loads(line) for line in text.splitlines()]
    return {(row["collection"], row["key"]): [row["seq"], row["expires_ns"], row["document"]]
            for row in rows}


def of(store, *collections):
    return {place: row for place, row in store.items() if place[0] in collections}


def assert_same(have, want):
    wrong = [place for place in sorted({*have, *want}) if have.get(place) != want.get(place)]
    assert want, "the store is empty"
    assert not wrong, (f"{len(wrong)} of {len(want)} documents differ; {wrong[0]}: "
                       f"the client has {have.get(wrong[0])}, the store {want.get(wrong[0])}")


def skip(number, name, why):
    """Where it may be: never in an automatic build."""
    if os.environ.get("CI") == "true":
        print(f"not ok {number} - {name}\n# {why}")
        return False
    print(f"ok {number} - {name} # SKIP {why}")
    print(f"{name}: SKIPPED: {why}", file=sys.stderr)
    return True


def main(lacks):
    """lacks: why nothing can be run here, or None."""
    print(f"# seed {SEED}\n1..{len(CASES)}", flush=True)
    good = True
    for number, function in enumerate(CASES, 1):
        if len(sys.argv) > 4 and function.__name__ not in sys.argv[4:]:
            continue
        if lacks:
            good = skip(number, function.__name__, lacks) and good
            continue
        place = Path(tempfile.mkdtemp(prefix="merle-clients-"))
        begun = time.monotonic()
        try:
            function(place)
            print(f"ok {number} - {function.__name__}")
        except Exception:  # whatever it was, the next case is tried
            good = False
            print(f"not ok {number} - {function.__name__}")
            print("\n".join("# " + line for line in traceback.format_exc().splitlines()))
        print(f"# {time.monotonic() - begun:.1f} s", flush=True)
        shutil.rmtree(place, ignore_errors=True)
    return 0 if good else 1
