#!/usr/bin/env python3
"""Aim: every rule of tools/check/house.py can fail, and accepts a clean tree; cases are counted.

Method: a small clean tree is made in a temporary folder; for each case one violation is planted
there and the rule must name it. What it cannot see: whether the rules are the right ones.
SPDX-License-Identifier: Apache-2.0
"""
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tools" / "check"))
sys.dont_write_bytecode = True

import count  # noqa: E402
import house  # noqa: E402

TAG = "/* SPDX-License-Identifier: Apache-2.0 */\n"
CLEAN_ROOMS = "low:\nmiddle: low; ck\nhigh: middle\ntests: *; cmocka\n"
CLEAN = {
    "tools/check/rooms.txt": CLEAN_ROOMS + "tests/unit/middle: ; ck\n",
    "tools/check/long.txt": "# nothing\n",
    "tools/check/fault_points.txt": "low.sync\nlow.write\n",
    "tools/check/exported_symbols.txt": "merle_close\nmerle_open\n",
    "meson.build": "project('merle', 'c',\n  version: '1.2.3')\n",
    "include/merle/base.h": TAG + "typedef int merle_err;\n"
    "#define MERLE_VERSION_MAJOR 1\n#define MERLE_VERSION_MINOR 2\n"
    '#define MERLE_VERSION_PATCH 3\n#define MERLE_VERSION_STRING "1.2.3"\n',
    "include/merle/merle.h": TAG + "#define MERLE_API __attribute__((visibility(\"default\")))\n"
    "/* MERLE_API int merle_in_a_comment(void); */\n"
    "MERLE_API int merle_open(const char *path);\n"
    "MERLE_API int merle_close(void);\n",
    "low/README.md": "low\n",
    "low/low.h": TAG + "int mrl_low(int a);\n",
    "low/low_private.h": TAG,
    "low/low.c": TAG + '#include "low/low.h"\n#include "low/low_private.h"\n\n'
    "int mrl_low(int a) {\n"
    '    if (MRL_FAULT("low.write")) return 1;\n'
    '    return MRL_FAULT("low.sync") ? a : 0;\n}\n',
    "low/meson.build": "low_sources = files('low.c')\n",
    "middle/README.md": "middle\n",
    "middle/map.c": TAG + '#include <ck_hs.h>\n\n#include "low/low.h"\n',
    "middle/meson.build": "middle_sources = files('map.c')\n",
    "high/README.md": "high\n",
    "high/top.c": TAG + '#include "low/low.h"\n',
    "high/meson.build": "high_sources = files('top.c')\n",
    "tests/README.md": "tests\n",
    "tests/unit/low/low_test.c": TAG + '#include "low/low_private.h"\n\n'
    'const char *points[] = {"low.sync", "low.write"};\n',
    "tests/unit/middle/sample.h": TAG,
    "tests/unit/middle/map_test.c": TAG + '#include <ck_hs.h>\n\n#include "sample.h"\n',
    "tests/unit/meson.build": "unit_tests = [['low', 'low'], ['middle', 'map']]\n",
}


def function_of(lines):
    return "int mrl_long(int a) {\n" + "    a++;\n" * (lines - 3) + "    return a;\n}\n"


