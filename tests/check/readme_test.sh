#!/bin/bash
# Aim: the code that README.md shows is the code of examples/quickstart.c, and that of
# docs/durability.md a part of examples/tick.c; both run as tests.
# Method: cuts them out and compares them, line by line without indentation; then changes one line of
# a copy, to see that a difference is found.
# What it cannot see: whether the words around the code are true.
# Usage: readme_test.sh SOURCE_FOLDER. SPDX-License-Identifier: Apache-2.0
set -u
root=$1

from_example() { sed -n '/^int main/,$p' "$root/examples/quickstart.c" | sed 's/^ *//'; }
from_tick() {
    sed -n '/^static merle_err play_tick/,/^static merle_err run/p' "$root/examples/tick.c" | sed '$d'
}
from_durability() { sed -n '/^```c/,/^```/p' "$root/docs/durability.md" | sed '/^```/d'; }
from_readme() { sed -n '/^int main/,/^}/p' "$root/README.md" | sed 's/^ *//'; }

failed=0
judge() { # number, name, whether it holds
    if [ "$3" -eq 0 ]; then
        echo "ok $1 - $2"
    else
        failed=1
        echo "not ok $1 - $2"
    fi
}

echo 1..3
difference=$(diff <(from_example) <(from_readme)) && [ -n "$(from_readme)" ]
judge 1 readme_code_is_the_quickstart $?
[ -z "$difference" ] || sed 's/^/# /' <<<"$difference"
! diff <(from_example | sed '3s/$/ changed/') <(from_readme) >/dev/null
judge 2 readme_code_changed_is_noticed $?
difference=$(diff -B <(from_tick) <(from_durability)) && [ -n "$(from_tick)" ]
judge 3 durability_code_is_the_tick_example $?
[ -z "$difference" ] || sed 's/^/# /' <<<"$difference"
exit $failed
