/* database/operate.c - the verbs of an operator.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "database/operate.h"

#include <string.h>

#include "base/buffer.h"

typedef merle_err verb_fn(mrl_operate *o, merle_doc arguments, merle_builder *b);

/* ---- jobs ---- */

static merle_err begin(mrl_operate *o, mrl_job_kind kind, const char *path, merle_builder *b) {
    merle_err err = mrl_job_begin(o, kind, path);
    if (err == MERLE_OK) merle_build_uint(b, "job", o->number);
    return err;
}

static merle_err ask_backup(mrl_operate *o, merle_doc arguments, merle_builder *b) {
    char path[MRL_OPERATE_PATH_MAX];
    merle_bytes given = merle_doc_str(arguments, "path");
    if (given.data == NULL || given.size == 0 || given.size >= sizeof path) return MERLE_INVALID;
    memcpy(path, given.data, given.size);
    path[given.size] = 0;
    /* Where the owner happens to stand is of no concern to who asks. */
    if (path[0] != '/' || strlen(path) != given.size) return MERLE_INVALID;
    return begin(o, MRL_JOB_BACKUP, path, b);
}

static merle_err ask_checkpoint(mrl_operate *o, merle_doc arguments, merle_builder *b) {
    (void)arguments;
    return begin(o, MRL_JOB_CHECKPOINT, "", b);
}

static merle_err ask_check(mrl_operate *o, merle_doc arguments, merle_builder *b) {
    (void)arguments;
    return begin(o, MRL_JOB_CHECK, "", b);
}

static int is_last(const mrl_operate *o, merle_doc arguments) {
    return o->kind != MRL_JOB_NONE && merle_doc_uint(arguments, "job", 0) == o->number;
}

static merle_err ask_job(mrl_operate *o, merle_doc arguments, merle_builder *b) {
    if (!is_last(o, arguments)) return MERLE_NOT_FOUND;
    mrl_job_tell(o, b);
    return MERLE_OK;
}

static merle_err ask_cancel(mrl_operate *o, merle_doc arguments, merle_builder *b) {
    if (!is_last(o, arguments)) return MERLE_NOT_FOUND;
    mrl_job_cancel(o);
    merle_build_uint(b, "job", o->number);
    return MERLE_OK;
}

/* ---- all verbs ---- */

static const struct {
    const char *name;
    verb_fn *fn; /* NULL: as merle_describe */
} verbs[] = {
    {"info", NULL},       {"stats", NULL},  {"backup", ask_backup}, {"checkpoint", ask_checkpoint},
    {"check", ask_check}, {"job", ask_job}, {"cancel", ask_cancel},
};

static merle_err build(mrl_operate *o, verb_fn *fn, merle_doc arguments, merle_buffer *result) {
    merle_builder *b = NULL;
    merle_bytes document;
    merle_err err = merle_builder_create(&b);
    if (err != MERLE_OK) return err;
    merle_build_begin(b);
    err = fn(o, arguments, b);
    if (err == MERLE_OK) err = merle_build_end(b, &document);
    if (err == MERLE_OK) err = mrl_buffer_append(result, document.data, document.size);
    merle_builder_destroy(b);
    return err;
}

merle_err mrl_operate_ask(mrl_operate *o, merle_bytes verb, merle_bytes arguments,
                          merle_buffer *result) {
    merle_doc map;
    result->size = 0;
    if (merle_doc_check(arguments, NULL) != MERLE_OK || merle_doc_over(arguments, &map) != MERLE_OK)
        return MERLE_INVALID;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        const char *name = verbs[i].name;
        if (verb.size != strlen(name) || memcmp(verb.data, name, verb.size) != 0) continue;
        if (verbs[i].fn == NULL) return merle_describe(o->db, name, result);
        return build(o, verbs[i].fn, map, result);
    }
    return MERLE_UNSUPPORTED;
}
