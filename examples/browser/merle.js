/* examples/browser/merle.js - hears every change of a merle database, in a browser.
 *
 * Written from docs/protocol.md alone: two WebSockets, msgpack, and the rules of a subscriber. It
 * takes a snapshot, hears of changes from the news, notices by their numbers what it has missed,
 * asks the service for that, and goes on after a restart of the server. It keeps a copy:
 * subscriber.tables is a Map of names to Maps of keys to {seq, document, expires}. A map of msgpack
 * is a Map here, a number beyond 2^53 a BigInt. page.js shows it.
 * SPDX-License-Identifier: Apache-2.0
 */
"use strict";

/* ---- msgpack: what the protocol needs of it ---- */

class Unpacker {
    constructor(bytes) {
        this.bytes = bytes;
        this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        this.at = 0;
    }

    take(size) {
        if (size > this.bytes.length - this.at) throw new Error("the bytes end inside a value");
        this.at += size;
        return this.bytes.subarray(this.at - size, this.at);
    }

    unsigned(size) { // of 1, 2 or 4 bytes
        let number = 0;
        for (const byte of this.take(size)) number = number * 256 + byte;
        return number;
    }

    long(isSigned) {
        this.take(8);
        const at = this.at - 8;
        const number = isSigned ? this.view.getBigInt64(at) : this.view.getBigUint64(at);
        const small = Number(number);
        return Number.isSafeInteger(small) ? small : number;
    }

    signed(size) {
        if (size === 8) return this.long(true);
        const number = this.unsigned(size), limit = 2 ** (8 * size);
        return number < limit / 2 ? number : number - limit;
    }

    float(size) {
        this.take(size);
        return size === 4 ? this.view.getFloat32(this.at - 4) : this.view.getFloat64(this.at - 8);
    }

    text(size) { return Unpacker.decoder.decode(this.take(size)); }

    array(count) {
        const values = [];
        for (let i = 0; i < count; i++) values.push(this.value());
        return values;
    }

    map(count) {
        const values = new Map();
        for (let i = 0; i < count; i++) values.set(this.value(), this.value());
        return values;
    }

    extension(size) { return {type: this.signed(1), bytes: this.take(size)}; }

    value() {
        const first = this.unsigned(1);
        if (first < 0x80) return first;
        if (first < 0x90) return this.map(first & 15);
        if (first < 0xa0) return this.array(first & 15);
        if (first < 0xc0) return this.text(first & 31);
        if (first >= 0xe0) return first - 256;
        if (first === 0xc0) return null;
        if (first === 0xc2 || first === 0xc3) return first === 0xc3;
        if (first >= 0xc4 && first <= 0xc6) return this.take(this.unsigned(1 << (first - 0xc4)));
        if (first >= 0xc7 && first <= 0xc9)
            return this.extension(this.unsigned(1 << (first - 0xc7)));
        if (first === 0xca || first === 0xcb) return this.float(first === 0xca ? 4 : 8);
        if (first >= 0xcc && first <= 0xce) return this.unsigned(1 << (first - 0xcc));
        if (first === 0xcf) return this.long(false);
        if (first >= 0xd0 && first <= 0xd3) return this.signed(1 << (first - 0xd0));
        if (first >= 0xd4 && first <= 0xd8) return this.extension(1 << (first - 0xd4));
        if (first >= 0xd9 && first <= 0xdb) return this.text(this.unsigned(1 << (first - 0xd9)));
        if (first === 0xdc || first === 0xdd) return this.array(this.unsigned(2 * (first - 0xdb)));
        if (first === 0xde || first === 0xdf) return this.map(this.unsigned(2 * (first - 0xdd)));
        throw new Error("a byte that msgpack does not use");
    }
}
Unpacker.decoder = new TextDecoder();

function unpack(bytes) { return new Unpacker(bytes).value(); }

/* Questions have nothing but nil, numbers from 0, strings, bytes and arrays in them. */
function packInto(out, value) {
    const big = (first, number, size) => {
        out.push(first);
        for (let i = size - 1; i >= 0; i--) out.push(Math.floor(number / 2 ** (8 * i)) % 256);
    };
    if (value === null || value === undefined) {
        out.push(0xc0);
    } else if (typeof value === "number") {
        if (value < 0x80) out.push(value);
        else big(0xcf, value, 8);
    } else if (typeof value === "string") {
        const bytes = new TextEncoder().encode(value);
        big(0xdb, bytes.length, 4);
        out.push(...bytes);
    } else if (value instanceof Uint8Array) {
        big(0xc6, value.length, 4);
        out.push(...value);
    } else {
        big(0xdd, value.length, 4);
        for (const part of value) packInto(out, part);
    }
}

