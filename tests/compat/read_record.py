#!/usr/bin/env python3
"""tests/compat/read_record.py - reads log records with nothing but docs/format.md.

Aim     The format can be read by another language, and records written once stay readable.
Method  A reader of its own, standard library only: frames, checksums, msgpack. Without arguments it reads
        records_1.bin beside it, whose frames stand one behind the other, and compares what it finds with
        what is written down below; then it damages every byte in turn and wants each to be found.
        With a file's name it prints that file's records.
Blind   It reads what our writer wrote at one time; other forms are the fuzzer's and the unit test's matter.

SPDX-License-Identifier: Apache-2.0
"""
import os
import struct
import sys

HEADER = struct.Struct("<IIQqII")
KINDS = {1: "put", 2: "patch", 3: "remove", 4: "define", 5: "truncate", 6: "drop", 7: "sequence",
         8: "loaded", 9: "insert", 10: "expire", 11: "renew"}


class Corrupt(Exception):
    pass


def make_table():
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


TABLE = make_table()


def crc32c(data, seed=0):
    crc = seed ^ 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class Msgpack:
    """Reads one value after another from bytes."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, size):
        if size > len(self.data) - self.at:
            raise Corrupt("the bytes end inside a value")
        part = self.data[self.at:self.at + size]
        self.at += size
        return part

    def number(self, form):
        return struct.unpack(">" + form, self.take(struct.calcsize(form)))[0]

    def array(self, count):
        return [self.value() for _ in range(count)]

    def map(self, count):
        return [(self.value(), self.value()) for _ in range(count)]

    def text(self, size):
        return self.take(size).decode("utf-8")

    def extension(self, size):
        return ("extension", self.number("b"), self.take(size))

    def value(self):
        first = self.take(1)[0]
        if first < 0x80:
            return first
        if first < 0x90:
            return dict(self.map(first & 0x0F))
        if first < 0xA0:
            return self.array(first & 0x0F)
        if first < 0xC0:
            return self.text(first & 0x1F)
        if first >= 0xE0:
            return first - 256
        if first in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[first]
        if first in (0xC4, 0xC5, 0xC6):
            return self.take(self.number("BHI"[first - 0xC4]))
        if first in (0xC7, 0xC8, 0xC9):
            return self.extension(self.number("BHI"[first - 0xC7]))
        if 0xCA <= first <= 0xD3:
            return self.number("fdBHIQbhiq"[first - 0xCA])
        if 0xD4 <= first <= 0xD8:
            return self.extension(1 << (first - 0xD4))
        if first in (0xD9, 0xDA, 0xDB):
            return self.text(self.number("BHI"[first - 0xD9]))
        if first in (0xDC, 0xDD):
            return self.array(self.number("HI"[first - 0xDC]))
        if first in (0xDE, 0xDF):
            return dict(self.map(self.number("HI"[first - 0xDE])))
        raise Corrupt("a byte that msgpack does not use")


def read_body(body):
    reader = Msgpack(body)
    try:
        parts = reader.value()
    except (UnicodeDecodeError, TypeError, RecursionError) as error:
        raise Corrupt(str(error)) from error
    if reader.at != len(body) or not isinstance(parts, list) or len(parts) != 3:
        raise Corrupt("a body is an array of three")
    origin, app, operations = parts
    found = []
    for operation in operations:
        collection, slot, key, kind, payload, expires = operation
        if kind not in KINDS:
            raise Corrupt("an unknown kind of operation")
        found.append((collection, slot, key, KINDS[kind], payload, expires))
    return origin, app, found


def read_frames(data, seed=0):
    at = 0
    while at < len(data):
        header = data[at:at + HEADER.size]
        if len(header) < HEADER.size:
            raise Corrupt("the bytes end inside a header")
        length, body_crc, seq, time_ns, flags, header_crc = HEADER.unpack(header)
        if crc32c(header[:28], seed) != header_crc:
            raise Corrupt("a header's checksum")
        body = data[at + HEADER.size:at + HEADER.size + length]
        if len(body) < length or crc32c(body) != body_crc:
            raise Corrupt("a body's checksum")
        yield (seq, time_ns, flags) + read_body(body)
        at += HEADER.size + length


EXPECTED = [
    (1, 1700000000000000000, 0, 0, None, [
        (7, 0, None, "define", {
            "name": "players", "id": 7, "version": 1, "memory_only": False,
            "indexes": [{"name": "email", "kind": "unique", "on": "email"}],
            "rules": [{"path": "gold", "type": 3, "required": True, "length_max": 0}],
        }, None)]),
    (2, 1700000000000000001, 0, 0, b"ops", [
        (7, 5, b"p17", "put", {"gold": 3}, 1000000000),
        (300, 4294967295, b"x", "remove", None, None)]),
    (3, 1700000000000000001, 0, 2, None, [
        (7, 5, b"p17", "patch", [[["gold"], 8], [["list", 0], 1.5], [["pos", "x"]]], None)]),
    (4, 1700000000000000009, 0, 1, None, [
        (7, 0, None, "sequence", 1024, None),
        (7, 0, None, "truncate", None, None),
        (7, 0, None, "drop", None, None)]),
]


def check(data):
    assert crc32c(b"123456789") == 0xE3069283
    found = list(read_frames(data))
    for have, want in zip(found, EXPECTED):
        assert have == want, "found %r, expected %r" % (have, want)
    assert len(found) == len(EXPECTED)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 0x40
        try:
            list(read_frames(bytes(damaged)))
        except Corrupt:
            continue
        raise AssertionError("a damaged byte at %d was not found" % at)


def main(arguments):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "records_1.bin")
    if len(arguments) > 1:
        path = arguments[1]
    with open(path, "rb") as file:
        data = file.read()
    if len(arguments) > 1:
        for record in read_frames(data):
            print(record)
        return 0
    check(data)
    print("# %d records read, %d damaged bytes found" % (len(EXPECTED), len(data)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
