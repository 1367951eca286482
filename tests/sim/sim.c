/* tests/sim/sim.c - coroutines with ucontext, the schedule, deadlocks, clock and refusal.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "base/self.h"
#include "memory/domain.h"

#if defined(__SANITIZE_ADDRESS__)
#define SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_ASAN 1
#endif
#endif
#ifdef SIM_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

enum { STACK_SIZE = 512 << 10, TRACE_SIZE = 200, STALL_ONE_IN = 48, STALL_MAX = 400 };

typedef enum worker_state { WORKER_RUNNABLE = 0, WORKER_WAITS, WORKER_ENDED } worker_state;

typedef struct worker {
    sim *simulator;
    const char *name;
    sim_fn *fn;
    void *context;
    worker_state state;
    const void *waits_for;
    const char *last_point;
    uint64_t stalled_until; /* it is passed over until so many points have been noted */
    mrl_self self;
    ucontext_t place;
    void *stack;
    void *fake_stack; /* of the address sanitizer */
} worker;

typedef struct trace_line {
    const char *worker;
    const char *point;
    const void *address;
} trace_line;

struct sim {
    uint64_t seed;
    uint32_t switch_one_in;
    mrl_random schedule;
    mrl_random refusal_random;
    mrl_scheduler scheduler;
    mrl_clock clock;
    mrl_refusal refusal;
    mrl_environment environment;
    uint64_t now_ns;
    uint64_t refuse_nth;
    uint64_t asked;
    uint64_t refused;
    uint32_t refuse_one_in;
    uint32_t worker_count;
    worker workers[SIM_WORKER_MAX];
    worker *current; /* NULL: the thread itself */
    ucontext_t main_place;
    void *main_fake_stack;
    const void *main_stack;
    size_t main_stack_size;
    int is_deadlocked;
    int is_abandoned;
    uint64_t trace_count;
    trace_line trace[TRACE_SIZE];
};

/* ---- switching ---- */

static void begin_switch(void **fake_stack, const void *stack, size_t size) {
#ifdef SIM_ASAN
    __sanitizer_start_switch_fiber(fake_stack, stack, size);
#else
    (void)fake_stack;
    (void)stack;
    (void)size;
#endif
}

static void finish_switch(void *fake_stack, const void **out_stack, size_t *out_size) {
#ifdef SIM_ASAN
    __sanitizer_finish_switch_fiber(fake_stack, out_stack, out_size);
#else
    (void)fake_stack;
    (void)out_stack;
    (void)out_size;
#endif
}

/* From a worker, or from the thread itself (NULL), to a worker or to the thread itself. */
static void switch_to(sim *s, worker *to) {
    worker *from = s->current;
    if (from == to) return;
    void **fake = from != NULL ? &from->fake_stack : &s->main_fake_stack;
    /* A worker that has ended gives its fake stack up. */
    if (from != NULL && from->state == WORKER_ENDED) fake = NULL;
    s->current = to;
    mrl_self_swap(to != NULL ? &to->self : NULL);
    begin_switch(fake, to != NULL ? to->stack : s->main_stack,
                 to != NULL ? STACK_SIZE : s->main_stack_size);
    (void)swapcontext(from != NULL ? &from->place : &s->main_place,
                      to != NULL ? &to->place : &s->main_place);
    finish_switch(from != NULL ? from->fake_stack : s->main_fake_stack, NULL, NULL);
}

/* One that may run; of those that are stalled only if all are. */
static worker *choose(sim *s) {
    worker *runnable[SIM_WORKER_MAX];
    uint32_t count = 0;
    for (int even_stalled = 0; even_stalled < 2 && count == 0; even_stalled++)
        for (uint32_t i = 0; i < s->worker_count; i++) {
            worker *w = &s->workers[i];
            if (w->state == WORKER_RUNNABLE && (even_stalled || w->stalled_until <= s->trace_count))
                runnable[count++] = w;
        }
    return count == 0 ? NULL : runnable[mrl_random_below(&s->schedule, count)];
}

