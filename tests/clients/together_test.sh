#!/bin/bash
# Aim: the demo of all who listen runs, and nobody in it loses a change while the server is killed.
# Method: runs examples/together.py without its pauses; it judges itself. In an automatic build
# nobody may be left out.
# What it cannot see: what the lines and the page look like.
# Usage: together_test.sh SOURCE_FOLDER LIVE PYTHON. SPDX-License-Identifier: Apache-2.0
set -u
printed=$(python3 "$1/examples/together.py" "$(dirname "$2")" --fast --python "$3" \
    --picture "$1/build/pictures/together.png" 2>&1)
status=$?
if [ "${CI:-}" = true ] && grep -q "left out" <<<"$printed"; then status=1; fi
if ! grep -q "nobody who listens has lost a change" <<<"$printed"; then status=1; fi
judge() { # number, name, status, what to say if it is not 0
    if [ "$3" -eq 0 ]; then
        echo "ok $1 - $2"
    else
        failed=1
        echo "not ok $1 - $2"
        sed 's/^/# /' <<<"$4"
    fi
}

failed=0
echo 1..2
judge 1 all_who_listen_lose_nothing $status "$printed"
needed=$(readelf -d "$(dirname "$2")"/{spectator,chat} | grep NEEDED)
grep -q 'libmerle-subscribe' <<<"$needed" && ! grep -qE 'libmerle\.so|jemalloc|libck' <<<"$needed"
judge 2 listeners_in_c_need_the_subscriber_library_alone $? "$needed"
exit $failed
