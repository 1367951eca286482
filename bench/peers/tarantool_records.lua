-- bench/peers/tarantool_records.lua - the documents of the workload, as bench/common/record.c makes
-- them.
--
-- What    gives a function: of the number of records, a table of what makes keys, texts and rows.
-- Threads any.
--
-- SPDX-License-Identifier: Apache-2.0
local ffi = require('ffi')
local bit = require('bit')

return function(record_count)
local guild_count = math.max(1, math.floor(record_count / 100))

local function mix(number)
    number = 0ULL + number + 0x9e3779b97f4a7c15ULL
    number = bit.bxor(number, bit.rshift(number, 30)) * 0xbf58476d1ce4e5b9ULL
    number = bit.bxor(number, bit.rshift(number, 27)) * 0x94d049bb133111ebULL
    return bit.bxor(number, bit.rshift(number, 31))
end

-- The upper 64 bits of mix * limit, by halves.
local function below(number, limit)
    local mixed = mix(number)
    local low = bit.band(mixed, 0xffffffffULL) * limit
    return tonumber(bit.rshift(bit.rshift(mixed, 32) * limit + bit.rshift(low, 32), 32))
end

local function seeded(seed, k)
    return bit.lshift(0ULL + seed, 40) + k
end

local function score_of(i, version)
    return tonumber(mix(bit.lshift(0ULL + version, 32) + i) % record_count)
end

local function guild_of(i, version)
    return (i + version) % guild_count
end

-- Writes number into a text's digits; far cheaper than string.format, which no trace compiles.
local function digits_writer(pattern, from, digit_count)
    local size = #pattern
    local buffer = ffi.new('char[?]', size + 1, pattern)
    return function(number)
        for at = from + digit_count - 1, from, -1 do
            local rest = number % 10
            buffer[at] = 48 + rest
            number = (number - rest) / 10
        end
        return ffi.string(buffer, size)
    end
end

local key_of = digits_writer('p00000000', 1, 8)
local name_of = digits_writer('player_00000000', 7, 8)
local email_of = digits_writer('u00000000@example.net', 1, 8)
local guild_text = digits_writer('guild:000000', 6, 6)
local absent_writer = digits_writer('p0000000a', 1, 7)
local absent = ffi.new('char[10]')
local function absent_key_of(i)
    ffi.copy(absent, absent_writer((i - i % 10) / 10), 9)
    absent[8] = 97 + i % 10
    return ffi.string(absent, 9)
end
local lang_texts = {}
for lang = 0, 7 do lang_texts[lang] = 'lang:' .. lang end
local bio = ('b'):rep(64)

local function row_of(i, email_from, version)
    local lang = lang_texts[tonumber(mix(i) % 8)]
    return {key_of(i), name_of(i), email_of(email_from), score_of(i, version),
            {guild_text(guild_of(i, version)), lang}, bio, 0}
end

return {mix = mix, below = below, seeded = seeded, score_of = score_of, guild_of = guild_of,
        key_of = key_of, absent_key_of = absent_key_of, email_of = email_of,
        guild_text = guild_text, lang_texts = lang_texts, row_of = row_of,
        guild_count = guild_count}
end
