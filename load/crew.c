/* load/crew.c - threads that share a job.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "load/crew.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/thread.h"

enum { CREW_MAX = 64 };

typedef struct crew_thread {
    mrl_crew *crew;
    pthread_t thread;
    uint32_t worker;
} crew_thread;

struct mrl_crew {
    mrl_domain *domain;
    pthread_mutex_t mutex; /* everything below but `next` */
    pthread_cond_t job_came, job_ended;
    mrl_crew_fn *fn;
    void *context;
    uint32_t task_count;
    uint32_t round; /* grows with each job */
    uint32_t busy;  /* threads that have not ended the round */
    int stop;
    _Atomic uint32_t next; /* task */
    uint32_t thread_count;
    crew_thread threads[CREW_MAX];
};

static void work(mrl_crew *crew, mrl_member *member, uint32_t worker) {
    for (;;) {
        uint32_t task = atomic_fetch_add_explicit(&crew->next, 1, memory_order_relaxed);
        if (task >= crew->task_count) return;
        mrl_epoch_token token;
        mrl_member_enter(member, &token);
        crew->fn(crew->context, member, worker, task);
        mrl_member_leave(member, &token);
    }
}

static void *run(void *context) {
    const crew_thread *self = context;
    mrl_crew *crew = self->crew;
    uint32_t seen = 0;
    mrl_member *member = mrl_member_join(crew->domain);
    pthread_mutex_lock(&crew->mutex);
    for (;;) {
        while (crew->round == seen && !crew->stop) pthread_cond_wait(&crew->job_came, &crew->mutex);
        if (crew->stop) break;
        seen = crew->round;
        pthread_mutex_unlock(&crew->mutex);
        /* Without memory for a member the others do it all. */
        if (member != NULL) work(crew, member, self->worker);
        pthread_mutex_lock(&crew->mutex);
        if (--crew->busy == 0) pthread_cond_signal(&crew->job_ended);
    }
    pthread_mutex_unlock(&crew->mutex);
    return NULL;
}

mrl_crew *mrl_crew_create(mrl_domain *domain, uint32_t thread_count) {
    mrl_crew *crew = calloc(1, sizeof *crew);
    if (crew == NULL) return NULL;
    crew->domain = domain;
    pthread_mutex_init(&crew->mutex, NULL);
    pthread_cond_init(&crew->job_came, NULL);
    pthread_cond_init(&crew->job_ended, NULL);
    while (crew->thread_count + 1 < thread_count && crew->thread_count < CREW_MAX) {
        crew_thread *one = &crew->threads[crew->thread_count];
        *one = (crew_thread){.crew = crew, .worker = crew->thread_count + 1};
        if (mrl_thread_start("merle-load", run, one, &one->thread) != 0) break;
        crew->thread_count++;
    }
    return crew;
}

void mrl_crew_destroy(mrl_crew *crew) {
    pthread_mutex_lock(&crew->mutex);
    crew->stop = 1;
    pthread_cond_broadcast(&crew->job_came);
    pthread_mutex_unlock(&crew->mutex);
    for (uint32_t i = 0; i < crew->thread_count; i++) pthread_join(crew->threads[i].thread, NULL);
    pthread_cond_destroy(&crew->job_ended);
    pthread_cond_destroy(&crew->job_came);
    pthread_mutex_destroy(&crew->mutex);
    free(crew);
}

uint32_t mrl_crew_size(const mrl_crew *crew) {
    return crew->thread_count + 1;
}

void mrl_crew_run(mrl_crew *crew, mrl_member *member, mrl_crew_fn *fn, void *context,
                  uint32_t task_count) {
    int is_shared = crew->thread_count > 0 && task_count > 1;
    crew->fn = fn;
    crew->context = context;
    crew->task_count = task_count;
    atomic_store_explicit(&crew->next, 0, memory_order_relaxed);
    if (is_shared) {
        pthread_mutex_lock(&crew->mutex);
        crew->round++;
        crew->busy = crew->thread_count;
        pthread_cond_broadcast(&crew->job_came);
        pthread_mutex_unlock(&crew->mutex);
    }
    work(crew, member, 0);
    if (!is_shared) return;
    pthread_mutex_lock(&crew->mutex);
    while (crew->busy > 0) pthread_cond_wait(&crew->job_ended, &crew->mutex);
    pthread_mutex_unlock(&crew->mutex);
}
