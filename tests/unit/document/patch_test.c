/* tests/unit/document/patch_test.c
 *
 * Aim     Patches do what a slow, plain model does, with the same errors; their effect, applied to
 *         the same document, gives the same bytes; what no operation names keeps its bytes.
 * Method  Random documents in every encoding, random operations with small names and values, so
 *         that they meet often; the model works on trees that msgpack-c's unpacker read.
 * Blind   Failing allocation of the model itself; speed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/document/sample.h"

#include <msgpack.h>

#include "document/check.h"
#include "document/patch.h"
#include "document/scan.h"

static uint64_t test_seed;

/* ---- the model: trees ---- */

typedef enum node_kind {
    K_NIL,
    K_BOOL,
    K_INT,
    K_FLOAT,
    K_STR,
    K_BIN,
    K_EXT,
    K_TIME,
    K_ARRAY,
    K_MAP
} node_kind;

typedef struct node {
    node_kind kind;
    __int128 number; /* K_BOOL, K_INT; seconds */
    double real;
    uint32_t nanoseconds;
    int8_t ext_type;
    char *data; /* contents of K_STR, K_BIN, K_EXT */
    size_t size;
    struct node **keys; /* of a K_MAP */
    struct node **kids;
    size_t count;
} node;

static void *need(void *memory) {
    assert_non_null(memory);
    return memory;
}

static node *node_make(node_kind kind) {
    node *made = need(calloc(1, sizeof(node)));
    made->kind = kind;
    return made;
}

static void node_free(node *n) {
    if (n == NULL) return;
    for (size_t i = 0; i < n->count; i++) {
        if (n->keys != NULL) node_free(n->keys[i]);
        node_free(n->kids[i]);
    }
    free(n->keys);
    free(n->kids);
    free(n->data);
    free(n);
}

static node *node_bytes(node_kind kind, const void *data, size_t size) {
    node *made = node_make(kind);
    made->data = need(malloc(size + 1));
    if (size > 0) memcpy(made->data, data, size);
    made->size = size;
    return made;
}

static void node_add(node *n, node *key, node *kid) {
    n->kids = need(realloc(n->kids, (n->count + 1) * sizeof(node *)));
    if (n->kind == K_MAP) {
        n->keys = need(realloc(n->keys, (n->count + 1) * sizeof(node *)));
        n->keys[n->count] = key;
    }
    n->kids[n->count++] = kid;
}

static void node_drop(node *n, size_t index) {
    node_free(n->kids[index]);
    if (n->kind == K_MAP) node_free(n->keys[index]);
    n->count--;
    for (size_t i = index; i < n->count; i++) {
        n->kids[i] = n->kids[i + 1];
        if (n->kind == K_MAP) n->keys[i] = n->keys[i + 1];
    }
}

static uint64_t big(const char *data, size_t size) {
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++) number = number << 8 | (uint8_t)data[i];
    return number;
}

static node *node_ext(int8_t type, const char *data, size_t size) {
    uint64_t nanoseconds = 0;
    int64_t seconds = 0;
    if (size == 4) seconds = (int64_t)big(data, 4);
    if (size == 8) {
        nanoseconds = big(data, 8) >> 34;
        seconds = (int64_t)(big(data, 8) & 0x3ffffffff);
    }
    if (size == 12) {
        nanoseconds = big(data, 4);
        seconds = (int64_t)big(data + 4, 8);
    }
    if (type == -1 && (size == 4 || size == 8 || size == 12) && nanoseconds < 1000000000) {
        node *time = node_make(K_TIME);
        time->number = seconds;
        time->nanoseconds = (uint32_t)nanoseconds;
        return time;
    }
    node *made = node_bytes(K_EXT, data, size);
    made->ext_type = type;
    return made;
}

static node *node_of(const msgpack_object *object) {
    node *made;
    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        return node_make(K_NIL);
    case MSGPACK_OBJECT_BOOLEAN:
        made = node_make(K_BOOL);
        made->number = object->via.boolean;
        return made;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        made = node_make(K_INT);
        made->number = object->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? (__int128)object->via.u64
                                                                       : (__int128)object->via.i64;
        return made;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        made = node_make(K_FLOAT);
        made->real = object->via.f64;
        return made;
    case MSGPACK_OBJECT_STR:
        return node_bytes(K_STR, object->via.str.ptr, object->via.str.size);
    case MSGPACK_OBJECT_BIN:
        return node_bytes(K_BIN, object->via.bin.ptr, object->via.bin.size);
    case MSGPACK_OBJECT_EXT:
        return node_ext(object->via.ext.type, object->via.ext.ptr, object->via.ext.size);
    case MSGPACK_OBJECT_ARRAY:
        made = node_make(K_ARRAY);
        for (uint32_t i = 0; i < object->via.array.size; i++)
            node_add(made, NULL, node_of(&object->via.array.ptr[i]));
        return made;
    default:
        made = node_make(K_MAP);
        for (uint32_t i = 0; i < object->via.map.size; i++)
            node_add(made, node_of(&object->via.map.ptr[i].key),
                     node_of(&object->via.map.ptr[i].val));
        return made;
    }
}

