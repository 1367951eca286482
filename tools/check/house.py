#!/usr/bin/env python3
"""house.py - checks the rules of the house that a machine can check; prints TAP, one case a rule.

    house.py                          all rules over the sources
    house.py RULE...                  only these
    house.py --exports LIBRARY        only the export list, against a built library
    house.py --write-exports LIBRARY  writes that list
    house.py --root FOLDER            looks there instead of at the repository it lies in

Each rule is a function that takes the tree and gives a list of complaints; house_test.py in
tests/check plants a violation of every rule and sees it found. What it cannot see: it reads C by its
layout, which clang-format fixes (a function's closing brace stands alone in the first column).
SPDX-License-Identifier: Apache-2.0
"""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 900
COLUMNS_MAX = 100

# By the beginning of what stands between the angle brackets.
LIBRARIES = {
    "ck": ("ck_",),
    "jemalloc": ("jemalloc",),
    "msgpack": ("msgpack",),
    "zstd": ("zstd",),
    "nng": ("nng/", "nng."),
    "libpq": ("libpq", "postgresql/"),
    "sqlite": ("sqlite3",),
    "lmdb": ("lmdb",),
    "cmocka": ("cmocka",),
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
FAULT = re.compile(r'\bMRL_FAULT\w*\s*\(\s*"([^"]*)"')
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
ATTRIBUTE = re.compile(r"__attribute__\s*\(\(.*?\)\)")
LABEL = re.compile(r"^\w+:$")
EXPORTED = re.compile(r"^MERLE_API\b[^;({]*?\b(\w+)\s*[(;\[]", re.MULTILINE)


class Tree:
    """The sources: which rooms there are and what each file says."""

    def __init__(self, root):
        self.root = Path(root)
        self.rooms = {}  # name -> (set of rooms it may include, set of libraries)
        self.folders = {}  # folder inside a room -> set of libraries that it may include too
        self.room_problems = []
        self._read_rooms()
        self.files = {}  # path relative to the root -> lines, for all C sources and headers
        for folder in ["include", *self.rooms]:
            for path in sorted((self.root / folder).rglob("*.[ch]")):
                name = path.relative_to(self.root).as_posix()
                self.files[name] = path.read_text(encoding="utf-8").splitlines()

    def _read_rooms(self):
        for line in self.list_lines("tools/check/rooms.txt"):
            room, _, rest = line.partition(":")
            wanted, _, libraries = rest.partition(";")
            if "/" in room:
                self._read_folder(room, wanted, libraries)
                continue
            allowed = {room}
            for name in self.rooms if wanted.strip() == "*" else wanted.split():
                if name not in self.rooms:
                    self.room_problems.append(f"rooms.txt: {room} names {name}, no earlier room")
                    continue
                allowed |= self.rooms[name][0]
            self.rooms[room] = (allowed, set(libraries.split()))

    def _read_folder(self, folder, wanted, libraries):
        if wanted.strip():
            self.room_problems.append(f"rooms.txt: {folder}: only a room has arrows")
        if room_of(folder) not in self.rooms:
            self.room_problems.append(f"rooms.txt: {folder} is in no earlier room")
        self.folders[folder] = set(libraries.split())

    def libraries_of(self, name):
        """The libraries that a file may include."""
        allowed = set(self.rooms[room_of(name)][1]) if room_of(name) in self.rooms else set()
        for folder, libraries in self.folders.items():
            if name.startswith(folder + "/"):
                allowed |= libraries
        return allowed

    def list_lines(self, name):
        """The lines of one of our lists, without comments and empty ones."""
        text = (self.root / name).read_text(encoding="utf-8")
        lines = (line.split("#")[0].strip() for line in text.splitlines())
        return [line for line in lines if line]

    def existing_rooms(self):
        return [room for room in self.rooms if (self.root / room).is_dir()]

    def numbered(self):
        for name, lines in self.files.items():
            for number, line in enumerate(lines, 1):
                yield name, number, line


def room_of(name):
    return name.split("/")[0]


def beside(name, other):
    """The path of a file that lies in the same folder."""
    return f"{name.rpartition('/')[0]}/{other}"


# ---- the rules ----


def check_arrows(tree):
    """A room includes only rooms below it, from the root, and nobody's private header.

    Tests may name a header that lies beside them without its folder.
    """
    problems = list(tree.room_problems)
    for name, number, line in tree.numbered():
        match = INCLUDE.match(line)
        if match and match.group(1) == '"':
            problem = arrow_problem(tree, name, match.group(2))
            if problem:
                problems.append(f"{name}:{number}: {problem}")
    return problems


def arrow_problem(tree, name, included):
    room, target = room_of(name), room_of(included)
    if room == "tests" and "/" not in included and beside(name, included) in tree.files:
        return None
    if "/" not in included or ".." in included:
        return f'"{included}" is not written from the root'
    if target in ("include", "merle"):
        return f'"{included}": public headers are written <merle/...>'
    if target not in tree.rooms:
        return f'"{included}": {target} is not a room of rooms.txt'
    if room == "include":
        return f'"{included}": a public header includes only public ones'
    if target not in tree.rooms[room][0]:
        return f"{room} may not include {target}"
    if included.endswith("_private.h") and room not in (target, "tests"):
        return f'"{included}" is private to {target}'
    return None


def check_libraries(tree):
    """Each library is included only by the rooms that wrap it, and by tests of what it keeps."""
    problems = []
    for name, number, line in tree.numbered():
        match = INCLUDE.match(line)
        if not match:
            continue
        allowed = tree.libraries_of(name)
        for library, beginnings in LIBRARIES.items():
            if match.group(2).startswith(beginnings) and library not in allowed:
                problems.append(f"{name}:{number}: {room_of(name)} may not include {library}")
    return problems


def functions_of(lines):
    """(name, number of lines) of each function, found by the layout of the file."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "}" and start:
            header = " ".join(lines[start - 1 : number]).split("{")[0]
            match = re.search(r"(\w+)\s*\(", ATTRIBUTE.sub("", header))
            if match and not header.rstrip().endswith(";"):
                yield match.group(1), number - start + 1
            start = None
        elif line and (line[0].isalpha() or line[0] == "_") and not LABEL.match(line):
            start = number


def check_sizes(tree):
    """Functions fit on a screen, files are read in one sitting."""
    problems, excused = [], set(tree.list_lines("tools/check/long.txt"))
    needed = set()
    for name, lines in tree.files.items():
        found = [(name, len(lines), FILE_LINES_MAX)]
        for function, count in functions_of(lines):
            found.append((f"{name}:{function}", count, FUNCTION_LINES_MAX))
        for what, count, limit in found:
            if count <= limit:
                continue
            needed.add(what)
            if what not in excused:
                problems.append(f"{what}: {count} lines, at most {limit}")
    problems += [f"long.txt: {what} is not too long any more" for what in sorted(excused - needed)]
    return problems


def check_columns(tree):
    """No line is wider than the house allows."""
    return [
        f"{name}:{number}: {len(line)} columns, at most {COLUMNS_MAX}"
        for name, number, line in tree.numbered()
        if len(line) > COLUMNS_MAX
    ]


def check_words(tree):
    """Each file carries its licence tag; nothing is left for later without an issue."""
    problems = []
    for name, lines in tree.files.items():
        if not any("SPDX-License-Identifier: Apache-2.0" in line for line in lines[:40]):
            problems.append(f"{name}: no SPDX-License-Identifier in the first comment")
    for name, number, line in tree.numbered():
        if UNFINISHED.search(line):
            problems.append(f"{name}:{number}: {UNFINISHED.search(line).group(0)}")
    return problems


def check_readmes(tree):
    """Each room says what it is."""
    return [
        f"{room}/README.md is missing"
        for room in tree.existing_rooms()
        if not (tree.root / room / "README.md").is_file()
    ]


def check_listed(tree):
    """Each source is named in a meson.build of its room: nothing lies about unbuilt."""
    problems = []
    for name in tree.files:
        path = tree.root / name
        if path.suffix != ".c" or room_of(name) == "include":
            continue
        word = re.compile(r"['/]" + re.escape(path.name) + "'")
        if room_of(name) in ("tests", "examples", "bench"):
            # Their lists name programs: 'lock' stands for lock_test.c or lock.c.
            stem = re.escape(re.sub(r"_test$", "", path.stem))
            word = re.compile(rf"['/]{stem}(_test)?(\.c)?'")
        folders = [folder for folder in path.parents if tree.root in folder.parents]
        builds = [folder / "meson.build" for folder in folders]
        texts = [build.read_text(encoding="utf-8") for build in builds if build.is_file()]
        if not any(word.search(text) for text in texts):
            problems.append(f"{name} is in no meson.build")
    return problems


def compile_alone(tree, command, header):
    result = subprocess.run(
        [*command, "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I", tree.root, "-I",
         tree.root / "include", "-"],
        input=f'#include "{header}"\n', capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return []
    reasons = [line for line in result.stderr.splitlines() if "error" in line]
    return [f"{header} as {command[-1]}: {(reasons or ['does not compile'])[0]}"]


def check_headers(tree):
    """Every header compiles alone; public ones as strict C11 and as C++17, with gcc and clang."""
    problems = []
    for name in tree.files:
        if not name.endswith(".h"):
            continue
        if room_of(name) != "include":
            if room_of(name) not in ("tests", "bench"):
                command = ["gcc", "-D_GNU_SOURCE", "-xc", "-std=gnu11"]
                problems += compile_alone(tree, command, name)
            continue
        for compiler in ("gcc", "clang"):
            if shutil.which(compiler):
                strict = [compiler, "-pedantic"]
                public = name[len("include/") :]
                problems += compile_alone(tree, [*strict, "-xc", "-std=c11"], public)
                problems += compile_alone(tree, [*strict, "-xc++", "-std=c++17"], public)
    return problems


def check_faults(tree):
    """Fault points stand in one sorted list, each in the code, each armed by a test."""
    listed = tree.list_lines("tools/check/fault_points.txt")
    problems = []
    if listed != sorted(set(listed)):
        problems.append("fault_points.txt is not sorted, or names a point twice")
    in_code, in_tests = {}, ""
    for name, lines in tree.files.items():
        if room_of(name) == "tests":
            in_tests += "\n".join(lines)
            continue
        for point in FAULT.findall("\n".join(lines)):
            in_code.setdefault(point, name)
    for point, name in sorted(in_code.items()):
        if point not in listed:
            problems.append(f"{name}: fault point {point} is not in fault_points.txt")
    for point in listed:
        if point not in in_code:
            problems.append(f"fault_points.txt: {point} is not in the code")
        if f'"{point}"' not in in_tests:
            problems.append(f"fault_points.txt: {point} is armed by no test")
    return problems


def check_format(tree):
    """The layout is clang-format's."""
    names = list(tree.files)
    result = subprocess.run(["clang-format", "--dry-run", "-Werror", *names], cwd=tree.root,
                            capture_output=True, text=True, check=False)
    places = {line.split(":")[0]: line for line in reversed(result.stderr.splitlines())
              if "error:" in line}
    problems = [":".join(line.split(":")[:2]) + ": ./dev format" for line in places.values()]
    if result.returncode != 0 and not problems:
        problems = [result.stderr.strip() or "clang-format failed"]
    return sorted(problems)


def check_version(tree):
    """The build, the header's numbers and the header's string name one version."""
    build = (tree.root / "meson.build").read_text(encoding="utf-8")
    header = "\n".join(tree.files.get("include/merle/base.h", []))
    numbers = re.findall(r"#define MERLE_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header)
    found = {
        "meson.build": re.search(r"version:\s*'([\d.]+)'", build),
        "MERLE_VERSION_STRING": re.search(r'#define MERLE_VERSION_STRING "([^"]*)"', header),
    }
    return [f"{place} says {match and match.group(1)}, the numbers {'.'.join(numbers)}"
            for place, match in found.items() if not match or match.group(1) != ".".join(numbers)]


# ---- the export list ----

EXPORT_LIST = "tools/check/exported_symbols.txt"
# The subscriber library is another one, and has some headers in common with the first.
SUBSCRIBER_EXPORT_LIST = "tools/check/exported_subscribe.txt"
SUBSCRIBER_HEADERS = ("base.h", "document.h", "condition.h", "subscribe.h")


def is_subscriber(library):
    return Path(library).name.startswith("libmerle-subscribe")


def export_list_of(library):
    return SUBSCRIBER_EXPORT_LIST if is_subscriber(library) else EXPORT_LIST


def belongs(header, library):
    """Whether this library has what the public header promises."""
    if is_subscriber(library):
        return header in SUBSCRIBER_HEADERS
    return header != "subscribe.h"


def exported_by(library):
    """The names that a built library shows, sorted."""
    output = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True,
                            text=True, check=True).stdout
    rows = (line.split() for line in output.splitlines())
    # A row of kind A is the version node itself.
    return sorted(row[2].split("@")[0] for row in rows if row[1] != "A")


def promised_by(tree, library):
    """The names that the public headers of this library promise, sorted."""
    text = "\n".join("\n".join(lines) for name, lines in tree.files.items()
                     if room_of(name) == "include" and belongs(name.split("/")[-1], library))
    # Comments must not match, nor the definition of MERLE_API itself, which has no semicolon.
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return sorted(set(EXPORTED.findall(re.sub(r"MERLE_MUST_USE\b", "", text))))


def check_exports(tree, library):
    """The library shows what the list says, the headers promise the same, all of it merle_."""
    export_list = export_list_of(library)
    listed = tree.list_lines(export_list)
    problems = [] if listed == sorted(set(listed)) else [f"{export_list} is not sorted"]
    shown, promised = exported_by(library), promised_by(tree, library)
    problems += [f"{name} does not begin with merle_" for name in shown
                 if not name.startswith("merle_")]
    for what, names in (("the library", shown), ("a public header", promised)):
        problems += [f"{name}: in {what}, not in {export_list}" for name in names
                     if name not in listed]
        problems += [f"{name}: in {export_list}, not in {what}" for name in listed
                     if name not in names]
    return problems


# ---- running ----

RULES = {
    "arrows": check_arrows,
    "libraries": check_libraries,
    "sizes": check_sizes,
    "columns": check_columns,
    "words": check_words,
    "readmes": check_readmes,
    "listed": check_listed,
    "headers": check_headers,
    "faults": check_faults,
    "format": check_format,
    "version": check_version,
}


def report(number, rule, problems):
    for problem in problems:
        print(f"# {problem}")
    print(f"{'not ok' if problems else 'ok'} {number} - {rule}", flush=True)
    return not problems


def main(words):
    root, library, write = Path(__file__).resolve().parents[2], None, False
    rules = []
    while words:
        word = words.pop(0)
        if word == "--root":
            root = words.pop(0)
        elif word in ("--exports", "--write-exports"):
            library, write = words.pop(0), word == "--write-exports"
        else:
            rules.append(word)
    tree = Tree(root)
    if write:
        text = "".join(name + "\n" for name in exported_by(library))
        (tree.root / export_list_of(library)).write_text(text, encoding="utf-8")
        return 0
    if library:
        print("1..1")
        return 0 if report(1, "exports", check_exports(tree, library)) else 1
    rules = rules or list(RULES)
    print(f"1..{len(rules)}")
    good = [report(number, rule, RULES[rule](tree)) for number, rule in enumerate(rules, 1)]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
