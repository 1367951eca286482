/* tests/model/plain.c - documents and states of the plain model.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/model/plain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const plain_paths[PLAIN_FIELD_COUNT] = {"name", "guild", "rank",  "number", "list",
                                                    "text", "pos.x", "pos.y", "pad"};

static const merle_index indexes[] = {
    {"name", MERLE_UNIQUE, "name"}, {"seat", MERLE_UNIQUE, "guild, -rank"}, {NULL, 0, NULL}};
static const merle_rule rules[] = {{"text", MERLE_TYPE_STR, 0, PLAIN_TEXT_LIMIT},
                                   {"list", MERLE_TYPE_ARRAY, 0, PLAIN_LIST_LIMIT},
                                   {NULL, MERLE_TYPE_NONE, 0, 0}};
const merle_schema plain_schema = {sizeof(merle_schema), 1, 0, indexes, rules};

/* ---- values ---- */

static plain_value none(void) {
    plain_value value;
    memset(&value, 0, sizeof value);
    return value;
}

static plain_value integer(int64_t number) {
    plain_value value = none();
    value.type = MERLE_TYPE_INT;
    value.i = number;
    return value;
}

static plain_value floating(double number) {
    plain_value value = none();
    value.type = MERLE_TYPE_FLOAT;
    value.f = number;
    return value;
}

static plain_value text(merle_type type, const char *bytes) {
    plain_value value = none();
    value.type = type;
    value.size = (uint32_t)strlen(bytes);
    memcpy(value.text, bytes, value.size);
    return value;
}

plain_value plain_value_of(uint32_t number) {
    char name[8];
    plain_value value = none();
    if (number < 8) {
        (void)snprintf(name, sizeof name, "v%u", number);
        return text(MERLE_TYPE_STR, name);
    }
    switch (number) {
    case 8:
        return integer(0);
    case 9:
        return integer(1);
    case 10:
        return integer(-7);
    case 11:
        return floating(0.0); /* equal to the integer 0 */
    case 12:
        return floating(1.0);
    case 13:
        return floating(2.5);
    case 14:
        return integer(((int64_t)1 << 53) + 1);
    case 15:
        return floating(9007199254740992.0); /* just below the one before */
    case 16:
        return text(MERLE_TYPE_BIN, "v0"); /* not the string v0 */
    case 17:
        return text(MERLE_TYPE_STR, "");
    case 18:
        value.type = MERLE_TYPE_BOOL;
        value.i = 1;
        return value;
    default:
        value.type = MERLE_TYPE_NIL;
        return value;
    }
}

static int is_number(const plain_value *value) {
    return value->type == MERLE_TYPE_INT || value->type == MERLE_TYPE_FLOAT;
}

/* A long double holds each of our integers and doubles exactly. */
static long double number_of(const plain_value *value) {
    return value->type == MERLE_TYPE_INT ? (long double)value->i : (long double)value->f;
}

int plain_value_equal(const plain_value *a, const plain_value *b) {
    if (is_number(a) && is_number(b)) return number_of(a) == number_of(b);
    if (a->type != b->type) return 0;
    if (a->type == MERLE_TYPE_BOOL) return a->i == b->i;
    if (a->type == MERLE_TYPE_STR || a->type == MERLE_TYPE_BIN)
        return a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
    return 1;
}

merle_value plain_value_to_merle(const plain_value *value) {
    merle_bytes bytes = merle_bytes_of(value->text, value->size);
    switch (value->type) {
    case MERLE_TYPE_BOOL:
        return merle_value_bool((int)value->i);
    case MERLE_TYPE_INT:
        return merle_value_int(value->i);
    case MERLE_TYPE_FLOAT:
        return merle_value_float(value->f);
    case MERLE_TYPE_STR:
        return merle_value_bytes(bytes);
    case MERLE_TYPE_BIN:
        return merle_value_bin(bytes);
    default:
        return merle_value_nil();
    }
}

/* ---- documents ---- */

