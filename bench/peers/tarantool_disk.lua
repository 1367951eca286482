#!/usr/bin/env tarantool
-- bench/peers/tarantool_disk.lua - the phases with a disk in them on Tarantool's memory engine.
--
--     tarantool tarantool_disk.lua N WHAT SECONDS FOLDER [STARTED_NS or KEPT]
--
-- What    sync: 2,000 inserts, one after the other. sync64: 200,000 and at least SECONDS, by 64
--         fibers. fill: all documents, then a snapshot. change: a tenth updated; then the process
--         kills itself. open, killed: opens what was filled or changed; the time is from STARTED_NS
--         to the first document. kept: exactly KEPT documents of a sync phase are there.
-- Owns    the space, with its files in FOLDER; wal_mode is fsync.
-- Sees    RESULT and WRONG lines on stdout as bench/peers/README.md says, and `KEPT N`.
-- Threads one, beside Tarantool's own that writes the log.
--
-- SPDX-License-Identifier: Apache-2.0
local ffi = require('ffi')
local clock = require('clock')
local fiber = require('fiber')
local fio = require('fio')
local record_count, what, seconds_least, folder, number =
    tonumber(arg[1]), arg[2], tonumber(arg[3]), arg[4], tonumber(arg[5] or 0)
local SEED = {change = 321, sample = 322, query = 323}
local FIBERS, SAMPLES, QUERIES, ROOM_FACTOR = 64, 10000, 300, 20
local SCORE, TAGS = 4, 5

local function wrong(phase, format, ...)
    io.stdout:write(('WRONG tarantool %s %s\n'):format(phase, format:format(...)))
    io.stdout:flush()
    os.exit(1)
end

local function say(format, ...)
    io.stdout:write(format:format(...) .. '\n')
    io.stdout:flush()
end

local function op_count_of(for_million)
    if record_count >= 1e6 then return for_million end
    return math.max(200, math.floor(for_million * record_count / 1e6))
end

-- Documents of the sync phases are made as of so many.
local sync_room = op_count_of(2e5) * ROOM_FACTOR + FIBERS
local is_sync = what == 'sync' or what == 'sync64' or what == 'kept'
local made_count = is_sync and sync_room or record_count
local records = dofile(fio.pathjoin(fio.dirname(arg[0]), 'tarantool_records.lua'))(made_count)
local row_of, key_of, below, seeded = records.row_of, records.key_of, records.below, records.seeded

box.cfg{wal_mode = 'fsync', memtx_dir = folder, wal_dir = folder, vinyl_dir = folder,
        memtx_memory = 8 * 1024 * 1024 * 1024, checkpoint_interval = 0, log_level = 2,
        checkpoint_wal_threshold = 1e18}

-- The first answered query, where something is opened.
local opened_ms = nil
if what == 'open' or what == 'killed' then
    local row = box.space.players.index.key:get(key_of(0))
    opened_ms = (clock.monotonic() * 1e9 - number) / 1e6
    if row == nil then wrong('reopen', 'the first document is gone') end
end

local players = box.space.players
if players == nil then
    players = box.schema.space.create('players', {format = {
        {'key', 'string'}, {'name', 'string'}, {'email', 'string'}, {'score', 'unsigned'},
        {'tags', 'array'}, {'bio', 'string'}, {'gold', 'unsigned'}}})
    players:create_index('key', {type = 'HASH', parts = {{1, 'string'}}})
    players:create_index('name', {type = 'HASH', parts = {{2, 'string'}}})
    players:create_index('email', {type = 'HASH', parts = {{3, 'string'}}})
    players:create_index('score', {type = 'TREE', unique = false, parts = {{4, 'unsigned'}}})
    players:create_index('tags', {type = 'TREE', unique = false,
                                  parts = {{5, 'string', path = '[*]'}}})
end
local by_key, by_email, by_score, by_tag =
    players.index.key, players.index.email, players.index.score, players.index.tags

-- ---- sync, sync64 ----

