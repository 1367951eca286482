/* subscribe/run.c - several lists of commits, told as one: by seq, and by position in the commit.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/buffer.h"
#include "subscribe/subscriber_private.h"

void mrl_run_begin(merle_subscriber *s, uint64_t from, uint64_t end, uint32_t end_position) {
    mrl_run_end(s);
    s->run.is_on = 1;
    s->run.from = from;
    s->run.end = end;
    s->run.end_position = end_position;
}

static merle_err make_room(merle_subscriber *s) {
    mrl_run *run = &s->run;
    merle_err err = mrl_spend_reserve(s, run->count + 1);
    if (err != MERLE_OK || run->count < run->capacity) return err;
    uint32_t capacity = run->capacity == 0 ? 4 : run->capacity * 2;
    mrl_run_list *lists = mrl_allocate(capacity * sizeof *lists);
    if (lists == NULL) return MERLE_NO_MEMORY;
    if (run->count > 0) memcpy(lists, run->lists, run->count * sizeof *lists);
    free(run->lists);
    run->lists = lists;
    run->capacity = capacity;
    return MERLE_OK;
}

merle_err mrl_run_add(merle_subscriber *s, mrl_message *message, const mrl_wire_list *commits) {
    mrl_run *run = &s->run;
    merle_err err = make_room(s);
    if (err != MERLE_OK) {
        s->net->message_free(message);
        return err;
    }
    mrl_run_list *list = &run->lists[run->count++];
    *list = (mrl_run_list){.message = *message, .commits = *commits};
    *message = (mrl_message){.data = NULL};
    if (commits->at == NULL)
        list->is_done = 1;
    else
        mrl_run_advance(s, list);
    return MERLE_OK;
}

/* The next commit of a list. They must grow, and lie where the message says that it reaches. */
static merle_err next_commit(mrl_run *run, mrl_run_list *list) {
    uint64_t before = list->has_commit ? list->commit.seq : run->from;
    merle_err err = mrl_wire_commit_next(&list->commits, &list->commit);
    if (err != MERLE_OK) return err;
    list->has_commit = 1;
    if (list->commit.seq <= before) return MERLE_CORRUPT;
    if (list->commit.seq > run->end && (list->commit.seq - 1 > run->end || run->end_position == 0))
        return MERLE_CORRUPT;
    return MERLE_OK;
}

void mrl_run_advance(merle_subscriber *s, mrl_run_list *list) {
    mrl_run *run = &s->run;
    merle_err err = list->has_commit ? mrl_wire_operation_next(&list->commit, &list->position,
                                                               &list->operation)
                                     : MERLE_NOT_FOUND;
    while (err == MERLE_NOT_FOUND) {
        err = next_commit(run, list);
        if (err == MERLE_NOT_FOUND) {
            list->is_done = 1;
            return;
        }
        if (err == MERLE_OK)
            err = mrl_wire_operation_next(&list->commit, &list->position, &list->operation);
    }
    if (err == MERLE_OK && list->commit.seq > run->end && list->position >= run->end_position)
        err = MERLE_CORRUPT;
    if (err == MERLE_OK) return;
    list->is_done = 1;
    run->is_broken = 1;
}

mrl_run_list *mrl_run_least(merle_subscriber *s) {
    mrl_run *run = &s->run;
    mrl_run_list *least = NULL;
    if (run->is_broken) return NULL;
    for (uint32_t i = 0; i < run->count; i++) {
        mrl_run_list *list = &run->lists[i];
        if (list->is_done) continue;
        if (least == NULL || mrl_place_order(list->commit.seq, list->position, least->commit.seq,
                                             least->position) < 0)
            least = list;
    }
    return least;
}

void mrl_run_end(merle_subscriber *s) {
    mrl_run *run = &s->run;
    for (uint32_t i = 0; i < run->count; i++) {
        if (run->was_given)
            mrl_spend(s, &run->lists[i].message);
        else
            s->net->message_free(&run->lists[i].message);
    }
    *run = (mrl_run){.lists = run->lists, .capacity = run->capacity};
}