# (what is planted, the rule that must find it, what it must say, the files that change;
#  a None as content removes the file)
PLANTED = [
    ("arrow_upwards", "arrows", "low may not include middle",
     {"low/up.c": TAG + '#include "middle/map.h"\n'}),
    ("arrow_upwards_with_blanks", "arrows", "low may not include high",
     {"low/up.c": TAG + '#  include   "high/top.h"\n'}),
    ("arrow_to_unknown_room", "arrows", "utils is not a room",
     {"low/up.c": TAG + '#include "utils/x.h"\n'}),
    ("arrow_not_from_the_root", "arrows", "not written from the root",
     {"low/up.c": TAG + '#include "low.h"\n'}),
    ("arrow_of_a_test_to_a_header_elsewhere", "arrows", "not written from the root",
     {"tests/unit/low/low_test.c": TAG + '#include "sample.h"\n'}),
    ("arrow_of_a_room_to_a_header_beside_it", "arrows", "not written from the root",
     {"low/sample.h": TAG, "low/up.c": TAG + '#include "sample.h"\n'}),
    ("arrow_by_dots", "arrows", "not written from the root",
     {"low/up.c": TAG + '#include "low/../high/top.h"\n'}),
    ("arrow_to_private_header", "arrows", "private to low",
     {"high/up.c": TAG + '#include "low/low_private.h"\n'}),
    ("arrow_from_public_header", "arrows", "includes only public",
     {"include/merle/more.h": TAG + '#include "low/low.h"\n'}),
    ("rooms_in_a_circle", "arrows", "no earlier room",
     {"tools/check/rooms.txt": "low: middle\nmiddle: low\nhigh: middle\ntests: *\n"}),
    ("arrows_of_a_folder", "arrows", "only a room has arrows",
     {"tools/check/rooms.txt": CLEAN_ROOMS + "tests/unit/middle: low; ck\n"}),
    ("folder_of_no_room", "arrows", "attic/old is in no earlier room",
     {"tools/check/rooms.txt": CLEAN_ROOMS + "attic/old: ; ck\n"}),
    ("library_outside_its_room", "libraries", "low may not include ck",
     {"low/up.c": TAG + "#include <ck_epoch.h>\n"}),
    ("library_above_its_room", "libraries", "high may not include ck",
     {"high/up.c": TAG + "#include <ck_epoch.h>\n"}),
    ("library_in_tests_of_another_room", "libraries", "tests may not include ck",
     {"tests/unit/low/low_test.c": TAG + "#include <ck_epoch.h>\n"}),
    ("library_in_folder_with_a_name_that_begins_so", "libraries", "tests may not include ck",
     {"tests/unit/middle_old/low_test.c": TAG + "#include <ck_epoch.h>\n"}),
    ("library_not_named_for_the_folder", "libraries", "tests may not include jemalloc",
     {"tests/unit/middle/up_test.c": TAG + "#include <jemalloc/jemalloc.h>\n"}),
    ("jemalloc_outside_its_room", "libraries", "middle may not include jemalloc",
     {"middle/up.c": TAG + "#include <jemalloc/jemalloc.h>\n"}),
    ("msgpack_outside_its_room", "libraries", "low may not include msgpack",
     {"low/up.c": TAG + "#include <msgpack.h>\n"}),
    ("nng_outside_its_room", "libraries", "high may not include nng",
     {"high/up.c": TAG + "#include <nng/nng.h>\n"}),
    ("nng_in_public_header", "libraries", "include may not include nng",
     {"include/merle/more.h": TAG + "#include <nng/nng.h>\n"}),
    ("function_of_71_lines", "sizes", "low/long.c:mrl_long: 71 lines",
     {"low/long.c": TAG + function_of(71)}),
    ("function_of_71_lines_with_label", "sizes", "low/long.c:mrl_long: 71 lines",
     {"low/long.c": TAG + function_of(70).replace("    return", "fail:\n    return")}),
    ("file_of_901_lines", "sizes", "low/long.c: 901 lines",
     {"low/long.c": TAG + "int a;\n" * 900}),
    ("excuse_that_is_not_needed", "sizes", "is not too long any more",
     {"tools/check/long.txt": "low/low.c:mrl_low\n"}),
    ("line_of_101_columns", "columns", "101 columns",
     {"low/wide.c": TAG + "/* " + "x" * 95 + " */\n"}),
    ("licence_missing", "words", "no SPDX", {"low/low.h": "int mrl_low(int a);\n"}),
    ("work_left_for_later", "words", "TODO", {"low/low.h": TAG + "/* TODO: more */\n"}),
    ("readme_missing", "readmes", "low/README.md is missing", {"low/README.md": None}),
    ("source_in_no_build", "listed", "low/lost.c is in no meson.build", {"low/lost.c": TAG}),
    ("source_named_like_its_room", "listed", "low/low.c is in no meson.build",
     {"low/meson.build": "low = 'low'\n", "meson.build": CLEAN["meson.build"] + "subdir('low')\n"}),
    ("test_in_no_build", "listed", "lost_test.c is in no meson.build",
     {"tests/unit/low/lost_test.c": TAG}),
    ("public_header_not_alone", "headers", "merle/more.h as",
     {"include/merle/more.h": TAG + "size_t merle_size(void);\n"}),
    ("public_header_not_c_plus_plus", "headers", "as -std=c++17",
     {"include/merle/more.h": TAG + "int merle_more(int class);\n"}),
    ("public_header_not_strict", "headers", "as -std=c11",
     {"include/merle/more.h": TAG + "typedef struct merle_more {\n} merle_more;\n"}),
    ("room_header_not_alone", "headers", "low/low.h as",
     {"low/low.h": TAG + "size_t mrl_low;\n"}),
    ("fault_point_not_listed", "faults", "low.read is not in fault_points.txt",
     {"low/more.c": TAG + 'int a = MRL_FAULT("low.read");\n'}),
    ("fault_point_not_in_code", "faults", "low.zero is not in the code",
     {"tools/check/fault_points.txt": "low.sync\nlow.write\nlow.zero\n"}),
    ("fault_point_not_armed", "faults", "low.write is armed by no test",
     {"tests/unit/low/low_test.c": TAG + 'const char *points[] = {"low.sync"};\n'}),
    ("fault_points_not_sorted", "faults", "not sorted",
     {"tools/check/fault_points.txt": "low.write\nlow.sync\n"}),
    ("layout_of_one_s_own", "format", "low/low.h:2",
     {"low/low.h": TAG + "int  mrl_low( int a );\n"}),
    ("version_of_the_build_differs", "version", "meson.build says 1.2.4",
     {"meson.build": "project('merle', version: '1.2.4')\n"}),
    ("version_string_differs", "version", "MERLE_VERSION_STRING says 1.2.30",
     {"include/merle/base.h": CLEAN["include/merle/base.h"].replace('"1.2.3"', '"1.2.30"')}),
]
LIBRARY = "int merle_open(const char *p) { return *p; }\nint merle_close(void) { return 0; }\n"
# (what is planted, the library's source, the files that change, what must be said)
PLANTED_EXPORTS = [
    ("name_that_leaks", LIBRARY + "int mrl_leak;\n", {}, "mrl_leak does not begin with merle_"),
    ("name_not_listed", LIBRARY + "int merle_more;\n", {}, "merle_more: in the library, not in"),
    ("name_not_built", LIBRARY.replace("merle_close", "static merle_closed"), {},
     "merle_close: in tools/check/exported_symbols.txt, not in the library"),
    ("name_not_promised", LIBRARY + "int merle_more;\n",
     {"tools/check/exported_symbols.txt": "merle_close\nmerle_more\nmerle_open\n"},
     "merle_more: in tools/check/exported_symbols.txt, not in a public header"),
    ("list_not_sorted", LIBRARY,
     {"tools/check/exported_symbols.txt": "merle_open\nmerle_close\n"}, "is not sorted"),
]
# (what ran, meson's verdict, what the program printed, the pair that must be counted)
COUNTED = [
    ("two_good_cases", "OK", "1..2\nok 1 - a\nok 2 - b\n", (2, 0)),
    ("a_failed_case", "FAIL", "1..2\nok 1 - a\nnot ok 2 - b\n", (1, 1)),
    ("a_crash_after_a_good_case", "ERROR", "1..2\nok 1 - a\n", (1, 1)),
    ("a_program_out_of_time", "TIMEOUT", "", (0, 1)),
    ("a_silent_good_program", "OK", "", (1, 0)),
    ("a_skipped_case", "SKIP", "1..1\nok 1 - a # SKIP no disk\n", (0, 0)),
]