function pack(value) {
    const out = [];
    packInto(out, value);
    return out;
}

/* ---- WebSockets that come again ---- */

const RETRY_MS = 200;

class Line {
    constructor(address, protocol, onMessage, onChange) {
        Object.assign(this, {address, protocol, onMessage, onChange, isClosed: false});
        this.connect();
    }

    connect() {
        if (this.isClosed) return;
        const socket = new WebSocket(this.address, this.protocol);
        socket.binaryType = "arraybuffer";
        socket.onmessage = (event) => this.onMessage(new Uint8Array(event.data));
        socket.onopen = () => {
            this.socket = socket;
            this.onChange(true);
        };
        socket.onclose = () => {
            this.socket = null;
            this.onChange(false);
            setTimeout(() => this.connect(), RETRY_MS);
        };
        this.opening = socket;
    }

    close() {
        this.isClosed = true;
        this.opening.close();
    }
}

/* ---- the service ---- */

const VERSION = 1, HELLO = 1, CHANGES = 2, SNAPSHOT = 3, NEWEST = 4;
const GAP = 1, HISTORY = 2, LOST = 3, RESET = 4, TOKEN = 5, BUSY = 7;
const REASONS = {[GAP]: "gap", [HISTORY]: "history", [LOST]: "lost", [RESET]: "reset"};
const ANSWER_MS = 4000;

class Refused extends Error {
    constructor([status, text]) {
        super(`status ${status}: ${text}`);
        this.status = status;
    }
}
class Silence extends Error {} /* nobody answers */
class Again extends Error {} /* what is held is of no use: a snapshot is needed */

class Service {
    constructor(address, secret, name, onChange) {
        Object.assign(this, {secret, name, token: null, isGreeted: false});
        Object.assign(this, {number: 0, waiting: new Map()});
        this.line = new Line(address, "rep.sp.nanomsg.org", (m) => this.take(m), (isOpen) => {
            if (!isOpen) this.fail();
            onChange(isOpen);
        });
    }

    fail() {
        for (const question of this.waiting.values()) question.reject(new Silence());
        this.waiting.clear();
    }

    take(message) {
        const number = new DataView(message.buffer).getUint32(0) & 0x7fffffff;
        const question = this.waiting.get(number);
        if (question === undefined) return; // it was given up
        this.waiting.delete(number);
        try {
            question.resolve(unpack(message.subarray(4)));
        } catch (error) {
            question.reject(error);
        }
    }

    send(question, patience) {
        return new Promise((resolve, reject) => {
            if (!this.line.socket) {
                setTimeout(() => reject(new Silence()), RETRY_MS);
                return;
            }
            const number = this.number = (this.number + 1) & 0x7fffffff;
            const timer = setTimeout(() => {
                this.waiting.delete(number);
                reject(new Silence());
            }, patience);
            const done = (then) => (value) => {
                clearTimeout(timer);
                then(value);
            };
            this.waiting.set(number, {resolve: done(resolve), reject: done(reject)});
            const head = new Uint8Array(4);
            new DataView(head.buffer).setUint32(0, 0x80000000 + number);
            this.line.socket.send(new Uint8Array([...head, ...pack(question)]));
        });
    }

    async askOnce(op, rest, waitMs) {
        const answer = await this.send([VERSION, op, this.token, ...rest], ANSWER_MS + waitMs);
        if (answer[0] !== VERSION) throw new Error("it speaks another version");
        if (answer[2] !== 0) throw new Refused(answer.slice(2));
        return answer.slice(3);
    }

    async hello() {
        const answer = await this.askOnce(HELLO, [this.secret, this.name], 0);
        Object.assign(this, {token: answer[3], isGreeted: true});
        return answer;
    }

    async ask(op, rest, waitMs = 0) {
        if (!this.isGreeted) await this.hello();
        try {
            return await this.askOnce(op, rest, waitMs);
        } catch (error) {
            if (!(error instanceof Refused) || error.status !== TOKEN) throw error;
        }
        await this.hello(); // it was restarted, or has forgotten us
        return this.askOnce(op, rest, waitMs);
    }
}

