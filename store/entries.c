/* store/entries.c - the values of a version, and what two versions do not share.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/entries.h"

#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "document/encode.h"
#include "document/scan.h"

/* The elements of the part that is on each of them, or of tags. */
typedef struct element_walk {
    const mrl_version *version; /* NULL: none */
    const mrl_path *path;       /* inside an element; NULL: itself */
    const uint8_t *field;       /* NULL: there are none */
    mrl_elements elements;      /* still to come */
} element_walk;

static element_walk elements_of(const mrl_version *v, const mrl_schema_index *index) {
    const mrl_schema_part *part = &index->parts[index->each == MRL_PART_NONE ? 0 : index->each];
    element_walk walk = {.version = v, .path = part->element};
    uint32_t offset = mrl_version_live(v) == NULL ? 0 : mrl_version_locate(v, part);
    if (offset == 0) return walk;
    walk.field = mrl_version_doc(v) + offset;
    walk.elements = mrl_elements_of(walk.field);
    /* From before the index, and against it: it has none, for whoever asks. */
    if (walk.elements.count <= MERLE_TAG_COUNT_MAX) return walk;
    walk.field = NULL;
    walk.elements.count = 0;
    return walk;
}

static const uint8_t *next_element(element_walk *walk) {
    return walk->field == NULL ? NULL : mrl_elements_next_at(&walk->elements, walk->path);
}

/* Whether the value stands among the elements of a walk that has not begun, before `until` (NULL:
 * anywhere). */
static int has_element(element_walk walk, const uint8_t *value, const uint8_t *until) {
    for (const uint8_t *at; (at = next_element(&walk)) != NULL && at != until;)
        if (mrl_scan_equal(at, value)) return 1;
    return 0;
}

/* A version's tags, each once; where they are few, so that they are gone over once only. */
enum { FEW_MAX = 16 };
typedef struct few_tags {
    const uint8_t *at[FEW_MAX];
    uint32_t count;
} few_tags;

static int few_have(const few_tags *few, const uint8_t *at) {
    for (uint32_t i = 0; i < few->count; i++)
        if (mrl_scan_equal(few->at[i], at)) return 1;
    return 0;
}

/* 0: there are more. */
static int few_collect(const mrl_version *v, const mrl_schema_index *index, few_tags *out_few) {
    element_walk walk = elements_of(v, index);
    out_few->count = 0;
    if (walk.field == NULL) return 1;
    if (walk.elements.count > FEW_MAX) return 0;
    for (const uint8_t *at; (at = next_element(&walk)) != NULL;)
        if (!few_have(out_few, at)) out_few->at[out_few->count++] = at;
    return 1;
}

/* One tag, encoded; what cannot be encoded is only in a document from before the index, which
 * stands against it. */
static int give_tag(const mrl_version *v, const uint8_t *at, mrl_entries_fn *fn, void *context) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    size_t size = 0;
    if (mrl_encode_at(at, mrl_version_doc(v) + v->doc_size, 0, encoded, sizeof encoded, &size) !=
        MERLE_OK)
        return 0;
    return fn(context, merle_bytes_of(encoded, size));
}

/* One value with an element; what cannot be encoded gives none. */
static int give_element(const mrl_version *v, const mrl_schema_index *index, const uint8_t *at,
                        mrl_entries_fn *fn, void *context) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    if (mrl_index_has_tags(index)) return give_tag(v, at, fn, context);
    size_t size = mrl_version_encode_element(v, index, at, encoded);
    return size == 0 ? 0 : fn(context, merle_bytes_of(encoded, size));
}

/* ---- many elements ---- */

/* Elements by their hash: an array of a thousand is gone over under a shard's lock. */
enum { SET_PLACES = 2048 };
_Static_assert(SET_PLACES >= 2 * MERLE_TAG_COUNT_MAX, "a set is at most half full");
typedef struct element_set {
    const uint8_t *doc;
    const uint8_t *end;
    uint64_t seed;
    uint32_t places[SET_PLACES]; /* where the element stands in the document; 0: free */
} element_set;

static void set_init(element_set *set, const mrl_version *v) {
    memset(set->places, 0, sizeof set->places);
    set->doc = mrl_version_doc(v);
    set->end = set->doc + v->doc_size;
    /* An address is nothing that an application's users know: they shall not choose elements that
     * meet in one place. */
    set->seed = (uint64_t)(uintptr_t)v ^ (uint64_t)(uintptr_t)set;
}

/* The place of an equal element, or the free one where it belongs; NULL: it cannot be encoded, and
 * has no value in any index. The element stands before `end`. */
static uint32_t *set_place(element_set *set, const uint8_t *at, const uint8_t *end) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    size_t size = 0;
    if (mrl_encode_at(at, end, 0, encoded, sizeof encoded, &size) != MERLE_OK) return NULL;
    uint32_t place = (uint32_t)mrl_hash_bytes(encoded, size, set->seed) % SET_PLACES;
    while (set->places[place] != 0 && !mrl_scan_equal(set->doc + set->places[place], at))
        place = (place + 1) % SET_PLACES;
    return &set->places[place];
}