plain_doc *plain_doc_new(void) {
    plain_doc *doc = calloc(1, sizeof *doc);
    if (doc == NULL) abort();
    doc->holders = 1;
    return doc;
}

plain_doc *plain_doc_hold(plain_doc *doc) {
    if (doc != NULL) doc->holders++;
    return doc;
}

void plain_doc_release(plain_doc *doc) {
    if (doc != NULL && --doc->holders == 0) free(doc);
}

static plain_value random_indexed(mrl_random *random) {
    if (mrl_random_below(random, 60) == 0) {
        plain_value list = none(); /* no index can hold one */
        list.type = MERLE_TYPE_ARRAY;
        return list;
    }
    return plain_value_of((uint32_t)mrl_random_below(random, PLAIN_VALUE_COUNT));
}

static plain_value random_list(mrl_random *random) {
    plain_value list = none();
    list.type = MERLE_TYPE_ARRAY;
    list.size = (uint32_t)mrl_random_below(random, 5);
    for (uint32_t i = 0; i < list.size; i++) list.list[i] = (int8_t)mrl_random_below(random, 6);
    return list;
}

static plain_value random_text(mrl_random *random) {
    uint64_t size = mrl_random_below(random, 12);
    plain_value value = none();
    value.type = MERLE_TYPE_STR;
    value.size = (uint32_t)size;
    memset(value.text, 'a' + (int)mrl_random_below(random, 26), size);
    return value;
}

static plain_value random_number(mrl_random *random) {
    uint64_t dice = mrl_random_below(random, 12);
    if (dice == 0) return integer(INT64_MAX - 2);
    if (dice == 1) return integer(INT64_MIN + 2);
    if (dice < 4) return floating((double)mrl_random_below(random, 64) / 4.0);
    return integer((int64_t)mrl_random_below(random, 200) - 100);
}

plain_doc *plain_doc_random(mrl_random *random) {
    plain_doc *doc = plain_doc_new();
    uint64_t present = mrl_random_next(random);
    plain_value *fields = doc->fields;
    if (present & 3) fields[PLAIN_NAME] = random_indexed(random);
    if (present & 12) fields[PLAIN_GUILD] = random_indexed(random);
    if (present & 48) fields[PLAIN_RANK] = plain_value_of((uint32_t)mrl_random_below(random, 4));
    if (present & 64) fields[PLAIN_NUMBER] = random_number(random);
    if (present & 128) fields[PLAIN_LIST] = random_list(random);
    if (present & 256) fields[PLAIN_TEXT] = random_text(random);
    if (present & 512) fields[PLAIN_X] = integer((int64_t)mrl_random_below(random, 1000));
    if (present & 1024) fields[PLAIN_Y] = floating((double)mrl_random_below(random, 1000));
    if (present & 2048) {
        fields[PLAIN_PAD] = random_text(random);
        fields[PLAIN_PAD].type = MERLE_TYPE_BIN;
        fields[PLAIN_PAD].size = (uint32_t)mrl_random_below(random, 80);
        memset(fields[PLAIN_PAD].text, 'p', fields[PLAIN_PAD].size);
    }
    if (mrl_random_below(random, 40) == 0) {
        fields[PLAIN_TEXT] = random_text(random); /* longer than the rule allows */
        fields[PLAIN_TEXT].size = PLAIN_TEXT_LIMIT + 1;
        memset(fields[PLAIN_TEXT].text, 'z', PLAIN_TEXT_LIMIT + 1);
    }
    return doc;
}

merle_err plain_doc_check(const plain_doc *doc) {
    const plain_value *long_text = &doc->fields[PLAIN_TEXT], *list = &doc->fields[PLAIN_LIST];
    if (long_text->type != MERLE_TYPE_NONE &&
        (long_text->type != MERLE_TYPE_STR || long_text->size > PLAIN_TEXT_LIMIT))
        return MERLE_RULE;
    if (list->type != MERLE_TYPE_NONE &&
        (list->type != MERLE_TYPE_ARRAY || list->size > PLAIN_LIST_LIMIT))
        return MERLE_RULE;
    for (int field = PLAIN_NAME; field <= PLAIN_RANK; field++)
        if (doc->fields[field].type == MERLE_TYPE_ARRAY) return MERLE_TYPE;
    return MERLE_OK;
}

