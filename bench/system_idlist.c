/* bench/system_idlist.c - the floor under tags: a bare list of numbers for each tag.
 *
 * What    guilds and languages, each an array of the numbers of its documents, ascending, found by
 *         the number in its name; a language has a bitmap besides. tag100 touches a list, documents
 *         prefetched 16 ahead; tagand keeps those of the guild's that the bitmap has.
 * Owns    lists and bitmaps; the documents are bare.h's.
 * Sees    no hash table over the tags, no versions, no removal: less than any store must do.
 * Threads reads: any, while nobody inserts. Writes: one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "bench/bare.h"
#include "bench/common/measure.h"

#define RUN_MAX 1024u
#define WORD_BITS 64u

typedef struct idlist {
    uint32_t *ids;
    uint32_t count;
    uint32_t count_max;
} idlist;

static idlist *guilds;
static uint32_t guild_count;
static uint64_t *langs[BENCH_LANG_COUNT];
static uint32_t lang_words;

static void idlist_open(const bench_setup *setup) {
    bench_bare_open();
    guild_count = bench_guild_count(setup->count);
    guilds = bench_alloc(guild_count * sizeof *guilds);
    lang_words = 0;
    for (uint32_t lang = 0; lang < BENCH_LANG_COUNT; lang++) langs[lang] = NULL;
}

static void idlist_close(void) {
    for (uint32_t guild = 0; guild < guild_count; guild++) free(guilds[guild].ids);
    for (uint32_t lang = 0; lang < BENCH_LANG_COUNT; lang++) free(langs[lang]);
    free(guilds);
    bench_bare_close();
}

static void *idlist_thread_begin(void) {
    return NULL;
}
static void idlist_thread_end(void *thread) {
    (void)thread;
}

static void list_add(idlist *list, uint32_t id) {
    if (list->count == list->count_max) {
        list->count_max = list->count_max == 0 ? 16 : list->count_max * 2;
        list->ids = realloc(list->ids, list->count_max * sizeof *list->ids);
        if (list->ids == NULL) bench_die("idlist: no memory");
    }
    list->ids[list->count++] = id;
}

static void langs_grow(void) {
    uint32_t wanted = lang_words == 0 ? 1024 : lang_words * 2;
    for (uint32_t lang = 0; lang < BENCH_LANG_COUNT; lang++) {
        langs[lang] = realloc(langs[lang], wanted * sizeof *langs[lang]);
        if (langs[lang] == NULL) bench_die("idlist: no memory");
        memset(langs[lang] + lang_words, 0, (wanted - lang_words) * sizeof *langs[lang]);
    }
    lang_words = wanted;
}

static uint32_t guild_of(const char *text) {
    uint32_t number = (uint32_t)strtoul(text + 6, NULL, 10);
    if (number >= guild_count) bench_die("idlist: there is no %s", text);
    return number;
}

static bench_answer idlist_insert(void *thread, const bench_record *record) {
    uint32_t id = bench_bare_add(record);
    uint32_t lang = (uint32_t)(record->lang[5] - '0');
    (void)thread;
    if (id / WORD_BITS >= lang_words) langs_grow();
    list_add(&guilds[guild_of(record->guild)], id);
    langs[lang][id / WORD_BITS] |= (uint64_t)1 << id % WORD_BITS;
    return BENCH_YES;
}

/* Guild and language stand behind the score. */
void bench_idlist_fill(void) {
    while (lang_words * WORD_BITS < bench_bare_count) langs_grow();
    for (uint32_t id = 0; id < bench_bare_count; id++) {
        size_t size;
        if (id + BENCH_BARE_AHEAD < bench_bare_count) bench_bare_ask(id + BENCH_BARE_AHEAD);
        const uint8_t *score = bench_bare_bytes(id) + BENCH_SCORE_OFFSET;
        (void)bench_score_read(bench_bare_bytes(id), &size);
        const char *guild = (const char *)score + size + 5 + 1 + 1;
        uint32_t number = 0;
        for (unsigned at = 6; at < BENCH_GUILD_SIZE; at++) {
            number = number * 10 + (uint32_t)(guild[at] - '0');
        }
        if (number >= guild_count) bench_die("idlist: there is no guild %u", number);
        uint32_t lang = (uint32_t)(guild[BENCH_GUILD_SIZE + BENCH_LANG_SIZE] - '0');
        list_add(&guilds[number], id);
        langs[lang][id / WORD_BITS] |= (uint64_t)1 << id % WORD_BITS;
    }
}

static void idlist_tag(void *thread, const char *guild, bench_sight *out_sight) {
    const idlist *list = &guilds[guild_of(guild)];
    (void)thread;
    bench_bare_touch(list->ids, list->count, out_sight);
}

static void idlist_tagand(void *thread, const char *guild, uint32_t lang, bench_sight *out_sight) {
    uint32_t both[RUN_MAX];
    uint32_t count = 0;
    const idlist *list = &guilds[guild_of(guild)];
    const uint64_t *bits = langs[lang];
    (void)thread;
    if (list->count > RUN_MAX) bench_die("idlist: more than %u have a guild", RUN_MAX);
    for (uint32_t i = 0; i < list->count; i++) __builtin_prefetch(bits + list->ids[i] / WORD_BITS);
    for (uint32_t i = 0; i < list->count; i++) {
        uint32_t id = list->ids[i];
        both[count] = id;
        count += bits[id / WORD_BITS] >> id % WORD_BITS & 1;
    }
    bench_bare_touch(both, count, out_sight);
}

static uint64_t idlist_count(void *thread) {
    uint64_t count = 0;
    (void)thread;
    for (uint32_t guild = 0; guild < guild_count; guild++) count += guilds[guild].count;
    return count;
}

const bench_system bench_idlist = {
    .name = "idlist",
    .about = "a bare list of numbers a guild, a bitmap a language; documents prefetched 16 ahead",
    .reader_max = 64,
    .writer_max = 1,
    .open = idlist_open,
    .close = idlist_close,
    .thread_begin = idlist_thread_begin,
    .thread_end = idlist_thread_end,
    .insert = idlist_insert,
    .tag = idlist_tag,
    .tagand = idlist_tagand,
    .count = idlist_count,
};
