#!/usr/bin/env python3
"""tests/compat/read_directory.py - reads a database's directory with nothing but docs/format.md.

Aim     The files can be read by another language, and directories written once stay readable.
Method  A reader of its own: manifest, pages, log files, and the rule by which records count. Without
        arguments it reads the fixtures beside it and compares what it finds with what they were made
        of. With a directory's path it prints its documents. Packed pages are unpacked
        by the program zstd; where there is none, only their checksums are looked at.
Blind   Torn ends and damage: the unit and crash tests.

SPDX-License-Identifier: Apache-2.0
"""
import os
import shutil
import struct
import subprocess
import sys

from read_record import HEADER, Corrupt, Msgpack, crc32c, read_body


def want(condition, text):
    if not condition:
        raise Corrupt(text)


def read_file(directory, name):
    with open(os.path.join(directory, name), "rb") as file:
        return file.read()


def names_of(directory, kind):
    return sorted(name for name in os.listdir(directory)
                  if name.startswith(kind + "-") and len(name) == len(kind) + 17)


# ---- manifest ----

def read_manifest(directory):
    name = names_of(directory, "manifest")[-1]
    data = read_file(directory, name)
    magic, version, one, two, number, size, body_crc = struct.unpack_from("<4sIQQQQI", data)
    want(magic == b"mrlM" and version == 1, "no manifest of version 1")
    want(struct.unpack_from("<I", data, 60)[0] == crc32c(data[:60]), "the header's checksum")
    want(len(data) == 64 + size and crc32c(data[64:]) == body_crc, "the body's checksum")
    want(number == int(name[-16:], 16), "the number is not that of the name")
    body = Msgpack(data[64:]).value()
    want(body[0] == number, "two numbers")
    keys = ("number", "term", "time", "replay", "log", "next", "collections", "files")
    manifest = dict(zip(keys, body))
    manifest["database"] = (one, two)
    return manifest


# ---- pages ----

def unpack(data, raw_size):
    if shutil.which("zstd") is None:
        return None
    raw = subprocess.run(["zstd", "-dc"], input=data, stdout=subprocess.PIPE, check=True).stdout
    want(len(raw) == raw_size, "unpacked to another size")
    return raw


def read_documents(raw, first, count):
    at = 0
    for _ in range(count):
        slot, key_size, size, seq = struct.unpack_from("<HHIQ", raw, at)
        at += 16
        expires = None
        if key_size & 0x8000:
            expires = struct.unpack_from("<q", raw, at)[0]
            at += 8
            key_size &= 0x7FFF
        key = raw[at:at + key_size]
        document = raw[at + key_size:at + key_size + size]
        at += key_size + size
        yield first + slot, [key, Msgpack(document).value(), expires, seq]
    want(at == len(raw), "bytes behind the last document")


def read_page(data, place, manifest, collection):
    first, slots, seq, documents, _, offset, length, crc = place[:8]
    page = data[offset:offset + length]
    (magic, version, one, two, page_seq, owner, page_first, page_slots, page_documents, raw_size,
     stored, compression, page_crc) = struct.unpack_from("<4sIQQQIIIIIIII", page)
    want(magic == b"mrlP" and version == 1 and (one, two) == manifest["database"], "a strange page")
    want(page_crc == crc and crc32c(page[:60] + page[64:64 + stored]) == crc, "a page's checksum")
    want((owner, page_first, page_slots, page_documents) == (collection, first, slots, documents),
         "another page than the manifest names")
    want(page_seq <= seq and length == 64 + stored, "a page's numbers")
    raw = page[64:]
    if compression == 1:
        raw = unpack(raw, raw_size)
        if raw is None:
            return None
    return dict(read_documents(raw, first, documents))


def read_pages(directory, manifest):
    found, files, is_whole = {}, {}, True
    for identity, size in manifest["files"]:
        data = read_file(directory, "pages-%016x" % identity)
        magic, version, one, two, number = struct.unpack_from("<4sIQQQ", data)
        want(magic == b"mrlF" and version == 1 and number == identity, "a strange page file")
        want((one, two) == manifest["database"] and len(data) >= size, "a strange page file")
        want(struct.unpack_from("<I", data, 60)[0] == crc32c(data[:60]), "a page file's checksum")
        files[identity] = data
    for collection in manifest["collections"]:
        slots = found[collection[0]] = {}
        for place in collection[4]:
            if place[6] == 0:
                continue
            documents = read_page(files[place[4]], place, manifest, collection[0])
            is_whole = is_whole and documents is not None
            slots.update(documents or {})
    return found, is_whole


# ---- log ----

def read_frames(data, seed):
    at = 8192
    while at + HEADER.size <= len(data):
        length, body_crc, seq, _, flags, header_crc = HEADER.unpack_from(data, at)
        if crc32c(data[at:at + 28], seed) != header_crc:
            return
        body = data[at + 32:at + 32 + length]
        if not flags & 2:
            if len(body) < length or crc32c(body) != body_crc:
                return
            yield seq, read_body(body)[2]
        at += (32 + length + 7) // 8 * 8


