# bench/report_disk.py - what the figures of `bench/run --disk` say: the section "Disk".
#
# What    ratios that are asked for, and all medians; figures come from report.Figures.
# Owns    nothing.
# Limits  as report.py's: a ratio is one of medians.
# SPDX-License-Identifier: Apache-2.0
import report
from report import met_text, number_text, ratio, table

HEAD, END = report.KEPT[0]
OUTSTANDING = 64
SYNC_SHARE = 0.85
GROUP_SHARE = 0.8
ASYNC_SHARE = 0.7


def row(what, asked, measured, is_met, spread=""):
    return (what, asked, measured, spread, "" if is_met is None else met_text(is_met))


def missing(what, asked):
    return (what, asked, "not measured", "", "")


def least_of(named):
    """The lower of the bars that are there: (value, text)."""
    there = [(value, text) for value, text in named if value is not None]
    return min(there) if there else (None, "")


def scaled(value, factor):
    return None if value is None else value * factor


def sync_rows(figures):
    raw = figures.median("raw", "sync", 1)
    rows = [report.ratio_row(figures, "sync / raw write + fdatasync, one by one",
                             ("merle", "sync", 1), ("raw", "sync", 1), SYNC_SHARE)]
    bound = (scaled(raw, GROUP_SHARE * OUTSTANDING), "{} × 64 × raw sync".format(GROUP_SHARE))
    for what, threads, peer, peer_threads, factor in (
            ("sync64, one loop", 1, "tarantool", 64, 2), ("sync64, 64 threads", 64, "redis", 64, 4)):
        merle = figures.median("merle", "sync64", threads)
        theirs = (scaled(figures.median(peer, "sync64", peer_threads), factor),
                  "{} × {}".format(factor, peer))
        bar, text = least_of([theirs, bound])
        asked = "≥ {} = {}".format(text, number_text(bar)) if bar else "≥ the lesser bar"
        if merle is None or bar is None:
            rows.append(missing(what, asked))
        else:
            rows.append(row(what, asked, number_text(merle) + " a second", merle >= bar))
    return rows


def async_rows(figures):
    rows = []
    for threads in (1, 2):
        what = "async, {} thread{}".format(threads, "s" if threads > 1 else "")
        merle = figures.median("merle", "async", threads)
        memory = figures.median("merle", "async_memory", threads)
        raw = ratio(figures.median("raw", "seq", 1),
                    figures.median("merle", "async_log_bytes", threads))
        bar, text = least_of([(memory, "insert in memory"), (raw, "raw sequential bytes")])
        if merle is None or bar is None:
            continue
        rows.append(row(what + " / " + text, "≥ {}".format(ASYNC_SHARE),
                        "{:.2f}".format(merle / bar), merle >= ASYNC_SHARE * bar))
    return rows or [missing("async", "≥ {}".format(ASYNC_SHARE))]


def stated(figures, what, over, under):
    value = ratio(figures.median(*over), figures.median(*under))
    if value is None:
        return []
    return [row(what, "stated", "{:.3g}".format(value), None,
                report.spread_text(figures, over, under))]


def most(figures, what, over, under, asked):
    return report.ratio_row(figures, what, over, under, asked, at_least=False)


def checkpoint_rows(figures):
    def merle(phase):
        return ("merle", phase, 1)
    first = merle("checkpoint_bytes")
    beside, alone = "checkpoint_update_", "checkpoint_update_alone_"
    rows = [most(figures, "p99 of an update during a checkpoint / without", merle(beside + "p99"),
                 merle(alone + "p99"), 2)]
    rows += stated(figures, "p99.9 of the same", merle(beside + "p99.9"), merle(alone + "p99.9"))
    share = ratio(figures.median(*merle("checkpoint_neighbours_bytes")), figures.median(*first))
    what = "bytes of a second checkpoint, 1 % neighbours changed / of the first"
    if share is None:
        rows.append(missing(what, "≤ 0.03"))
    else:
        rows.append(row(what, "≤ 0.03", "{:.4f}".format(share), share <= 0.03))
    rows += stated(figures, "the same, 1 % at random", merle("checkpoint_spread_bytes"), first)
    rows.append(most(figures, "memory during a checkpoint / before it", merle("checkpoint_peak"),
                     merle("checkpoint_resident"), 1.1))
    rows += stated(figures, "the same beside a writer without pause",
                   merle("checkpoint_beside_peak"), merle("checkpoint_beside_resident"))
    return rows


def reopen_rows(figures):
    ours, killed = ("merle", "reopen", 1), ("merle", "reopen_killed", 1)
    floor = ("files", "reopen", 2)
    rows = [most(figures, "reopen / reading the files and building bare tables", ours, floor, 1.5)]
    rows += stated(figures, "the same after a kill, 10 % changed in the log", killed, floor)
    for peer in ("redis", "tarantool"):
        rows.append(report.ratio_row(figures, "reopen, times faster than " + peer,
                                     (peer, "reopen", 1), ours, 5))
        rows += stated(figures, "the same after a kill", (peer, "reopen_killed", 1), killed)
    rows.append(most(figures, "memory at its most during recovery / the database",
                     ("merle", "reopen_peak", 1), ("merle", "checkpoint_resident", 1), 1.1))
    rows += stated(figures, "the same after a kill", ("merle", "reopen_killed_peak", 1),
                   ("merle", "checkpoint_resident", 1))
    rows += stated(figures, "memory at its most during recovery / after it",
                   ("merle", "reopen_peak", 1), ("merle", "reopen_resident", 1))
    return rows


def expiry_rows(figures):
    worst = figures.rounds("merle", "expiry_lag_max", 1)
    if not worst:
        return []
    return [row("worst lag of a removal, ms", "stated", number_text(max(worst) / 1e6), None)]


def asked_rows(figures):
    return (sync_rows(figures) + async_rows(figures) + checkpoint_rows(figures)
            + reopen_rows(figures) + expiry_rows(figures))


def figures_table(figures):
    rows = []
    for system, phase, threads in figures.values:
        values = figures.rounds(system, phase, threads)
        spread = "" if len(values) < 2 else "{}–{}".format(number_text(min(values)),
                                                           number_text(max(values)))
        rows.append([phase, system, threads, number_text(figures.median(system, phase, threads)),
                     figures.units[phase], spread])
    # Phases in the order of their first figure, systems of a phase together.
    order = list(dict.fromkeys(key[1] for key in figures.values))
    rows.sort(key=lambda cells: order.index(cells[0]))
    return table(["phase", "system", "threads", "median", "unit", "least and most"], rows)


def section(facts, figures, wrongs, failures):
    kept = dict(facts)
    about = ["{}: {}".format(name, text) for name, text in facts if name.endswith("with a disk")]
    lines = [HEAD, "", "Phases that have a disk in them, {}, commit {}, {}; {} documents, {} rounds;"
             " files on {}.".format(kept.get("date"), kept.get("commit"), kept.get("machine"),
                                    kept.get("documents"), kept.get("rounds"), kept.get("files"))]
    lines += ["What each does is in [README.md](README.md).", ""]
    lines += ["- " + text for text in about] + [""]
    lines += table(["what", "asked", "measured", "rounds", ""], asked_rows(figures))
    lines += [""] + figures_table(figures)
    for title, texts in (("Wrong results", wrongs), ("Given up", failures)):
        if texts:
            lines += ["", "### " + title, ""] + ["- " + text for text in texts]
    return lines + ["", END]