local function sync_run(phase, least, seconds, fiber_count)
    local next_one, done = 0, 0
    local finished = fiber.channel(fiber_count)
    local start = clock.monotonic()
    for _ = 1, fiber_count do
        fiber.create(function()
            while next_one < sync_room - FIBERS and
                  (next_one < least or clock.monotonic() - start < seconds) do
                local i = next_one
                next_one = next_one + 1
                players:insert(row_of(i, i, 0))
                done = done + 1
            end
            finished:put(true)
        end)
    end
    for _ = 1, fiber_count do finished:get() end
    local took = clock.monotonic() - start
    if done ~= next_one then wrong(phase, '%d of %d were accepted', done, next_one) end
    say('RESULT tarantool %s %d %.1f docs/s', phase, fiber_count, done / took)
    say('KEPT %d', done)
end

-- ---- fill, change ----

local function fill()
    for from = 0, record_count - 1, 1000 do
        box.begin()
        for i = from, math.min(from + 999, record_count - 1) do players:insert(row_of(i, i, 0)) end
        box.commit()
    end
    box.snapshot()
end

local function change_pick(k)
    return below(seeded(SEED.change, k), record_count)
end

-- One transaction an update; each fiber takes the next, which is sent on before anybody yields, so
-- they stay in order.
local function change()
    local count, next_one = math.floor(record_count / 10), 0
    local finished = fiber.channel(FIBERS)
    for _ = 1, FIBERS do
        fiber.create(function()
            while next_one < count do
                local k = next_one
                next_one = next_one + 1
                local i = change_pick(k)
                players:replace(row_of(i, i, 1 + k))
            end
            finished:put(true)
        end)
    end
    for _ = 1, FIBERS do finished:get() end
    pcall(ffi.cdef, 'int kill(int pid, int signal); int getpid(void);')
    ffi.C.kill(ffi.C.getpid(), 9)
end

-- ---- opened again ----

local function check_all(phase, present, is_changed)
    local versions = {}
    if is_changed then
        for k = 0, math.floor(record_count / 10) - 1 do versions[change_pick(k)] = 1 + k end
    end
    local scores, guild_counts, guild_sums = {}, {}, {}
    for i = 0, present - 1 do
        local version = versions[i] or 0
        local guild = records.guild_of(i, version)
        scores[i] = records.score_of(i, version)
        guild_counts[guild] = (guild_counts[guild] or 0) + 1
        guild_sums[guild] = (guild_sums[guild] or 0) + scores[i]
    end
    if players:len() ~= present then wrong(phase, '%d instead of %d', players:len(), present) end
    for _, index in ipairs{by_key, by_email, by_score} do
        if index:count() ~= present then wrong(phase, 'an index has %d', index:count()) end
    end
    if by_tag:len() ~= present * 2 then wrong(phase, 'there are %d tags', by_tag:len()) end
    for s = 0, SAMPLES - 1 do
        local i = below(seeded(SEED.sample, s), made_count)
        local row, same = by_key:get(key_of(i)), by_email:get(records.email_of(i))
        if (row ~= nil) ~= (i < present) or (same ~= nil) ~= (i < present) or
           row ~= nil and (row[SCORE] ~= scores[i] or same[SCORE] ~= scores[i]) then
            wrong(phase, '%s has not what was written to it last', key_of(i))
        end
    end
    for q = 0, QUERIES - 1 do
        local guild = below(seeded(SEED.query, q), records.guild_count)
        local rows, sum = by_tag:select({records.guild_text(guild)}), 0
        for at = 1, #rows do sum = sum + rows[at][SCORE] end
        if #rows ~= (guild_counts[guild] or 0) or sum ~= (guild_sums[guild] or 0) then
            wrong(phase, 'guild %d has %d with scores of %d', guild, #rows, sum)
        end
        local before = -1
        for _, row in by_score:pairs({below(seeded(SEED.query, q), made_count)},
                                     {iterator = 'GE'}):take(100) do
            local i = tonumber(row[1]:sub(2))
            if row[SCORE] < before or row[SCORE] ~= scores[i] then
                wrong(phase, 'a range has a document with another score')
            end
            before = row[SCORE]
        end
    end
end

if what == 'sync' then sync_run('sync', op_count_of(2000), 0, 1) end
if what == 'sync64' then sync_run('sync64', op_count_of(2e5), seconds_least, FIBERS) end
if what == 'kept' then check_all('sync', number, false) end
if what == 'fill' then fill() end
if what == 'change' then change() end
if opened_ms ~= nil then
    local phase = what == 'open' and 'reopen' or 'reopen_killed'
    check_all(phase, record_count, what == 'killed')
    say('RESULT tarantool %s 1 %.2f ms', phase, opened_ms)
end
os.exit(0)
