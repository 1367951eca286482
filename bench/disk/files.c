/* bench/disk/files.c - the floor under an opening: reading files, and building bare tables.
 *
 * What    reads every file of a directory, but for those of the log, on two threads, a piece of
 *         1 MiB after the other into the same memory; then builds, from documents that are in
 *         memory, what the workload's five entries need at least: three bare ck_hs (key, name,
 *         email), each as large as it will be from the start, a bare B+tree and the lists of guilds
 *         and languages. Two threads, each takes the next of these when it is done with one.
 * Sees    files of the log are as large as they were made, whatever is in them; after a checkpoint
 *         nothing in them is needed. Making the documents themselves (an allocation and a copy
 *         each) is timed apart and is not in the sum: a store that keeps what it read where it read
 *         it need not do it.
 * Threads two.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <ck_hs.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/bare.h"
#include "bench/common/measure.h"
#include "bench/disk/disk.h"

#define PIECE_SIZE ((size_t)1 << 20)
#define FILE_MAX 4096u
#define WORKERS 2u
#define SAMPLE_COUNT 1000u
#define NAME_OFFSET (BENCH_KEY_SIZE + 1u + 5 + 1)
#define EMAIL_OFFSET (NAME_OFFSET + BENCH_NAME_SIZE + 6 + 1)

/* Does fn(context) on two threads at once; gives the seconds. */
static double both_run(void *(*fn)(void *), void *context) {
    pthread_t threads[WORKERS];
    uint64_t start_ns = bench_now_ns();
    for (unsigned t = 0; t < WORKERS; t++) {
        if (pthread_create(&threads[t], NULL, fn, context) != 0) bench_die("no thread");
    }
    for (unsigned t = 0; t < WORKERS; t++) pthread_join(threads[t], NULL);
    return (double)(bench_now_ns() - start_ns) / 1e9;
}

/* ---- reading ---- */

typedef struct reading {
    int files[FILE_MAX];
    uint64_t piece_ends[FILE_MAX]; /* of all files up to this one */
    unsigned file_count;
    uint64_t next;  /* atomic; the next piece */
    uint64_t bytes; /* atomic; read so far */
} reading;

static void file_add(reading *all, int directory, const char *name) {
    struct stat about;
    int file = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0 || fstat(file, &about) != 0) bench_die("files: %s: %s", name, strerror(errno));
    if (!S_ISREG(about.st_mode)) {
        close(file);
        return;
    }
    if (all->file_count == FILE_MAX) bench_die("files: more than %u", FILE_MAX);
    uint64_t pieces = ((uint64_t)about.st_size + PIECE_SIZE - 1) / PIECE_SIZE;
    if (all->file_count > 0) pieces += all->piece_ends[all->file_count - 1];
    all->files[all->file_count] = file;
    all->piece_ends[all->file_count++] = pieces;
}

static void files_open(reading *all, const disk_stage *disk) {
    const bench_disk *files = disk->system == NULL ? NULL : disk->system->disk;
    const char *prefix = files == NULL ? NULL : files->log_prefix;
    DIR *directory = opendir(disk->directory);
    struct dirent *entry;
    if (directory == NULL) bench_die("files: %s: %s", disk->directory, strerror(errno));
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.') continue;
        if (prefix != NULL && strncmp(entry->d_name, prefix, strlen(prefix)) == 0) continue;
        file_add(all, dirfd(directory), entry->d_name);
    }
    closedir(directory);
    if (all->file_count == 0) bench_die("files: there are none in %s", disk->directory);
}

static void *reading_main(void *context) {
    reading *all = context;
    uint8_t *room = malloc(PIECE_SIZE);
    if (room == NULL) bench_die("files: no memory");
    for (;;) {
        uint64_t piece = __atomic_fetch_add(&all->next, 1, __ATOMIC_RELAXED);
        unsigned f = 0;
        while (f < all->file_count && piece >= all->piece_ends[f]) f++;
        if (f == all->file_count) break;
        if (f > 0) piece -= all->piece_ends[f - 1];
        ssize_t size = pread(all->files[f], room, PIECE_SIZE, (off_t)(piece * PIECE_SIZE));
        if (size < 0) bench_die("files: read: %s", strerror(errno));
        __atomic_fetch_add(&all->bytes, (uint64_t)size, __ATOMIC_RELAXED);
    }
    free(room);
    return NULL;
}

