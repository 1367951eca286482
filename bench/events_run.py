# bench/events_run.py - runs the phases in which changes reach others, for bench/run --events.
#
# What    the programs `events` (floors, merle) and `events_watch`, and peers/peer_events, in turns:
#         what else the machine does hits all alike; and callgrind, where it is installed.
# Owns    nothing; what came out goes to the record of bench/run.
# Limits  instructions are counted once: they are the same every time, nearly.
# SPDX-License-Identifier: Apache-2.0
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS_MAX = 600
# Phase, system. idle measures both in turns, change by change.
TURNS = [("backlog", "raw"), ("backlog", "merle"), ("idle", "merle"), ("paced", "merle"),
         ("audience", "merle")]
AUDIENCES = [("0", []), ("1", []), ("10", []), ("1", ["--stopped"])]


def say(text):
    print(text, file=sys.stderr, flush=True)


def program_of(arguments, name):
    """A program beside `workload`."""
    beside = arguments.build
    if os.path.isdir(beside):
        return os.path.join(beside, "bench", name)
    return os.path.join(os.path.dirname(os.path.abspath(beside)), name)


def facts(arguments):
    """What the peers are."""
    if not os.access(arguments.events_peer_program, os.X_OK):
        return []
    done = subprocess.run([arguments.events_peer_program, "--about"], capture_output=True,
                          text=True)
    words = [line.split(None, 2) for line in done.stdout.splitlines() if line.startswith("ABOUT ")]
    return [(word[1] + " with events", word[2]) for word in words]


def run_one(command, what, record):
    say(what)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX)
        stdout, stderr, code = done.stdout, done.stderr, done.returncode
    except subprocess.TimeoutExpired as late:
        stdout = late.stdout.decode() if late.stdout else ""
        stderr, code = "took more than {} s".format(SECONDS_MAX), 1
    for line in stdout.splitlines():
        if line.startswith("RESULT "):
            record.events_result(line)
    if code != 0:
        record.fail("{}: {}".format(what, (stderr.strip().splitlines() or ["no reason"])[-1]))
    return stderr


def sizes_of(arguments):
    """How much is done; less for fewer documents, so that a quick look is quick."""
    share = min(1.0, arguments.n / 1e6)
    return ["--n", str(max(int(2000000 * share), 6400)), "--samples",
            str(max(int(1000 * share), 50)), "--seconds", "{:.2f}".format(max(5 * share, 0.2)),
            "--rounds", str(max(int(7 * share), 1)), "--commits", "100000"]


def round_run(arguments, record, number):
    turns = [("round {} {} {}".format(number + 1, phase, system),
              [program_of(arguments, "events"), "--phase", phase, "--system", system]
              + sizes_of(arguments)) for phase, system in TURNS]
    turns.append(("round {} watch".format(number + 1),
                  [program_of(arguments, "events_watch"), "--count={}".format(
                      max(min(arguments.n, 1000000), 20000))]))
    if os.access(arguments.events_peer_program, os.X_OK):
        turns.append(("round {} peers".format(number + 1),
                      [arguments.events_peer_program] + sizes_of(arguments)[:4]))
    for what, command in turns if number % 2 == 0 else turns[::-1]:
        run_one(command, what, record)


def instructions_count(arguments, record):
    """Of the writer alone, a commit, with each audience."""
    if shutil.which("valgrind") is None:
        record.note("# no valgrind: instructions are not counted")
        return
    commits = 20000
    for audience, more in AUDIENCES:
        with tempfile.NamedTemporaryFile(prefix="callgrind.") as out:
            command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + out.name,
                       "--toggle-collect=commit_counted", program_of(arguments, "events"),
                       "--phase", "count", "--transport", "ipc", "--commits", str(commits),
                       "--audience", audience] + more
            text = run_one(command, "instructions, {}{}".format(audience, " stopped" * bool(more)),
                           record)
        found = re.search(r"Collected\s*:\s*(\d+)", text)
        if found is None:
            record.fail("callgrind has counted nothing")
            continue
        name = "stopped" if more else audience
        record.events_result("RESULT merle audience_{}_instructions 1 {:.0f} instructions".format(
            name, int(found.group(1)) / commits))


def measure(arguments, record):
    for number in range(arguments.rounds):
        record.note("# round {}".format(number + 1))
        round_run(arguments, record, number)
    instructions_count(arguments, record)