static void build_value(merle_builder *builder, const char *name, const plain_value *value) {
    if (value->type == MERLE_TYPE_NONE) return;
    if (value->type == MERLE_TYPE_ARRAY) {
        merle_build_array(builder, name);
        for (uint32_t i = 0; i < value->size; i++) merle_build_int(builder, NULL, value->list[i]);
        merle_build_close(builder);
        return;
    }
    merle_value given = plain_value_to_merle(value);
    merle_build_value(builder, name, &given);
}

merle_bytes plain_doc_build(const plain_doc *doc, merle_builder *builder) {
    merle_bytes bytes;
    merle_build_begin(builder);
    for (int field = 0; field < PLAIN_FIELD_COUNT; field++)
        if (field != PLAIN_X && field != PLAIN_Y)
            build_value(builder, plain_paths[field], &doc->fields[field]);
    if (doc->fields[PLAIN_X].type != MERLE_TYPE_NONE ||
        doc->fields[PLAIN_Y].type != MERLE_TYPE_NONE) {
        merle_build_map(builder, "pos");
        build_value(builder, "x", &doc->fields[PLAIN_X]);
        build_value(builder, "y", &doc->fields[PLAIN_Y]);
        merle_build_close(builder);
    }
    if (merle_build_end(builder, &bytes) != MERLE_OK) abort();
    return bytes;
}

static int parse_list(const merle_value *value, plain_value *out) {
    merle_walk walk;
    merle_value key, element;
    if (merle_walk_begin(value, &walk) != MERLE_OK) return -1;
    while (merle_walk_next(&walk, &key, &element)) {
        if (element.type != MERLE_TYPE_INT || out->size == PLAIN_LIST_MAX) return -1;
        if (element.number.i != (int8_t)element.number.i) return -1;
        out->list[out->size++] = (int8_t)element.number.i;
    }
    return 0;
}

static int parse_value(const merle_value *value, plain_value *out) {
    out->type = value->type;
    switch (value->type) {
    case MERLE_TYPE_NONE:
    case MERLE_TYPE_NIL:
        return 0;
    case MERLE_TYPE_BOOL:
    case MERLE_TYPE_INT:
        out->i = value->number.i;
        return 0;
    case MERLE_TYPE_FLOAT:
        out->f = value->number.f;
        return 0;
    case MERLE_TYPE_STR:
    case MERLE_TYPE_BIN:
        if (value->bytes.size > PLAIN_TEXT_MAX) return -1;
        out->size = (uint32_t)value->bytes.size;
        memcpy(out->text, value->bytes.data, value->bytes.size);
        return 0;
    case MERLE_TYPE_ARRAY:
        return parse_list(value, out);
    default:
        return -1;
    }
}

/* How many pairs stand at the top of the document. */
static int count_pairs(merle_doc doc) {
    merle_value whole;
    if (merle_value_msgpack(merle_bytes_of(doc.data, doc.size), &whole) != MERLE_OK) return -1;
    return whole.type == MERLE_TYPE_MAP ? (int)whole.count : -1;
}

int plain_doc_parse(merle_doc doc, plain_doc *out_doc) {
    int pairs = merle_doc_has(doc, "pos") ? 1 : 0;
    memset(out_doc, 0, sizeof *out_doc);
    for (int field = 0; field < PLAIN_FIELD_COUNT; field++) {
        merle_value value;
        merle_err err = merle_doc_value(doc, plain_paths[field], &value);
        if (err == MERLE_NOT_FOUND) continue;
        if (err != MERLE_OK || parse_value(&value, &out_doc->fields[field]) != 0) return -1;
        if (field != PLAIN_X && field != PLAIN_Y) pairs++;
    }
    return count_pairs(doc) == pairs ? 0 : -1;
}