static void note(sim *s, const char *point, const void *address) {
    trace_line *line = &s->trace[s->trace_count++ % TRACE_SIZE];
    line->worker = s->current != NULL ? s->current->name : "main";
    line->point = point;
    line->address = address;
    if (s->current != NULL && address == NULL) s->current->last_point = point;
}

static void worker_main(unsigned high, unsigned low) {
    worker *w = (worker *)(((uintptr_t)high << 32) | (uintptr_t)low);
    sim *s = w->simulator;
    const void *from;
    size_t from_size;
    finish_switch(NULL, &from, &from_size);
    if (s->main_stack == NULL) {
#ifdef SIM_ASAN
        s->main_stack = from;
        s->main_stack_size = from_size;
#endif
    }
    w->fn(w->context);
    note(s, "worker.leaves", NULL);
    mrl_self_end(&w->self);
    note(s, "worker.ended", NULL);
    w->state = WORKER_ENDED;
    /* Always back to the thread: it knows where the next one begins. */
    switch_to(s, NULL);
}

/* ---- the seams ---- */

static void at_point(void *context, const char *name) {
    sim *s = context;
    if (s->current == NULL) return;
    note(s, name, NULL);
    if (mrl_random_below(&s->schedule, s->switch_one_in) != 0) return;
    /* Now and then a worker stands still while the others do a lot: what only goes wrong when one
     * is very slow is hardly met by fair turns. */
    if (mrl_random_below(&s->schedule, STALL_ONE_IN) == 0)
        s->current->stalled_until = s->trace_count + mrl_random_below(&s->schedule, STALL_MAX);
    switch_to(s, choose(s));
}

static void wait_for(void *context, const void *address) {
    sim *s = context;
    note(s, "waits", address);
    if (s->current == NULL) return; /* the thread itself cannot wait: it finds out by trying */
    s->current->state = WORKER_WAITS;
    s->current->waits_for = address;
    worker *next = choose(s);
    if (next == NULL) s->is_deadlocked = 1;
    switch_to(s, next);
}

static void wake(void *context, const void *address) {
    sim *s = context;
    note(s, "wakes", address);
    for (uint32_t i = 0; i < s->worker_count; i++) {
        worker *w = &s->workers[i];
        if (w->state != WORKER_WAITS || w->waits_for != address) continue;
        w->state = WORKER_RUNNABLE;
        w->waits_for = NULL;
    }
}

static uint64_t clock_monotonic(void *context) {
    sim *s = context;
    return s->now_ns += 1000;
}

static int64_t clock_wall(void *context) {
    sim *s = context;
    return (int64_t)(s->now_ns += 1000) + 1000000000;
}

static int refuses(void *context, size_t size) {
    sim *s = context;
    (void)size;
    return sim_refuses(s);
}

int sim_refuses(sim *s) {
    s->asked++;
    int refused = s->refuse_nth != 0 && s->asked == s->refuse_nth;
    if (s->refuse_one_in != 0 && mrl_random_below(&s->refusal_random, s->refuse_one_in) == 0)
        refused = 1;
    s->refused += (uint64_t)refused;
    return refused;
}

/* ---- the simulator ---- */

sim *sim_create(uint64_t seed, uint32_t switch_one_in) {
    sim *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->seed = seed;
    s->switch_one_in = switch_one_in == 0 ? 1 : switch_one_in;
    mrl_random_init(&s->schedule, seed);
    mrl_random_init(&s->refusal_random, ~seed);
    s->now_ns = 1000000000;
    s->scheduler = (mrl_scheduler){s, at_point, wait_for, wake};
    s->clock = (mrl_clock){s, clock_monotonic, clock_wall};
    s->refusal = (mrl_refusal){s, refuses};
    s->environment.clock = &s->clock;
    s->environment.scheduler = &s->scheduler;
    s->environment.refusal = &s->refusal;
    s->environment.hash_seed = seed | 1;
    s->environment.database_id[0] = seed | 1;
    s->environment.database_id[1] = 1;
    return s;
}

