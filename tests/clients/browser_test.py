#!/usr/bin/env python3
"""Aim: the page of examples/browser, which knows docs/protocol.md alone, shows what the store has:
by news, when news are lost, without news, and when the server is killed under it.

Method: churn.c changes everything at random (the seed is printed); Chromium without a window has
the page; at the end the text of each cell of its tables is compared with what `merle dump` says of
the directory. Pictures of it are kept below build/pictures.
What it cannot see: whether it looks well; that is what the pictures are for.
Usage: browser_test.py CHURN MERLE PYTHON. SPDX-License-Identifier: Apache-2.0
"""
import json
import re
import sys

import harness
from harness import PATIENCE_S, ROOT, Server, case

sys.path.insert(0, str(ROOT / "examples/browser"))
import headless  # pylint: disable=wrong-import-position

COLLECTIONS = ("mixed", "renewed", "loaded", "short")


def text_of(value, is_inside=False):
    """What the page makes of a value."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if is_inside else value
    if isinstance(value, list):
        return "[" + ", ".join(text_of(part, True) for part in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)}: {text_of(part, True)}"
                               for name, part in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(int(value)) if value == int(value) else repr(value)


def key_of(text):
    """merle shows bytes that do not print as \\xNN, the page what they are in UTF-8."""
    return re.sub(rb"\\x(..)", lambda m: bytes.fromhex(m[1].decode()), text.encode()).decode()


def expected(store, collection):
    return {key_of(key): (seq, document) for (name, key), (seq, _, document) in store.items()
            if name == collection}


def assert_shown(rows, want, collection):
    shown, there = sorted(rows), sorted(want)
    assert shown == there, f"{collection}: {shown} is shown, not {there}"
    for key, (seq, document) in want.items():
        cells = {"key": key, "seq": str(seq), **{n: text_of(v) for n, v in document.items()}}
        shown = {name: text for name, text in rows[key].items() if text or name in cells}
        assert shown == cells, f"{collection} {key}: {shown} is shown, not {cells}"


def look(server, is_dark=False, **parameters):
    page = headless.Page({"service": server.service[1], "wanted": ",".join(COLLECTIONS),
                          **parameters}, is_dark)
    page.ask("show('mixed')")
    return page


def wait_for_changes(page, count):
    assert page.wait(f"subscriber.figures.changes > {count}", PATIENCE_S), \
        page.ask("JSON.stringify(subscriber.figures)")


def end_and_compare(server, page, picture):
    try:
        page.picture(ROOT / "build/pictures" / picture)
        server.order("over")
        assert page.wait("subscriber.tables.get('mixed').has('over')", PATIENCE_S), \
            page.ask("document.getElementById('log').innerText")[:2000]
        rows = {collection: page.rows(collection) for collection in COLLECTIONS}
        figures = page.ask("({...subscriber.figures})")
    finally:
        page.close()
    server.stop()
    store = server.store()
    for collection in COLLECTIONS:
        assert_shown(rows[collection], expected(store, collection), collection)
    return figures


@case
def table_by_news_equals_the_store_over_a_kill(place):
    server = Server(place)
    page = look(server, news=server.news[1])
    wait_for_changes(page, 500)
    server.kill()
    server.start()
    wait_for_changes(page, 1200)
    figures = end_and_compare(server, page, "browser_light.png")
    assert figures["restarts"] == 1 and figures["news"] > 20, figures


@case
def table_with_lost_news_equals_the_store(place):
    server = Server(place)
    page = look(server, True, news=server.news[1], lose="yes")
    wait_for_changes(page, 1200)
    figures = end_and_compare(server, page, "browser_dark.png")
    assert figures["missed"] > 5, figures


@case
def table_without_news_equals_the_store(place):
    server = Server(place)
    page = look(server)
    wait_for_changes(page, 1200)
    figures = end_and_compare(server, page, "browser_polls.png")
    assert figures["news"] == 0, figures


if __name__ == "__main__":
    sys.exit(harness.main(None if headless.find() else
                          "there is no chromium; ./dev test installs it"))
