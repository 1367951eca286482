#!/usr/bin/env python3
"""Aim: the demo runs, tells what it must, and answers queries, right ones and wrong ones.

Method: runs the game without pauses between its ticks (it judges itself, and its result is 0 only
if every promise held, also those to a process that it kills), then asks it the lines of
questions.txt, whose members are the same at each run, and compares with answers.txt; then types two
queries at a terminal (a pty).
What it cannot see: how the picture looks. Lines on plans have estimates, and are not compared.
Usage: demo_test.py GAME. SPDX-License-Identifier: Apache-2.0
"""
import os
import pty
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
GAME = sys.argv[1]
TOLD = [
    "leads 20000 members",
    "8 guilds; one goes from guild:owls",
    "owls speak German",
    "of level 60; they are found by walk",
    "documents are in the index",
    "of level 60; they are found by ranges",
    "owls get 250 points each, in ",
    "The index on level is dropped.",
    "0 torn sums",
    "0 broken promises; check MERLE_OK",
    "Killed. 4",
    "Opened again in ",
    " purchases are there, the gold is 10000 in all",
    "Of 8 sessions the 4 for an hour have lived through it",
    "Ada logs in once more: the key is taken",
    "Bran stays: 5 are left after ",
    "here is `adn`",
]


def judge(number, name, holds, why=""):
    print(f"{'ok' if holds else 'not ok'} {number} - {name}")
    if not holds:
        print("\n".join("# " + line for line in why.splitlines()))
    return holds


def without_plans(text):
    return [line for line in text.splitlines() if not line.startswith("  by ")]


def show_tells_everything():
    environment = dict(os.environ, MERLE_DEMO_SECONDS="10")
    run = subprocess.run([GAME, "--fast"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                         env=environment, check=False)
    missing = [line for line in TOLD if line not in run.stdout]
    return run.returncode == 0 and not missing, f"missing: {missing}\n{run.stdout}{run.stderr}"


def questions_get_their_answers():
    with open(HERE / "questions.txt", encoding="utf-8") as questions:
        run = subprocess.run([GAME, "--ask"], stdin=questions, capture_output=True, text=True,
                             encoding="utf-8", check=False)
    expected = (HERE / "answers.txt").read_text(encoding="utf-8")
    holds = run.returncode == 0 and without_plans(run.stdout) == without_plans(expected)
    return holds, run.stdout + run.stderr


def read_until(terminal, word):
    seen = b""
    while word not in seen:
        try:
            some = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            some = b""
        if not some:
            break
        seen += some
    return seen.decode(errors="replace")


def terminal_is_asked_after_the_show():
    child, terminal = pty.fork()
    if child == 0:
        os.execve(GAME, [GAME], dict(os.environ, MERLE_DEMO_SECONDS="0.5", TERM="xterm"))
    seen = read_until(terminal, b"merle> ")
    for line in (b"level > ; -score\n", b"name = 'Lena 1' ; ; 1\n", b"\n"):
        os.write(terminal, line)
        seen += read_until(terminal, b"merle> ")
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    wanted = ["Ask the league", "column 8", "  Lena 1 ", "  1 of 1"]
    missing = [word for word in wanted if word not in seen]
    holds = os.waitstatus_to_exitcode(status) == 0 and not missing
    return holds, f"missing: {missing}\n{seen}"


def main():
    cases = [show_tells_everything, questions_get_their_answers, terminal_is_asked_after_the_show]
    print(f"1..{len(cases)}")
    held = [judge(i + 1, case.__name__, *case()) for i, case in enumerate(cases)]
    return 0 if all(held) else 1


sys.exit(main())