void sim_destroy(sim *s) {
    if (s == NULL) return;
    for (uint32_t i = 0; i < s->worker_count; i++)
        if (s->workers[i].stack != NULL) (void)munmap(s->workers[i].stack, STACK_SIZE);
    free(s);
}

void sim_spawn(sim *s, const char *name, sim_fn *fn, void *context) {
    if (s->worker_count == SIM_WORKER_MAX) abort();
    worker *w = &s->workers[s->worker_count++];
    w->simulator = s;
    w->name = name;
    w->fn = fn;
    w->context = context;
    w->self.scheduler = &s->scheduler;
    w->stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (w->stack == MAP_FAILED || getcontext(&w->place) != 0) abort();
    w->place.uc_stack.ss_sp = w->stack;
    w->place.uc_stack.ss_size = STACK_SIZE;
    w->place.uc_link = NULL;
    uintptr_t at = (uintptr_t)w;
    makecontext(&w->place, (void (*)(void))worker_main, 2, (unsigned)(at >> 32), (unsigned)at);
}

static void print_waiting(const sim *s) {
    printf("# seed %llu: all workers wait\n", (unsigned long long)s->seed);
    for (uint32_t i = 0; i < s->worker_count; i++) {
        const worker *w = &s->workers[i];
        printf("# worker %s: %s for %p, last point %s\n", w->name,
               w->state == WORKER_ENDED ? "ended" : "waits", w->waits_for,
               w->last_point == NULL ? "none" : w->last_point);
    }
}

int sim_run(sim *s) {
    worker *next;
    while ((next = choose(s)) != NULL) {
        switch_to(s, next);
        if (s->is_abandoned) return 1;
        if (s->is_deadlocked) {
            print_waiting(s);
            sim_print_trace(s);
            return -1;
        }
    }
    return 0;
}

void sim_abandon(sim *s) {
    if (s->current == NULL) abort(); /* the thread itself has nowhere to go */
    note(s, "abandons", NULL);
    s->is_abandoned = 1;
    /* Nobody's stack is gone back to; this one's sanitizer is told so, the others' cannot be. */
    for (uint32_t i = 0; i < s->worker_count; i++) s->workers[i].state = WORKER_ENDED;
    switch_to(s, NULL);
    abort(); /* never reached */
}

const mrl_environment *sim_environment(sim *s) {
    return &s->environment;
}

void sim_point(sim *s, const char *name) {
    at_point(s, name);
}

void sim_clock_advance(sim *s, uint64_t ns) {
    s->now_ns += ns;
}

void sim_print_trace(const sim *s) {
    uint64_t first = s->trace_count < TRACE_SIZE ? 0 : s->trace_count - TRACE_SIZE;
    printf("# seed %llu: the last %llu points\n", (unsigned long long)s->seed,
           (unsigned long long)(s->trace_count - first));
    for (uint64_t i = first; i < s->trace_count; i++) {
        const trace_line *line = &s->trace[i % TRACE_SIZE];
        if (line->address == NULL)
            printf("#   %s: %s\n", line->worker, line->point);
        else
            printf("#   %s: %s %p\n", line->worker, line->point, line->address);
    }
}

/* ---- refusal ---- */

void sim_refuse_nth(sim *s, uint64_t n) {
    s->refuse_nth = n;
    s->refuse_one_in = 0;
    s->asked = s->refused = 0;
}

void sim_refuse_one_in(sim *s, uint32_t one_in) {
    s->refuse_one_in = one_in;
    s->refuse_nth = 0;
    s->asked = s->refused = 0;
}

uint64_t sim_refused(const sim *s) {
    return s->refused;
}
