/* memory/slab.c - regions that hold objects of one size.
 *
 * A region begins at a multiple of a power of two, so that the slab of an object is found from its
 * address. Objects that were never out are not touched: a slab of which few objects are used takes
 * few pages.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/assert.h"
#include "memory/memory_private.h"

/* At the beginning of its region. All fields are written under the lock of its size. */
typedef struct mrl_slab {
    struct mrl_slab *next, *before; /* while it is in the list of its size */
    void *back;                     /* objects that came back: each begins with the next one */
    uint32_t out;                   /* objects that are out */
    uint32_t fresh;                 /* objects from this number on were never out */
    uint32_t object_count;
    uint32_t object_size;
    uint32_t is_listed;
    uint8_t padding[20];
} mrl_slab;
_Static_assert(sizeof(mrl_slab) == 64, "objects begin on a line");

/* The sizes are ones that the arena gives as they are. With the page that it adds, a region of
 * small objects leaves nearly nothing of its 64 KiB unused. */
typedef struct region_form {
    size_t size, alignment;
} region_form;

static region_form form_of(uint8_t size_class) {
    return size_class <= MRL_SLAB_SMALL_COUNT ? (region_form){56 << 10, 64 << 10}
                                              : (region_form){112 << 10, 128 << 10};
}

static mrl_slab *slab_of(void *object, uint8_t size_class) {
    uintptr_t mask = form_of(size_class).alignment - 1;
    return (mrl_slab *)((uintptr_t)object & ~mask);
}

static mrl_slab *slab_create(mrl_heap *heap, uint8_t size_class) {
    region_form form = form_of(size_class);
    mrl_slab *slab = mrl_region_take(heap, form.size, form.alignment);
    if (slab == NULL) return NULL;
    *slab = (mrl_slab){.object_size = (uint32_t)mrl_size_of_class(size_class)};
    slab->object_count = (uint32_t)((form.size - sizeof *slab) / slab->object_size);
    return slab;
}

/* ---- the list of a size; its lock held ---- */

static void list_first(mrl_slab_class *of, mrl_slab *slab) {
    slab->is_listed = 1;
    slab->before = NULL;
    slab->next = of->first;
    if (of->first != NULL)
        of->first->before = slab;
    else
        of->last = slab;
    of->first = slab;
}

static void list_last(mrl_slab_class *of, mrl_slab *slab) {
    slab->is_listed = 1;
    slab->next = NULL;
    slab->before = of->last;
    if (of->last != NULL)
        of->last->next = slab;
    else
        of->first = slab;
    of->last = slab;
}

static void unlist(mrl_slab_class *of, mrl_slab *slab) {
    slab->is_listed = 0;
    if (slab->before != NULL)
        slab->before->next = slab->next;
    else
        of->first = slab->next;
    if (slab->next != NULL)
        slab->next->before = slab->before;
    else
        of->last = slab->before;
}

/* ---- taking ---- */

static void *object_take(mrl_slab *slab) {
    void *object = slab->back;
    slab->out++;
    if (object != NULL) {
        slab->back = *(void **)object;
        return object;
    }
    return (uint8_t *)(slab + 1) + (size_t)slab->fresh++ * slab->object_size;
}

/* What is listed has at least one. */
static size_t take_listed(mrl_slab_class *of, void **out_objects, size_t max) {
    size_t count = 0;
    while (count < max && of->first != NULL) {
        mrl_slab *slab = of->first;
        if (slab->out == 0) of->empty_count--;
        while (count < max && slab->out < slab->object_count)
            out_objects[count++] = object_take(slab);
        if (slab->out == slab->object_count) unlist(of, slab);
    }
    return count;
}

size_t mrl_slab_take(mrl_heap *heap, uint8_t size_class, void **out_objects, size_t max) {
    mrl_slab_class *of = &heap->slabs[size_class];
    MRL_DEBUG_ASSERT(size_class < MRL_SLAB_CLASS_COUNT && max > 0);
    mrl_lock_take(&of->lock);
    size_t count = take_listed(of, out_objects, max);
    mrl_lock_drop(&of->lock);
    if (count > 0) return count;
    mrl_slab *slab = slab_create(heap, size_class);
    if (slab == NULL) return 0;
    mrl_lock_take(&of->lock);
    of->empty_count++;
    list_first(of, slab);
    count = take_listed(of, out_objects, max);
    mrl_lock_drop(&of->lock);
    return count;
}

/* ---- giving ---- */

/* Those of which nothing is in use go into a list of their own, but for one. */
static void object_give(mrl_slab_class *of, mrl_slab *slab, void *object, mrl_slab **out_free) {
    MRL_ASSERT(slab->out > 0);
    *(void **)object = slab->back;
    slab->back = object;
    slab->out--;
    if (!slab->is_listed) list_first(of, slab);
    /* Those of which little is in use come last: they may become empty. */
    if (slab->out == slab->object_count / 2) {
        unlist(of, slab);
        list_last(of, slab);
    }
    if (slab->out > 0) return;
    if (of->empty_count == 0) {
        of->empty_count = 1;
        return;
    }
    unlist(of, slab);
    slab->next = *out_free;
    *out_free = slab;
}

static void regions_give(mrl_heap *heap, uint8_t size_class, mrl_slab *slab) {
    region_form form = form_of(size_class);
    while (slab != NULL) {
        mrl_slab *next = slab->next;
        mrl_region_give(heap, slab, form.size, form.alignment);
        slab = next;
    }
}

void mrl_slab_give(mrl_heap *heap, uint8_t size_class, void *const *objects, size_t count) {
    mrl_slab_class *of = &heap->slabs[size_class];
    mrl_slab *slabs[MRL_SLAB_BATCH_MAX], *free_ones = NULL;
    MRL_DEBUG_ASSERT(size_class < MRL_SLAB_CLASS_COUNT && count <= MRL_SLAB_BATCH_MAX);
    /* They lie anywhere: all are asked for before the first one is looked at. */
    for (size_t i = 0; i < count; i++) {
        slabs[i] = slab_of(objects[i], size_class);
        __builtin_prefetch(slabs[i], 1);
        __builtin_prefetch(objects[i], 1);
    }
    mrl_lock_take(&of->lock);
    for (size_t i = 0; i < count; i++) object_give(of, slabs[i], objects[i], &free_ones);
    mrl_lock_drop(&of->lock);
    regions_give(heap, size_class, free_ones);
}

void mrl_slab_trim(mrl_heap *heap) {
    for (uint8_t i = 1; i < MRL_SLAB_CLASS_COUNT; i++) {
        mrl_slab_class *of = &heap->slabs[i];
        mrl_slab *free_ones = NULL;
        mrl_lock_take(&of->lock);
        /* Those with nothing in use are most likely the last ones. */
        for (mrl_slab *slab = of->last, *next; slab != NULL && of->empty_count > 0; slab = next) {
            next = slab->before;
            if (slab->out > 0) continue;
            of->empty_count--;
            unlist(of, slab);
            slab->next = free_ones;
            free_ones = slab;
        }
        mrl_lock_drop(&of->lock);
        regions_give(heap, i, free_ones);
    }
}
