/* memory/domain.c - domains, and how threads become members and cease to be.
 *
 * The thread holds its members in a list of its own, the domain in one under member_lock. Either
 * side may end first, so a member has two owners and is freed by the last one to let go. Whoever
 * takes a member out of the domain (the ending thread, or mrl_domain_destroy) holds its end_lock
 * meanwhile, and the other one waits for that: so an ending thread never touches a domain that is
 * gone.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/assert.h"
#include "memory/memory_private.h"

/* ---- the process ---- */

/* A page that a child process finds wiped, once any domain was made; it stays for the process's
 * life. */
static _Atomic uint32_t *process_number;
static _Atomic uint32_t last_process_number;
static pthread_once_t process_once = PTHREAD_ONCE_INIT;

static void map_process_number(void) {
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return;
    if (madvise(page, size, MADV_WIPEONFORK) == 0)
        process_number = page;
    else
        (void)munmap(page, size);
}

/* This process's number, never 0; 0: the system has no such pages. A child that makes domains of
 * its own takes the next number, so that its parent's domains stay unusable there. */
static uint32_t number_process(void) {
    (void)pthread_once(&process_once, map_process_number);
    if (process_number == NULL) return 0;
    uint32_t number = atomic_load_explicit(process_number, memory_order_relaxed);
    if (number != 0) return number;
    uint32_t next = atomic_fetch_add_explicit(&last_process_number, 1, memory_order_relaxed) + 1;
    /* If another thread was first, number becomes what that one wrote. */
    return atomic_compare_exchange_strong(process_number, &number, next) ? next : number;
}

/* ---- members ---- */

static void member_release(struct mrl_member_private *own) {
    /* Acquire and release: the last owner frees only after the other one's last access. */
    if (atomic_fetch_sub_explicit(&own->owners, 1, memory_order_acq_rel) == 1) free(own);
}

static void add_count(uint64_t *sum, int counter, uint64_t n) {
    if (counter != MRL_N_COPIED_MAX && counter != MRL_N_STEP_MAX_NS)
        *sum += n;
    else if (*sum < n)
        *sum = n;
}

static void add_departed(uint64_t *sums, const mrl_member *member) {
    for (int i = 0; i < MRL_COUNTER_COUNT; i++)
        add_count(&sums[i], i, atomic_load_explicit(&member->counts[i], memory_order_relaxed));
}

static void unlink_from_domain(mrl_domain *domain, mrl_member *member) {
    struct mrl_member_private *own = member->private_part;
    if (own->before_in_domain != NULL)
        own->before_in_domain->private_part->next_in_domain = own->next_in_domain;
    else
        domain->members = own->next_in_domain;
    if (own->next_in_domain != NULL)
        own->next_in_domain->private_part->before_in_domain = own->before_in_domain;
    if (domain->drain_next == member) domain->drain_next = own->next_in_domain;
    atomic_fetch_sub_explicit(&domain->heap.member_count, 1, memory_order_relaxed);
}

/* Takes a member out of its domain; under end_lock, by the thread it belongs to or by the
 * destroying one. */
static void detach(mrl_member *member) {
    struct mrl_member_private *own = member->private_part;
    mrl_domain *domain = member->domain;
    if (domain->options.leaving != NULL)
        domain->options.leaving(domain->options.leaving_context, member);
    mrl_epoch_leave_all(member);
    mrl_lock_take(&domain->member_lock);
    /* In one piece: whoever adds up counts, bytes or what waits finds each of them once. */
    add_departed(domain->departed, member);
    mrl_cache_fini(&own->cache, &domain->heap);
    mrl_block_queue_append(&domain->orphans, &own->retired);
    unlink_from_domain(domain, member);
    /* From here on the domain may be destroyed and freed, as soon as the lock is dropped. */
    mrl_lock_drop(&domain->member_lock);
    member->domain = NULL;
    atomic_store_explicit(&own->is_detached, 1, memory_order_release);
}

static void detach_once(struct mrl_member_private *own) {
    mrl_lock_take(&own->end_lock);
    int is_first = atomic_load_explicit(&own->is_detached, memory_order_relaxed) == 0;
    if (is_first) {
        own->self = mrl_self_get();
        detach(&own->shared);
    }
    mrl_lock_drop(&own->end_lock);
    if (is_first) member_release(own);
}

