/* examples/browser/page.js - shows what merle.js hears: a live table, and a log of changes.
 *
 * What came is drawn at most twenty times a second, however much it is; of a table the first
 * ROWS_MAX rows are shown, in the order of their keys.
 * SPDX-License-Identifier: Apache-2.0
 */
"use strict";

const ROWS_MAX = 400, LOG_MAX = 200, DRAW_MS = 50;
const byId = (id) => document.getElementById(id);
const make = (tag, text = "", name = "") => {
    const element = document.createElement(tag);
    element.textContent = text;
    if (name) element.className = name;
    return element;
};

/* A value of msgpack as people read it: as JSON, but for a string that is all of it. */
function textOf(value, isInside = false) {
    if (value === undefined) return "";
    if (typeof value === "string") return isInside ? JSON.stringify(value) : value;
    if (Array.isArray(value)) return "[" + value.map((part) => textOf(part, true)).join(", ") + "]";
    if (value instanceof Map)
        return "{" + [...value].map(([name, part]) =>
            `${JSON.stringify(String(name))}: ${textOf(part, true)}`).join(", ") + "}";
    if (value instanceof Uint8Array) return `${value.length} bytes`;
    if (value !== null && typeof value === "object") return `extension ${value.type}`;
    return String(value);
}

/* ---- the table ---- */

const view = {
    shown: null, drawn: null, columns: [], rows: new Map(), changed: new Set(), isWhole: true
};

function columnsOf(table) {
    const names = new Set();
    for (const {document} of table.values())
        if (document instanceof Map) for (const name of document.keys()) names.add(String(name));
    return [...names];
}

function drawHead(columns) {
    const row = make("tr");
    for (const name of ["key", "seq", ...columns]) row.append(make("th", name));
    document.querySelector("#table thead").replaceChildren(row);
}

function setCell(cell, value, isNews) {
    const text = textOf(value);
    if (cell.textContent === text) return;
    cell.textContent = cell.title = text;
    cell.classList.toggle("number", typeof value === "number" || typeof value === "bigint");
    if (!isNews) return;
    cell.classList.add("new");
    requestAnimationFrame(() => requestAnimationFrame(() => cell.classList.remove("new")));
}

function drawRow(key, held, isNews) {
    let row = view.rows.get(key);
    if (!row) {
        row = make("tr");
        row.dataset.key = key;
        for (let i = 0; i < view.columns.length + 2; i++) row.append(make("td"));
        view.rows.set(key, row);
        row.firstChild.textContent = key;
    }
    row.children[1].textContent = held.seq;
    view.columns.forEach((name, i) =>
        setCell(row.children[i + 2], held.document.get(name), isNews));
    return row;
}

/* Behind the rows that are shown, where there is no room for more. */
function isBeyond(key) {
    return view.rows.size >= ROWS_MAX && !view.rows.has(key) && key > view.last;
}

function drawWholeTable(table) {
    const columns = columnsOf(table);
    if (columns.join("\0") !== view.columns.join("\0") || view.drawn !== view.shown)
        view.rows.clear();
    Object.assign(view, {columns, drawn: view.shown});
    drawHead(columns);
    const keys = [...table.keys()].sort().slice(0, ROWS_MAX), isShown = new Set(keys);
    for (const key of view.rows.keys()) if (!isShown.has(key)) view.rows.delete(key);
    view.last = keys[keys.length - 1];
    document.querySelector("#table tbody").replaceChildren(
        ...keys.map((key) => drawRow(key, table.get(key), view.changed.has(key))));
    const heads = document.querySelectorAll("#table th"), cells = view.rows.get(keys[0])?.children;
    heads.forEach((head, i) => head.className = cells?.[i].className.replace("new", "") ?? "");
}

function drawTable() {
    const table = subscriber.tables.get(view.shown);
    if (!table) return;
    for (const key of view.changed) if (isBeyond(key)) view.changed.delete(key);
    for (const key of view.changed)
        view.isWhole ||= !view.rows.has(key) || !table.has(key) ||
            [...table.get(key).document.keys()].some((name) =>
                !view.columns.includes(String(name)));
    if (view.isWhole) drawWholeTable(table);
    else for (const key of view.changed) drawRow(key, table.get(key), true);
    view.changed.clear();
    view.isWhole = false;
    const more = table.size - ROWS_MAX;
    byId("more").textContent = more > 0 ? `and ${more} more` : table.size ? "" : "no documents";
}