/* 1: it was not there, and could be. */
static int set_add(element_set *set, const uint8_t *at) {
    uint32_t *place = set_place(set, at, set->end);
    if (place == NULL || *place != 0) return 0;
    *place = (uint32_t)(at - set->doc);
    return 1;
}

static int set_has(element_set *set, const uint8_t *at, const uint8_t *end) {
    const uint32_t *place = set_place(set, at, end);
    return place != NULL && *place != 0;
}

static int each_of_many(const mrl_version *v, const element_walk *own, const mrl_version *other,
                        const element_walk *others, const mrl_schema_index *index,
                        mrl_entries_fn *fn, void *context) {
    element_set given, left_out;
    element_walk walk = *own, rest = *others;
    int result = 0;
    set_init(&given, v);
    set_init(&left_out, other == NULL ? v : other);
    for (const uint8_t *at; (at = next_element(&rest)) != NULL;) (void)set_add(&left_out, at);
    for (const uint8_t *at; result == 0 && (at = next_element(&walk)) != NULL;)
        if (!set_has(&left_out, at, given.end) && set_add(&given, at))
            result = give_element(v, index, at, fn, context);
    return result;
}

/* ---- each of them ---- */

/* Each element once that the others have not. */
static int each_different(const mrl_version *v, const element_walk *own, const mrl_version *other,
                          const element_walk *others, const mrl_schema_index *index,
                          mrl_entries_fn *fn, void *context) {
    element_walk walk = *own;
    int result = 0;
    if (own->elements.count > FEW_MAX)
        return each_of_many(v, own, other, others, index, fn, context);
    for (const uint8_t *at; result == 0 && (at = next_element(&walk)) != NULL;)
        if (!has_element(*others, at, NULL) && !has_element(*own, at, at))
            result = give_element(v, index, at, fn, context);
    return result;
}

static int each_tag(const mrl_version *v, const mrl_version *other, const mrl_schema_index *index,
                    mrl_entries_fn *fn, void *context) {
    const element_walk own = elements_of(v, index), others = elements_of(other, index);
    return each_different(v, &own, other, &others, index, fn, context);
}

/* Whether two versions have the same in all parts but the one on each element. */
static int same_besides(const mrl_version *v, const mrl_version *other,
                        const mrl_schema_index *index) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX], others[MERLE_VALUE_SIZE_MAX];
    size_t size = mrl_version_encode_besides(v, index, encoded);
    return size == mrl_version_encode_besides(other, index, others) &&
           memcmp(encoded, others, size) == 0;
}

/* Compound values differ only in the element; where something else differs nothing is shared. */
static int each_element(const mrl_version *v, const mrl_version *other,
                        const mrl_schema_index *index, mrl_entries_fn *fn, void *context) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    if (other != NULL && !same_besides(v, other, index)) other = NULL;
    const element_walk own = elements_of(v, index), others = elements_of(other, index);
    element_walk walk = own;
    if (next_element(&walk) != NULL)
        return each_different(v, &own, other, &others, index, fn, context);
    walk = others;
    if (other != NULL && next_element(&walk) == NULL) return 0;
    size_t size = mrl_version_encode_element(v, index, NULL, encoded);
    return size == 0 ? 0 : fn(context, merle_bytes_of(encoded, size));
}

int mrl_entries_each(const mrl_version *v, const mrl_schema_index *index, mrl_entries_fn *fn,
                     void *context) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    if (mrl_index_has_tags(index)) return each_tag(v, NULL, index, fn, context);
    if (index->each != MRL_PART_NONE) return each_element(v, NULL, index, fn, context);
    size_t size = mrl_version_encode(v, index, encoded);
    return size == 0 ? 0 : fn(context, merle_bytes_of(encoded, size));
}

/* ---- what two versions do not share ---- */

/* Hands values on as the new version's, or the old one's. */
typedef struct handing {
    mrl_entries_change_fn *fn;
    void *context;
    int is_new;
} handing;

static int hand_on(void *context, merle_bytes value) {
    const handing *h = context;
    return h->fn(h->context, value, h->is_new);
}

static int few_but(const mrl_version *v, const few_tags *few, const few_tags *others, handing *h) {
    int result = 0;
    for (uint32_t i = 0; result == 0 && i < few->count; i++)
        if (!few_have(others, few->at[i])) result = give_tag(v, few->at[i], hand_on, h);
    return result;
}

static int differ_in_tags(const mrl_version *old, const mrl_version *new,
                          const mrl_schema_index *index, handing *h) {
    few_tags olds, news;
    if (few_collect(old, index, &olds) && few_collect(new, index, &news)) {
        int result = few_but(new, &news, &olds, h);
        h->is_new = 0;
        return result != 0 ? result : few_but(old, &olds, &news, h);
    }
    int result = new == NULL ? 0 : each_tag(new, old, index, hand_on, h);
    h->is_new = 0;
    return result != 0 || old == NULL ? result : each_tag(old, new, index, hand_on, h);
}