static void forget_cached(mrl_self *self) {
    self->member = NULL;
    self->member_serial = 0;
}

/* Lets go of the members whose domain is gone. */
static void drop_detached(mrl_self *self) {
    mrl_member **link = &self->members;
    while (*link != NULL) {
        struct mrl_member_private *own = (*link)->private_part;
        if (!atomic_load_explicit(&own->is_detached, memory_order_acquire)) {
            link = &own->next_in_thread;
            continue;
        }
        if (self->member == &own->shared) forget_cached(self);
        *link = own->next_in_thread;
        member_release(own);
    }
}

void mrl_self_end(mrl_self *self) {
    mrl_self *before = mrl_self_swapped;
    /* The leaving callback runs as the one that ends. */
    mrl_self_swap(self == &mrl_self_own ? NULL : self);
    forget_cached(self);
    while (self->members != NULL) {
        struct mrl_member_private *own = self->members->private_part;
        if (atomic_load_explicit(process_number, memory_order_relaxed) == own->born_in) {
            detach_once(own);
            drop_detached(self);
        } else {
            /* In a child process the locks may be held by threads that do not exist there: what
             * came from the parent stays as it is. */
            self->members = own->next_in_thread;
        }
    }
    forget_cached(self);
    mrl_self_swap(before);
}

/* ---- the end of threads ---- */

static pthread_once_t thread_key_once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_key;
static int thread_key_errno;

static void end_thread(void *self) {
    mrl_self_end((mrl_self *)self);
}

static void make_thread_key(void) {
    thread_key_errno = pthread_key_create(&thread_key, end_thread);
}

/* Makes sure that we are told when the calling thread ends. A simulated worker's end is told by
 * mrl_self_end. */
static int watch_thread(mrl_self *self) {
    if (self != &mrl_self_own) return 0;
    (void)pthread_once(&thread_key_once, make_thread_key);
    if (thread_key_errno != 0) return thread_key_errno;
    return pthread_getspecific(thread_key) != NULL ? 0 : pthread_setspecific(thread_key, self);
}

/* ---- joining ---- */

static void *zeroed_alloc(size_t size) {
    void *memory = NULL;
    if (posix_memalign(&memory, 64, size) != 0) return NULL;
    return memset(memory, 0, size);
}

/* A record of the epoch that nobody uses, or a new one; under member_lock. */
static mrl_record *take_record(mrl_domain *domain) {
    ck_epoch_record_t *recycled = ck_epoch_recycle(&domain->epoch, NULL);
    if (recycled != NULL) return (mrl_record *)recycled; /* ck is its first field */
    mrl_record *record = zeroed_alloc(sizeof *record);
    if (record == NULL) return NULL;
    ck_epoch_register(&domain->epoch, &record->ck, NULL);
    record->next = domain->records;
    domain->records = record;
    return record;
}

static mrl_member *join(mrl_domain *domain, mrl_self *self) {
    if (mrl_heap_refuses(&domain->heap, sizeof(struct mrl_member_private))) return NULL;
    struct mrl_member_private *own = zeroed_alloc(sizeof *own);
    if (own == NULL) return NULL;
    mrl_member *member = &own->shared;
    member->domain = domain;
    member->private_part = own;
    member->thread = (uint64_t)syscall(SYS_gettid);
    atomic_init(&member->section_oldest_seq, UINT64_MAX);
    own->self = self;
    own->serial = domain->front.serial;
    own->born_in = domain->front.born_in;
    atomic_init(&own->owners, 2);
    mrl_cache_init(&own->cache);

    mrl_lock_take(&domain->member_lock);
    own->record = take_record(domain);
    if (own->record != NULL) {
        own->next_in_domain = domain->members;
        if (domain->members != NULL) domain->members->private_part->before_in_domain = member;
        domain->members = member;
        atomic_fetch_add_explicit(&domain->heap.member_count, 1, memory_order_relaxed);
    }
    mrl_lock_drop(&domain->member_lock);
    if (own->record == NULL) goto fail;
    own->next_in_thread = self->members;
    self->members = member;
    return member;

fail:
    mrl_cache_fini(&own->cache, &domain->heap);
    free(own);
    return NULL;
}

