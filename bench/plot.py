# bench/plot.py - draws the figures of a run as one SVG: a panel a phase, a row a system.
#
# What    throughput on a logarithmic scale: a filled dot with one thread, a ring with two; merle,
#         floors and peers in three colours, the fastest peer's bar (so many times as fast as asked)
#         as a dashed line, the floor's bar as a dotted one. The last panel is memory.
# Sees    only what was measured: a system without a figure has no row.
# SPDX-License-Identifier: Apache-2.0
import math
from xml.sax.saxutils import escape

import report

COLUMNS = 3
PANEL_WIDTH = 440
ROW_HEIGHT = 19
LABEL_WIDTH = 96
VALUE_WIDTH = 96  # room right of the scale, for the figure
HEAD_HEIGHT = 48
AXIS_HEIGHT = 26
GAP = 22
PAGE_HEAD = 84
COLOURS = {"merle": "#c2410c", "floor": "#8a8f98", "peer": "#2563a8"}
INK, FAINT, GRID = "#1f2328", "#59636e", "#e3e6ea"
PHASES = ["range100", "top100", "tag100", "tagand", "get", "unique", "insert", "update", "mixed95",
          "patch", "dup", "delete", "scanwrite_range", "scanwrite_update"]
TITLES = {
    "range100": "100 documents by a range of scores", "top100": "the 100 highest, descending",
    "tag100": "100 documents by a tag", "tagand": "by two tags", "get": "by key",
    "unique": "by a unique value", "insert": "with all index entries (floors: with what they have)",
    "update": "score and guild move", "mixed95": "95 % get, 5 % update",
    "patch": "one number raised", "dup": "inserts that are refused", "delete": "by key",
    "scanwrite_range": "range100 beside a writer", "scanwrite_update": "updates beside a scan"}


def kind_of(name):
    if name == "merle":
        return "merle"
    return "floor" if name in report.FLOORS else "peer"


def short(value):
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return "{:.3g} {}".format(value / size, letter)
    return "{:.3g}".format(value)


class Page:
    def __init__(self):
        self.parts = []

    def line(self, x1, y1, x2, y2, colour, more=""):
        self.parts.append('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}" {}/>'
                          .format(x1, y1, x2, y2, colour, more))

    def text(self, x, y, text, colour=INK, size=12, anchor="start", weight="normal"):
        self.parts.append('<text x="{:.1f}" y="{:.1f}" fill="{}" font-size="{}" text-anchor="{}" '
                          'font-weight="{}">{}</text>'.format(x, y, colour, size, anchor, weight,
                                                              escape(text)))

    def dot(self, x, y, colour, is_filled):
        self.parts.append('<circle cx="{:.1f}" cy="{:.1f}" r="4.5" fill="{}" stroke="{}" '
                          'stroke-width="1.8"/>'.format(x, y, colour if is_filled else "none",
                                                        colour))


class Scale:
    """From a value to a place on a logarithmic axis of whole decades."""

    def __init__(self, values, left, width):
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)
        self.left, self.width = left, width

    def at(self, value):
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.left + self.width * share

    def decades(self):
        return [10.0 ** power for power in range(self.low, self.high + 1)]


def rows_of(figures, phase):
    """(system, with one thread, with two), the fastest first."""
    rows = [(name, figures.median(name, phase, 1), figures.median(name, phase, 2))
            for name in figures.systems()]
    rows = [row for row in rows if row[1] or row[2]]
    return sorted(rows, key=lambda row: -max(row[1] or 0, row[2] or 0))


def panel_height(row_count):
    return HEAD_HEIGHT + row_count * ROW_HEIGHT + AXIS_HEIGHT


def axis_draw(page, scale, top, bottom):
    for decade in scale.decades():
        page.line(scale.at(decade), top, scale.at(decade), bottom, GRID)
        page.text(scale.at(decade), bottom + 15, short(decade), FAINT, 10.5, "middle")


def bars_of(figures, phase):
    """What is asked of merle with one thread: (value, dashes)."""
    floor, share, factor = report.ASKED.get(phase, (None, None, None))
    bars = []
    if floor and figures.median(floor, phase, 1):
        bars.append((share * figures.median(floor, phase, 1), "1.5 3"))
    peer = figures.best_peer(phase, 1)[1]
    if factor and peer:
        bars.append((factor * peer, "6 3"))
    return bars


def panel_draw(page, figures, phase, left, top):
    rows = rows_of(figures, phase)
    bars = bars_of(figures, phase)
    unit = figures.units[phase]
    values = [value for row in rows for value in row[1:] if value] + [bar for bar, _ in bars]
    scale = Scale(values, left + LABEL_WIDTH, PANEL_WIDTH - LABEL_WIDTH - VALUE_WIDTH)
    first = top + HEAD_HEIGHT
    bottom = first + len(rows) * ROW_HEIGHT
    page.text(left, top + 14, phase, size=15, weight="bold")
    page.text(left, top + 31, "{}, {}".format(TITLES.get(phase, ""), unit), FAINT, 11.5)
    axis_draw(page, scale, first, bottom)
    for bar, dashes in bars:
        page.line(scale.at(bar), first, scale.at(bar), bottom, COLOURS["merle"],
                  'stroke-width="1.4" stroke-dasharray="{}"'.format(dashes))
    for at, (name, one, two) in enumerate(rows):
        row_draw(page, scale, name, one, two, left, first + (at + 0.5) * ROW_HEIGHT)


