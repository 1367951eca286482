#!/usr/bin/env tarantool
-- bench/peers/tarantool.lua - the workload on Tarantool's memory engine, in its own process.
--
--     tarantool tarantool.lua SYSTEM N THREADS PHASES SHARE FOLDER
--
-- What    loads N documents, then the phases asked for in the workload's order, each checked.
--         SHARE of the operations are done. FOLDER: where Tarantool makes its (empty) files.
-- Owns    the space, and a plain copy of what the documents must say.
-- Sees    RESULT and WRONG lines on stdout as bench/peers/README.md says; a WRONG ends it.
-- Threads one: all of Tarantool's Lua runs on one.
--
-- SPDX-License-Identifier: Apache-2.0
local ffi = require('ffi')
local clock = require('clock')
local fio = require('fio')
local system, record_count, threads, phases, share, folder =
    arg[1], tonumber(arg[2]), tonumber(arg[3]), arg[4], tonumber(arg[5]), arg[6]
local guild_count = math.max(1, math.floor(record_count / 100))
local BATCH, ANY_LANG = 64, 8

-- Seeds, one a phase, as in bench/phases.c; the queries have their own after them.
local SEED = {order = 1, get = 2, get_miss = 3, get_many = 4, unique = 5, update = 6, patch = 7,
              mixed95 = 9, dup = 10, delete = 11, range100 = 12, top100 = 13, tag100 = 14,
              tagand = 15, check = 16}

local function wrong(phase, format, ...)
    io.stdout:write(('WRONG %s %s %s\n'):format(system, phase, format:format(...)))
    io.stdout:flush()
    os.exit(1)
end

local function result(phase, value, unit)
    io.stdout:write(('RESULT %s %s %d %.1f %s\n'):format(system, phase, threads, value, unit))
    io.stdout:flush()
end

local records = dofile(fio.pathjoin(fio.dirname(arg[0]), 'tarantool_records.lua'))(record_count)
local mix, below, seeded, score_of, guild_of = records.mix, records.below, records.seeded,
                                               records.score_of, records.guild_of
local key_of, absent_key_of, email_of, guild_text, lang_texts, row_of =
    records.key_of, records.absent_key_of, records.email_of, records.guild_text,
    records.lang_texts, records.row_of

-- The size of the document as msgpack: what the memory phase does not count.
local function encoded_size(score)
    local rest = 1 + 5 + 16 + 6 + 22 + 6 + 5 + 1 + 13 + 7 + 4 + 66 + 5 + 1
    return rest + (score < 128 and 1 or score < 256 and 2 or score < 65536 and 3 or 5)
end

-- ---- the space ----

-- Resident before anything is opened.
local function resident()
    local file = io.open('/proc/self/smaps_rollup')
    local kilobytes = tonumber(file:read('*a'):match('Rss:%s+(%d+)'))
    file:close()
    return kilobytes * 1024
end
collectgarbage()
local resident_before = resident()

box.cfg{wal_mode = 'none', memtx_dir = folder, wal_dir = folder, vinyl_dir = folder,
        memtx_memory = 8 * 1024 * 1024 * 1024, checkpoint_interval = 0, log_level = 2}
local players = box.schema.space.create('players', {temporary = true, format = {
    {'key', 'string'}, {'name', 'string'}, {'email', 'string'}, {'score', 'unsigned'},
    {'tags', 'array'}, {'bio', 'string'}, {'gold', 'unsigned'}}})
local by_key = players:create_index('key', {type = 'HASH', parts = {{1, 'string'}}})
players:create_index('name', {type = 'HASH', parts = {{2, 'string'}}})
local by_email = players:create_index('email', {type = 'HASH', parts = {{3, 'string'}}})
local by_score = players:create_index('score', {type = 'TREE', unique = false,
                                                parts = {{4, 'unsigned'}}})
local by_tag = players:create_index('tags', {type = 'TREE', unique = false,
                                             parts = {{5, 'string', path = '[*]'}}})
local SCORE, TAGS, GOLD = 4, 5, 7

-- ---- operations: each gives the number of documents and the sum of their scores ----

local function one(row)
    if row == nil then return 0, 0 end
    return 1, row[SCORE]
end

local function touch_all(rows)
    local sum = 0
    for at = 1, #rows do sum = sum + rows[at][SCORE] end
    return #rows, sum
end

-- select gives all rows at once, which an iterator of Lua would give one call at a time.
local function find_between(from, to)
    local rows = by_score:select({from}, {iterator = 'GE', limit = 128})
    local count, sum = 0, 0
    for at = 1, #rows do
        local score = rows[at][SCORE]
        if score >= to then return count, sum end
        count, sum = count + 1, sum + score
    end
    if #rows < 128 then return count, sum end
    -- More than usual in the range: row by row.
    count, sum = 0, 0
    for _, row in by_score:pairs({from}, {iterator = 'GE'}) do
        local score = row[SCORE]
        if score >= to then break end
        count, sum = count + 1, sum + score
    end
    return count, sum
end

local function find_top(highest)
    return touch_all(by_score:select({highest}, {iterator = 'LE', limit = 100}))
end

