#!/usr/bin/env python3
"""examples/together.py - the game in one process, those who listen in others: C, Python, browser.

live.c plays in a directory and publishes. Spectators and a page in a browser keep copies of what
there is; somebody sits in the chat, leaves, and comes back. Twice the server is killed (SIGKILL)
and started again under them. At the end each copy must equal the store, and every tick must have
been heard, in order, once. It ends by itself; the result is 0 if all of that held.

    together.py DIRECTORY_OF_THE_PROGRAMS [--fast] [--python INTERPRETER] [--picture FILE]
The interpreter has pynng and msgpack (./dev demo sees to that). What is not there is left out, and
said. SPDX-License-Identifier: Apache-2.0
"""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "browser"))
import headless  # pylint: disable=wrong-import-position

PATIENCE_S = 60
COLORS = {"server": 33, "C": 36, "Python": 32, "browser": 35, "chat": 34}
lock = threading.Lock()


def say(who, text):
    with lock:
        if sys.stdout.isatty():
            print(f"\033[{COLORS.get(who, 1)}m{who:>8}\033[0m  {text}", flush=True)
        else:
            print(f"{who:>8}  {text}", flush=True)


class Program:
    """A process whose lines are shown, and may be waited for."""

    def __init__(self, who, *arguments, is_told=True):
        self.who, self.is_told, self.lines = who, is_told, []
        self.news = threading.Condition()
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen([str(a) for a in arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        errors="replace")
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            if self.is_told and not re.match("heard |store |news |service |chat lines", line):
                say(self.who, line.rstrip())
            with self.news:
                self.lines.append(line.rstrip())
                self.news.notify_all()
        with self.news:
            self.news.notify_all()

    def wait_for(self, words):
        """The first line that begins with these words; "" if none comes."""
        def found():
            return next((line for line in self.lines if line.startswith(words)), "")
        with self.news:
            self.news.wait_for(lambda: found() or not self.thread.is_alive(), PATIENCE_S)
            return found()

    def order(self, words):
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()

    def end(self, number=None):
        """Waits for its end, after a signal if there is a number; gives its result."""
        if number is not None:
            self.process.send_signal(number)
        elif not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            result = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            result = self.process.wait()
        self.thread.join(PATIENCE_S)
        return result


def figures(line):
    return {name: int(number) for name, number in re.findall(r"(\w+)=(-?\d+)", line)}


class Server:
    """live.c, at addresses that stay the same from life to life."""

    def __init__(self, options, place):
        self.options, self.place = options, place
        self.news = ["tcp://127.0.0.1:0", "ws://127.0.0.1:0/news"]
        self.service = ["tcp://127.0.0.1:0", "ws://127.0.0.1:0/service", f"ipc://{place}/socket"]
        self.start()

    def start(self):
        addresses = [word for url in self.news for word in ("--news", url)]
        addresses += [word for url in self.service for word in ("--service", url)]
        rate = ["--rate", "100"] if self.options.fast else []
        self.program = Program("server", self.options.programs / "live", self.place / "world",
                               *rate, *addresses)
        if not self.program.wait_for("ready"):
            raise RuntimeError("the server does not start")
        for word in ("news", "service"):
            setattr(self, word, [line.split()[1] for line in self.program.lines
                                 if line.startswith(word + " ")])

    def kill(self):
        self.program.end(signal.SIGKILL)


# In the page: each tick must follow the one before it.
COUNT_TICKS = """
(() => {
    const tickOf = (document) => document.get("tick");
    const tell = subscriber.tell;
    let tick = tickOf(subscriber.tables.get("things").get("bank").document);
    window.seen = {ticks: 0, wrong: 0};
    subscriber.tell = (heard) => {
        for (const {key, document} of heard.changes) {
            if (key !== "bank" || tickOf(document) === tick) continue;
            if (tickOf(document) !== tick + 1) window.seen.wrong++;
            tick = tickOf(document);
            window.seen.ticks++;
        }
        tell(heard);
    };
})()"""


class Browser:
    """The page, looked at through Chromium's own protocol."""

    def __init__(self, server):
        self.page = headless.Page({"service": server.service[1], "news": server.news[1],
                                   "wanted": "players,things,chat"})
        self.page.wait("subscriber.isLive")
        self.page.ask(COUNT_TICKS)
        self.page.ask("show('players')")
        say("browser", "the page is live")

    def result(self):
        """What the page shows, in the words of the others; and what it says of itself."""
        self.page.wait("subscriber.tables.get('things')?.has('over')", PATIENCE_S)
        rows = [*self.page.rows("players").values(), *self.page.rows("things").values()]
        total = {"documents": len(rows), "seqs": sum(int(row["seq"]) for row in rows),
                 "gold": sum(int(row.get("gold") or 0) for row in rows),
                 "tick": int(self.page.rows("things")["bank"]["tick"])}
        return {**total, **self.page.ask("({...subscriber.figures, ...seen})")}


class Show:
    def __init__(self, options, place):
        self.options, self.place, self.holds = options, place, True
        self.pace_s = 1.0 if options.fast else 3.5
        self.server = Server(options, place)
        self.spectators = {}
        self.browser = None

    def must(self, holds, promise):
        if not holds:
            say("", f"NOT AS PROMISED: {promise}")
            self.holds = False

    def begin(self):
        service, news = self.server.service, self.server.news
        spectator = self.options.programs / "spectator"
        self.spectators["C"] = Program("C", spectator, service[0], news[0])
        self.spectators["C, polls"] = Program("C, polls", spectator, service[2], is_told=False)
        if self.options.python:
            self.spectators["Python"] = Program("Python", self.options.python,
                                                HERE / "python/spectator.py", service[0], news[0])
        else:
            say("Python", "left out: there is no pynng here")
        if headless.find():
            self.browser = Browser(self.server)
        else:
            say("browser", "left out: there is no chromium here")
        for who, program in self.spectators.items():
            word = "snapshot" if who == "Python" else "connected"
            self.must(program.wait_for(word), f"{who} is connected")

    def sit_down(self):
        return Program("chat", self.options.programs / "chat", "--position",
                       self.place / "chat.position", self.server.service[2])

    def chat_leaves(self, chat):
        self.must(chat.end(signal.SIGTERM) == 0, "the chat can be left")
        heard = figures(chat.lines[-1])
        say("chat", f"leaves, after {heard['lines']} lines")
        return heard

    def play(self):
        chat = self.sit_down()
        time.sleep(self.pace_s)
        say("server", "is killed; for a second nobody is there")
        self.server.kill()
        time.sleep(1)
        self.server.start()
        time.sleep(self.pace_s)
        heard = [self.chat_leaves(chat)]
        time.sleep(self.pace_s / 2)
        say("server", "is killed, and started again at once")
        self.server.kill()
        self.server.start()
        time.sleep(self.pace_s / 2)
        say("chat", "somebody comes back: what was said meanwhile comes first")
        chat = self.sit_down()
        self.must(chat.wait_for("* The door is open."), "the chat is open again")
        time.sleep(self.pace_s / 2)
        self.server.program.order("over")
        store = self.server.program.wait_for("store ")
        chat.end()
        return figures(store), heard + [figures(chat.lines[-1])]

    def compare(self, store, chats):
        results = {}
        for who, program in self.spectators.items():
            self.must(program.end() == 0, f"{who} has seen nothing wrong")
            results[who] = figures(program.wait_for("heard "))
        if self.browser is not None:
            results["browser"] = self.browser.result()
            if self.options.picture:
                self.browser.page.ask("show('players')")
                self.browser.page.picture(self.options.picture)
            self.browser.page.close()
        names = ("documents", "seqs", "gold", "tick")
        print("\n          " + "".join(f"{name:>11}" for name in names) +
              "   ticks heard  restarts  gaps mended  snapshots")
        print(f"{'store':>8}  " + "".join(f"{store.get(name, '?'):>11}" for name in names))
        for who, result in results.items():
            print(f"{who:>8}  " + "".join(f"{result.get(name, '?'):>11}" for name in names) +
                  f"{result.get('ticks', '-'):>14}{result.get('restarts', '?'):>10}"
                  f"{result.get('missed', '?'):>13}{result.get('snapshots', '?'):>11}")
            self.must(store and all(result.get(name) == store[name] for name in names),
                      f"the copy of {who} equals the store")
            self.must(result.get("wrong") == 0,
                      f"{who} has seen every tick once, and whole commits")
            self.must(result.get("snapshots") == 1, f"{who} needed no second snapshot")
        lines = sum(chat["lines"] for chat in chats)
        print(f"{'chat':>8}  {lines} lines in two lives, "
              f"{sum(chat['missed'] for chat in chats)} missed, "
              f"{sum(chat['twice'] for chat in chats)} twice")
        self.must(all(chat["missed"] == chat["twice"] == 0 for chat in chats),
                  "every line of the chat was heard once")

    def run(self):
        self.begin()
        self.compare(*self.play())
        self.must(self.server.program.end() == 0, "the server ends well")
        if self.holds:
            print("\nThe server was killed twice, and nobody who listens has lost a change.")
        return 0 if self.holds else 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("programs", type=Path)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--python")
    parser.add_argument("--picture")
    options = parser.parse_args()
    options.programs = options.programs.resolve()
    if options.python and not os.path.exists(options.python):
        options.python = None
    place = Path(tempfile.mkdtemp(prefix="merle-live-"))
    show = None
    try:
        show = Show(options, place)
        return show.run()
    finally:
        if show is not None:
            for program in [show.server.program, *show.spectators.values()]:
                program.process.kill()
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