function show(name) {
    Object.assign(view, {shown: name, isWhole: true});
    view.changed.clear();
    draw();
}

function drawTabs() {
    const names = [...subscriber.tables.keys()].sort(), tabs = byId("tabs");
    if (names.length !== tabs.children.length) {
        tabs.replaceChildren(...names.map((name) => {
            const tab = make("button", name);
            tab.dataset.name = name;
            tab.setAttribute("role", "tab");
            tab.append(make("small"));
            tab.onclick = () => show(name);
            return tab;
        }));
        view.shown ??= names[0] ?? null;
    }
    for (const tab of tabs.children) {
        tab.setAttribute("aria-selected", tab.dataset.name === view.shown);
        tab.lastChild.textContent = subscriber.tables.get(tab.dataset.name).size;
    }
}

/* ---- the log, and the line at the top ---- */

const NOTES = {
    snapshot: "a snapshot: everything is new", silence: "the server does not answer",
    missed: "news are missing: fetched from the service",
    gap: "what was missed is not kept any more",
    history: "another database, or an older one", lost: "a crash took what was told",
    reset: "a collection was made anew", again: "a new snapshot is needed", error: "it went wrong"
};
let lines = [], lastNote = ""; // lines: functions, since most of them are never shown

function lineOf(seq, kind, text, isNote) {
    const line = make("li", "", isNote ? "note" : "");
    line.dataset.kind = kind;
    line.append(make("span", seq), make("b", kind), make("span", text));
    return line;
}

/* What an update changed at the top of the document; of anything else all of it. */
function storyOf({collection, key, before, document}) {
    if (key === null) return collection;
    const now = document ?? before ?? new Map(), isUpdate = before !== null && document !== null;
    const told = [...now].filter(([name, value]) =>
        !isUpdate || textOf(before.get(name)) !== textOf(value));
    return `${collection} ${key}  ` + told.map(([n, v]) => `${n} ${textOf(v)}`).join(", ");
}

function drawLog() {
    if (lines.length === 0) return;
    const log = byId("log");
    log.prepend(...lines.slice(-LOG_MAX).reverse().map((line) => line()));
    while (log.children.length > LOG_MAX) log.lastChild.remove();
    lines = [];
}

function drawState() {
    const state = !subscriber.isConnected ? "away" : subscriber.isLive ? "live" : "catching up";
    byId("state").dataset.state = state;
    byId("state").textContent = state === "away" ? "no answer, trying" : state;
    const {changes, snapshots, missed, restarts} = subscriber.figures;
    const figures = {commit: subscriber.seq, changes, snapshots, "gaps mended": missed,
        "server restarts": restarts};
    byId("figures").replaceChildren(...Object.entries(figures).map(([name, value]) => {
        const pair = make("div");
        pair.append(make("dt", name), make("dd", value));
        return pair;
    }));
}

let timer = null;
function draw() {
    timer = null;
    drawTabs();
    drawTable();
    drawLog();
    drawState();
}

function hear({kind, seq, changes, text}) {
    timer ??= setTimeout(draw, DRAW_MS);
    for (const change of changes) {
        lines.push(() => lineOf(seq, change.kind, storyOf(change), false));
        if (change.collection !== view.shown) continue;
        if (change.key === null) view.isWhole = true;
        else view.changed.add(change.key);
    }
    if (lines.length > 2 * LOG_MAX) lines = lines.slice(-LOG_MAX);
    if (changes.length > 0) lastNote = "";
    if (kind === "changes" || kind === "state" || kind === lastNote && kind === "silence") return;
    lastNote = kind;
    if (kind === "snapshot") view.isWhole = true;
    lines.push(() => lineOf(seq, kind, NOTES[kind] + (text ? `: ${text}` : ""), true));
}

/* ---- begin ---- */

let subscriber = null;

function begin(parameters) {
    const wanted = parameters.get("wanted");
    subscriber = new Subscriber({
        service: parameters.get("service"), news: parameters.get("news"),
        wanted: wanted ? wanted.split(",") : null, secret: parameters.get("secret"),
        name: "the browser's page"
    }, hear);
    subscriber.lose = byId("losing").checked ? 5 : 0;
    byId("losing").onchange = () => subscriber.lose = byId("losing").checked ? 5 : 0;
    draw();
}

const parameters = new URLSearchParams(location.search);
byId("losing").checked = parameters.has("lose");
if (parameters.get("service")) begin(parameters);
else byId("where").hidden = false;
