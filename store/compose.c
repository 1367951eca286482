/* store/compose.c - turning the actions on one key into one new version.
 *
 * Runs outside all locks on the version seen, and again under the shard's lock if that version has
 * changed meanwhile and the outcome depends on it. Changes nothing that others can see.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/buffer.h"
#include "base/report.h"
#include "document/check.h"
#include "document/patch.h"
#include "store/commit.h"
#include "store/expiry.h"

/* The document as it is between two actions. */
typedef struct state {
    merle_bytes doc;      /* data NULL: none */
    mrl_version *version; /* the prepared version that doc lies in, or NULL */
    uint32_t work;        /* which work buffer is free */
    uint32_t patches;     /* patches applied to base's document and nothing else */
    uint32_t writes;      /* other writing actions */
    int64_t expires_ns;   /* when doc ends */
    int is_told;          /* that was said of it; 0: its field says it, if the collection has one */
} state;

static merle_err refuse(merle_commit *commit, const mrl_touch *touch, const mrl_action *action,
                        merle_err err, const char *text) {
    mrl_store_fail(commit->member, err, touch->part->collection, touch->key, "%s", text);
    mrl_report_operation(commit->member->report, action->operation);
    return err;
}

/* Adds collection, key and operation to a report that a document function has filled. */
static merle_err complete(merle_commit *commit, const mrl_touch *touch, const mrl_action *action,
                          merle_err err) {
    merle_report *report = commit->member->report;
    if (err == MERLE_NO_MEMORY)
        return refuse(commit, touch, action, err, "no memory for the document");
    mrl_report_collection(report, touch->part->collection->name);
    mrl_report_key(report, touch->key);
    mrl_report_operation(report, action->operation);
    return err;
}

/* Whether nothing that follows changes the document's bytes. */
static int is_last(const mrl_action *action) {
    while (action->next != NULL && action->next->kind == MRL_ACTION_EXPIRE) action = action->next;
    return action->next == NULL;
}

/* There is no document any more: what comes after begins without a moment. */
static void drop_doc(state *s) {
    s->doc = merle_bytes_of(NULL, 0);
    s->version = NULL;
    s->expires_ns = 0;
    s->is_told = 0;
}

static merle_err apply_patch(merle_commit *commit, mrl_touch *touch, const mrl_action *action,
                             state *s) {
    if (s->doc.data == NULL)
        return refuse(commit, touch, action, MERLE_NOT_FOUND, "no document to patch");
    merle_buffer *out = &commit->work[s->work];
    out->size = 0;
    /* Only a patch alone is logged as its effect; with other writes it becomes a put of the
     * whole. */
    int keep_effect = s->writes + s->patches == 0 && is_last(action);
    merle_err err = mrl_patch_apply(s->doc.data, s->doc.size, action->ops, action->op_count, out,
                                    keep_effect ? &commit->effect : NULL, commit->member->report);
    if (err == MERLE_OK && keep_effect)
        err = mrl_buffer_append(&commit->effects, commit->effect.data, commit->effect.size);
    if (err != MERLE_OK) return complete(commit, touch, action, err);
    s->doc = merle_bytes_of(out->data, out->size);
    s->work ^= 1;
    s->version = NULL;
    if (keep_effect)
        s->patches++;
    else
        s->writes++;
    return MERLE_OK;
}

static merle_err apply_merge(merle_commit *commit, mrl_touch *touch, const mrl_action *action,
                             state *s) {
    merle_err err = MERLE_OK;
    if (commit->builder == NULL && (err = merle_builder_create(&commit->builder)) != MERLE_OK)
        return complete(commit, touch, action, err);
    merle_doc current = {s->doc.data, s->doc.size, 0, NULL};
    merle_bytes made = {NULL, 0};
    err = action->merge(action->context, s->doc.data != NULL ? &current : NULL, commit->builder,
                        &made);
    if (err == MERLE_NOT_FOUND) {
        if (s->doc.data != NULL) s->writes++;
        drop_doc(s);
        return MERLE_OK;
    }
    if (err != MERLE_OK)
        return refuse(commit, touch, action, err, "the merge function gave this error");
    err = mrl_check_document(made.data, made.size, commit->member->report);
    if (err != MERLE_OK) return complete(commit, touch, action, err);
    merle_buffer *out = &commit->work[s->work];
    out->size = 0;
    if ((err = mrl_buffer_append(out, made.data, made.size)) != MERLE_OK)
        return complete(commit, touch, action, err);
    s->doc = merle_bytes_of(out->data, out->size);
    s->work ^= 1;
    s->version = NULL;
    s->writes++;
    return MERLE_OK;
}

/* The moment of the document that s has from a version. If it is the one that the collection's
 * field gives then it moves with the field. */
