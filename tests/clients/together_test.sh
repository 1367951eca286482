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
echo 1..1
if [ $status -eq 0 ]; then
    echo "ok 1 - all_who_listen_lose_nothing"
else
    echo "not ok 1 - all_who_listen_lose_nothing"
    sed 's/^/# /' <<<"$printed"
fi
exit $status
