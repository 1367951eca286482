/* schema/schema_change.c - schemas that differ from another one in one index.
 *
 * Paths are only ever appended, and indexes keep their numbers: an index that goes leaves its
 * number free.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/report.h"
#include "schema/schema.h"

uint32_t mrl_schema_index_count(const mrl_schema *schema) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < schema->index_count; i++) count += schema->indexes[i].declared != 0;
    return count;
}

/* Paths and rules. 0: no memory. */
static int copy_fields(const mrl_schema *schema, mrl_schema *made) {
    for (; made->path_count < schema->path_count; made->path_count++) {
        if (!mrl_schema_grow_paths(made)) return 0;
        made->paths[made->path_count] = mrl_path_hold(schema->paths[made->path_count]);
    }
    for (; made->rule_count < schema->rule_count; made->rule_count++) {
        if (!mrl_schema_grow_rules(made)) return 0;
        made->rules[made->rule_count] = schema->rules[made->rule_count];
        (void)mrl_path_hold(made->rules[made->rule_count].path);
    }
    return 1;
}

/* All but the definition, with room for `room` indexes at least. NULL: no memory. */
static mrl_schema *copy_with(const mrl_schema *schema, uint32_t room) {
    mrl_schema *made = mrl_schema_alloc(room > schema->index_count ? room : schema->index_count);
    if (made == NULL) return NULL;
    atomic_init(&made->seq, UINT64_MAX);
    made->version = schema->version;
    made->memory_only = schema->memory_only;
    made->last_stamp = schema->last_stamp;
    made->expires_after_ns = schema->expires_after_ns;
    if (schema->expires_on != NULL) made->expires_on = mrl_path_hold(schema->expires_on);
    if (!copy_fields(schema, made)) {
        mrl_schema_release(made);
        return NULL;
    }
    for (uint32_t i = 0; i < schema->index_count; i++) {
        made->indexes[i] = schema->indexes[i];
        made->indexes[i].on = NULL;
        made->index_count++;
        for (uint32_t part = 0; part < schema->indexes[i].part_count; part++)
            if (schema->indexes[i].parts[part].element != NULL)
                (void)mrl_path_hold(schema->indexes[i].parts[part].element);
        if (schema->indexes[i].declared == 0) continue;
        if ((made->indexes[i].on = strdup(schema->indexes[i].on)) == NULL) {
            mrl_schema_release(made);
            return NULL;
        }
    }
    return made;
}

static mrl_schema *copy(const mrl_schema *schema) {
    return copy_with(schema, 0);
}

uint32_t mrl_schema_building_count(const mrl_schema *schema) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < schema->index_count; i++)
        count += schema->indexes[i].state == MERLE_INDEX_BUILDING;
    return count;
}

static merle_err copy_definition(const mrl_schema *from, mrl_schema *to) {
    return mrl_buffer_append(&to->definition, from->definition.data, from->definition.size);
}

merle_err mrl_schema_with(const mrl_schema *schema, const char *collection, uint32_t collection_id,
                          const merle_index *index, uint32_t busy, mrl_schema **out_schema,
                          uint32_t *out_number, merle_report *report) {
    uint32_t number = 0;
    *out_schema = NULL;
    *out_number = 0;
    while (number < schema->index_count &&
           (schema->indexes[number].declared != 0 || (busy >> number & 1) != 0))
        number++;
    merle_err err = MERLE_EXISTS;
    if (mrl_schema_find_index(schema, index->name) != NULL) {
        (void)mrl_report_fill(report, err, "schema: there is an index %s already", index->name);
        mrl_report_index(report, index->name);
        mrl_report_collection(report, collection);
        return err;
    }
    mrl_schema *made = copy_with(schema, number < MERLE_INDEX_COUNT_MAX ? number + 1 : 0);
    err = made == NULL ? MERLE_NO_MEMORY : mrl_schema_compile_index(made, number, index, report);
    if (err != MERLE_OK) goto fail;
    made->indexes[number].state = MERLE_INDEX_BUILDING;
    made->indexes[number].is_added = 1;
    if ((err = mrl_schema_define(made, collection, collection_id)) != MERLE_OK) goto fail;
    *out_schema = made;
    *out_number = number;
    return MERLE_OK;
fail:
    if (made != NULL) mrl_schema_release(made);
    if (err == MERLE_NO_MEMORY) mrl_report_fill(report, err, "schema: no memory for it");
    mrl_report_collection(report, collection);
    return err;
}

merle_err mrl_schema_without(const mrl_schema *schema, const char *collection,
                             uint32_t collection_id, uint32_t number, mrl_schema **out_schema) {
    *out_schema = NULL;
    mrl_schema *made = copy(schema);
    if (made == NULL) return MERLE_NO_MEMORY;
    mrl_schema_index_fini(&made->indexes[number]);
    memset(&made->indexes[number], 0, sizeof made->indexes[number]);
    made->indexes[number].number = number;
    merle_err err = mrl_schema_define(made, collection, collection_id);
    if (err != MERLE_OK) {
        mrl_schema_release(made);
        return err;
    }
    *out_schema = made;
    return MERLE_OK;
}

merle_err mrl_schema_in_state(const mrl_schema *schema, uint32_t number, merle_index_state state,
                              uint64_t ready_seq, mrl_schema **out_schema) {
    *out_schema = NULL;
    mrl_schema *made = copy(schema);
    if (made == NULL) return MERLE_NO_MEMORY;
    made->indexes[number].state = state;
    made->indexes[number].ready_seq = ready_seq;
    made->indexes[number].kind =
        state == MERLE_INDEX_FAILED ? (merle_index_kind)0 : made->indexes[number].declared;
    merle_err err = copy_definition(schema, made);
    if (err != MERLE_OK) {
        mrl_schema_release(made);
        return err;
    }
    *out_schema = made;
    return MERLE_OK;
}

merle_err mrl_schema_settled(mrl_schema *schema, mrl_schema **out_schema) {
    int is_settled = 1;
    *out_schema = NULL;
    for (uint32_t i = 0; i < schema->index_count; i++)
        is_settled &=
            schema->indexes[i].state == MERLE_INDEX_READY && schema->indexes[i].ready_seq == 0;
    if (is_settled) {
        *out_schema = mrl_schema_hold(schema);
        return MERLE_OK;
    }
    mrl_schema *made = copy(schema);
    if (made == NULL) return MERLE_NO_MEMORY;
    atomic_init(&made->seq, 0);
    for (uint32_t i = 0; i < made->index_count; i++) {
        made->indexes[i].kind = made->indexes[i].declared;
        made->indexes[i].state = MERLE_INDEX_READY;
        made->indexes[i].ready_seq = 0;
    }
    merle_err err = copy_definition(schema, made);
    if (err != MERLE_OK) {
        mrl_schema_release(made);
        return err;
    }
    *out_schema = made;
    return MERLE_OK;
}
