#!/usr/bin/env python3
"""Aim: the command `merle` answers what it must, as JSON that parses and as tables; its exit codes
and messages are what its help says, also where the command line is wrong, the directory is missing,
in use or damaged, nobody reads the answer, or it cannot be written; reading changes no file.

Method: directories made by make_directory.c, in a temporary folder; every command is run as a
process, once for a terminal (a pty) and else with pipes. Keys are taken from the answers and given
back. Damage is one flipped byte. Owners are processes that have a directory open.
What it cannot see: how a progress line looks on a real terminal; what verify and repair find, which
their own tests see.
Usage: tool_test.py MERLE MAKE_DIRECTORY. SPDX-License-Identifier: Apache-2.0
"""
import contextlib
import hashlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

MERLE, MAKE = map(os.path.abspath, sys.argv[1:3])
COMMANDS = ["info", "stats", "dump", "tail", "verify", "backup", "restore", "repair",
            "checkpoint", "check"]
CASES = []


def case(function):
    CASES.append(function)
    return function


def run(*words, **more):
    """Runs merle; gives exit code, output and errors."""
    done = subprocess.run([MERLE, *words], capture_output=True, timeout=60, check=False, **more)
    return done.returncode, done.stdout.decode(), done.stderr.decode("utf-8", "replace")


def make(kind, path):
    subprocess.run([MAKE, kind, path], check=True, timeout=60)
    return str(path)


def answer(*words):
    """One JSON object."""
    code, out, err = run(*words)
    assert code == 0, f"{words}: {code}: {err}"
    return json.loads(out)


def lines(*words):
    code, out, err = run(*words)
    assert code == 0, f"{words}: {code}: {err}"
    return [json.loads(line) for line in out.splitlines()]


def fails(code, *words, says=()):
    got, out, err = run(*words)
    assert got == code, f"{words}: {got}, not {code}: {out}{err}"
    for text in says:
        assert text in err, f"{words}: no {text!r} in {err!r}"
    assert err.startswith("merle: "), err
    return err


def fingerprint(path):
    """Of all files but the lock."""
    told = []
    for file in sorted(Path(path).iterdir()):
        if file.name != "lock":
            told.append((file.name, file.stat().st_mtime_ns, hashlib.sha256(file.read_bytes())
                         .hexdigest()))
    return told


def newest(path, prefix):
    return max(Path(path).glob(prefix + "*"))


def flip(file, at):
    data = bytearray(file.read_bytes())
    data[at] ^= 0x10
    file.write_bytes(data)


def on_terminal(*words):
    """What a person would see of standard output."""
    master, slave = pty.openpty()
    with subprocess.Popen([MERLE, *words], stdout=slave, stderr=subprocess.DEVNULL) as process:
        os.close(slave)
        text = b""
        while True:
            try:
                piece = os.read(master, 4096)
            except OSError:
                break
            if not piece:
                break
            text += piece
        code = process.wait(timeout=60)
    os.close(master)
    return code, text.decode().replace("\r\n", "\n")


# ---- help, and wrong command lines ----


@case
def help_names_every_command(_):
    code, out, _err = run("--help")
    assert code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in out, name
    assert run("help")[:2] == run("-h")[:2] == (0, out)


@case
def every_command_explains_itself_with_an_example(_):
    for name in COMMANDS:
        code, out, _err = run(name, "--help")
        assert code == 0 and out.startswith(f"merle {name} "), out
        assert f"\n  merle {name} " in out, f"{name}: no example"
        assert run("help", name)[:2] == (0, out)


@case
def version_is_told(_):
    code, out, _err = run("--version")
    assert code == 0 and out.startswith("merle ") and out.count(".") == 2, out


@case
def wrong_usage_is_told_and_ends_with_2(world):
    small = world["small"]
    assert run()[0] == 2
    fails(2, "nonsense", says=["no command", "--help"])
    fails(2, "help", "nonsense", says=["no command"])
    for name in COMMANDS:
        fails(2, name, says=["wants", f"merle {name} --help"])
        fails(2, name, "--nonsense", small, says=["no option --nonsense"])
        fails(2, name, "-x", small, says=["no option -x"])
        fails(2, name, "", says=["a directory has a name"])
        fails(2, name, small, small, small, says=["takes"])
    for words in (["dump", small, "--limit", "0"], ["dump", small, "--limit", "-1"],
                  ["dump", small, "--limit", "9" * 30], ["dump", small, "--limit"],
                  ["dump", small, "--key", "\\x0"], ["dump", small, "--key", ""],
                  ["dump", small, "--key", "a" * 2000], ["dump", small, "--where", "level >"],
                  ["dump", small, "--where", "level > $1"], ["dump", small, "--limit=1", "--limit=2"],
                  ["tail", small, "--from", "0"], ["tail", small, "--from", "x"],
                  ["tail", small, "--limit", "1x"], ["restore", small, "x", "--time", "tomorrow"],
                  ["restore", small, "x", "--time", "2026-13-01T00:00:00Z"],
                  ["restore", small, "x", "--seq", "1", "--time", "1"],
                  ["restore", small, "x", "--seq", "0"],
                  ["repair", small, "x", "--behind-holes", "maybe"]):
        fails(2, *words)