static uint64_t hash_value(const plain_value *value, uint64_t hash) {
    uint64_t bits = 0;
    if (value->type == MERLE_TYPE_FLOAT) memcpy(&bits, &value->f, sizeof bits);
    hash = mrl_mix_u64(hash ^ (uint64_t)value->type) + (uint64_t)value->i;
    hash = mrl_mix_u64(hash ^ bits) + value->size;
    if (value->type == MERLE_TYPE_STR || value->type == MERLE_TYPE_BIN)
        hash ^= mrl_hash_bytes(value->text, value->size, 7);
    if (value->type == MERLE_TYPE_ARRAY)
        hash ^= mrl_hash_bytes(value->list, value->size * sizeof value->list[0], 9);
    return mrl_mix_u64(hash);
}

uint64_t plain_doc_hash(const plain_doc *doc) {
    uint64_t hash = 1;
    for (int field = 0; field < PLAIN_FIELD_COUNT; field++)
        hash = hash_value(&doc->fields[field], hash + (uint64_t)field);
    return hash | 1;
}

/* ---- keys ---- */

merle_bytes plain_key(uint32_t key) {
    static char names[PLAIN_KEY_COUNT][160];
    static size_t sizes[PLAIN_KEY_COUNT];
    if (sizes[key] == 0) {
        /* A third are eight bytes, some are long. */
        if (key % 3 == 0)
            sizes[key] = 8;
        else
            sizes[key] = (size_t)snprintf(names[key], sizeof names[key], "key-%0*u",
                                          key % 7 == 1 ? 150 : 2, key);
        if (key % 3 == 0) names[key][7] = (char)key;
    }
    return merle_bytes_of(names[key], sizes[key]);
}

uint32_t plain_key_find(merle_bytes key) {
    for (uint32_t i = 0; i < PLAIN_KEY_COUNT; i++) {
        merle_bytes own = plain_key(i);
        if (own.size == key.size && memcmp(own.data, key.data, key.size) == 0) return i;
    }
    return PLAIN_KEY_COUNT;
}

/* ---- patches ---- */

void plain_op_random_patch(mrl_random *random, plain_op *op) {
    static const merle_op_kind list_kinds[] = {MERLE_OP_APPEND, MERLE_OP_SET_ADD,
                                               MERLE_OP_SET_REMOVE};
    static const merle_op_kind number_kinds[] = {MERLE_OP_INC, MERLE_OP_MIN, MERLE_OP_MAX};
    plain_patch *patch = &op->patches[op->patch_count++];
    memset(patch, 0, sizeof *patch);
    patch->kind = MERLE_OP_SET;
    switch (mrl_random_below(random, 10)) {
    case 0:
        patch->field = PLAIN_NAME;
        patch->value = random_indexed(random);
        break;
    case 1:
        patch->field = PLAIN_GUILD;
        patch->value = random_indexed(random);
        break;
    case 2:
        patch->field = PLAIN_RANK;
        patch->value = plain_value_of(random->state & 3);
        break;
    case 3:
        patch->kind = MERLE_OP_UNSET;
        patch->field = (plain_field)mrl_random_below(random, PLAIN_FIELD_COUNT);
        break;
    case 4:
    case 5:
        patch->kind = number_kinds[mrl_random_below(random, 3)];
        patch->field = mrl_random_below(random, 20) == 0 ? PLAIN_TEXT : PLAIN_NUMBER;
        patch->value = random_number(random);
        break;
    case 6:
    case 7:
        patch->kind = list_kinds[mrl_random_below(random, 3)];
        patch->field = PLAIN_LIST;
        if (patch->kind != MERLE_OP_APPEND && mrl_random_below(random, 20) == 0)
            patch->field = PLAIN_NUMBER; /* nearly always another type */
        patch->value = integer((int64_t)mrl_random_below(random, 6));
        break;
    case 8:
        patch->kind = MERLE_OP_APPEND;
        patch->field = PLAIN_TEXT;
        patch->value = random_text(random);
        patch->value.size = patch->value.size > 4 ? 4 : patch->value.size;
        break;
    default:
        patch->field = mrl_random_below(random, 2) ? PLAIN_X : PLAIN_Y;
        patch->value = integer((int64_t)mrl_random_below(random, 1000));
    }
    /* A list cannot be given to merle_op without its bytes: a number stands for it. */
    if (patch->value.type == MERLE_TYPE_ARRAY) patch->value = integer(5);
}

