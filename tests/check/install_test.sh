#!/bin/bash
# Aim: what gets installed is enough for a program outside, in C and in C++, shared and static.
# Method: installs into a temporary folder and compiles a small program with what merle.pc says.
# What it cannot see: other systems and other prefixes.
# Usage: install_test.sh BUILD_FOLDER. SPDX-License-Identifier: Apache-2.0
set -u
build=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
number=0
failed=0

cat >"$folder/user.c" <<'EOF'
#include <merle/merle.h>
#include <stdio.h>
#include <string.h>
int main(void) {
    merle_key key;
    merle_bytes number = merle_key_u64(&key, 1);
    if (number.size != 8 || MERLE_STR("ab").size != 2) return 1;
    puts(merle_version());
    return strcmp(merle_version(), MERLE_VERSION_STRING) != 0;
}
EOF
cp "$folder/user.c" "$folder/user.cc"
cat >"$folder/hears.c" <<'EOF'
#include <merle/subscribe.h>
#include <string.h>
int main(void) {
    merle_subscriber_options options;
    merle_subscriber *subscriber;
    memset(&options, 0, sizeof options);
    options.service = "inproc://nobody";
    if (merle_subscriber_open(&options, &subscriber, NULL) != MERLE_OK) return 1;
    merle_subscriber_close(subscriber);
    return 0;
}
EOF
cp "$folder/hears.c" "$folder/hears.cc"

judge() { # name, command...: one TAP case
    local name=$1
    shift
    number=$((number + 1))
    if "$@" >"$folder/output" 2>&1; then
        echo "ok $number - $name"
    else
        failed=1
        sed 's/^/# /' "$folder/output"
        echo "not ok $number - $name"
    fi
}

installs() {
    DESTDIR=$folder/root meson install -C "$build" --no-rebuild &&
        config=$(find "$folder/root" -name merle.pc) && [ -n "$config" ]
}
settings() { # arguments of pkg-config, for the folder that stands in for the root
    PKG_CONFIG_PATH=$(dirname "$config") \
        pkg-config --define-variable="prefix=$folder/root$prefix" "$@"
}
runs() { # compiler, source, flag of pkg-config, how the library is named, and its package
    local flags package=${5:-merle}
    flags=$(settings --cflags --libs $3 "$package") || return 1
    # Split into words on purpose.
    # shellcheck disable=SC2086
    "$1" -Wall -Wextra -Werror "$folder/$2" -o "$folder/user" ${flags/-l$package/$4} &&
        LD_LIBRARY_PATH=$(dirname "$(dirname "$config")") "$folder/user"
}
has_soname() {
    readelf -d "$(dirname "$(dirname "$config")")/libmerle.so" | grep -q 'SONAME.*\[libmerle.so.0\]'
}

command_runs() { # the program that was installed, and its man page
    local lib
    lib=$(dirname "$(dirname "$config")")
    LD_LIBRARY_PATH=$lib "$folder/root$prefix/bin/merle" --version | grep -q '^merle [0-9]' &&
        LD_LIBRARY_PATH=$lib "$folder/root$prefix/bin/merle" help dump >/dev/null &&
        find "$folder/root$prefix" -name 'merle.1*' | grep -q .
}

config=
echo "1..9"
judge install_into_a_folder_works installs
prefix=$(sed -n 's/^prefix=//p' "$config")
judge shared_library_names_its_interface has_soname
judge c_program_with_the_shared_library_runs runs cc user.c "" -lmerle
judge cpp_program_with_the_shared_library_runs runs c++ user.cc "" -lmerle
judge installed_command_runs command_runs
judge c_program_with_the_static_library_runs runs cc user.c --static -l:libmerle.a
judge c_subscriber_with_the_shared_library_runs \
    runs cc hears.c "" -lmerle-subscribe merle-subscribe
judge cpp_subscriber_with_the_shared_library_runs \
    runs c++ hears.cc "" -lmerle-subscribe merle-subscribe
judge c_subscriber_with_the_static_library_runs \
    runs cc hears.c --static -l:libmerle-subscribe.a merle-subscribe
exit $failed
