#!/usr/bin/env python3
"""count.py - counts test cases in meson's testlog.json; prints "PASSED FAILED".

With --slowest and any number of such files: the programs that took longest, one a line.

What failed programs said goes to standard error, because meson does not show it for TAP.

A program that speaks TAP counts by its cases, any other as one. A program that meson calls failed
without a failed case of its own (a crash, a timeout, too few cases) counts as one failure more.
SPDX-License-Identifier: Apache-2.0
"""
import json
import pathlib
import re
import sys

CASE = re.compile(r"^(not )?ok\b(?P<rest>.*)$", re.MULTILINE)
SKIPPED = re.compile(r"#\s*skip", re.IGNORECASE)
SHOWN_LINES_MAX = 120
SLOWEST_MAX = 15
GOOD = ("OK", "SKIP", "EXPECTEDFAIL")


def count_one(entry):
    """The passed and the failed cases of one program."""
    passed = failed = 0
    for case in CASE.finditer(entry.get("stdout") or ""):
        if case.group(1):
            failed += 1
        elif not SKIPPED.search(case.group("rest")):
            passed += 1
    if entry["result"] not in GOOD and failed == 0:
        failed = 1
    if entry["result"] == "OK" and passed == 0:
        passed = 1
    return passed, failed


def show(entry):
    """What a failed program said: its good cases left out, of the rest the end."""
    print(f"---- {entry['name']}: {entry['result']}, exit code {entry['returncode']}; again by:\n"
          f"     {' '.join(entry['command'])}", file=sys.stderr)
    lines = f"{entry.get('stdout') or ''}\n{entry.get('stderr') or ''}".splitlines()
    lines = [line for line in lines if line.strip() and not line.startswith("ok ")]
    print("\n".join(lines[-SHOWN_LINES_MAX:]), file=sys.stderr)


def tell_slowest(paths):
    """The name of a file is that of its build."""
    entries = []
    for path in paths:
        build = pathlib.Path(path).name.split(".")[0]
        with open(path, encoding="utf-8") as log:
            entries += [(json.loads(line), build) for line in log]
    entries.sort(key=lambda pair: -pair[0]["duration"])
    for entry, build in entries[:SLOWEST_MAX]:
        name = entry["name"].removeprefix("merle:")
        print(f"{entry['duration']:8.1f} s  {build:9} {name}")


def main():
    if sys.argv[1] == "--slowest":
        tell_slowest(sys.argv[2:])
        return
    passed = failed = 0
    try:
        with open(sys.argv[1], encoding="utf-8") as log:
            for line in log:
                entry = json.loads(line)
                more_passed, more_failed = count_one(entry)
                if more_failed:
                    show(entry)
                passed += more_passed
                failed += more_failed
    except FileNotFoundError:
        pass  # no test of these suites: nothing to count
    print(passed, failed)


if __name__ == "__main__":
    main()