/* Once so that they are in the page cache, then timed. */
static double reading_time(const disk_stage *disk, uint64_t *out_bytes) {
    reading *all = bench_alloc(sizeof *all);
    double seconds = 0;
    files_open(all, disk);
    for (unsigned turn = 0; turn < 2; turn++) {
        all->next = 0;
        all->bytes = 0;
        seconds = both_run(reading_main, all);
    }
    *out_bytes = all->bytes;
    for (unsigned f = 0; f < all->file_count; f++) close(all->files[f]);
    free(all);
    return seconds;
}

/* ---- documents ---- */

/* One behind the other, as a page would have them. */
typedef struct page_doc {
    uint32_t size; /* of key and document */
    uint8_t bytes[BENCH_KEY_SIZE + BENCH_ENCODED_SIZE_MAX];
} page_doc;

typedef struct making {
    const page_doc *from;
    bench_bare_doc **docs;
    uint32_t count;
    uint32_t next; /* atomic; the next run of documents */
} making;
#define MAKING_RUN 4096u

static void *making_main(void *context) {
    making *all = context;
    for (;;) {
        uint32_t i = __atomic_fetch_add(&all->next, MAKING_RUN, __ATOMIC_RELAXED);
        uint32_t end = all->count - i < MAKING_RUN ? all->count : i + MAKING_RUN;
        if (i >= all->count) return NULL;
        for (; i < end; i++) {
            bench_bare_doc *doc = malloc(sizeof *doc + all->from[i].size);
            if (doc == NULL) bench_die("files: no memory");
            memset(doc->head, 0, sizeof doc->head);
            memcpy(doc->bytes, all->from[i].bytes, all->from[i].size);
            all->docs[i] = doc;
        }
    }
}

/* Documents as inserted, in the order of a load. */
static double documents_make(const bench_stage *stage) {
    page_doc *pages = bench_alloc(stage->count * sizeof *pages);
    making all = {.from = pages, .count = stage->count};
    for (uint32_t k = 0; k < stage->count; k++) {
        bench_record record;
        bench_record_make(&record, stage->order[k], 0, stage->count);
        pages[k].size = (uint32_t)(BENCH_KEY_SIZE + record.size);
        memcpy(pages[k].bytes, record.key, BENCH_KEY_SIZE);
        memcpy(pages[k].bytes + BENCH_KEY_SIZE, record.bytes, record.size);
    }
    all.docs = bench_bare_reserve(stage->count);
    double seconds = both_run(making_main, &all);
    free(pages);
    return seconds;
}

/* ---- bare tables ---- */

