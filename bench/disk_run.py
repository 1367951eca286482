# bench/disk_run.py - runs the phases that have a disk in them, for bench/run --disk.
#
# What    the program `disk` on floors, merle and the peers that it has, and peers/peer_disk, in
#         turns: what else the disk has to do hits all alike.
# Owns    nothing; what came out goes to the record of bench/run.
# Limits  peers reopen in the first round only: filling them takes long.
# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
PEER_PROGRAM = os.path.join(HERE, "peers", "peer_disk")
SECONDS_MAX = 900
# Phase, systems of the program `disk`, whether the peers that are programs take part, in which
# rounds these do, and how often it is done in a round: a short one more often.
GROUPS = [
    ("async", ["raw", "merle"], False, 0, 1),
    ("sync", ["raw", "merle", "lmdb", "sqlite"], True, 99, 3),
    ("sync64", ["raw", "merle"], True, 99, 1),
    ("checkpoint", ["merle"], False, 0, 1),
    ("reopen", ["merle"], True, 1, 1),
    ("expiry", ["merle"], False, 0, 1),
]


def say(text):
    print(text, file=sys.stderr, flush=True)


def program_of(arguments):
    """The program beside `workload`."""
    beside = arguments.build
    if os.path.isdir(beside):
        return os.path.join(beside, "bench", "disk")
    return os.path.join(os.path.dirname(os.path.abspath(beside)), "disk")


def where(arguments):
    options = ["--dir", arguments.dir or os.path.join(ROOT, "build", "disk.files")]
    return options + (["--allow-tmpfs"] if arguments.allow_tmpfs else [])


def facts(arguments):
    """The file system, and what the peers are."""
    found = []
    commands = [[program_of(arguments), "--about"] + where(arguments)]
    if os.access(arguments.disk_peer_program, os.X_OK):
        commands.append([arguments.disk_peer_program, "--about"])
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit("run: " + (done.stderr.strip().splitlines() or ["no reason"])[-1])
        for line in done.stdout.splitlines():
            word, _, rest = line.partition(" ")
            if word == "FILES":
                found.append(("files", rest))
            if word == "ABOUT" and "peer" in command[0]:
                found.append((rest.split()[0] + " with a disk", rest.split(None, 1)[1]))
    return found


def run_one(command, what, record):
    say(what)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX)
        stdout, stderr, code = done.stdout, done.stderr, done.returncode
    except subprocess.TimeoutExpired as late:
        stdout = late.stdout.decode() if late.stdout else ""
        stderr, code = "took more than {} s".format(SECONDS_MAX), 1
    wrong = [line for line in stdout.splitlines() if line.startswith("WRONG ")]
    for line in stdout.splitlines():
        if line.startswith("RESULT "):
            record.disk_result(line)
    if wrong:
        record.wrong(wrong[0].split(" ", 1)[1])
    elif code != 0:
        why = [line for line in stderr.splitlines() if "gave up" not in line]
        record.fail("{}: {}".format(what, why[-1] if why else "no reason"))


def peers_list(arguments, record):
    """Names of those that can be run; the others are noted with the reason."""
    names = []
    if not os.access(arguments.disk_peer_program, os.X_OK):
        return names
    done = subprocess.run([arguments.disk_peer_program, "--list"], capture_output=True, text=True)
    for line in done.stdout.splitlines():
        name, _, state = line.partition(" ")
        if state.startswith("ok"):
            names.append(name)
        else:
            record.note("# peer {}: {}".format(line.split()[0], state))
            say("peer " + line)
    return names


def commands_of(arguments, peers, phase, systems, peer_rounds, round_number):
    """What is run in one turn of a group."""
    common = ["--n", str(arguments.n), "--phase", phase, "--seconds", arguments.disk_seconds]
    turn = [(system, [program_of(arguments), "--system", system, "--threads", arguments.threads,
                      "--entries", arguments.entries, "--background", arguments.background]
             + common + where(arguments)) for system in systems]
    if round_number < peer_rounds:
        turn += [(peer, [arguments.disk_peer_program, peer] + common + where(arguments))
                 for peer in peers]
    return turn if round_number % 2 == 0 else turn[::-1]


def measure(arguments, record):
    peers = peers_list(arguments, record)
    for round_number in range(arguments.rounds):
        record.note("# round {}".format(round_number + 1))
        for phase, systems, has_peers, peer_rounds, times in GROUPS:
            for turn in range(times):
                able = peers if has_peers and turn == 0 else []
                for system, command in commands_of(arguments, able, phase, systems, peer_rounds,
                                                   round_number):
                    run_one(command, "round {} {} {}".format(round_number + 1, phase, system),
                            record)