static void take_moment(const mrl_touch *touch, const mrl_version *v, state *s) {
    s->expires_ns = mrl_version_expires(v);
    s->is_told = s->expires_ns != mrl_schema_moment(touch->part->schema, s->doc);
}

static merle_err apply(merle_commit *commit, mrl_touch *touch, const mrl_action *action,
                       const mrl_version *live, state *s) {
    switch (action->kind) {
    case MRL_ACTION_PUT:
        s->version = action->version;
        s->doc = merle_bytes_of(mrl_version_doc(action->version), action->version->doc_size);
        take_moment(touch, action->version, s);
        s->writes++;
        return MERLE_OK;
    case MRL_ACTION_REMOVE:
        if (s->doc.data == NULL)
            return refuse(commit, touch, action, MERLE_NOT_FOUND, "no document to remove");
        drop_doc(s);
        s->writes++;
        return MERLE_OK;
    case MRL_ACTION_PATCH:
        return apply_patch(commit, touch, action, s);
    case MRL_ACTION_MERGE:
        return apply_merge(commit, touch, action, s);
    case MRL_ACTION_NEED_ABSENT:
        if (s->doc.data == NULL) return MERLE_OK;
        return refuse(commit, touch, action, MERLE_EXISTS, "the key is taken");
    case MRL_ACTION_NEED_PRESENT:
        if (s->doc.data != NULL) return MERLE_OK;
        return refuse(commit, touch, action, MERLE_NOT_FOUND, "no document to replace");
    case MRL_ACTION_EXPECT:
        if (action->seq == (live == NULL ? 0 : mrl_version_seq(live))) return MERLE_OK;
        return refuse(commit, touch, action, MERLE_CONFLICT,
                      "the document is another version than expected");
    case MRL_ACTION_EXPIRE:
        if (s->doc.data == NULL)
            return refuse(commit, touch, action, MERLE_NOT_FOUND, "no document to end");
        s->expires_ns = action->expires_ns;
        s->is_told = 1;
        return MERLE_OK;
    case MRL_ACTION_END:
        if (touch->base_is_due) s->writes++;
        return MERLE_OK;
    }
    return MERLE_INVALID;
}

static void drop_version(merle_commit *commit, mrl_touch *touch) {
    mrl_version *version = touch->owns_version ? touch->version : NULL;
    if (version != NULL && touch->is_shown) {
        /* The application may still be looking at it: it lives until the commit ends. */
        version->before = commit->discarded;
        commit->discarded = version;
    } else if (version != NULL) {
        mrl_version_free(commit->member, version);
    }
    touch->version = NULL;
    touch->owns_version = 0;
}

/* Appends what the functions of dropped indexes make. What one of them refuses is not in it. */
static merle_err extract_for_section(merle_commit *commit, const mrl_portion *part, merle_bytes key,
                                     merle_bytes doc) {
    for (uint32_t i = 0; i < part->seen->index_count; i++) {
        const mrl_schema_index *index = &part->seen->indexes[i];
        if (index->extract == NULL || !mrl_index_is_ready(index)) continue;
        /* Of a number that old sections use nobody else has it. */
        if (i < part->schema->index_count && part->schema->indexes[i].stamp == index->stamp)
            continue;
        merle_err err = mrl_schema_extract(part->seen, index, key, doc, &commit->extracted, NULL);
        if (err == MERLE_NO_MEMORY) return err;
    }
    return MERLE_OK;
}

merle_err mrl_commit_check_doc(merle_commit *commit, const mrl_portion *part, merle_bytes key,
                               merle_bytes doc, uint32_t *out_offsets) {
    merle_report *report = commit->member->report;
    merle_err err =
        mrl_schema_check_doc(part->schema, key, doc, out_offsets, &commit->extracted, report);
    if (err != MERLE_OK || __builtin_expect(part->seen == NULL, 1)) return err;
    return extract_for_section(commit, part, key, doc);
}

/* When the document of an action ends. One that has ended already is none: what follows meets
 * none. */
static void settle_moment(const merle_commit *commit, const mrl_touch *touch, state *s) {
    if (s->doc.data == NULL) return;
    if (!s->is_told) s->expires_ns = mrl_schema_moment(touch->part->schema, s->doc);
    if (s->expires_ns == 0 || s->expires_ns > commit->judge_ns) return;
    drop_doc(s);
    s->writes++;
}