local function find_tagged(guild, lang)
    local rows = by_tag:select({guild_text(guild)})
    if lang == ANY_LANG then return touch_all(rows) end
    local wanted, count, sum = lang_texts[lang], 0, 0
    for at = 1, #rows do
        if rows[at][TAGS][2] == wanted then
            count, sum = count + 1, sum + rows[at][SCORE]
        end
    end
    return count, sum
end

-- A taken key, name or email is an error of box.
local function insert(row)
    return (pcall(players.insert, players, row))
end

-- ---- orders; what the answers must be ----

local function operations(for_million)
    return math.max(1, math.floor(for_million * math.min(1, record_count / 1e6) * share))
end

local function picks_of(count, limit, seed)
    local picks = ffi.new('uint32_t[?]', count)
    for k = 0, count - 1 do picks[k] = below(seeded(seed, k), limit) end
    return picks
end

local function shuffled(count, seed)
    local order = ffi.new('uint32_t[?]', count)
    for i = 0, count - 1 do order[i] = i end
    for i = count, 2, -1 do
        local other = below(seeded(seed, i), i)
        order[i - 1], order[other] = order[other], order[i - 1]
    end
    return order
end

local scores = ffi.new('double[?]', record_count)
local guilds = ffi.new('uint32_t[?]', record_count)
local golds = ffi.new('uint32_t[?]', record_count)
local gone = ffi.new('uint8_t[?]', record_count)
for i = 0, record_count - 1 do scores[i], guilds[i] = score_of(i, 0), guild_of(i, 0) end
local below_count = ffi.new('double[?]', record_count + 1)
local below_sum = ffi.new('double[?]', record_count + 1)

-- Sorts the copy anew, after writes.
local function expect()
    ffi.fill(below_count, ffi.sizeof(below_count))
    ffi.fill(below_sum, ffi.sizeof(below_sum))
    for i = 0, record_count - 1 do
        if gone[i] == 0 then
            below_count[scores[i] + 1] = below_count[scores[i] + 1] + 1
            below_sum[scores[i] + 1] = below_sum[scores[i] + 1] + scores[i]
        end
    end
    for place = 1, record_count do
        below_count[place] = below_count[place] + below_count[place - 1]
        below_sum[place] = below_sum[place] + below_sum[place - 1]
    end
end

local function wanted_between(from, to)
    to = math.min(to, record_count)
    return below_count[to] - below_count[from], below_sum[to] - below_sum[from]
end

local function wanted_top(highest)
    local count, sum = 0, 0
    for score = highest, 0, -1 do
        local take = math.min(below_count[score + 1] - below_count[score], 100 - count)
        count, sum = count + take, sum + take * score
        if count == 100 then break end
    end
    return count, sum
end

-- As the guilds were inserted: the queries come before all writes.
local function wanted_tagged(guild, lang)
    local count, sum = 0, 0
    for i = guild, record_count - 1, guild_count do
        if lang == ANY_LANG or mix(i) % 8 == lang then count, sum = count + 1, sum + scores[i] end
    end
    return count, sum
end

local function check(phase, count, sum, wanted_count, wanted_sum)
    if count ~= wanted_count or sum ~= wanted_sum then
        wrong(phase, '%d with scores of %d instead of %d with %d', count, sum, wanted_count,
              wanted_sum)
    end
end

-- After writes all documents and some queries must agree with the copy.
local function check_all(phase)
    local guild_sizes, guild_sums, present = {}, {}, 0
    for i = 0, record_count - 1 do
        local row = by_key:get(key_of(i))
        if (row == nil) ~= (gone[i] == 1) or (by_email:get(email_of(i)) == nil) ~= (row == nil) then
            wrong(phase, '%s is there: %s', key_of(i), tostring(row ~= nil))
        end
        if row ~= nil then
            if row[SCORE] ~= scores[i] or row[GOLD] ~= golds[i] or
               row[TAGS][1] ~= guild_text(guilds[i]) then
                wrong(phase, '%s has not what was written to it last', key_of(i))
            end
            present = present + 1
            guild_sizes[guilds[i]] = (guild_sizes[guilds[i]] or 0) + 1
            guild_sums[guilds[i]] = (guild_sums[guilds[i]] or 0) + scores[i]
        end
    end
    if players:len() ~= present then wrong(phase, 'the number of documents is another') end
    expect()
    for k = 0, 499 do
        local from = below(seeded(SEED.check, k), record_count)
        local guild = below(seeded(SEED.check, k), guild_count)
        local count, sum = find_between(from, from + 100)
        check(phase, count, sum, wanted_between(from, from + 100))
        count, sum = find_tagged(guild, ANY_LANG)
        check(phase, count, sum, guild_sizes[guild] or 0, guild_sums[guild] or 0)
    end
end

-- ---- phases ----

