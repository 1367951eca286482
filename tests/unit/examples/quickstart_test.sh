#!/bin/bash
# Aim: the program of the README does what the README says, also when it is run again.
# Method: runs it twice in an empty directory, and compares what it prints.
# What it cannot see: a crash between the two; tests/crash is for that.
# Usage: quickstart_test.sh QUICKSTART. SPDX-License-Identifier: Apache-2.0
set -u
program=$1
place=$(mktemp -d) || exit 1
trap 'rm -rf "$place"' EXIT
failed=0

judge() { # number, name, expected
    local printed
    printed=$(cd "$place" && "$program")
    if [ $? -eq 0 ] && [ "$printed" = "$3" ]; then
        echo "ok $1 - $2"
    else
        failed=1
        echo "not ok $1 - $2"
        sed 's/^/# /' <<<"$printed"
    fi
}

echo 1..2
judge 1 quickstart_run_once_prints_what_the_readme_says $'ada has 15 gold\nrich: p17'
judge 2 quickstart_run_again_goes_on_from_there \
    $'ada was here before\nada has 20 gold\nrich: p17'
exit $failed
