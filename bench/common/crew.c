/* bench/common/crew.c - see crew.h. SPDX-License-Identifier: Apache-2.0 */
#include "bench/common/crew.h"

#include <pthread.h>

#include "bench/common/measure.h"

static pthread_barrier_t gate;

static void *worker_main(void *context) {
    crew_worker *worker = context;
    const bench_system *system = worker->job->system;
    worker->thread = system->thread_begin();
    pthread_barrier_wait(&gate);
    worker->start_ns = bench_now_ns();
    worker->job->work(worker);
    worker->stop_ns = bench_now_ns();
    /* Nobody leaves before all have stopped: leaving is not part of the work. */
    pthread_barrier_wait(&gate);
    system->thread_end(worker->thread);
    return NULL;
}

static crew_result result_of(const crew_worker *workers, unsigned thread_count) {
    crew_result result = {0};
    uint64_t start_ns = workers[0].start_ns;
    uint64_t stop_ns = workers[0].stop_ns;
    for (unsigned i = 0; i < thread_count; i++) {
        if (workers[i].start_ns < start_ns) start_ns = workers[i].start_ns;
        if (workers[i].stop_ns > stop_ns) stop_ns = workers[i].stop_ns;
        result.done += workers[i].done;
        result.score_sum += workers[i].score_sum;
    }
    result.seconds = (double)(stop_ns - start_ns) / 1e9;
    return result;
}

crew_result crew_run(const crew_job *job, unsigned thread_count) {
    crew_worker workers[CREW_MAX] = {{0}};
    pthread_t threads[CREW_MAX];
    if (thread_count == 0 || thread_count > CREW_MAX) bench_die("%u threads", thread_count);
    pthread_barrier_init(&gate, NULL, thread_count);
    for (unsigned i = 0; i < thread_count; i++) {
        workers[i].job = job;
        workers[i].index = i;
        workers[i].begin = job->op_count * i / thread_count;
        workers[i].end = job->op_count * (i + 1) / thread_count;
        if (pthread_create(&threads[i], NULL, worker_main, &workers[i]) != 0) {
            bench_die("cannot start a thread");
        }
    }
    for (unsigned i = 0; i < thread_count; i++) pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&gate);
    return result_of(workers, thread_count);
}
