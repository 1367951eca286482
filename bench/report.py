# bench/report.py - what the figures of a run say: medians, ratios, what is met, the tables.
#
# What    Figures holds every value of a run; the rest turns them into the rows of RESULTS.md.
# Owns    nothing; bench/run measures, bench/plot.py draws.
# Limits  a ratio is one of medians; where both sides have rounds, the least and most of them stand
#         beside it.
# SPDX-License-Identifier: Apache-2.0
import os
import statistics

# All systems of the measuring program, in the order of the tables; external peers come after them.
FLOORS = ["ram", "epoch", "ck_hs", "ck_hs_tag", "btree", "idlist"]
INNER_PEERS = ["lmdb", "sqlite"]
SYSTEMS = FLOORS + ["merle"] + INNER_PEERS

# Phase: the floor that counts and the share of it, and how many times the best peer.
ASKED = {
    "range100": ("btree", 0.5, 8),
    "top100": ("btree", 0.5, 8),
    "tag100": ("idlist", 0.4, 8),
    "tagand": ("idlist", 0.4, 10),
    "get": (None, None, 2),
    "unique": (None, None, 2),
    "insert": (None, None, 2.5),
    "update": (None, None, 4),
    "mixed95": (None, None, 3),
}
SCALED = {"insert": 1.7, "update": 1.6}
SCAN_SHARE = 0.6
MEMORY_ONE = 150  # bytes a document at the size of the run
MEMORY_ANY = 185  # at every size measured

# An earlier measurement on the same kind of machine, thousands a second with one thread and two.
# Floors: get and insert of ck_hs, a run of 100 documents by a prefetched B+tree.
EARLIER_FLOORS = {"get": (6200, 13000), "insert": (7600, None), "range100": (714, None)}
EARLIER_FLOOR_OF = {
    "get": ("ck_hs", "get"), "unique": ("ck_hs", "get"), "range100": ("btree", "range100"),
    "tag100": ("btree", "range100"), "update": ("ck_hs", "insert"), "insert": ("ck_hs", "insert")}
EARLIER_PHASES = ["get", "unique", "range100", "tag100", "update", "insert"]
EARLIER = {
    "darkbird": [(1978, 4369), (1034, 1320), (8.5, 14.5), (23, 46), (125, 180), (166, 261)],
    "lmdb": [(1121, 2049), (573, 1086), (11.7, 20.6), (11.4, 20.3), (44, 35), (324, None)],
    "sqlite": [(321, None), (321, None), (7.4, None), (7.9, None), (26, None), (170, None)],
    "redis": [(69, None), (41, None), (5.2, None), (5.4, None), (31, None), (69, None)],
    "go-memdb": [(406, 872), (381, 440), (37, 36), (41, 50), (6, 11), (16, None)],
    "tarantool": [(900, None), (956, None), (22, None), (19, None), (70, None), (116, None)],
    "ets": [(1160, 1660), (812, 1040), (10, 11), (12, 15), (119, 112), (126, 208)],
    "mnesia": [(1080, 1260), (227, 359), (8, 10), (9, 16), (86, 124), (95, 117)],
}


class Figures:
    """Every value measured: (system, phase, threads) -> one value a round."""

    def __init__(self):
        self.values = {}
        self.units = {}

    def add(self, line):
        _, system, phase, threads, value, unit = line.split()
        self.values.setdefault((system, phase, int(threads)), []).append(float(value))
        self.units.setdefault(phase, unit)

    def rounds(self, system, phase, threads):
        return self.values.get((system, phase, threads), [])

    def median(self, system, phase, threads):
        values = self.rounds(system, phase, threads)
        return statistics.median(values) if values else None

    def systems(self):
        """Those with figures: floors, merle, then peers."""
        seen = list(dict.fromkeys(key[0] for key in self.values))
        return ([name for name in SYSTEMS if name in seen]
                + sorted(name for name in seen if name not in SYSTEMS))

    def peers(self):
        return [name for name in self.systems() if name not in FLOORS and name != "merle"]

    def best_peer(self, phase, threads):
        """The name and figure of the fastest one that can do it; (None, None) if none can."""
        found = [(self.median(name, phase, threads), name) for name in self.peers()
                 if self.median(name, phase, threads) is not None]
        return max(found)[::-1] if found else (None, None)

    def read(self, path):
        """Adds the lines of a file of raw figures; gives its facts and notes, and the lines of the
        sections that have figures of their own."""
        facts, notes = [], {"failed": [], "wrong": []}
        others = {"GROWTH": [], "DISK": [], "EVENTS": []}
        with open(path) as lines:
            for line in lines:
                line = line.strip()
                if line.startswith("RESULT "):
                    self.add(line)
                elif line.split(" ", 1)[0] in others:
                    others[line.split(" ", 1)[0]].append(line)
                elif line.startswith("# ") and ": " in line:
                    name, text = line[2:].split(": ", 1)
                    if name in notes:
                        notes[name].append(text)
                    else:
                        facts.append((name, text))
        return facts, notes, others