local function load(wanted)
    local order = shuffled(record_count, SEED.order)
    local before = clock.monotonic()
    local done = 0
    for k = 0, record_count - 1 do
        if insert(row_of(order[k], order[k], 0)) then done = done + 1 end
    end
    local seconds = clock.monotonic() - before
    if done ~= record_count or players:len() ~= record_count then
        wrong('insert', '%d were accepted, %d are there', done, players:len())
    end
    if wanted.insert then result('insert', record_count / seconds, 'docs/s') end
    if wanted.memory then
        collectgarbage()
        collectgarbage()
        local bytes = resident() - resident_before
        for i = 0, record_count - 1 do bytes = bytes - encoded_size(scores[i]) end
        result('memory', bytes / record_count, 'bytes')
    end
end

-- One loop a phase, made of its own text: a loop shared by all phases would be compiled for the
-- first one only.
local function loop_of(operation)
    return loadstring([[local operation = ...
        return function(picks, count)
            local all, sum = 0, 0
            for k = 0, count - 1 do
                local more, score = operation(picks[k], k)
                all, sum = all + more, sum + score
            end
            return all, sum
        end]])(operation)
end

local function timed(loop, picks, count)
    collectgarbage()
    local before = clock.monotonic()
    local all, sum = loop(picks, count)
    return all, sum, clock.monotonic() - before
end

local function wanted_one(i) return 1, scores[i] end
local function wanted_none() return 0, 0 end

-- Name, operations for a million, limit of the picks, operation, what it must give, unit.
local read_phases = {
    {'get', 2e6, record_count, function(i) return one(by_key:get(key_of(i))) end, wanted_one,
     'ops/s'},
    {'get_miss', 1e6, record_count, function(i) return one(by_key:get(absent_key_of(i))) end,
     wanted_none, 'ops/s'},
    {'unique', 1e6, record_count, function(i) return one(by_email:get(email_of(i))) end,
     wanted_one, 'ops/s'},
    {'range100', 2e4, record_count, function(i) return find_between(i, i + 100) end,
     function(i) return wanted_between(i, i + 100) end, 'queries/s'},
    {'top100', 2e4, record_count, find_top, wanted_top, 'queries/s'},
    {'tag100', 2e4, guild_count, function(guild) return find_tagged(guild, ANY_LANG) end,
     function(guild) return wanted_tagged(guild, ANY_LANG) end, 'queries/s'},
    {'tagand', 2e3, guild_count * 8,
     function(pick) return find_tagged((pick - pick % 8) / 8, pick % 8) end,
     function(pick) return wanted_tagged((pick - pick % 8) / 8, pick % 8) end, 'queries/s'},
}

local version = 1

local function update(i, k)
    players:replace(row_of(i, i, version + k))
    return 1, 0
end

local function mixed(i, k)
    if below(0ULL + version + k, 20) == 0 then return update(i, k) end
    local row = by_key:get(key_of(i))
    return (row ~= nil and row[SCORE] < record_count) and 1 or 0, 0
end

local function patch(i)
    return players:update(key_of(i), {{'+', GOLD, 1}}) ~= nil and 1 or 0, 0
end

local function dup(i, k)
    return insert(row_of(record_count + k, i, 0)) and 0 or 1, 0
end

local function delete(i)
    return by_key:delete(key_of(i)) ~= nil and 1 or 0, 0
end

local write_phases = {{'update', 1e6, update}, {'patch', 1e6, patch}, {'mixed95', 2e6, mixed},
                      {'dup', 2e5, dup}, {'delete', 5e5, delete}}

local function read_phase(name, for_million, limit, operation, wanted, unit)
    local count = operations(for_million)
    local picks = picks_of(count, limit, SEED[name])
    local all, sum, seconds = timed(loop_of(operation), picks, count)
    local wanted_all, wanted_sum = 0, 0
    for k = 0, count - 1 do
        local more, score = wanted(picks[k])
        wanted_all, wanted_sum = wanted_all + more, wanted_sum + score
    end
    check(name, all, sum, wanted_all, wanted_sum)
    result(name, count / seconds, unit)
end

-- Notes in the copy what a phase wrote.
local function copy_change(name, picks, count)
    for k = 0, count - 1 do
        local i = picks[k]
        if name == 'patch' then golds[i] = golds[i] + 1 end
        if name == 'delete' then gone[i] = 1 end
        if name == 'update' or name == 'mixed95' and below(0ULL + version + k, 20) == 0 then
            scores[i], guilds[i], golds[i] = score_of(i, version + k), guild_of(i, version + k), 0
        end
    end
    version = version + count
end

local function write_phase(name, for_million, operation)
    local count, picks = operations(for_million), nil
    if name == 'delete' then
        count = math.max(1, math.floor(math.floor(record_count / 2) * share))
        picks = shuffled(math.floor(record_count / 2), SEED.delete)
    else
        picks = picks_of(count, record_count, SEED[name])
    end
    local all, _, seconds = timed(loop_of(operation), picks, count)
    check(name, all, 0, count, 0)
    copy_change(name, picks, count)
    check_all(name)
    result(name, count / seconds, 'ops/s')
end

local wanted = {}
for name in phases:gmatch('[^,]+') do wanted[name] = true end
load(wanted)
expect()
for _, phase in ipairs(read_phases) do
    if wanted[phase[1]] then read_phase(unpack(phase)) end
end
for _, phase in ipairs(write_phases) do
    if wanted[phase[1]] then write_phase(unpack(phase)) end
end
os.exit(0)