static uint64_t text_hash(const uint8_t *text, size_t size) {
    uint64_t head;
    uint64_t tail;
    memcpy(&head, text, 8);
    memcpy(&tail, text + size - 8, 8);
    unsigned __int128 product =
        (unsigned __int128)(head ^ 0xa0761d6478bd642fu) * (tail ^ 0xe7037ed1a0b428dbu);
    uint64_t mixed = (uint64_t)product ^ (uint64_t)(product >> 64);
    product = (unsigned __int128)mixed * 0x8ebc6af09c88c6e3u;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The table's seed says where the text lies in a document, and how long it is. */
static unsigned long entry_hash(const void *entry, unsigned long seed) {
    const bench_bare_doc *doc = entry;
    return text_hash(doc->bytes + (seed >> 8), seed & 0xff);
}

static bool keys_equal(const void *a, const void *b) {
    const bench_bare_doc *left = a;
    const bench_bare_doc *right = b;
    return memcmp(left->bytes, right->bytes, BENCH_KEY_SIZE) == 0;
}
static bool names_equal(const void *a, const void *b) {
    const bench_bare_doc *left = a;
    const bench_bare_doc *right = b;
    return memcmp(left->bytes + NAME_OFFSET, right->bytes + NAME_OFFSET, BENCH_NAME_SIZE) == 0;
}
static bool emails_equal(const void *a, const void *b) {
    const bench_bare_doc *left = a;
    const bench_bare_doc *right = b;
    return memcmp(left->bytes + EMAIL_OFFSET, right->bytes + EMAIL_OFFSET, BENCH_EMAIL_SIZE) == 0;
}

static void *table_alloc(size_t size) {
    return malloc(size);
}
static void table_free(void *memory, size_t size, bool is_deferred) {
    (void)size;
    (void)is_deferred;
    free(memory);
}

#define TABLE_COUNT 3u
static ck_hs_t tables[TABLE_COUNT];
static const struct {
    unsigned offset;
    unsigned size;
    bool (*equal)(const void *, const void *);
} texts[TABLE_COUNT] = {{0, BENCH_KEY_SIZE, keys_equal},
                        {NAME_OFFSET, BENCH_NAME_SIZE, names_equal},
                        {EMAIL_OFFSET, BENCH_EMAIL_SIZE, emails_equal}};

static void table_fill(unsigned which) {
    static struct ck_malloc memory = {.malloc = table_alloc, .free = table_free};
    unsigned long seed = (unsigned long)texts[which].offset << 8 | texts[which].size;
    uint32_t count = bench_bare_count;
    if (!ck_hs_init(&tables[which], CK_HS_MODE_SPMC | CK_HS_MODE_OBJECT, entry_hash,
                    texts[which].equal, &memory, 2 * (unsigned long)count, seed)) {
        bench_die("files: no memory for a table");
    }
    for (uint32_t id = 0; id < count; id++) {
        if (id + BENCH_BARE_AHEAD < count) {
            const uint8_t *ahead = bench_bare_docs[id + BENCH_BARE_AHEAD]->bytes;
            __builtin_prefetch(ahead + texts[which].offset);
        }
        bench_bare_doc *doc = bench_bare_docs[id];
        if (!ck_hs_put_unique(&tables[which], entry_hash(doc, seed), doc)) {
            bench_die("files: a table is full");
        }
    }
}

static void *building_main(void *context) {
    unsigned *next = context;
    for (;;) {
        unsigned which = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED);
        if (which < TABLE_COUNT) table_fill(which);
        if (which == TABLE_COUNT) bench_btree_fill();
        if (which == TABLE_COUNT + 1) bench_idlist_fill();
        if (which > TABLE_COUNT + 1) return NULL;
    }
}

/* What was built answers right. */
static void building_check(bench_stage *stage) {
    const bench_system *const systems[] = {&bench_btree, &bench_idlist};
    for (unsigned which = 0; which < TABLE_COUNT; which++) {
        unsigned long seed = (unsigned long)texts[which].offset << 8 | texts[which].size;
        if (ck_hs_count(&tables[which]) != stage->count) bench_die("files: a table is wrong");
        for (uint32_t s = 0; s < SAMPLE_COUNT; s++) {
            bench_bare_doc *doc = bench_bare_docs[bench_below(s, stage->count)];
            if (ck_hs_get(&tables[which], entry_hash(doc, seed), doc) != doc) {
                bench_die("files: a table has not all documents");
            }
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        stage->system = systems[i];
        bench_count_check(stage, "reopen", stage->count);
        bench_queries_check(stage, "reopen");
    }
}

void disk_files_reopen(const disk_stage *disk) {
    bench_stage stage;
    uint64_t bytes = 0;
    unsigned next = 0;
    disk_stage_make(disk, disk->count, &stage);
    bench_setup setup = {.count = disk->count, .entries = disk->entries};
    double read_s = reading_time(disk, &bytes);
    bench_btree.open(&setup);
    bench_idlist.open(&setup);
    double documents_s = documents_make(&stage);
    double build_s = both_run(building_main, &next);
    building_check(&stage);
    bench_result("files", "reopen", 2, (read_s + build_s) * 1e3, "ms");
    bench_result("files", "reopen_read", 2, read_s * 1e3, "ms");
    bench_result("files", "reopen_build", 2, build_s * 1e3, "ms");
    bench_result("files", "reopen_documents", 2, documents_s * 1e3, "ms");
    bench_result("files", "reopen_bytes", 2, (double)bytes, "bytes");
}