void plain_op_clear(plain_op *op) {
    plain_doc_release(op->doc);
    op->doc = NULL;
}

static merle_err patch_number(const plain_patch *patch, plain_value *there) {
    const plain_value *given = &patch->value;
    if (there->type == MERLE_TYPE_NONE) {
        *there = *given;
        return MERLE_OK;
    }
    if (!is_number(there)) return MERLE_TYPE;
    if (patch->kind != MERLE_OP_INC) {
        int is_less = number_of(given) < number_of(there);
        int is_more = number_of(given) > number_of(there);
        if (patch->kind == MERLE_OP_MIN ? is_less : is_more) *there = *given;
        return MERLE_OK;
    }
    if (there->type == MERLE_TYPE_INT && given->type == MERLE_TYPE_INT) {
        int64_t sum;
        if (__builtin_add_overflow(there->i, given->i, &sum)) return MERLE_OVERFLOW;
        *there = integer(sum);
    } else {
        *there = floating((there->type == MERLE_TYPE_INT ? (double)there->i : there->f) +
                          (given->type == MERLE_TYPE_INT ? (double)given->i : given->f));
    }
    return MERLE_OK;
}

/* Whether the list has an element equal to the number. */
static int list_has(const plain_value *list, int64_t number) {
    for (uint32_t i = 0; i < list->size; i++)
        if (list->list[i] == number) return 1;
    return 0;
}

static void list_remove(plain_value *list, int64_t number) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < list->size; i++)
        if (list->list[i] != number) list->list[kept++] = list->list[i];
    for (uint32_t i = kept; i < list->size; i++) list->list[i] = 0;
    list->size = kept;
}

static merle_err patch_list(const plain_patch *patch, plain_value *there) {
    const plain_value *given = &patch->value;
    if (there->type == MERLE_TYPE_NONE) {
        if (patch->kind == MERLE_OP_SET_REMOVE) return MERLE_OK;
        /* Only integers are given where the field may be absent, but for the text, which then
         * becomes a list of one text: the rule refuses it. */
        if (given->type != MERLE_TYPE_INT) {
            *there = none();
            there->type = MERLE_TYPE_MAP; /* stands for "something that no rule allows" */
            return MERLE_OK;
        }
        *there = none();
        there->type = MERLE_TYPE_ARRAY;
    }
    if (there->type == MERLE_TYPE_STR && patch->kind == MERLE_OP_APPEND &&
        given->type == MERLE_TYPE_STR) {
        memcpy(there->text + there->size, given->text, given->size);
        there->size += given->size;
        return MERLE_OK;
    }
    if (there->type == MERLE_TYPE_MAP && patch->kind == MERLE_OP_APPEND) return MERLE_OK;
    if (there->type != MERLE_TYPE_ARRAY) return MERLE_TYPE;
    if (patch->kind == MERLE_OP_SET_REMOVE)
        list_remove(there, given->i);
    else if (patch->kind == MERLE_OP_APPEND || !list_has(there, given->i))
        there->list[there->size++] = (int8_t)given->i;
    return MERLE_OK;
}

static merle_err patch_one(const plain_patch *patch, plain_doc *doc) {
    plain_value *there = &doc->fields[patch->field];
    switch (patch->kind) {
    case MERLE_OP_SET:
        *there = patch->value;
        return MERLE_OK;
    case MERLE_OP_UNSET:
        *there = none();
        return MERLE_OK;
    case MERLE_OP_INC:
    case MERLE_OP_MIN:
    case MERLE_OP_MAX:
        return patch_number(patch, there);
    default:
        return patch_list(patch, there);
    }
}

/* ---- one key's operations ---- */