/* Makes the version of the composed document. */
static merle_err finish(merle_commit *commit, mrl_touch *touch, const mrl_version *live, state *s) {
    const mrl_schema *schema = touch->part->schema;
    static const uint8_t no_effect = 0x90; /* an empty array */
    uint32_t offsets[MRL_PATH_COUNT_MAX];
    merle_err err;
    touch->outcome = MRL_OUTCOME_NONE;
    /* A moment that is all that changes counts as a patch, whose effect is empty. */
    if (s->patches + s->writes == 0 && live != NULL && s->expires_ns != mrl_version_expires(live))
        s->patches++;
    if (s->patches + s->writes == 0) return MERLE_OK;
    if (s->doc.data == NULL) {
        /* Put and removed again: nothing. */
        if (live == NULL && !touch->base_is_due) return MERLE_OK;
        touch->version = mrl_version_create_tombstone(commit->member, touch->key);
        touch->owns_version = 1;
        if (touch->version == NULL)
            return refuse(commit, touch, touch->last, MERLE_NO_MEMORY, "no memory for the removal");
        touch->outcome = MRL_OUTCOME_REMOVE;
        return MERLE_OK;
    }
    if (s->version != NULL && mrl_version_expires(s->version) == s->expires_ns) {
        touch->version = s->version;
    } else {
        if (s->doc.size > MERLE_DOCUMENT_SIZE_MAX)
            return refuse(commit, touch, touch->last, MERLE_TOO_BIG,
                          "the document is above 16 MiB");
        err = mrl_commit_check_doc(commit, touch->part, touch->key, s->doc, offsets);
        if (err != MERLE_OK) return complete(commit, touch, touch->last, err);
        touch->version = mrl_version_create(commit->member, schema, touch->key, s->doc, offsets,
                                            &commit->extracted, s->expires_ns);
        touch->owns_version = 1;
        if (touch->version == NULL)
            return refuse(commit, touch, touch->last, MERLE_NO_MEMORY,
                          "no memory for the document");
    }
    touch->outcome = s->writes == 0 ? MRL_OUTCOME_PATCH : MRL_OUTCOME_PUT;
    if (touch->outcome == MRL_OUTCOME_PUT || commit->effects.size > touch->effect_at)
        return MERLE_OK;
    err = mrl_buffer_append(&commit->effects, &no_effect, 1);
    return err == MERLE_OK ? err : complete(commit, touch, touch->last, err);
}

merle_err mrl_touch_compose(merle_commit *commit, mrl_touch *touch, mrl_version *base) {
    const mrl_version *live = mrl_commit_live(commit, base);
    state s = {{NULL, 0}, NULL, 0, 0, 0, 0, 0};
    if (live != NULL) s.doc = merle_bytes_of(mrl_version_doc(live), live->doc_size);
    if (live != NULL) take_moment(touch, live, &s);
    drop_version(commit, touch);
    touch->base_is_due = live == NULL && mrl_version_live(base) != NULL;
    touch->is_composed = 0;
    touch->outcome = MRL_OUTCOME_NONE;
    touch->base = base;
    touch->effect_at = commit->effects.size;
    touch->effect_size = 0;
    for (const mrl_action *action = touch->first; action != NULL; action = action->next) {
        merle_err err = apply(commit, touch, action, live, &s);
        if (err != MERLE_OK) return err;
        settle_moment(commit, touch, &s);
    }
    merle_err err = finish(commit, touch, live, &s);
    if (err != MERLE_OK) return err;
    touch->effect_size = commit->effects.size - touch->effect_at;
    touch->is_composed = 1;
    return MERLE_OK;
}

const mrl_version *mrl_touch_after(const mrl_touch *touch) {
    if (touch->outcome == MRL_OUTCOME_NONE)
        return touch->base_is_due ? NULL : mrl_version_live(touch->base);
    return touch->outcome == MRL_OUTCOME_REMOVE ? NULL : touch->version;
}

merle_err mrl_touch_adopt(merle_commit *commit, mrl_touch *touch) {
    const mrl_schema *schema = touch->part->schema;
    uint32_t offsets[MRL_PATH_COUNT_MAX];
    drop_version(commit, touch);
    touch->is_composed = 0;
    touch->values = NULL;
    for (mrl_action *action = touch->first; action != NULL; action = action->next) {
        if (action->version == NULL) continue;
        merle_bytes doc =
            merle_bytes_of(mrl_version_doc(action->version), action->version->doc_size);
        merle_err err = mrl_schema_check_doc(schema, touch->key, doc, offsets, &commit->extracted,
                                             commit->member->report);
        if (err != MERLE_OK) return complete(commit, touch, action, err);
        mrl_version *again =
            mrl_version_create(commit->member, schema, touch->key, doc, offsets, &commit->extracted,
                               mrl_version_expires(action->version));
        if (again == NULL)
            return refuse(commit, touch, action, MERLE_NO_MEMORY, "no memory for the document");
        mrl_version_free(commit->member, action->version);
        action->version = again;
        action->value_hashes = NULL;
    }
    return MERLE_OK;
}