# ---- text ----


def number_text(value):
    if value is None:
        return ""
    return "{:,.0f}".format(value) if value >= 1000 else "{:g}".format(round(value, 2))


def times_text(value):
    return "" if value is None else "{:.2f} ×".format(value)


def met_text(is_met):
    return "met" if is_met else "**not met**"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


def ratio(above, below):
    return above / below if above is not None and below else None


# ---- what is asked ----


def spread_text(figures, over, under):
    """The least and most ratio of the rounds."""
    each = [a / b for a, b in zip(figures.rounds(*over), figures.rounds(*under)) if b]
    return "{:.2f}–{:.2f}".format(min(each), max(each)) if len(each) > 1 else ""


def phase_row(figures, phase, threads):
    """Both must hold; where the peer's bar lies above the floor's, only the floor's counts."""
    floor, share, factor = ASKED[phase]
    merle = figures.median("merle", phase, threads)
    floor_value = figures.median(floor, phase, threads) if floor else None
    peer, peer_value = figures.best_peer(phase, threads)
    if merle is None or (floor_value is None and peer_value is None):
        return None
    bars = [share * floor_value] if floor_value is not None else []
    if peer_value is not None and (not bars or factor * peer_value <= bars[0]):
        bars.append(factor * peer_value)
    spread = spread_text(figures, ("merle", phase, threads), (floor or peer, phase, threads))
    return (phase, threads, number_text(merle),
            "{} {}".format(floor, number_text(floor_value)) if floor_value else "",
            times_text(ratio(merle, floor_value)), "≥ {:g}".format(share) if floor_value else "",
            "{} {}".format(peer, number_text(peer_value)) if peer else "",
            times_text(ratio(merle, peer_value)), "≥ {:g}".format(factor) if peer else "",
            spread, met_text(merle >= max(bars)))


def asked_rows(figures):
    rows = [phase_row(figures, phase, threads) for phase in ASKED for threads in (1, 2)]
    return [row for row in rows if row is not None]


def ratio_row(figures, what, over, under, asked, at_least=True):
    """One row: over and under are (system, phase, threads)."""
    value = ratio(figures.median(*over), figures.median(*under))
    bar = "{} {:g}".format("≥" if at_least else "≤", asked)
    if value is None:
        return (what, bar, "not measured", "", "")
    is_met = value >= asked if at_least else value <= asked
    return (what, bar, "{:.2f}".format(value), spread_text(figures, over, under), met_text(is_met))


def memory_rows(figures):
    rows = []
    for phase in sorted((key[1] for key in figures.values
                         if key[0] == "merle" and key[1].startswith("memory_")
                         and key[1].count("_") == 1), key=lambda name: int(name[7:])):
        value = figures.median("merle", phase, 1)
        most = MEMORY_ONE if phase == "memory_1000000" else MEMORY_ANY
        rows.append(("bytes beside a document's own, of {:,}".format(int(phase[7:])),
                     "≤ {}".format(most), "{:.1f}".format(value), "", met_text(value <= most)))
    return rows