static node *node_read(merle_bytes bytes) {
    msgpack_unpacked unpacked;
    size_t offset = 0;
    msgpack_unpacked_init(&unpacked);
    assert_int_equal(msgpack_unpack_next(&unpacked, bytes.data, bytes.size, &offset),
                     MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(offset, bytes.size);
    node *made = node_of(&unpacked.data);
    msgpack_unpacked_destroy(&unpacked);
    return made;
}

static long double value_of(const node *n) {
    return n->kind == K_INT ? (long double)n->number : (long double)n->real;
}

/* -1, 0, 1; NaN is below every number and equal to itself. */
static int order_of(const node *left, const node *right) {
    long double one = value_of(left), other = value_of(right);
    if (one != one || other != other) return (other != other) - (one != one);
    return (one > other) - (one < other);
}

static int is_number(const node *n) {
    return n->kind == K_INT || n->kind == K_FLOAT;
}

/* exactly: 5 and 5.0 differ, as do 0.0 and -0.0. */
static int node_same(const node *left, const node *right, int exactly) {
    if (is_number(left) && is_number(right) && !exactly) return order_of(left, right) == 0;
    if (left->kind != right->kind || left->count != right->count) return 0;
    if (left->kind == K_FLOAT)
        return (left->real != left->real && right->real != right->real) ||
               memcmp(&left->real, &right->real, sizeof(left->real)) == 0;
    if (left->number != right->number || left->nanoseconds != right->nanoseconds) return 0;
    if (left->ext_type != right->ext_type || left->size != right->size) return 0;
    if (left->size > 0 && memcmp(left->data, right->data, left->size) != 0) return 0;
    for (size_t i = 0; i < left->count; i++) {
        if (left->kind == K_MAP && !node_same(left->keys[i], right->keys[i], exactly)) return 0;
        if (!node_same(left->kids[i], right->kids[i], exactly)) return 0;
    }
    return 1;
}

/* ---- the model: operations ---- */

typedef struct step {
    char name; /* 0: an index */
    int index;
} step;

typedef struct plan {
    merle_op op;
    char path[64];
    step steps[4];
    unsigned step_count;
    uint8_t bytes[8];
    merle_buffer raw;
} plan;

static int find_kid(const node *parent, step s, size_t *out_index) {
    if (s.name != 0) {
        if (parent->kind != K_MAP) return 0;
        for (*out_index = 0; *out_index < parent->count; ++*out_index) {
            const node *key = parent->keys[*out_index];
            if (key->kind == K_STR && key->size == 1 && key->data[0] == s.name) return 1;
        }
        return 0;
    }
    int64_t index = s.index < 0 ? s.index + (int64_t)parent->count : s.index;
    *out_index = (size_t)index;
    return parent->kind == K_ARRAY && index >= 0 && index < (int64_t)parent->count;
}

static node *value_node(const merle_value *value) {
    node *made;
    switch (value->type) {
    case MERLE_TYPE_NIL:
        return node_make(K_NIL);
    case MERLE_TYPE_BOOL:
        made = node_make(K_BOOL);
        break;
    case MERLE_TYPE_INT:
        made = node_make(K_INT);
        break;
    case MERLE_TYPE_TIME:
        made = node_make(K_TIME);
        made->nanoseconds = value->count;
        break;
    case MERLE_TYPE_UINT:
        made = node_make(K_INT);
        made->number = value->number.u;
        return made;
    case MERLE_TYPE_FLOAT:
        made = node_make(K_FLOAT);
        made->real = value->number.f;
        return made;
    case MERLE_TYPE_STR:
        return node_bytes(K_STR, value->bytes.data, value->bytes.size);
    case MERLE_TYPE_BIN:
        return node_bytes(K_BIN, value->bytes.data, value->bytes.size);
    case MERLE_TYPE_EXT:
        return node_ext(value->ext_type, value->bytes.data, value->bytes.size);
    default:
        return node_read(value->bytes);
    }
    made->number = value->number.i;
    return made;
}

/* Puts a value where the steps lead, with the maps between. */
static merle_err model_put(node *at, const plan *p, node *value) {
    for (unsigned i = 0; i < p->step_count; i++) {
        size_t index;
        node_kind wanted = p->steps[i].name != 0 ? K_MAP : K_ARRAY;
        int is_last = i + 1 == p->step_count;
        if (at->kind != wanted) {
            node_free(value);
            return MERLE_TYPE;
        }
        if (!find_kid(at, p->steps[i], &index)) {
            /* From here on only names can be made. */
            for (unsigned j = i; j < p->step_count; j++) {
                if (p->steps[j].name != 0) continue;
                node_free(value);
                return MERLE_NOT_FOUND;
            }
            node_add(at, node_bytes(K_STR, &p->steps[i].name, 1),
                     is_last ? value : node_make(K_MAP));
            index = at->count - 1;
        } else if (is_last) {
            node_free(at->kids[index]);
            at->kids[index] = value;
        }
        at = at->kids[index];
    }
    return MERLE_OK;
}

static node *model_find(node *at, const plan *p, node **out_parent, size_t *out_index) {
    for (unsigned i = 0; i < p->step_count; i++) {
        if (!find_kid(at, p->steps[i], out_index)) return NULL;
        *out_parent = at;
        at = at->kids[*out_index];
    }
    return at;
}

static merle_err model_inc(node *there, const merle_value *delta) {
    node *add = value_node(delta);
    merle_err err = MERLE_OK;
    if (!is_number(there)) {
        err = MERLE_TYPE;
    } else if (there->kind == K_FLOAT || add->kind == K_FLOAT) {
        double one = there->kind == K_FLOAT ? there->real : (double)there->number;
        double other = add->kind == K_FLOAT ? add->real : (double)add->number;
        there->kind = K_FLOAT;
        there->number = 0;
        there->real = one + other;
    } else {
        __int128 sum = there->number + add->number;
        int unsign = there->number > INT64_MAX || add->number > INT64_MAX;
        if (sum < INT64_MIN || sum > (unsign ? (__int128)UINT64_MAX : (__int128)INT64_MAX))
            err = MERLE_OVERFLOW;
        else
            there->number = sum;
    }
    node_free(add);
    return err;
}

static merle_err model_append(node *there, const plan *p) {
    node *value = value_node(&p->op.value);
    if (there->kind == K_ARRAY) {
        for (size_t i = 0; i < there->count && p->op.kind == MERLE_OP_SET_ADD; i++) {
            if (!node_same(there->kids[i], value, 0)) continue;
            node_free(value);
            return MERLE_OK;
        }
        node_add(there, NULL, value);
        return MERLE_OK;
    }
    merle_err err = MERLE_TYPE;
    if (p->op.kind == MERLE_OP_APPEND && there->kind == K_STR && value->kind == K_STR) {
        there->data = need(realloc(there->data, there->size + value->size + 1));
        if (value->size > 0) memcpy(there->data + there->size, value->data, value->size);
        there->size += value->size;
        err = MERLE_OK;
    }
    node_free(value);
    return err;
}

static merle_err model_remove(node *there, const plan *p) {
    if (there->kind != K_ARRAY) return MERLE_TYPE;
    node *value = value_node(&p->op.value);
    for (size_t i = there->count; i-- > 0;)
        if (node_same(there->kids[i], value, 0)) node_drop(there, i);
    node_free(value);
    return MERLE_OK;
}

static merle_err model_extreme(node *root, node *there, const plan *p) {
    if (!is_number(there)) return MERLE_TYPE;
    node *value = value_node(&p->op.value);
    int order = order_of(value, there);
    if (p->op.kind == MERLE_OP_MIN ? order < 0 : order > 0) return model_put(root, p, value);
    node_free(value);
    return MERLE_OK;
}

static merle_err model_apply(node *root, const plan *p) {
    node *parent = NULL;
    size_t index = 0;
    node *there = model_find(root, p, &parent, &index);
    merle_op_kind kind = p->op.kind;
    if (kind == MERLE_OP_UNSET || kind == MERLE_OP_SET_REMOVE) {
        if (there == NULL) return MERLE_OK;
        if (kind == MERLE_OP_SET_REMOVE) return model_remove(there, p);
        node_drop(parent, index);
        return MERLE_OK;
    }
    if (there == NULL && (kind == MERLE_OP_APPEND || kind == MERLE_OP_SET_ADD)) {
        node *array = node_make(K_ARRAY);
        node_add(array, NULL, value_node(&p->op.value));
        return model_put(root, p, array);
    }
    if (there == NULL || kind == MERLE_OP_SET) return model_put(root, p, value_node(&p->op.value));
    if (kind == MERLE_OP_INC) return model_inc(there, &p->op.value);
    if (kind == MERLE_OP_MIN || kind == MERLE_OP_MAX) return model_extreme(root, there, p);
    return model_append(there, p);
}

/* ---- random operations ---- */

static merle_value random_number(mrl_random *random) {
    static const double floats[] = {0.5, 5.0, -1.0, 1e300};
    if (mrl_random_below(random, 4) == 0)
        return merle_value_float(floats[mrl_random_below(random, 4)]);
    if (mrl_random_below(random, 4) == 0) return merle_value_uint(mrl_random_next(random));
    return merle_value_int(sample_integer(random));
}

static merle_value random_value(mrl_random *random, plan *p) {
    merle_value value;
    switch (mrl_random_below(random, 9)) {
    case 0:
        return merle_value_nil();
    case 1:
        return merle_value_bool((int)mrl_random_below(random, 2));
    case 2:
        return merle_value_str("eu");
    case 3:
        return merle_value_str("thirty-two bytes are one too many");
    case 4:
    case 5:
        return random_number(random);
    case 6:
        return merle_value_time(sample_integer(random), (uint32_t)mrl_random_below(random, 9));
    default:
        p->raw.size = 0;
        sample_value(&p->raw, random, 2);
        assert_int_equal(merle_value_msgpack(merle_bytes_of(p->raw.data, p->raw.size), &value),
                         MERLE_OK);
        return value;
    }
}

static void random_path(mrl_random *random, plan *p) {
    size_t size = 0;
    p->step_count = 1 + (unsigned)mrl_random_below(random, 3);
    for (unsigned i = 0; i < p->step_count; i++) {
        step *s = &p->steps[i];
        s->name =
            i == 0 || mrl_random_below(random, 2) ? (char)('a' + mrl_random_below(random, 8)) : 0;
        s->index = (int)mrl_random_below(random, 7) - 3;
        if (s->name != 0 && mrl_random_below(random, 4) == 0)
            size += (size_t)sprintf(p->path + size, "%s\"%c\"", i > 0 ? "." : "", s->name);
        else if (s->name != 0)
            size += (size_t)sprintf(p->path + size, "%s%c", i > 0 ? "." : "", s->name);
        else
            size += (size_t)sprintf(p->path + size, "[%d]", s->index);
    }
}

static void random_plan(mrl_random *random, plan *p) {
    random_path(random, p);
    p->op.path = p->path;
    p->op.kind = (merle_op_kind)(1 + mrl_random_below(random, 8));
    int number =
        p->op.kind == MERLE_OP_INC || p->op.kind == MERLE_OP_MIN || p->op.kind == MERLE_OP_MAX;
    p->op.value = number ? random_number(random) : random_value(random, p);
}

/* ---- properties ---- */

/* Each pair of the top level that no operation names stands in the result byte for byte. */
static void untouched_pairs_are_unchanged(merle_bytes before, const merle_buffer *after,
                                          const plan *plans, size_t plan_count) {
    const uint8_t *at, *first;
    uint32_t count, after_count;
    mrl_scan_container(before.data, &at, &count);
    mrl_scan_container(after->data, &first, &after_count);
    for (; count > 0; count--) {
        const uint8_t *key = at, *text;
        uint32_t size;
        int named = 0;
        at = mrl_scan_skip(mrl_scan_skip(at));
        assert_true(mrl_scan_str(key, &text, &size));
        for (size_t i = 0; i < plan_count; i++) named |= plans[i].steps[0].name == (char)*text;
        if (named) continue;
        const uint8_t *value = mrl_scan_find(first, after_count, text, size);
        size_t key_size = (size_t)(mrl_scan_skip(key) - key);
        assert_non_null(value);
        assert_memory_equal(value - key_size, key, at - key);
    }
}

static void replay_gives_the_same_bytes(merle_bytes doc, const merle_buffer *patched,
                                        const merle_buffer *effect) {
    merle_buffer replayed = {NULL, 0, 0};
    merle_report report;
    assert_int_equal(
        mrl_effect_apply(doc.data, doc.size, merle_bytes_of(effect->data, effect->size), &replayed,
                         &report),
        MERLE_OK);
    assert_int_equal(replayed.size, patched->size);
    assert_memory_equal(replayed.data, patched->data, patched->size);
    merle_buffer_free(&replayed);
}

#define PLAN_MAX 4

static void one_round(mrl_random *random, merle_bytes doc, plan *plans, unsigned *applied,
                      unsigned *refused) {
    merle_op ops[PLAN_MAX];
    merle_buffer patched = {NULL, 0, 0}, effect = {NULL, 0, 0}, public = {NULL, 0, 0};
    merle_report report;
    size_t count = 1 + (size_t)mrl_random_below(random, PLAN_MAX), i;
    node *tree = node_read(doc);
    merle_err expected = MERLE_OK;
    for (i = 0; i < count; i++) {
        random_plan(random, &plans[i]);
        ops[i] = plans[i].op;
    }
    for (i = 0; i < count && expected == MERLE_OK; i++) expected = model_apply(tree, &plans[i]);
    assert_int_equal(mrl_ops_check(ops, count, &report), MERLE_OK);
    void *memory = need(malloc(mrl_ops_size(ops, count)));
    merle_op *copies = mrl_ops_copy_into(memory, ops, count);
    merle_err err = mrl_patch_apply(doc.data, doc.size, copies, count, &patched, &effect, &report);
    assert_int_equal(err, expected);
    assert_int_equal(merle_doc_patch(doc, ops, count, &public, NULL), expected);
    assert_int_equal(public.size, patched.size);
    if (err == MERLE_OK) {
        assert_memory_equal(public.data, patched.data, patched.size);
        assert_int_equal(merle_doc_check(merle_bytes_of(patched.data, patched.size), NULL),
                         MERLE_OK);
        node *result = node_read(merle_bytes_of(patched.data, patched.size));
        assert_true(node_same(tree, result, 1));
        node_free(result);
        untouched_pairs_are_unchanged(doc, &patched, plans, count);
        replay_gives_the_same_bytes(doc, &patched, &effect);
        ++*applied;
    } else {
        assert_int_equal(patched.size + effect.size, 0);
        assert_int_equal(report.err, err);
        assert_int_equal(report.operation, i - 1);
        assert_string_equal(report.path, ops[i - 1].path);
        ++*refused;
    }
    node_free(tree);
    free(memory);
    merle_buffer_free(&patched);
    merle_buffer_free(&effect);
    merle_buffer_free(&public);
}

static void random_patches_agree_with_the_model(void **state) {
    mrl_random random;
    merle_buffer doc = {NULL, 0, 0};
    static plan plans[PLAN_MAX];
    unsigned applied = 0, refused = 0;
    (void)state;
    mrl_random_init(&random, test_seed);
    for (int round = 0; round < 30000; round++)
        one_round(&random, sample_document(&doc, &random), plans, &applied, &refused);
    printf("# %u applied, %u refused\n", applied, refused);
    assert_true(applied > 5000 && refused > 1000);
    for (int i = 0; i < PLAN_MAX; i++) merle_buffer_free(&plans[i].raw);
    merle_buffer_free(&doc);
}

/* ---- single cases ---- */

static void patched_is(merle_bytes doc, merle_op op, merle_bytes expected, merle_bytes effect) {
    merle_buffer out = {NULL, 0, 0}, told = {NULL, 0, 0};
    assert_int_equal(mrl_ops_check(&op, 1, NULL), MERLE_OK);
    assert_int_equal(mrl_patch_apply(doc.data, doc.size, &op, 1, &out, &told, NULL), MERLE_OK);
    assert_int_equal(out.size, expected.size);
    assert_memory_equal(out.data, expected.data, expected.size);
    assert_int_equal(told.size, effect.size);
    assert_memory_equal(told.data, effect.data, effect.size);
    merle_buffer_free(&out);
    merle_buffer_free(&told);
}

static void effects_tell_results(void **state) {
    (void)state;
    patched_is(BYTES("\x81\xa4gold\x05"), MERLE_INC("gold", 5), BYTES("\x81\xa4gold\x0a"),
               BYTES("\x91\x92\x91\xa4gold\x0a"));
    patched_is(BYTES("\x81\xa1l\x92\x01\x02"), MERLE_APPEND("l", merle_value_int(3)),
               BYTES("\x81\xa1l\x93\x01\x02\x03"), BYTES("\x91\x92\x92\xa1l\x02\x03"));
    patched_is(BYTES("\x81\xa1l\x93\x01\x02\x01"), MERLE_REMOVE("l", merle_value_float(1)),
               BYTES("\x81\xa1l\x91\x02"), BYTES("\x91\x92\x91\xa1l\x91\x02"));
    patched_is(BYTES("\x81\xa1l\x92\x01\x02"), MERLE_REMOVE("l", merle_value_int(2)),
               BYTES("\x81\xa1l\x91\x01"), BYTES("\x91\x91\x92\xa1l\x01"));
    patched_is(BYTES("\x81\xa1l\x92\x01\x02"), MERLE_ADD("l", merle_value_int(2)),
               BYTES("\x81\xa1l\x92\x01\x02"), BYTES("\x90"));
    patched_is(BYTES("\x80"), MERLE_SET_INT("a.b.c", 1),
               BYTES("\x81\xa1"
                     "a\x81\xa1"
                     "b\x81\xa1"
                     "c\x01"),
               BYTES("\x91\x92\x93\xa1"
                     "a\xa1"
                     "b\xa1"
                     "c\x01"));
    patched_is(BYTES("\x81\xa1l\x92\x01\x02"), MERLE_UNSET("l[-1]"), BYTES("\x81\xa1l\x91\x01"),
               BYTES("\x91\x91\x92\xa1l\x01"));
    patched_is(BYTES("\x81\xa1s\xa1"
                     "a"),
               MERLE_APPEND("s", merle_value_str("bc")),
               BYTES("\x81\xa1s\xa3"
                     "abc"),
               BYTES("\x91\x92\x91\xa1s\xa3"
                     "abc"));
    patched_is(BYTES("\x80"), MERLE_APPEND("l", merle_value_str("x")), BYTES("\x81\xa1l\x91\xa1x"),
               BYTES("\x91\x92\x91\xa1l\x91\xa1x"));
    patched_is(BYTES("\x81\xa1n\x07"), MERLE_MAX("n", 9), BYTES("\x81\xa1n\x09"),
               BYTES("\x91\x92\x91\xa1n\x09"));
    patched_is(BYTES("\x81\xa1n\x07"), MERLE_MIN("n", 9), BYTES("\x81\xa1n\x07"), BYTES("\x90"));
    patched_is(BYTES("\x81\xa1n\x07"), MERLE_UNSET("m"), BYTES("\x81\xa1n\x07"), BYTES("\x90"));
    /* A wide head stays wide. */
    patched_is(BYTES("\xdf\x00\x00\x00\x01\xa1n\x07"), MERLE_UNSET("n"),
               BYTES("\xdf\x00\x00\x00\x00"), BYTES("\x91\x91\x91\xa1n"));
}

static merle_err patch_err(merle_bytes doc, merle_op op) {
    merle_buffer out = {NULL, 0, 0};
    merle_report report;
    merle_err err = merle_doc_patch(doc, &op, 1, &out, &report);
    if (err != MERLE_OK) assert_int_equal(report.err, err);
    if (err != MERLE_OK) assert_int_equal(out.size, 0);
    merle_buffer_free(&out);
    return err;
}

static void increment_past_the_range_is_refused(void **state) {
    (void)state;
    const merle_bytes top = BYTES("\x81\xa1n\xcf\x7f\xff\xff\xff\xff\xff\xff\xff");
    const merle_bytes all = BYTES("\x81\xa1n\xcf\xff\xff\xff\xff\xff\xff\xff\xff");
    const merle_bytes low = BYTES("\x81\xa1n\xd3\x80\x00\x00\x00\x00\x00\x00\x00");
    assert_int_equal(patch_err(top, MERLE_INC("n", 0)), MERLE_OK);
    assert_int_equal(patch_err(top, MERLE_INC("n", 1)), MERLE_OVERFLOW);
    assert_int_equal(patch_err(top, MERLE_INC("n", -1)), MERLE_OK);
    assert_int_equal(patch_err(all, MERLE_INC("n", 1)), MERLE_OVERFLOW);
    assert_int_equal(patch_err(all, MERLE_INC("n", -1)), MERLE_OK);
    assert_int_equal(patch_err(low, MERLE_INC("n", -1)), MERLE_OVERFLOW);
    assert_int_equal(patch_err(low, MERLE_INC("n", 1)), MERLE_OK);
    assert_int_equal(patch_err(top, MERLE_INC_FLOAT("n", 1)), MERLE_OK);
}

static void operation_that_can_never_be_right_is_refused(void **state) {
    const merle_bytes doc = BYTES("\x80");
    merle_value none = {MERLE_TYPE_NONE, 0, {0}, {NULL, 0}, 0};
    merle_value bad_map = {MERLE_TYPE_MAP, 0, {0}, {"\x82\x01\x01", 3}, 0};
    merle_value wrong_map = {MERLE_TYPE_MAP, 0, {0}, {"\x91\x01", 2}, 0};
    merle_value long_map = {MERLE_TYPE_MAP, 0, {0}, {"\x80\x80", 2}, 0};
    (void)state;
    assert_int_equal(patch_err(doc, MERLE_SET_INT("", 1)), MERLE_INVALID);
    assert_int_equal(patch_err(doc, MERLE_SET_INT(NULL, 1)), MERLE_INVALID);
    assert_int_equal(patch_err(doc, MERLE_SET_INT("a..b", 1)), MERLE_INVALID);
    assert_int_equal(patch_err(doc, MERLE_SET("a", none)), MERLE_INVALID);
    assert_int_equal(patch_err(doc, MERLE_UNSET("a")), MERLE_OK);
    assert_int_equal(patch_err(doc, merle_op_of((merle_op_kind)0, "a", none)), MERLE_INVALID);
    assert_int_equal(patch_err(doc, merle_op_of((merle_op_kind)9, "a", none)), MERLE_INVALID);
    assert_int_equal(patch_err(doc, merle_op_of(MERLE_OP_INC, "a", merle_value_str("1"))),
                     MERLE_INVALID);
    assert_int_equal(patch_err(doc, MERLE_SET("a", bad_map)), MERLE_BAD_DOCUMENT);
    assert_int_equal(patch_err(doc, MERLE_SET("a", wrong_map)), MERLE_INVALID);
    assert_int_equal(patch_err(doc, MERLE_SET("a", long_map)), MERLE_BAD_DOCUMENT);
    assert_int_equal(patch_err(doc, MERLE_SET_STR("a", "\xff")), MERLE_BAD_DOCUMENT);
    assert_int_equal(patch_err(doc, MERLE_SET_INT("\xff", 1)), MERLE_INVALID);
    assert_int_equal(patch_err(doc, MERLE_SET("a", merle_value_time(0, 1000000000))),
                     MERLE_INVALID);
    assert_int_equal(patch_err(BYTES("\x91"), MERLE_UNSET("a")), MERLE_BAD_DOCUMENT);
    assert_int_equal(patch_err(doc, MERLE_SET_INT("a[0]", 1)), MERLE_NOT_FOUND);
    assert_int_equal(patch_err(BYTES("\x81\xa1"
                                     "a\x91\x01"),
                               MERLE_SET_INT("a[1]", 1)),
                     MERLE_NOT_FOUND);
}

static void depth_and_size_are_kept(void **state) {
    char path[200];
    uint8_t nested[65];
    merle_value value;
    (void)state;
    for (unsigned steps = 1; steps <= 64; steps++) {
        for (unsigned i = 0; i < steps; i++) memcpy(path + 2 * i, "a.", 2);
        path[2 * steps - 1] = 0;
        for (unsigned depth = 1; depth <= 64; depth++) {
            memset(nested, 0x91, sizeof(nested));
            nested[depth - 1] = 0x90;
            assert_int_equal(merle_value_msgpack(merle_bytes_of(nested, depth), &value), MERLE_OK);
            assert_int_equal(patch_err(BYTES("\x80"), MERLE_SET(path, value)),
                             steps + depth <= 64 ? MERLE_OK : MERLE_TOO_BIG);
            assert_int_equal(patch_err(BYTES("\x80"), MERLE_APPEND(path, value)),
                             steps + 1 + depth <= 64 ? MERLE_OK : MERLE_TOO_BIG);
        }
        assert_int_equal(patch_err(BYTES("\x80"), MERLE_SET_INT(path, 1)), MERLE_OK);
        assert_int_equal(patch_err(BYTES("\x80"), MERLE_ADD(path, merle_value_int(1))),
                         steps < 64 ? MERLE_OK : MERLE_TOO_BIG);
    }
    size_t size = MERLE_DOCUMENT_SIZE_MAX - 3 - 5;
    char *text = need(malloc(size + 1));
    memset(text, 'x', size + 1);
    assert_int_equal(
        patch_err(BYTES("\x80"), MERLE_SET("a", merle_value_bytes(merle_bytes_of(text, size)))),
        MERLE_OK);
    assert_int_equal(
        patch_err(BYTES("\x80"), MERLE_SET("a", merle_value_bytes(merle_bytes_of(text, size + 1)))),
        MERLE_TOO_BIG);
    free(text);
}

static void head_grows_when_it_must_and_effects_agree(void **state) {
    (void)state;
    merle_buffer doc = {NULL, 0, 0}, out = {NULL, 0, 0}, effect = {NULL, 0, 0};
    sample_put(&doc, "\x80", 1);
    for (int i = 0; i < 300; i++) {
        char name[16];
        snprintf(name, sizeof(name), "k%d", i);
        const merle_op ops[2] = {MERLE_SET_INT(name, i),
                                 MERLE_APPEND("all[-1].in", merle_value_int(i))};
        const merle_op begin[2] = {MERLE_SET_INT(name, i), MERLE_APPEND("all", merle_value_nil())};
        merle_err err = mrl_patch_apply(doc.data, doc.size, i < 2 ? begin : ops,
                                        i < 2 || i > 5 ? 2 : 1, &out, &effect, NULL);
        if (i == 6) {
            /* The last element is nil, in which nothing can be made. */
            assert_int_equal(err, MERLE_TYPE);
            merle_value map;
            assert_int_equal(merle_value_msgpack(BYTES("\x80"), &map), MERLE_OK);
            const merle_op fix = MERLE_SET("all[-1]", map);
            err = mrl_patch_apply(doc.data, doc.size, &fix, 1, &out, &effect, NULL);
        }
        assert_int_equal(err, MERLE_OK);
        replay_gives_the_same_bytes(merle_bytes_of(doc.data, doc.size), &out, &effect);
        doc.size = 0;
        sample_put(&doc, out.data, out.size);
    }
    merle_doc view;
    assert_int_equal(merle_doc_over(merle_bytes_of(doc.data, doc.size), &view), MERLE_OK);
    assert_int_equal(merle_doc_int(view, "k299", 0), 299);
    assert_int_equal(merle_doc_int(view, "all[-1].in[-1]", 0), 299);
    merle_buffer_free(&doc);
    merle_buffer_free(&out);
    merle_buffer_free(&effect);
}

static void bad_effects_are_bad_documents(void **state) {
    static const struct {
        const char *data;
        size_t size;
    } effects[] = {
#define EFFECT(literal) {literal, sizeof(literal) - 1}
        EFFECT(""),
        EFFECT("\x80"),
        EFFECT("\x91"),
        EFFECT("\xdc\x00"),
        EFFECT("\xdd\xff\xff\xff\xff"),
        EFFECT("\x90\x90"),
        EFFECT("\x91\x90"),
        EFFECT("\x91\x93\x91\xa1n\x01\x01"),
        EFFECT("\x91\x91\x90"),
        EFFECT("\x91\x91\xa1n"),
        EFFECT("\x91\x91\x91\x00"),
        EFFECT("\x91\x91\x91\xa1m"),
        EFFECT("\x91\x92\x91\xa1n"),
        EFFECT("\x91\x92\x91\xa1n\xc1"),
        EFFECT("\x91\x92\x91\xa1\xff\x01"),
        EFFECT("\x91\x92\x91\xa1n\xa1\xff"),
        EFFECT("\x91\x92\x92\xa1n\xa1m\x01"),
        EFFECT("\x91\x92\x92\xa1l\x03\x01"),
        EFFECT("\x91\x92\x92\xa1l\xff\x01"),
        EFFECT("\x91\x92\x92\xa1l\x90\x01"),
        EFFECT("\x91\x92\xdd\xff\xff\xff\xff\xa1l"),
        EFFECT("\x91\x92\x91\xdb\xff\xff\xff\xff"),
        EFFECT("\x91\x92\x92\xa1l\xcb\x00\x00\x00\x00\x00\x00\x00\x00\x01"),
#undef EFFECT
    };
    const merle_bytes doc = BYTES("\x82\xa1n\x01\xa1l\x91\x01");
    merle_buffer out = {NULL, 0, 0};
    merle_report report;
    (void)state;
    for (size_t i = 0; i < sizeof(effects) / sizeof(effects[0]); i++) {
        uint8_t *exact = sample_exact(merle_bytes_of(effects[i].data, effects[i].size));
        assert_int_equal(mrl_effect_apply(doc.data, doc.size,
                                          merle_bytes_of(exact, effects[i].size), &out, &report),
                         MERLE_BAD_DOCUMENT);
        assert_int_equal(out.size, 0);
        assert_int_equal(report.err, MERLE_BAD_DOCUMENT);
        free(exact);
    }
    merle_bytes append = BYTES("\x91\x92\x92\xa1l\x01\x05");
    assert_int_equal(mrl_effect_apply(doc.data, doc.size, append, &out, NULL), MERLE_OK);
    merle_buffer_free(&out);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_patches_agree_with_the_model),
        cmocka_unit_test(effects_tell_results),
        cmocka_unit_test(increment_past_the_range_is_refused),
        cmocka_unit_test(operation_that_can_never_be_right_is_refused),
        cmocka_unit_test(depth_and_size_are_kept),
        cmocka_unit_test(head_grows_when_it_must_and_effects_agree),
        cmocka_unit_test(bad_effects_are_bad_documents),
    };
    test_seed = seed_of(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