mrl_member *mrl_member_join_slow(mrl_domain *domain) {
    mrl_self *self = mrl_self_get();
    if (mrl_domain_is_forked(domain)) return NULL;
    drop_detached(self);
    mrl_member *member = self->members;
    while (member != NULL && member->private_part->serial != domain->front.serial)
        member = member->private_part->next_in_thread;
    if (member == NULL && watch_thread(self) == 0) member = join(domain, self);
    if (member == NULL) return NULL;
    self->member = member;
    self->member_serial = domain->front.serial;
    return member;
}

void mrl_member_each(mrl_domain *domain, void (*fn)(void *context, mrl_member *member),
                     void *context) {
    mrl_lock_take(&domain->member_lock);
    for (mrl_member *m = domain->members; m != NULL; m = m->private_part->next_in_domain)
        fn(context, m);
    mrl_lock_drop(&domain->member_lock);
}

uint64_t mrl_domain_count(mrl_domain *domain, mrl_counter counter) {
    /* One load from each member: all its other counters stay where they are written. */
    mrl_lock_take(&domain->member_lock);
    uint64_t sum = domain->departed[counter];
    for (mrl_member *m = domain->members; m != NULL; m = m->private_part->next_in_domain)
        add_count(&sum, counter, atomic_load_explicit(&m->counts[counter], memory_order_relaxed));
    mrl_lock_drop(&domain->member_lock);
    return sum;
}

void mrl_member_rest(mrl_member *member) {
    mrl_cache_empty(&member->private_part->cache, &member->domain->heap);
}

void mrl_domain_trim(mrl_domain *domain) {
    const mrl_self *self = mrl_self_get();
    int is_member = self->member_serial == domain->front.serial;
    mrl_heap_trim(&domain->heap, is_member ? &self->member->private_part->cache : NULL);
}

/* ---- domains ---- */

static _Atomic uint64_t last_serial;

merle_err mrl_domain_create(const mrl_domain_options *options, mrl_domain **out_domain) {
    const mrl_refusal *refusal = options->refusal;
    *out_domain = NULL;
    if (refusal != NULL && refusal->refuses(refusal->context, sizeof(mrl_domain)))
        return MERLE_NO_MEMORY;
    mrl_domain *domain = zeroed_alloc(sizeof *domain);
    if (domain == NULL) return MERLE_NO_MEMORY;
    domain->options = *options;
    domain->front.serial = atomic_fetch_add_explicit(&last_serial, 1, memory_order_relaxed) + 1;
    ck_epoch_init(&domain->epoch);
    merle_err err = MERLE_SYSTEM;
    domain->front.born_in = number_process();
    domain->front.process = process_number;
    if (domain->front.born_in == 0) goto fail;
    err = mrl_heap_init(&domain->heap, options);
    if (err != MERLE_OK) goto fail;
    *out_domain = domain;
    return MERLE_OK;

fail:
    free(domain);
    return err;
}

/* The first member that is still there, held; NULL: none. */
static struct mrl_member_private *first_member(mrl_domain *domain) {
    struct mrl_member_private *own = NULL;
    mrl_lock_take(&domain->member_lock);
    if (domain->members != NULL) {
        own = domain->members->private_part;
        atomic_fetch_add_explicit(&own->owners, 1, memory_order_relaxed);
    }
    mrl_lock_drop(&domain->member_lock);
    return own;
}

void mrl_domain_destroy(mrl_domain *domain) {
    struct mrl_member_private *own;
    if (domain == NULL || mrl_domain_is_forked(domain)) return;
    while ((own = first_member(domain)) != NULL) {
        /* If its thread is just ending, this waits until it has left by itself. */
        detach_once(own);
        member_release(own);
    }
    drop_detached(mrl_self_get());
    mrl_heap_fini(&domain->heap);
    while (domain->records != NULL) {
        mrl_record *record = domain->records;
        domain->records = record->next;
        free(record);
    }
    free(domain);
}