typedef struct key_run {
    plain_doc *doc; /* held; NULL: none */
    int is_written;
    merle_err err;
} key_run;

static void run_set(key_run *run, plain_doc *doc) {
    plain_doc_release(run->doc);
    run->doc = doc;
    run->is_written = 1;
}

static plain_doc *copy_doc(const plain_doc *doc) {
    plain_doc *copy = plain_doc_new();
    if (doc != NULL) memcpy(copy->fields, doc->fields, sizeof copy->fields);
    return copy;
}

static void run_patch(key_run *run, const plain_op *op) {
    plain_doc *doc = copy_doc(run->doc);
    for (uint32_t i = 0; i < op->patch_count && run->err == MERLE_OK; i++)
        run->err = patch_one(&op->patches[i], doc);
    run_set(run, doc);
}

static void run_merge_count(key_run *run) {
    plain_doc *doc = copy_doc(run->doc);
    plain_value *number = &doc->fields[PLAIN_NUMBER];
    int64_t before = number->type == MERLE_TYPE_INT && number->i < INT64_MAX ? number->i : 0;
    *number = integer(before + 1);
    run_set(run, doc);
}

static void run_op(key_run *run, const plain_op *op, const plain_cell *base) {
    int there = run->doc != NULL;
    switch (op->kind) {
    case PLAIN_INSERT:
        if (there) run->err = MERLE_EXISTS;
        break;
    case PLAIN_REPLACE:
    case PLAIN_REMOVE:
    case PLAIN_PATCH:
        if (!there) run->err = MERLE_NOT_FOUND;
        break;
    case PLAIN_MERGE_FAIL:
        run->err = MERLE_TYPE;
        break;
    case PLAIN_EXPECT:
        if (op->seq != (base->doc != NULL ? base->seq : 0)) run->err = MERLE_CONFLICT;
        return;
    default:
        break;
    }
    if (run->err != MERLE_OK) return;
    if (op->kind == PLAIN_PUT || op->kind == PLAIN_INSERT || op->kind == PLAIN_REPLACE)
        run_set(run, plain_doc_hold(op->doc));
    else if (op->kind == PLAIN_PATCH)
        run_patch(run, op);
    else if (op->kind == PLAIN_MERGE_COUNT)
        run_merge_count(run);
    else if (there) /* PLAIN_REMOVE, PLAIN_MERGE_REMOVE */
        run_set(run, NULL);
}

static int is_first(const plain_op *ops, uint32_t at) {
    for (uint32_t i = 0; i < at; i++)
        if (ops[i].collection == ops[at].collection && ops[i].key == ops[at].key) return 0;
    return 1;
}

static void apply_key(const plain_state *state, const plain_op *ops, uint32_t op_count,
                      uint32_t first, plain_result *result) {
    uint32_t collection = ops[first].collection, key = ops[first].key;
    const plain_cell *base = &state->cells[collection][key];
    key_run run = {plain_doc_hold(base->doc), 0, MERLE_OK};
    for (uint32_t i = first; i < op_count && run.err == MERLE_OK; i++)
        if (ops[i].collection == collection && ops[i].key == key) run_op(&run, &ops[i], base);
    if (run.err == MERLE_OK && run.is_written && run.doc != NULL)
        run.err = plain_doc_check(run.doc);
    if (run.err != MERLE_OK)
        result->errors |= 1u << run.err;
    else if (run.is_written && (run.doc != NULL || base->doc != NULL))
        result->changes[result->change_count++] =
            (plain_change){collection, key, plain_doc_hold(run.doc)};
    plain_doc_release(run.doc);
}

/* ---- unique values ---- */

static int same_part(const plain_value *a, const plain_value *b) {
    if (a->type == MERLE_TYPE_NONE || a->type == MERLE_TYPE_NIL) return 0;
    if (b->type == MERLE_TYPE_NONE || b->type == MERLE_TYPE_NIL) return 0;
    return plain_value_equal(a, b);
}