def inner_rows(figures):
    """What merle is asked against itself."""
    rows = [ratio_row(figures, "{}, 2 threads / 1".format(phase), ("merle", phase, 2),
                      ("merle", phase, 1), asked) for phase, asked in SCALED.items()]
    for side in ("range", "update"):
        rows.append(ratio_row(figures, "scanwrite: {} beside the other / alone".format(side),
                              ("merle", "scanwrite_" + side, 2),
                              ("merle", "scanwrite_{}_alone".format(side), 2), SCAN_SHARE))
    return rows + memory_rows(figures)


def pause_rows(figures):
    copied = figures.rounds("merle", "growth_entries_copied_max", 1)
    inserts = figures.rounds("merle", "growth_pauses_insert", 1)
    beside = figures.rounds("merle", "growth_pauses_spin", 1)
    rows = []
    for what, seen, most, asked in (
            ("table entries copied by one insert, at most", max(copied, default=None), 1000,
             "≤ 1000"),
            ("pauses over 1 ms while growing, against a spinning thread's (sum of the rounds)",
             sum(inserts) if inserts else None, sum(beside), "≤ {:.0f}".format(sum(beside)))):
        if seen is None:
            rows.append((what, asked, "not measured", "", ""))
        else:
            rows.append((what, asked, "{:.0f}".format(seen), "", met_text(seen <= most)))
    return rows


def before_rows(figures):
    """What was asked of keys and unique values before there were other indexes, and still holds."""
    rows = []
    for threads in (1, 2):
        said = "{} thread{}".format(threads, "s" if threads > 1 else "")
        for phase, share in (("get", 0.75), ("get_many", 0.6), ("get_miss", 0.7)):
            rows.append(ratio_row(figures, "{} / ck_hs_tag {}, {}".format(phase, phase, said),
                                  ("merle", phase, threads), ("ck_hs_tag", phase, threads), share))
        rows.append(ratio_row(figures, "unique / get, " + said, ("merle", "unique", threads),
                              ("merle", "get", threads), 0.5))
    for phase, share in (("get", 1.8), ("get_miss", 1.8), ("get_many", 1.8), ("unique", 1.8),
                         ("patch", 1.6), ("tick", 1.6), ("delete", 1.6)):
        rows.append(ratio_row(figures, "{}, 2 threads / 1".format(phase), ("merle", phase, 2),
                              ("merle", phase, 1), share))
    rows += pause_rows(figures)
    rows.append(ratio_row(figures, "p99.9 of a get beside a writer / ck_hs_tag's",
                          ("merle", "getwriter_p99.9", 2), ("ck_hs_tag", "getwriter_p99.9", 2), 3,
                          at_least=False))
    return [row for row in rows if row[2] != "not measured"]


def earlier_rows(figures):
    """Peers against the earlier measurement, both as shares of a floor."""
    rows = []
    for name, pairs in EARLIER.items():
        for phase, pair in zip(EARLIER_PHASES, pairs):
            floor, floor_phase = EARLIER_FLOOR_OF[phase]
            here = ratio(figures.median(name, phase, 1), figures.median(floor, floor_phase, 1))
            then = pair[0] / EARLIER_FLOORS[floor_phase][0]
            if here is None:
                continue
            share = here / then
            rows.append((name, phase, "{} {}".format(floor, floor_phase), "{:.4f}".format(then),
                         "{:.4f}".format(here), "{:.2f}".format(share),
                         "" if share >= 0.8 else "**to be explained**"))
    return rows


# ---- tables of figures ----


def figures_table(figures, part):
    """part: which columns; a table with all systems would be too wide to read."""
    systems = [name for name in figures.systems() if part(name)]
    rows = []
    for phase, threads in dict.fromkeys(key[1:] for key in figures.values):
        cells = [number_text(figures.median(name, phase, threads)) for name in systems]
        if any(cells):
            rows.append([phase, threads, figures.units[phase]] + cells)
    return table(["phase", "threads", "unit"] + systems, rows) if rows else []