/* ---- the copy ---- */

const PUT = 1, PATCH = 2, REMOVE = 3, DEFINE = 4, TRUNCATE = 5, DROP = 6, LOADED = 8, INSERT = 9;
const EXPIRE = 10, RENEW = 11;
const KINDS = new Map([[PUT, "update"], [PATCH, "update"], [REMOVE, "remove"], [DEFINE, "define"],
    [TRUNCATE, "truncate"], [DROP, "drop"], [LOADED, "loaded"], [INSERT, "insert"],
    [EXPIRE, "expire"], [RENEW, "insert"]]);

/* Keys are bytes: shown as text where they are text. */
function keyText(bytes) {
    try {
        return new TextDecoder("utf-8", {fatal: true}).decode(bytes);
    } catch {
        return "0x" + [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    }
}

/* What `place` is after one entry of a patch's effect: docs/format.md. Nothing is changed. */
function patched(place, path, value) {
    const [step, ...below] = path, isArray = Array.isArray(place);
    if (!isArray && !(place instanceof Map)) throw new Again("a patch does not fit");
    const copy = isArray ? place.slice() : new Map(place);
    const set = (to) => isArray ? copy[step] = to : copy.set(step, to);
    if (below.length > 0)
        set(patched((isArray ? place[step] : place.get(step)) ?? new Map(), below, value));
    else if (value.length > 0)
        set(value[0]);
    else if (isArray)
        copy.splice(step, 1);
    else
        copy.delete(step);
    return copy;
}

class Copy {
    constructor(wanted) {
        this.wanted = wanted; // names; null: every collection
        this.tables = new Map((wanted ?? []).map((name) => [name, new Map()]));
        this.ids = new Map(); // name: number of the collection that the table is of
        this.names = new Map(); // number: name
        this.removed = new Map(); // while a snapshot is completed: name, key: seq
    }

    isWanted(name) {
        return name !== undefined && (this.wanted === null || this.wanted.includes(name));
    }

    table(name) {
        if (!this.tables.has(name)) this.tables.set(name, new Map());
        return this.tables.get(name);
    }

    applyWhole(seq, kind, number, name) {
        const table = this.table(name);
        if (kind === DEFINE) this.ids.set(name, number);
        if (kind === LOADED) throw new Again(`a bulk load of ${name} has ended`);
        if (kind === DROP) this.ids.delete(name);
        if (kind === TRUNCATE || kind === DROP)
            for (const [key, held] of table) if (held.seq < seq) table.delete(key);
    }

    /* Gives what happened, or null where it is not wanted, or is in the snapshot already. */
    apply(seq, [number, , keyBytes, kind, payload, expires], snapshotSeq) {
        if (kind === DEFINE) this.names.set(number, payload.get("name"));
        const collection = this.names.get(number), kindName = KINDS.get(kind);
        if (kindName === undefined || !this.isWanted(collection)) return null;
        if (keyBytes === null) {
            this.applyWhole(seq, kind, number, collection);
            return {seq, kind: kindName, collection, key: null, before: null, document: null};
        }
        const table = this.table(collection), key = keyText(keyBytes), held = table.get(key);
        const before = held?.document ?? null, place = collection + "\0" + key;
        if (seq <= snapshotSeq) {
            if (seq <= (held?.seq ?? this.removed.get(place) ?? 0)) return null;
            if (kind === PATCH && !held) return null; // its removal comes later
        }
        if (kind === REMOVE || kind === EXPIRE) {
            if (seq <= snapshotSeq) this.removed.set(place, seq);
            table.delete(key);
            return {seq, kind: kindName, collection, key, before, document: null};
        }
        let document = payload;
        if (kind === PATCH) {
            if (!held) throw new Again(`commit ${seq} patches ${key}, which is not here`);
            document = before;
            for (const [path, ...value] of payload) document = patched(document, path, value);
        }
        table.set(key, {seq, document, expires});
        return {seq, kind: kindName, collection, key, before, document};
    }
}

/* ---- the subscriber ---- */

const BEGIN = 1, POLL = 2, MISSED = 3, BATCH = 1, BEAT = 2;
const NEWS_MAX = 4096, SILENCE_MS = 3000, WAIT_MS = 10000;

class Subscriber {
    /* options: service, news (or none), wanted (names, or none: all), secret, name.
     * tell({kind, seq, changes, text}) is called for each commit ("changes", as a whole) and each
     * note: "snapshot", "gap", "history", "lost", "reset", "again", "missed", "silence", "state",
     * "error". */
    constructor(options, tell) {
        this.tell = tell;
        this.copy = new Copy(options.wanted ?? null);
        // The position; while history is null there is none.
        Object.assign(this, {history: null, seq: 0, position: 0, newest: 0});
        Object.assign(this, {isLive: false, isClosed: false, why: BEGIN, lost: 0, lose: 0});
        this.figures = {changes: 0, commits: 0, snapshots: 0, missed: 0, restarts: 0, news: 0};
        this.queue = []; // news that came
        this.flush = {begin: -1, end: -1, batches: new Map()};
        const secret = options.secret ? new TextEncoder().encode(options.secret) : null;
        this.service = new Service(options.service, secret, options.name ?? "browser",
            () => this.note("state"));
        if (options.news)
            this.news = new Line(options.news, "pub.sp.nanomsg.org", (m) => this.takeNews(m),
                () => {});
        this.ended = this.run();
    }

    get tables() { return this.copy.tables; }
    get isConnected() { return Boolean(this.service.line.socket) && this.service.isGreeted; }

    close() {
        this.isClosed = true;
        this.service.line.close();
        this.service.fail();
        if (this.news) this.news.close();
        if (this.wake) this.wake();
    }

    note(kind, text = "") { this.tell({kind, seq: this.seq, changes: [], text}); }

    async run() {
        while (!this.isClosed) {
            try {
                if (this.history === null) await this.takeSnapshot();
                else if (this.isLive) await this.hearNews();
                else await this.catchUp();
            } catch (error) {
                this.isLive = false;
                if (error instanceof Silence) {
                    this.note("silence");
                } else if (error instanceof Refused && error.status === TOKEN) {
                    this.service.isGreeted = false;
                } else if (error instanceof Refused && error.status === BUSY) {
                    await new Promise((done) => setTimeout(done, RETRY_MS));
                } else if (error instanceof Again || error.status in REASONS) {
                    this.history = null; // what lies between the position and now cannot be had
                    this.note(REASONS[error.status] ?? "again", error.message);
                } else {
                    this.note("error", String(error)); // asking again will not help
                    throw error;
                }
            }
        }
    }

    async hello() {
        const answer = await this.service.hello();
        for (const [name, number] of answer[7]) this.copy.names.set(number, name);
        if (!answer[8] && this.news) { // a secret is asked for: there are only beats
            this.news.close();
            this.news = null;
        }
        return answer;
    }

    apply(seq, operations, isWhole, snapshotSeq = 0) {
        const changes = [];
        for (const operation of operations) {
            const change = this.copy.apply(seq, operation, snapshotSeq);
            if (change !== null) changes.push(change);
        }
        this.figures.commits += isWhole ? 1 : 0;
        this.figures.changes += changes.length;
        if (isWhole) [this.seq, this.position] = [seq, 0];
        if (snapshotSeq === 0) this.tell({kind: "changes", seq, changes, text: ""});
    }

    async askChanges(waitMs, snapshotSeq = 0) {
        const wanted = this.copy.wanted, ids = this.copy.ids;
        const filters = wanted && wanted.map((name) => [name, ids.get(name) ?? null, null, null]);
        const [history, newest, seq, position, commits] = await this.service.ask(CHANGES,
            [this.history, this.seq, this.position, filters, waitMs, 0, this.why, this.lost],
            waitMs);
        if (!isSame(history, this.history)) this.figures.restarts++;
        Object.assign(this, {history, newest, why: POLL, lost: 0});
        for (const commit of commits)
            this.apply(commit[0], commit[5].filter((_, i) => i % 2 === 1), commit[0] <= seq,
                snapshotSeq);
        [this.seq, this.position] = [seq, position];
    }

    async catchUp() {
        if (!this.service.isGreeted) await this.hello();
        await this.askChanges(this.news ? 0 : WAIT_MS);
        if (this.seq < this.newest || this.position > 0) return;
        this.isLive = Boolean(this.news);
        this.note("state");
    }

    async takeSnapshot() {
        const [history, begin, , , , , , collections] = await this.hello();
        const copy = new Copy(this.copy.wanted);
        let end = begin;
        copy.names = this.copy.names;
        for (const name of copy.wanted ?? collections.map(([known]) => known)) {
            const table = copy.table(name);
            let cursor = null;
            do {
                const [pageHistory, number, seq, next, rows] =
                    await this.service.ask(SNAPSHOT, [name, null, null, cursor, 0]);
                if (!isSame(pageHistory, history)) throw new Again("opened anew in a snapshot");
                if (number !== null) {
                    copy.ids.set(name, number);
                    copy.names.set(number, name);
                }
                for (const [key, document, documentSeq, expires] of rows)
                    table.set(keyText(key), {seq: documentSeq, document, expires});
                end = Math.max(end, seq);
                cursor = next;
            } while (cursor !== null);
        }
        await this.completeSnapshot(copy, history, begin, end);
    }

    /* The pages are of several moments: what happened between them makes them one. */
    async completeSnapshot(copy, history, begin, end) {
        Object.assign(this, {copy, history, seq: begin, position: 0});
        try {
            while (this.seq < end || this.position > 0) await this.askChanges(0, end);
        } catch (error) {
            this.history = null;
            throw error;
        }
        copy.removed.clear();
        this.figures.snapshots++;
        this.note("snapshot");
    }

    /* ---- news ---- */

    takeNews(message) {
        this.figures.news++;
        if (this.lose > 0 && this.figures.news % this.lose === 0) return; // to see it mended
        if (this.queue.length >= NEWS_MAX) this.queue = []; // the numbers will tell what is missing
        this.queue.push(message);
        if (this.wake) this.wake();
    }

    waitForNews() {
        return new Promise((done) => {
            const timer = setTimeout(done, SILENCE_MS);
            this.wake = () => {
                clearTimeout(timer);
                done();
            };
        });
    }

    async hearNews() {
        if (this.queue.length === 0) await this.waitForNews();
        this.wake = null;
        if (this.queue.length === 0) {
            const [, newest] = await this.service.ask(NEWEST, []);
            this.isLive = newest <= this.seq;
        }
        while (this.isLive && this.queue.length > 0) this.hearOne(this.queue.shift());
    }

    hearOne(message) {
        const end = message.indexOf(0), news = unpack(message.subarray(end + 1));
        if (news[0] !== VERSION) return;
        if (!isSame(news[2], this.history)) {
            this.service.isGreeted = false; // the service judges our position
            this.isLive = false;
        } else if (news[1] === BATCH) {
            this.gather(Unpacker.decoder.decode(message.subarray(0, end)), news);
        } else if (news[1] === BEAT) {
            this.endFlush(news[3], news[4], news[5]);
        }
    }

    gather(name, [, , , begin, end, , number, commits]) {
        if (this.flush.begin !== begin || this.flush.end !== end)
            this.flush = {begin, end, batches: new Map()};
        this.flush.batches.set(number, commits);
        this.copy.names.set(number, name);
    }

    isMissing(number, batches) {
        const name = this.copy.names.get(number);
        if (name !== undefined && !this.copy.isWanted(name)) return false;
        return (batches.get(number) ?? null) === null;
    }

    endFlush(begin, end, numbers) {
        const isOurs = this.flush.begin === begin && this.flush.end === end;
        const batches = isOurs ? this.flush.batches : new Map();
        this.flush = {begin: -1, end: -1, batches: new Map()};
        if (end <= this.seq) return;
        const missing = numbers.filter((number) => this.isMissing(number, batches));
        if (begin > this.seq || missing.length > 0) {
            if (missing.some((number) => !this.copy.names.has(number)))
                this.service.isGreeted = false; // a new collection: hello knows its name
            this.figures.missed++;
            this.lost += Math.max(1, missing.length);
            Object.assign(this, {why: MISSED, isLive: false});
            this.note("missed");
            return;
        }
        const commits = new Map(); // one commit may have changed several collections
        for (const [number, batch] of batches) {
            if (!this.copy.isWanted(this.copy.names.get(number))) continue;
            for (const [seq, , , , , pairs] of batch) {
                if (!commits.has(seq)) commits.set(seq, []);
                for (let i = 0; i < pairs.length; i += 2) commits.get(seq)[pairs[i]] = pairs[i + 1];
            }
        }
        for (const seq of [...commits.keys()].sort((a, b) => a - b)) {
            if (seq <= this.seq) continue;
            // By position; those that are not wanted have left holes.
            this.apply(seq, commits.get(seq).filter((operation) => operation !== undefined), true);
        }
        this.seq = this.newest = end;
    }
}

function isSame(a, b) {
    return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