class Cases:
    """Counts and prints what came out, as TAP."""

    def __init__(self):
        self.number = self.failed = 0

    def judge(self, name, problem):
        self.number += 1
        self.failed += bool(problem)
        if problem:
            print(f"# {problem}")
        print(f"{'not ok' if problem else 'ok'} {self.number} - {name}")


def plant(folder, changes):
    """Makes the clean tree with these changes; gives house's view of it."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in {**CLEAN, **changes}.items():
        if text is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    shutil.copy(REPOSITORY / ".clang-format", folder)
    return house.Tree(folder)


def missing(problems, wanted):
    return "" if any(wanted in line for line in problems) else f"{wanted!r} not in {problems}"


def check_rules(cases, folder):
    clean = plant(folder, {})
    for rule, check in house.RULES.items():
        problems = check(clean)
        cases.judge(f"{rule}_in_clean_tree_are_kept", problems and f"complaints: {problems}")
    longest = plant(folder, {"low/long.c": TAG + function_of(70)})
    problems = house.check_sizes(longest)
    cases.judge("function_of_70_lines_is_accepted", problems and str(problems))
    for name, rule, wanted, changes in PLANTED:
        problems = house.RULES[rule](plant(folder, changes))
        cases.judge(f"{name}_is_found", missing(problems, wanted))
    unproved = set(house.RULES) - {rule for _, rule, _, _ in PLANTED}
    cases.judge("every_rule_has_a_planted_violation", unproved and f"without: {sorted(unproved)}")


def check_library(folder, source, changes):
    tree = plant(folder, changes)
    library = folder / "lib.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-xc", "-", "-o", library], input=source, text=True,
                   check=True)
    return house.check_exports(tree, str(library))


def main():
    cases = Cases()
    folder = Path(tempfile.mkdtemp(prefix="house-")) / "tree"
    try:
        check_rules(cases, folder)
        problems = check_library(folder, LIBRARY, {})
        cases.judge("exports_as_listed_are_accepted", problems and str(problems))
        for name, source, changes, wanted in PLANTED_EXPORTS:
            problems = check_library(folder, source, changes)
            cases.judge(f"{name}_is_found", missing(problems, wanted))
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)
    for name, verdict, printed, wanted in COUNTED:
        found = count.count_one({"result": verdict, "stdout": printed})
        cases.judge(f"{name}_counts_as_it_should",
                    found != wanted and f"{printed!r}: {found} instead of {wanted}")
    print(f"1..{cases.number}")
    return 1 if cases.failed else 0


if __name__ == "__main__":
    sys.exit(main())