def growth_table(lines):
    """GROWTH <phase> <documents> <threads> <value>: a table a phase, documents by threads."""
    values = {}
    for line in lines:
        _, phase, count, threads, value = line.split()
        values[(phase, int(count), int(threads))] = float(value)
    threads = sorted({key[2] for key in values})
    counts = sorted({key[1] for key in values})
    rows = []
    for phase in dict.fromkeys(key[0] for key in values):
        for count in counts:
            cells = [number_text(values.get((phase, count, t))) for t in threads]
            if any(cells):
                rows.append([phase, "{:,}".format(count)] + cells)
    head = ["phase, a second", "documents"]
    return table(head + ["1 thread"] + ["{} threads".format(t) for t in threads[1:]], rows)


# ---- the page ----

GROWTH_HEAD = "## Growth"
GROWTH_END = "<!-- end of growth -->"


def growth_section(facts, lines):
    kept = dict(facts)
    return ([GROWTH_HEAD, "",
             "merle alone, {}, commit {}, {}.".format(kept.get("date"), kept.get("commit"),
                                                      kept.get("machine")), ""]
            + growth_table(lines) + ["", GROWTH_END])


def page_lines(path):
    if not os.path.exists(path):
        return []
    with open(path) as page:
        return page.read().splitlines()


# Sections that are replaced by runs of their own and by nothing else: first line, last line.
EVENTS = ("## Events", "<!-- end of events -->")
KEPT = [("## Disk", "<!-- end of disk -->"), EVENTS, (GROWTH_HEAD, GROWTH_END)]


def section_of(lines, head, end):
    if head not in lines or end not in lines:
        return []
    return lines[lines.index(head):lines.index(end) + 1]


def section_write(path, section):
    """Puts a section into the page, in place of the one that is there."""
    lines = page_lines(path)
    old = section_of(lines, section[0], section[-1])
    if old:
        at = lines.index(section[0])
        lines[at:at + len(old)] = section
    else:
        lines += [""] + section
    with open(path, "w") as page:
        page.write("\n".join(lines).strip("\n") + "\n")


def growth_write(path, facts, growth):
    section_write(path, growth_section(facts, growth))


def page_write(path, facts, figures, wrongs, failures, plot):
    lines = ["# Figures", "",
             "Written by `bench/run`; what each phase does is in [README.md](README.md).",
             "Read them as proportions: all of one table comes from one run on one machine.", "",
             "![The figures of every system, a panel a phase]({})".format(plot), ""]
    lines += table(["", ""], facts)
    lines += ["", "## Asked and measured", "",
              "Both must hold, but where the peer's bar lies above the floor's only the floor's"
              " counts. A ratio is that of the medians; under rounds the lowest and highest one,"
              " against the floor where there is one, else against the peer.", ""]
    lines += table(["phase", "threads", "merle", "floor", "× floor", "asked", "best peer", "× peer",
                    "asked", "rounds", ""], asked_rows(figures))
    lines += [""] + table(["what", "asked", "measured", "rounds", ""], inner_rows(figures))
    before = before_rows(figures)
    if before:
        lines += ["", "## Keys and unique values: asked before, and still kept", ""]
        lines += table(["what", "asked", "measured", "rounds", ""], before)
    earlier = earlier_rows(figures)
    if earlier:
        lines += ["", "## Peers, against an earlier measurement", "",
                  "One thread, each figure as a share of a floor, then and now. What is more than a"
                  " fifth below is explained in [peers/README.md](peers/README.md).", ""]
        lines += table(["peer", "phase", "floor", "then", "now", "now / then", ""], earlier)
    lines += ["", "## All figures (medians)", ""]
    lines += figures_table(figures, lambda name: name in SYSTEMS)
    outer = figures_table(figures, lambda name: name not in SYSTEMS)
    if outer:
        lines += ["", "The peers that are programs of their own:", ""] + outer
    if wrongs:
        lines += ["", "## Wrong results", "",
                  "What a peer did from this phase on does not count.", ""]
        lines += ["- " + wrong for wrong in wrongs]
    if failures:
        lines += ["", "## Given up", ""] + ["- " + failure for failure in failures]
    for head, end in KEPT:
        kept = section_of(page_lines(path), head, end)
        if kept:
            lines += [""] + kept
    with open(path, "w") as page:
        page.write("\n".join(lines) + "\n")