static int differ_in_elements(const mrl_version *old, const mrl_version *new,
                              const mrl_schema_index *index, handing *h) {
    int result = new == NULL ? 0 : each_element(new, old, index, hand_on, h);
    h->is_new = 0;
    return result != 0 || old == NULL ? result : each_element(old, new, index, hand_on, h);
}

int mrl_entries_differ(const mrl_version *old, const mrl_version *new,
                       const mrl_schema_index *index, mrl_entries_change_fn *fn, void *context) {
    uint8_t olds[MERLE_VALUE_SIZE_MAX], news[MERLE_VALUE_SIZE_MAX];
    handing h = {fn, context, 1};
    if (old != NULL && new != NULL && mrl_version_same_fields(old, new, index)) return 0;
    if (mrl_index_has_tags(index)) return differ_in_tags(old, new, index, &h);
    if (index->each != MRL_PART_NONE) return differ_in_elements(old, new, index, &h);
    size_t old_size = old == NULL ? 0 : mrl_version_encode(old, index, olds);
    size_t new_size = new == NULL ? 0 : mrl_version_encode(new, index, news);
    /* 5 and 5.0 are other bytes and the same value. */
    if (old_size == new_size && memcmp(olds, news, old_size) == 0) return 0;
    int result = new_size == 0 ? 0 : fn(context, merle_bytes_of(news, new_size), 1);
    if (result != 0 || old_size == 0) return result;
    return fn(context, merle_bytes_of(olds, old_size), 0);
}

/* ---- where a document comes in a range ---- */

/* As mrl_entries_each, for who does not mind to be given an element twice: it costs one pass. */
static int visit_values(const mrl_version *v, const mrl_schema_index *index, mrl_entries_fn *fn,
                        void *context) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    if (index->each == MRL_PART_NONE) return mrl_entries_each(v, index, fn, context);
    element_walk walk = elements_of(v, index);
    const uint8_t *at = next_element(&walk);
    int result = 0;
    /* Without an element, once. */
    do {
        size_t size = mrl_version_encode_element(v, index, at, encoded);
        if (size != 0) result = fn(context, merle_bytes_of(encoded, size));
    } while (result == 0 && at != NULL && (at = next_element(&walk)) != NULL);
    return result;
}

int mrl_range_has(const mrl_ordered_range *range, merle_bytes value) {
    const merle_bytes *ends[2] = {&range->from, &range->to};
    const mrl_bound kinds[2] = {range->from_bound, range->to_bound};
    for (int i = 0; i < 2; i++) {
        if (kinds[i] == MRL_BOUND_NONE) continue;
        int order = mrl_bytes_order_begins(value, *ends[i]);
        if (order == 0 && kinds[i] == MRL_BOUND_OPEN) return 0;
        if (i == 0 ? order < 0 : order > 0) return 0;
    }
    return 1;
}

/* A value of the document that a range meets, and whether it meets the document there first. */
typedef struct meeting {
    const mrl_ordered_range *range;
    int is_backwards;
    merle_bytes value;
    int is_there;
} meeting;

/* 1: there is one before it, which ends the walk: elements that are many are seldom gone over to
 * the end. */
static int meet(void *context, merle_bytes value) {
    meeting *m = context;
    int order = mrl_bytes_order(value, m->value);
    if (order == 0) m->is_there = 1;
    return (m->is_backwards ? order > 0 : order < 0) && mrl_range_has(m->range, value);
}

int mrl_entries_gives(const mrl_version *v, const mrl_schema_index *index,
                      const mrl_ordered_range *range, int is_backwards, merle_bytes value) {
    meeting m = {range, is_backwards, value, 0};
    return visit_values(v, index, meet, &m) == 0 && m.is_there;
}

int mrl_entries_gives_hit(const mrl_version *v, const mrl_schema_index *index,
                          const mrl_ordered_range *range, int is_backwards,
                          const mrl_ordered_hit *hit) {
    uint8_t value[MERLE_VALUE_SIZE_MAX];
    mrl_ordered_hit_copy(hit, value);
    return mrl_entries_gives(v, index, range, is_backwards, merle_bytes_of(value, hit->size));
}

static int is_hit(void *context, merle_bytes value) {
    return mrl_ordered_hit_is(context, value);
}

int mrl_entries_have(const mrl_version *v, const mrl_schema_index *index,
                     const mrl_ordered_hit *hit) {
    return visit_values(v, index, is_hit, (void *)(uintptr_t)hit);
}

static int is_it(void *context, merle_bytes value) {
    const merle_bytes *wanted = context;
    return mrl_bytes_equal(*wanted, value);
}

int mrl_entries_have_tag(const mrl_version *v, const mrl_schema_index *index, merle_bytes tag) {
    element_walk walk = elements_of(v, index);
    for (const uint8_t *at; (at = next_element(&walk)) != NULL;)
        if (give_tag(v, at, is_it, &tag) != 0) return 1;
    return 0;
}
