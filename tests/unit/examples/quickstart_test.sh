#!/bin/bash
# Aim: the small programs do what README.md and docs/durability.md say, also when they are run again.
# Method: runs each twice in an empty directory, and compares what it prints.
# What it cannot see: a crash between the two; tests/crash is for that.
# Usage: quickstart_test.sh QUICKSTART TICK. SPDX-License-Identifier: Apache-2.0
set -u
quickstart=$(realpath "$1")
tick=$(realpath "$2")
place=$(mktemp -d) || exit 1
trap 'rm -rf "$place"' EXIT
failed=0

judge() { # number, name, expected, program with its arguments
    local printed status
    printed=$(cd "$place" && "${@:4}")
    status=$?
    if [ $status -eq 0 ] && [ "$printed" = "$3" ]; then
        echo "ok $1 - $2"
    else
        failed=1
        echo "not ok $1 - $2"
        sed 's/^/# /' <<<"$printed"
    fi
}

echo 1..4
judge 1 quickstart_run_once_prints_what_the_readme_says \
    $'ada has 15 gold\nrich: p17' "$quickstart"
judge 2 quickstart_run_again_goes_on_from_there \
    $'ada was here before\nada has 20 gold\nrich: p17' "$quickstart"
answers="60 ticks, 60 answers, each when its tick was on the disk"
judge 3 tick_with_threads_answers_all "$answers" "$tick"
judge 4 tick_without_threads_answers_all "$answers" "$tick" --no-threads
exit $failed