def row_draw(page, scale, name, one, two, left, y):
    colour = COLOURS[kind_of(name)]
    weight = "bold" if name == "merle" else "normal"
    page.text(left + LABEL_WIDTH - 10, y + 4, name, colour, 12, "end", weight)
    if one and two:
        page.line(scale.at(one), y, scale.at(two), y, colour, 'stroke-width="1.2" opacity="0.5"')
    if two:
        page.dot(scale.at(two), y, colour, False)
    if one:
        page.dot(scale.at(one), y, colour, True)
    value = " / ".join(short(number) if number else "–" for number in (one, two)[:2 if two else 1])
    page.text(left + PANEL_WIDTH, y + 4, value, FAINT, 10, "end")


def memory_rows(figures):
    """The size at which most systems were measured: bytes a document beside its own."""
    phases = [key[1] for key in figures.values
              if key[1].startswith("memory_") and key[1].count("_") == 1]
    if not phases:
        return None, []
    phase = max(sorted(set(phases)), key=phases.count)
    rows = [(figures.median(name, phase, 1), name) for name in figures.systems()]
    return phase, sorted(row for row in rows if row[0])


def memory_draw(page, figures, left, top):
    phase, rows = memory_rows(figures)
    most = max(row[0] for row in rows)
    first = top + HEAD_HEIGHT
    width = PANEL_WIDTH - LABEL_WIDTH - VALUE_WIDTH
    page.text(left, top + 14, "memory", size=15, weight="bold")
    page.text(left, top + 31, "bytes a document beside its own, of {:,}; less is better".format(
        int(phase.split("_")[1])), FAINT, 11.5)
    for at, (value, name) in enumerate(rows):
        y = first + (at + 0.5) * ROW_HEIGHT
        colour = COLOURS[kind_of(name)]
        page.text(left + LABEL_WIDTH - 10, y + 4, name, colour, 12, "end",
                  "bold" if name == "merle" else "normal")
        page.parts.append('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="11" fill="{}"/>'
                          .format(left + LABEL_WIDTH, y - 5.5, width * value / most, colour))
        page.text(left + LABEL_WIDTH + width * value / most + 6, y + 4, short(value), FAINT, 10.5)


def legend_draw(page):
    page.text(GAP, 30, "The workload: merle, its floors, its peers", size=19, weight="bold")
    x = GAP + 6
    for name, text in (("merle", "merle"), ("floor", "floors: what the parts cost by themselves"),
                       ("peer", "peers")):
        page.dot(x, 54, COLOURS[name], True)
        page.text(x + 10, 58, text, FAINT, 12)
        x += 30 + 6.4 * len(text)
    page.dot(x + 10, 54, FAINT, True)
    page.text(x + 20, 58, "1 thread", FAINT, 12)
    page.dot(x + 88, 54, FAINT, False)
    page.text(x + 98, 58, "2 threads", FAINT, 12)
    for at, (dashes, text) in enumerate((("1.5 3", "asked against the floor"),
                                         ("6 3", "asked against the best peer"))):
        page.line(x + 176 + at * 176, 54, x + 204 + at * 176, 54, COLOURS["merle"],
                  'stroke-width="1.6" stroke-dasharray="{}"'.format(dashes))
        page.text(x + 210 + at * 176, 58, text, FAINT, 12)


def plot_write(path, figures):
    page = Page()
    panels = [(phase, len(rows_of(figures, phase))) for phase in PHASES]
    panels = [panel for panel in panels if panel[1]]
    memory = memory_rows(figures)[1]
    if memory:
        panels.append(("memory", len(memory)))
    legend_draw(page)
    top = PAGE_HEAD
    for start in range(0, len(panels), COLUMNS):
        line = panels[start:start + COLUMNS]
        for column, (phase, _) in enumerate(line):
            left = GAP + column * (PANEL_WIDTH + GAP)
            if phase == "memory":
                memory_draw(page, figures, left, top)
            else:
                panel_draw(page, figures, phase, left, top)
        top += max(panel_height(count) for _, count in line) + GAP
    width = GAP + COLUMNS * (PANEL_WIDTH + GAP)
    with open(path, "w") as drawing:
        drawing.write('<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" '
                      'viewBox="0 0 {0} {1}" font-family="Helvetica, Arial, sans-serif">\n'
                      '<rect width="100%" height="100%" fill="#ffffff"/>\n'.format(width, top))
        drawing.write("\n".join(page.parts) + "\n</svg>\n")