# ---- what is there ----


@case
def info_is_one_object(world):
    info = answer("info", world["small"])
    assert info["path"] == world["small"] and len(info["database"]) == 32
    assert info["seq"] > 40 and info["term"] == 1 and info["documents"] == 39 + 7
    assert {c["collection"]: c["documents"] for c in info["collections"]} == {
        "players": 39, "odd": 7}
    assert info["collections"][0]["schema"]["version"] == 3
    assert {i["index"]: (i["kind"], i["entries"]) for i in info["indexes"]} == {
        "number": ("unique", 39), "level": ("ordered", 39)}
    assert {f["kind"] for f in info["files"]} >= {"manifest", "log", "pages"}
    sizes = {f["name"]: f["size"] for f in info["files"]}
    for file in Path(world["small"]).iterdir():
        assert sizes[file.name] == file.stat().st_size
    assert info["recovery"]["pages"] >= 1 and info["recovery"]["log_records"] > 0


@case
def answers_are_tables_on_a_terminal(world):
    code, text = on_terminal("info", world["small"])
    assert code == 0 and "\nplayers" in text and "{" not in text, text
    code, table, _err = run("info", world["small"], "--table")
    assert code == 0 and table.splitlines()[:4] == text.splitlines()[:4]
    code, text = on_terminal("dump", world["small"], "--limit", "2", "--json")
    assert code == 0 and all(json.loads(line) for line in text.splitlines()), text
    code, table, _err = run("dump", world["small"], "--table", "--collection", "players")
    assert table.splitlines()[0].split() == ["collection", "key", "seq", "expires_ns", "document"]
    assert "2100-01-01T00:00:00" in table and len(table.splitlines()) == 40


@case
def dump_gives_every_document(world):
    documents = lines("dump", world["small"])
    assert len(documents) == 46
    by_key = {d["key"]: d for d in documents if d["collection"] == "players"}
    assert "p4" not in by_key and by_key["p7"]["document"]["name"] == 'player "7"'
    assert by_key["p3"]["document"] == {"n": 3, "level": 3, "pos": {"zone": "north"}}
    assert by_key["p5"]["expires_ns"] == 4102444800000000000
    assert by_key["p6"]["expires_ns"] is None and by_key["p6"]["seq"] > 0


@case
def dump_takes_conditions_and_limits(world):
    found = lines("dump", world["small"], "--where", "level >= 8 and n < 30",
                  "--collection", "players")
    assert sorted(d["document"]["n"] for d in found) == [8, 9, 18, 19, 28, 29]
    assert len(lines("dump", world["small"], "--limit=5")) == 5
    assert lines("dump", world["small"], "--where", "level > 100") == []


@case
def keys_come_back_as_they_were_given(world):
    odd = lines("dump", world["small"], "--collection", "odd")
    assert len(odd) == 7
    assert {d["key"] for d in odd} >= {"a\\x20b", "back\\\\slash", '"quoted"', "\\xff\\xfe"}
    for one in odd:
        assert lines("dump", world["small"], "--key", one["key"]) == [one]
        assert lines("dump", world["small"], f"--key={one['key']}") == [one]


@case
def what_is_not_there_ends_with_1(world):
    fails(1, "dump", world["small"], "--key", "nobody", says=["no such document"])
    fails(1, "dump", world["small"], "--collection", "none", says=['no collection "none"'])
    fails(1, "tail", world["small"], "--collection", "none", says=['no collection "none"'])


