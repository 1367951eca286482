/* bench/bare.c - see bare.h. SPDX-License-Identifier: Apache-2.0 */
#include "bench/bare.h"

#include <stdlib.h>

#include "bench/common/measure.h"

bench_bare_doc **bench_bare_docs;
uint32_t bench_bare_count;
static uint32_t count_max;

void bench_bare_open(void) {
    bench_bare_docs = NULL;
    bench_bare_count = 0;
    count_max = 0;
}

void bench_bare_close(void) {
    for (uint32_t id = 0; id < bench_bare_count; id++) free(bench_bare_docs[id]);
    free(bench_bare_docs);
    bench_bare_open();
}

uint32_t bench_bare_add(const bench_record *record) {
    if (bench_bare_count == count_max) {
        count_max = count_max == 0 ? 1024 : count_max * 2;
        bench_bare_docs = realloc(bench_bare_docs, count_max * sizeof(bench_bare_doc *));
        if (bench_bare_docs == NULL) bench_die("bare: no memory");
    }
    bench_bare_doc *doc = malloc(sizeof *doc + BENCH_KEY_SIZE + record->size);
    if (doc == NULL) bench_die("bare: no memory for a document");
    memset(doc->head, 0, sizeof doc->head);
    memcpy(doc->bytes, record->key, BENCH_KEY_SIZE);
    memcpy(doc->bytes + BENCH_KEY_SIZE, record->bytes, record->size);
    bench_bare_docs[bench_bare_count] = doc;
    return bench_bare_count++;
}

bench_bare_doc **bench_bare_reserve(uint32_t count) {
    bench_bare_docs = bench_alloc(count * sizeof(bench_bare_doc *));
    bench_bare_count = count;
    count_max = count;
    return bench_bare_docs;
}
