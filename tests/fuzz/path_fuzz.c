/* tests/fuzz/path_fuzz.c - fuzzes the parsers of paths and of index parts.
 *
 * Aim     Parsing stays within the text and ends; what compiles finds in a document what the parsed
 *         steps and the public getter find; parts compile again from their own text.
 * Method  The input is a path; up to its first NUL also what an index is on.
 * Blind   Whether a text that was refused ought to have been.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "document/path.h"
#include "tests/fuzz/driver.h"

static const uint8_t doc[] =
    "\x83\xa1"
    "a\xde\x00\x03\xd9\x01"
    "b\x92\x0a\x81\xa1"
    "c\x14\xa3x.y\x1e\xa3q\"\\\x28\xa1-\x01\xa1,\x02";
#define DOC_SIZE (sizeof(doc) - 1)

static void try_path(const uint8_t *data, size_t size) {
    static mrl_steps steps;
    mrl_path *path;
    const char *reason = NULL;
    uint32_t offset, together;
    merle_err err = mrl_path_parse((const char *)data, size, &steps, &reason);
    MRL_ASSERT(mrl_path_compile((const char *)data, size, &path) == err);
    MRL_ASSERT((err == MERLE_OK) == (path != NULL) && (err == MERLE_OK) == (reason == NULL));
    if (err != MERLE_OK) return;
    const uint8_t *at = mrl_path_follow(doc, steps.step, steps.count);
    MRL_ASSERT(mrl_path_locate(path, doc, DOC_SIZE, &offset) == (at != NULL));
    MRL_ASSERT(offset == (at == NULL ? 0 : (uint32_t)(at - doc)));
    mrl_paths_locate(&path, 1, doc, DOC_SIZE, &together);
    MRL_ASSERT(together == offset);
    if (memchr(data, 0, size) == NULL) {
        merle_doc view = {doc, DOC_SIZE, 0, NULL};
        MRL_ASSERT(merle_doc_has(view, mrl_path_text(path)) == (at != NULL));
    }
    mrl_path_destroy(path);
}

/* The text of a path is a path. */
static void try_again(const mrl_path *made) {
    mrl_path *path;
    if (made == NULL) return;
    const char *text = mrl_path_text(made);
    MRL_ASSERT(mrl_path_compile(text, strlen(text), &path) == MERLE_OK);
    mrl_path_destroy(path);
}

static void try_parts(const uint8_t *data, size_t size) {
    char *on = malloc(size + 1);
    mrl_part parts[4];
    merle_report report;
    size_t count;
    if (on == NULL) return;
    if (size > 0) memcpy(on, data, size);
    on[size] = 0;
    merle_err err = mrl_parts_parse(on, parts, 4, &count, &report);
    MRL_ASSERT(err == MERLE_OK || (count == 0 && report.err == err));
    for (size_t i = 0; i < count; i++) {
        MRL_ASSERT((parts[i].path == NULL) == (parts[i].source == MRL_SOURCE_KEY));
        MRL_ASSERT(parts[i].element == NULL || parts[i].source == MRL_SOURCE_EACH);
        try_again(parts[i].path);
        try_again(parts[i].element);
    }
    mrl_parts_destroy(parts, count);
    free(on);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    try_path(data, size);
    try_parts(data, size);
    return 0;
}

void fuzz_corpus(fuzz_add_fn *add) {
    static const char *const texts[] = {"a.b[1].c", "a.\"x.y\"",     "a.\"q\\\"\\\\\"",
                                        "a.b[-2]",  "guild, -score", "\"-\", a.b[0] ,-\",\"",
                                        "a, key()", "-a[*].b, c",    "a.b[*]"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) add(texts[i], strlen(texts[i]));
}