@case
def tail_gives_the_log_in_order(world):
    changes = lines("tail", world["small"])
    assert [c["seq"] for c in changes] == sorted(c["seq"] for c in changes)
    assert changes[0]["seq"] == 1 and changes[0]["change"] == "define"
    assert changes[0]["collection"] == "players" and changes[0]["content"]["version"] == 3
    last = {c["change"]: c for c in changes}
    assert last["remove"]["key"] == "p4" and last["remove"]["content"] is None
    patches = {c["key"]: c for c in changes if c["change"] == "patch"}
    assert patches["p3"]["content"] == [[["pos", "zone"], "north"], [["name"]]]
    assert patches["p5"]["expires_ns"] == 4102444800000000000
    assert all(c["time_ns"] > 0 and c["origin"] == "application" for c in changes)
    some = lines("tail", world["small"], "--from", "10", "--limit", "3")
    assert [c["seq"] for c in some] == [10, 11, 12]
    odd = lines("tail", world["small"], "--collection", "odd")
    assert {c["collection"] for c in odd} == {"odd"} and len(odd) == 8
    assert lines("tail", world["small"], "--from", str(changes[-1]["seq"] + 1)) == []
    fails(3, "tail", world["small"], "--from", "100000", says=["beyond the last commit"])


@case
def reading_changes_nothing(world):
    before = fingerprint(world["small"])
    for name in ("info", "dump", "tail"):
        assert run(name, world["small"])[0] == 0
    assert fingerprint(world["small"]) == before


@case
def checkpoint_leaves_no_log_to_go_over(world):
    path = make("small", world["folder"] / "checkpointed")
    before = lines("dump", path)
    told = answer("checkpoint", path)
    assert told["term"] == 2 and told["bytes_written"] > 0
    info = answer("info", path)
    assert info["recovery"]["log_records"] == 0 and info["checkpoint_seq"] == info["seq"]
    assert lines("dump", path) == before


# ---- what goes wrong ----


@case
def missing_directories_are_told_and_not_made(world):
    absent, empty = world["folder"] / "absent", world["folder"] / "empty"
    empty.mkdir()
    (empty / "something").write_text("else")
    for name in ("info", "dump", "tail", "checkpoint"):
        fails(3, name, str(absent), says=["no such directory"])
        fails(3, name, str(empty), says=["no database in this directory"])
        fails(3, name, str(empty / "something"))
    assert not absent.exists() and [f.name for f in empty.iterdir()] == ["something"]