static int has_values(const plain_doc *doc, uint32_t index, const plain_value *values) {
    if (doc == NULL) return 0;
    if (index == 0) return same_part(&doc->fields[PLAIN_NAME], &values[0]);
    return same_part(&doc->fields[PLAIN_GUILD], &values[0]) &&
           same_part(&doc->fields[PLAIN_RANK], &values[1]);
}

uint32_t plain_find(const plain_state *state, uint32_t collection, uint32_t index,
                    const plain_value *values) {
    for (uint32_t key = 0; key < PLAIN_KEY_COUNT; key++)
        if (has_values(state->cells[collection][key].doc, index, values)) return key;
    return PLAIN_KEY_COUNT;
}

static const plain_doc *doc_after(const plain_state *state, const plain_result *result,
                                  uint32_t collection, uint32_t key) {
    for (uint32_t i = 0; i < result->change_count; i++)
        if (result->changes[i].collection == collection && result->changes[i].key == key)
            return result->changes[i].doc;
    return state->cells[collection][key].doc;
}

/* Whether another document has one of the document's unique values after the commit. */
static int is_taken(const plain_state *state, const plain_result *result,
                    const plain_change *change) {
    for (uint32_t key = 0; key < PLAIN_KEY_COUNT; key++) {
        if (key == change->key) continue;
        const plain_doc *other = doc_after(state, result, change->collection, key);
        if (has_values(other, 0, &change->doc->fields[PLAIN_NAME]) ||
            has_values(other, 1, &change->doc->fields[PLAIN_GUILD]))
            return 1;
    }
    return 0;
}

void plain_apply(const plain_state *state, const plain_op *ops, uint32_t op_count,
                 plain_result *result) {
    memset(result, 0, sizeof *result);
    for (uint32_t i = 0; i < op_count; i++) {
        if (state->life[ops[i].collection] != PLAIN_ALIVE)
            result->errors |= 1u << MERLE_GONE;
        else if (is_first(ops, i))
            apply_key(state, ops, op_count, i, result);
    }
    result->key_errors = result->errors;
    if (result->errors != 0) return;
    for (uint32_t i = 0; i < result->change_count; i++)
        if (result->changes[i].doc != NULL && is_taken(state, result, &result->changes[i]))
            result->errors |= 1u << MERLE_EXISTS;
}

void plain_result_clear(plain_result *result) {
    for (uint32_t i = 0; i < result->change_count; i++) plain_doc_release(result->changes[i].doc);
    result->change_count = 0;
}

/* ---- states ---- */

plain_state *plain_state_copy(const plain_state *state) {
    plain_state *copy = calloc(1, sizeof *copy);
    if (copy == NULL) abort();
    if (state == NULL) return copy;
    *copy = *state;
    for (int c = 0; c < PLAIN_COLLECTION_MAX; c++)
        for (int k = 0; k < PLAIN_KEY_COUNT; k++) (void)plain_doc_hold(copy->cells[c][k].doc);
    return copy;
}

void plain_clear_collection(plain_state *state, uint32_t collection) {
    for (int k = 0; k < PLAIN_KEY_COUNT; k++) {
        plain_doc_release(state->cells[collection][k].doc);
        state->cells[collection][k] = (plain_cell){NULL, 0};
    }
}

void plain_state_free(plain_state *state) {
    if (state == NULL) return;
    for (uint32_t c = 0; c < PLAIN_COLLECTION_MAX; c++) plain_clear_collection(state, c);
    free(state);
}

void plain_commit(plain_state *state, const plain_result *result, uint64_t seq) {
    for (uint32_t i = 0; i < result->change_count; i++) {
        const plain_change *change = &result->changes[i];
        plain_cell *cell = &state->cells[change->collection][change->key];
        plain_doc_release(cell->doc);
        cell->doc = plain_doc_hold(change->doc);
        cell->seq = change->doc != NULL ? seq : 0;
    }
}

uint64_t plain_count(const plain_state *state, uint32_t collection) {
    uint64_t count = 0;
    for (int k = 0; k < PLAIN_KEY_COUNT; k++) count += state->cells[collection][k].doc != NULL;
    return count;
}