def terms_are_sound(block):
    if struct.unpack_from("<I", block, 4092)[0] != crc32c(block[:4092]):
        return False
    identity, count, zero = struct.unpack_from("<QII", block, 104)
    terms = [struct.unpack_from("<QQQ", block, 120 + 24 * i) for i in range(count)]
    want(identity != 0 and zero == 0 and count <= 64, "a strange list of terms")
    want(all(one[0] < two[0] and one[2] <= two[2] for one, two in zip(terms, terms[1:])),
         "terms out of order")
    return True


def read_header(data):
    for at in (0, 4096):
        magic, version, state = struct.unpack_from("<8sII", data, at)
        checksum = struct.unpack_from("<I", data, at + 96)[0]
        if magic == b"merlelog" and checksum == crc32c(data[at:at + 96]) and state == 2:
            want(version in (1, 2), "a log file of another version")
            if version == 2 and not terms_are_sound(data[at:at + 4096]):
                continue
            return struct.unpack_from("<QQQQ", data, at + 32) + struct.unpack_from("<I", data, at + 88)
    return None


def read_log(directory, manifest):
    headers = []
    for name in names_of(directory, "log"):
        data = read_file(directory, name)
        header = read_header(data)
        if header is not None and header[0] >= manifest["log"]:
            headers.append((header, data))
    for (identity, term, _, _, seed), data in headers:
        limits = [other[3] for other, _ in headers if other[1] > term]
        for seq, operations in read_frames(data, seed):
            if seq > manifest["replay"] and all(seq <= limit for limit in limits):
                yield seq, operations


# ---- records ----

def apply_effect(document, effect):
    for entry in effect:
        at, path = document, entry[0]
        for step in path[:-1]:
            if isinstance(at, dict):
                at = at.setdefault(step, {})
            else:
                at = at[step]
        if len(entry) == 1:
            del at[path[-1]]
        elif isinstance(at, list) and path[-1] == len(at):
            at.append(entry[1])
        else:
            at[path[-1]] = entry[1]


def page_seq(manifest, collection, slot):
    for entry in manifest["collections"]:
        if entry[0] != collection:
            continue
        for place in entry[4]:
            if place[0] <= slot < place[0] + place[1]:
                return place[2]
        return max(manifest["replay"], entry[1])
    return manifest["replay"]


def replay(directory, manifest, found):
    records = 0
    for seq, operations in read_log(directory, manifest):
        records += 1
        for collection, slot, key, kind, payload, expires in operations:
            kind = {"insert": "put", "renew": "put", "expire": "remove"}.get(kind, kind)
            if kind in ("put", "patch", "remove"):
                if seq <= page_seq(manifest, collection, slot):
                    continue
                slots = found[collection]
                if kind == "put":
                    slots[slot] = [key, payload, expires, seq]
                elif kind == "remove":
                    slots.pop(slot, None)
                else:
                    apply_effect(slots[slot][1], payload)
                    slots[slot][2:] = [expires, seq]
            elif kind == "define":
                found.setdefault(collection, {})
            elif kind == "truncate":
                found[collection].clear()
            elif kind == "drop":
                del found[collection]
    return records


# ---- the fixture ----

def expected():
    far_away = 4102444800 * 1000000000
    players = {}
    for number in list(range(300)) + list(range(310, 401)):
        patched = (100 <= number < 120) + (110 <= number < 130)
        document = {"n": number, "name": "player %d" % number, "level": number % 7 + 100 * patched}
        if patched:
            document["was"] = {"here": "ada"}
        expires = far_away if number % 50 == 0 and number < 400 else None
        players[struct.pack(">Q", number)] = (document, expires)
    return players


def check(directory):
    manifest = read_manifest(directory)
    found, is_whole = read_pages(directory, manifest)
    if not is_whole:
        print("# no program zstd: only checksums were looked at")
        return
    records = replay(directory, manifest, found)
    players = {key: (document, expires) for key, document, expires, _ in found[1].values()}
    assert players == expected()
    pages = sum(place[6] > 0 for entry in manifest["collections"] for place in entry[4])
    assert records > 20 and pages > 1
    print("# %d documents from %d pages and %d records" % (len(players), pages, records))


def main(arguments):
    here = os.path.dirname(os.path.abspath(__file__))
    if len(arguments) < 2:
        for version in ("v1", "v2"):
            check(os.path.join(here, "fixtures", version, "world.merle"))
        return 0
    manifest = read_manifest(arguments[1])
    found, _ = read_pages(arguments[1], manifest)
    replay(arguments[1], manifest, found)
    for collection, slots in sorted(found.items()):
        for slot, document in sorted(slots.items()):
            print(collection, slot, *document)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