@case
def directory_in_use_names_its_owner(world):
    path = str(world["folder"] / "held")
    with subprocess.Popen([MAKE, "held", path], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as owner:
        assert owner.stdout.readline() == b"open\n"
        for name in ("info", "dump", "tail", "checkpoint", "verify"):
            fails(3, name, path, says=[f"process {owner.pid}"])
        for name in ("backup", "restore", "repair"):
            fails(3, name, path, path + "-to", says=[f"process {owner.pid}"])
            assert not os.path.exists(path + "-to") or not list(Path(path + "-to").glob("man*"))
        owner.stdin.close()
        assert owner.wait(timeout=60) == 0
    assert run("info", path)[0] == 0


# ---- a running database ----


@contextlib.contextmanager
def owned(kind, path):
    with subprocess.Popen([MAKE, kind, str(path)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as owner:
        assert owner.stdout.readline() == b"open\n"
        yield owner
        owner.stdin.close()
        assert owner.wait(timeout=60) == 0


def commit(owner, key):
    owner.stdin.write(key.encode() + b"\n")
    owner.stdin.flush()
    assert owner.stdout.readline() == key.encode() + b"\n"


@case
def owner_that_lets_operators_in_is_asked(world):
    path = str(world["folder"] / "operated")
    with owned("operated", path) as owner:
        socket = Path(path) / "operator.sock"
        assert socket.is_socket() and socket.stat().st_mode & 0o777 == 0o600
        info = answer("info", path)
        assert info["path"] == path and info["documents"] == 46 and len(info["term_id"]) == 16
        assert {c["collection"] for c in info["collections"]} == {"players", "odd"}
        commit(owner, "fresh")
        stats = answer("stats", path)
        assert stats["documents"] == 47 and stats["seq"] == info["seq"] + 1
        assert stats["commits"] > 0 and stats["log_records"] > 0
        assert answer("checkpoint", path)["seq"] == stats["seq"]
        assert answer("info", path)["checkpoint_seq"] == stats["seq"]
        assert answer("check", path) == {"path": path, "verdict": "sound", "seq": stats["seq"],
                                         "documents": 47}
    assert not socket.exists()
    assert answer("check", path)["documents"] == 47


@case
def backup_of_a_running_database_has_what_was_committed(world):
    path, copy = str(world["folder"] / "running"), str(world["folder"] / "copy")
    with owned("operated", path) as owner:
        commit(owner, "before")
        told = answer("backup", path, copy)
        assert told["path"] == copy and told["bytes"] > 0
        commit(owner, "after")
        fails(3, "backup", path, copy, says=["files in it already"])
        keys = {line["key"] for line in lines("dump", copy)}
        assert "before" in keys and "after" not in keys
        # A name that is not from the root on is meant where the command stands.
        done = subprocess.run([MERLE, "backup", path, "second"], cwd=world["folder"], timeout=60,
                              capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "after" in {line["key"] for line in lines("dump", str(world["folder"] / "second"))}


@case
def interrupt_cancels_what_the_owner_does(world):
    path, copy = str(world["folder"] / "interrupted"), world["folder"] / "half"
    with owned("operated", path) as owner:
        with subprocess.Popen([MERLE, "backup", path, str(copy)], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE) as command:
            while not copy.exists() and command.poll() is None:
                os.sched_yield()
            owner.send_signal(signal.SIGSTOP)  # for this moment it does not go on
            command.send_signal(signal.SIGINT)
            owner.send_signal(signal.SIGCONT)
            err = command.stderr.read().decode()
            # It is cancelled, or was done before it heard of it; never is it left alone.
            assert command.wait(timeout=60) in (0, 3), (command.returncode, err)
            assert command.returncode == 0 or "cancelled" in err, err
        # Nothing is under way any more.
        commit(owner, "afterwards")
        assert answer("check", path)["documents"] == 47


@case
def log_of_a_running_database_is_told_and_followed(world):
    path = str(world["folder"] / "followed")
    with owned("operated", path) as owner:
        # What is durable is told: with the checkpoint all is.
        seq = answer("checkpoint", path)["seq"]
        told = lines("tail", path)
        assert [line["seq"] for line in told] == list(range(1, seq + 1))
        odd = lines("tail", path, "--collection", "odd", "--limit", "3")
        assert [line["collection"] for line in odd] == ["odd"] * 3
        fails(1, "tail", path, "--collection", "nowhere", says=["no collection"])
        with subprocess.Popen([MERLE, "tail", path, "--follow", "--json", "--from", str(seq)],
                              stdout=subprocess.PIPE) as follower:
            assert json.loads(follower.stdout.readline())["seq"] == seq
            for number in range(5):
                commit(owner, f"new{number}")
                line = json.loads(follower.stdout.readline())
                assert line["key"] == f"new{number}" and line["seq"] == seq + 1 + number
                assert line["content"]["n"] == 1000 + number
            follower.kill()
    # The same from the files.
    assert [line["key"] for line in lines("tail", path, "--from", str(seq + 1))] == [
        f"new{number}" for number in range(5)]


@case
def operator_that_may_only_look_does_nothing(world):
    path = str(world["folder"] / "looked")
    with owned("looked", path):
        assert answer("info", path)["documents"] == 46 and lines("tail", path)
        for words in (["checkpoint", path], ["check", path], ["backup", path, path + "-to"]):
            fails(3, *words, says=["lets operators look only"])
        assert not os.path.exists(path + "-to")


@case
def socket_of_an_owner_that_was_killed_is_replaced(world):
    path = str(world["folder"] / "killed")
    with subprocess.Popen([MAKE, "operated", path], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as owner:
        assert owner.stdout.readline() == b"open\n"
        owner.kill()
    assert (Path(path) / "operator.sock").is_socket()
    # Nobody has it: it is opened by the command itself.
    assert answer("info", path)["documents"] <= 46
    with owned("operated", path) as owner:
        commit(owner, "again")
        assert answer("stats", path)["documents"] == 47
    assert not (Path(path) / "operator.sock").exists()


@case
def directory_with_a_long_name_is_reached(world):
    path = str(world["folder"] / ("l" * 120))
    with owned("operated", path) as owner:
        commit(owner, "far")
        assert answer("stats", path)["documents"] == 47
    assert not (Path(path) / "operator.sock").exists()


@case
def damage_is_told_with_file_and_offset(world):
    path = make("small", world["folder"] / "damaged")
    page = newest(path, "pages-")
    flip(page, page.stat().st_size - 20)
    for name in ("info", "dump", "tail", "checkpoint"):
        err = fails(3, name, path, says=[page.name, "offset: ", "expected: ", "merle repair"])
        assert "MERLE_CORRUPT" in err


@case
def reader_that_goes_away_is_no_failure(world):
    for words in (["dump", world["large"]], ["tail", world["large"]], ["dump", world["large"],
                                                                      "--table"]):
        with subprocess.Popen([MERLE, *words], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            process.stdout.read(10)
            process.stdout.close()
            err = process.stderr.read().decode()
            assert process.wait(timeout=60) == 0 and err == "", err


@case
def answer_that_cannot_be_written_is_a_failure(world):
    for words in (["dump", world["large"]], ["dump", world["small"]], ["info", world["small"]],
                  ["tail", world["small"]], ["--help"], ["--version"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([MERLE, *words], stdout=full, stderr=subprocess.PIPE, timeout=60,
                                  check=False)
        assert done.returncode == 3 and b"could not be written" in done.stderr, words
    closed = subprocess.run(["sh", "-c", '"$0" info "$1" >&-', MERLE, world["small"]],
                            stderr=subprocess.PIPE, timeout=60, check=False)
    assert closed.returncode == 3, closed


# ---- taking care ----


@case
def verify_finds_the_file_that_is_damaged(world):
    told = answer("verify", world["small"])
    assert told["verdict"] == "sound" and told["damaged"] == 0
    path = make("small", world["folder"] / "to verify")
    page = newest(path, "pages-")
    flip(page, page.stat().st_size - 20)
    before = fingerprint(path)
    code, out, err = run("verify", path)
    told = json.loads(out)
    assert code == 1 and told["verdict"] == "damaged" and "merle: verify: " in err
    assert page.name in {f["file"] for f in told["findings"]}
    assert fingerprint(path) == before
    fails(3, "verify", str(world["folder"] / "absent"))


@case
def backup_and_restore_give_the_same_documents(world):
    path = make("small", world["folder"] / "original")
    documents = lines("dump", path)
    backup, back, early = (str(world["folder"] / name) for name in ("backup", "back", "early"))
    told = answer("backup", path, backup)
    assert told["path"] == backup and lines("dump", backup) == documents
    answer("restore", backup, back)
    assert lines("dump", back) == documents
    seq = documents[0]["seq"] + 30
    told = answer("restore", path, early, "--seq", str(seq))
    assert told["seq"] == seq and max(d["seq"] for d in lines("dump", early)) <= seq
    fails(3, "backup", path, backup)
    fails(3, "restore", path, backup)
    fails(3, "restore", path, early + "2", "--seq", "100000", says=["--seq"])


@case
def repair_saves_what_is_not_damaged(world):
    path = make("small", world["folder"] / "to repair")
    saved, whole = str(world["folder"] / "saved"), str(world["folder"] / "whole")
    told = answer("repair", path, whole)
    assert told["verdict"] == "nothing was lost" and lines("dump", whole) == lines("dump", path)
    documents = lines("dump", path)
    page = newest(path, "pages-")
    flip(page, page.stat().st_size - 20)
    before = fingerprint(path)
    told = answer("repair", path, saved)
    assert [(f["kind"], f["file"]) for f in told["findings"]] == [("older", page.name)]
    assert lines("dump", saved) == documents and fingerprint(path) == before
    fails(3, "repair", path, saved)


@case
def repair_tells_what_it_could_not_save(world):
    path, saved = make("small", world["folder"] / "holed"), str(world["folder"] / "less")
    log = min(Path(path).glob("log-*"))  # the later one is only prepared
    flip(log, log.read_bytes().index(b"back\\slash"))
    fails(3, "info", path, says=[log.name])
    code, out, err = run("repair", path, saved)
    told = json.loads(out)
    assert code == 1 and told["verdict"] == "see the findings" and told["records_lost"] >= 1, err
    assert {f["kind"] for f in told["findings"]} >= {"hole"}
    keys = {d["key"] for d in lines("dump", saved)}
    assert "back\\\\slash" not in keys and "a\\x20b" in keys


def main():
    failed = 0
    folder = Path(tempfile.mkdtemp(prefix="merle-tool-"))
    world = {"folder": folder}
    try:
        for kind in ("small", "large"):
            world[kind] = make(kind, folder / kind)
        print(f"1..{len(CASES)}")
        for number, one in enumerate(CASES, 1):
            try:
                one(world)
                print(f"ok {number} - {one.__name__}")
            except Exception as problem:  # each case is judged, whatever it meets
                failed = 1
                told = f"{type(problem).__name__}: {problem}"
                print("\n".join("# " + line for line in told.splitlines()))
                print(f"not ok {number} - {one.__name__}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
