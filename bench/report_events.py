# bench/report_events.py - what the figures of `bench/run --events` say: the section "Events".
#
# What    ratios that are asked for, and all medians; figures come from report.Figures.
# Owns    nothing.
# Limits  as report.py's: a ratio is one of medians.
# SPDX-License-Identifier: Apache-2.0
import report
from report import met_text, number_text, ratio, table
from report_disk import figures_table

HEAD, END = report.EVENTS
TRANSPORTS = ("ipc", "tcp")
WATCH_LEAST = 3000000
PACE_SHARE = 0.98
# Audience, and how much more than with nobody a commit may cost its writer.
AUDIENCES = (("1", "one listens", 1.15), ("stopped", "one has stopped reading", 1.15),
             ("10", "ten listen", 1.3))


def row(what, asked, measured, is_met, spread=""):
    return (what, asked, measured, spread, "" if is_met is None else met_text(is_met))


def missing(what, asked):
    return (what, asked, "not measured", "", "")


def merle(phase):
    return ("merle", phase, 1)


def raw(phase):
    return ("raw", phase, 1)


def backlog_rows(figures):
    rows = []
    for transport in TRANSPORTS:
        phase = "backlog_" + transport
        rows.append(report.ratio_row(figures, "a backlog over {} / nng push and pull".format(
            transport), merle(phase), raw(phase), 0.5))
    return rows


def watch_rows(figures):
    rows = []
    drained = figures.median(*merle("watch_drain"))
    asked = "≥ {}".format(number_text(WATCH_LEAST))
    what = "changes that a watch gives in a second"
    if drained is None:
        return [missing(what, asked)]
    rows.append(row(what, asked, number_text(drained), drained >= WATCH_LEAST))
    return rows


def paced_rows(figures):
    rows = []
    for transport in TRANSPORTS:
        phase = "paced_" + transport
        what = "100,000 changes a second over {}, none lost".format(transport)
        pace = figures.median(*merle(phase))
        if pace is None:
            rows.append(missing(what, "kept"))
            continue
        # Whoever misses one, or hears it twice, gives up: then there is no figure.
        rows.append(row(what, "kept", number_text(pace), pace >= PACE_SHARE * 100000))
        for point in ("p50", "p99"):
            lag = figures.median(*merle("{}_lag_{}".format(phase, point)))
            rows.append(row("its lag, {}, ms".format(point), "stated", number_text(lag / 1e6),
                            None))
    return rows


def idle_rows(figures):
    rows = []
    for transport in TRANSPORTS:
        for point, most in (("p50", 2), ("p99", 3)):
            phase = "idle_{}_{}".format(transport, point)
            rows.append(report.ratio_row(
                figures, "one change over {}, {} / one way of a raw message".format(transport,
                                                                                    point),
                merle(phase), raw(phase), most, at_least=False))
    return rows


def audience_rows(figures):
    rows = []
    for name, text, most in AUDIENCES:
        for transport in TRANSPORTS:
            ours = merle("audience_{}_{}".format(name, transport))
            rows.append(report.ratio_row(
                figures, "processor time of a commit, {}, {} / nobody".format(text, transport),
                ours, merle("audience_0_" + transport), most, at_least=False))
            bare = ratio(figures.median(*ours), figures.median(*merle("audience_none_" + transport)))
            if bare is not None:
                rows.append(row("the same / without a publisher", "stated",
                                "{:.2f}".format(bare), None))
        counted = "audience_{}_instructions"
        if figures.median(*merle(counted.format("0"))) is not None:
            rows.append(report.ratio_row(figures, "instructions of a commit, {} / nobody".format(
                text), merle(counted.format(name)), merle(counted.format("0")), most,
                at_least=False))
    return rows


def peer_rows(figures):
    """Stated: nothing is asked."""
    rows = []
    for peer in sorted({key[0] for key in figures.values} - {"merle", "raw"}):
        for phase in dict.fromkeys(key[1] for key in figures.values if key[0] == peer):
            ours = phase.replace("_pubsub", "").replace("_stream", "")
            value = ratio(figures.median(*merle(ours)), figures.median(peer, phase, 1))
            if value is not None:
                rows.append(row("{} / {} {}".format(ours, peer, phase), "stated",
                                "{:.2f}".format(value), None))
    return rows


def asked_rows(figures):
    return (backlog_rows(figures) + watch_rows(figures) + paced_rows(figures) + idle_rows(figures)
            + audience_rows(figures) + peer_rows(figures))


def section(facts, figures, wrongs, failures, drawing):
    kept = dict(facts)
    about = ["{}: {}".format(name, text) for name, text in facts if name.endswith("with events")]
    lines = [HEAD, "", "Changes on their way to others, {}, commit {}, {}; {} rounds; load at start"
             " {}.".format(kept.get("date"), kept.get("commit"), kept.get("machine"),
                           kept.get("rounds"), kept.get("load at start"))]
    lines += ["What each does is in [README.md](README.md).", "",
              "![What was asked, and what was measured]({})".format(drawing), ""]
    lines += ["- " + text for text in about] + ([""] if about else [])
    lines += table(["what", "asked", "measured", "rounds", ""], asked_rows(figures))
    lines += [""] + figures_table(figures)
    for title, texts in (("Wrong results", wrongs), ("Given up", failures)):
        if texts:
            lines += ["", "### " + title, ""] + ["- " + text for text in texts]
    return lines + ["", END]
