# bench/plot_events.py - draws what was asked of events and what was measured, as one SVG.
#
# What    a row for each ratio that is asked for: what was measured as a share of its bar, on one
#         scale, so that everything left of the line (for "at most") or right of it (for "at least")
#         is met.
# Sees    the rows of report_events: those that are stated only, or not measured, are left out.
# SPDX-License-Identifier: Apache-2.0
import re

import plot

WIDTH, LABEL_WIDTH, ROW_HEIGHT, HEAD_HEIGHT = 900, 430, 20, 46
SHARE_MAX = 3.0
MET, NOT_MET = "#2563a8", "#c2410c"


def shares_of(rows):
    """(what, bar as text, measured as text, measured / bar, whether it is met)"""
    for what, asked, measured, _, met in rows:
        bar = re.match(r"[≥≤] ([\d.,]+)$", asked)
        if bar is None or not re.match(r"[\d.,]+$", measured):
            continue
        share = float(measured.replace(",", "")) / float(bar.group(1).replace(",", ""))
        yield what, asked, measured, share, met == "met"


def plot_write(path, rows):
    rows = list(shares_of(rows))
    height = HEAD_HEIGHT + ROW_HEIGHT * len(rows) + 20
    page = plot.Page()
    scale = (WIDTH - LABEL_WIDTH - 150) / SHARE_MAX
    line = LABEL_WIDTH + scale
    page.text(16, 22, "Events: measured, as a share of what is asked", size=15, weight="bold")
    page.text(line, 38, "asked", plot.FAINT, 10.5, "middle")
    page.line(line, HEAD_HEIGHT - 4, line, height - 12, plot.INK, 'stroke-dasharray="6 3"')
    for number, (what, asked, measured, share, is_met) in enumerate(rows):
        y = HEAD_HEIGHT + ROW_HEIGHT * number + 12
        end = LABEL_WIDTH + scale * min(share, SHARE_MAX)
        colour = MET if is_met else NOT_MET
        page.text(LABEL_WIDTH - 10, y + 4, what, size=11.5, anchor="end")
        page.line(LABEL_WIDTH, y, end, y, colour, 'stroke-width="7"')
        page.text(max(end, line) + 8, y + 4, "{} ({})".format(measured, asked), size=11.5,
                  colour=plot.FAINT)
    with open(path, "w") as drawing:
        drawing.write('<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox='
                      '"0 0 {0} {1}" font-family="sans-serif">\n<rect width="{0}" height="{1}" '
                      'fill="white"/>\n'.format(WIDTH, height))
        drawing.write("\n".join(page.parts) + "\n</svg>\n")
