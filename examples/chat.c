/* examples/chat.c - who sits in the room, hears what is said, and comes back later.
 *
 * A subscriber in a process of its own; it knows nothing of merle but merle/subscribe.h. It prints
 * the lines that are there, then each new one. Where it was it writes down when it leaves, and with
 * that goes on: what was said meanwhile it hears first, none twice, none left out. When the server
 * dies it waits, and goes on as well.
 *
 *   chat [--position FILE] SERVICE [NEWS]       for instance tcp://127.0.0.1:4001
 * It leaves when it is interrupted or terminated, or when the room closes. The last line it prints
 * says what it has heard. SPDX-License-Identifier: Apache-2.0
 */
#include <merle/subscribe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEARD_MAX = 64 };
#define LOOK_UP_NS 200000000u /* how long a wait may be: a signal is noticed after it */

typedef struct room {
    merle_subscriber *subscriber;
    const char *file;
    long long number; /* of the last line; 0: none was heard */
    unsigned long lines, missed, twice, left;
    int is_closed;
} room;

static volatile sig_atomic_t is_stopped;

static void stop(int number) {
    (void)number;
    is_stopped = 1;
}

/* ---- what is heard ---- */

static void print_line(room *r, const merle_heard *heard) {
    merle_bytes who = merle_doc_str(heard->after, "who");
    merle_bytes text = merle_doc_str(heard->after, "text");
    printf("  %.*s: %.*s\n", (int)who.size, (const char *)who.data, (int)text.size,
           (const char *)text.data);
    if (text.size == 14 && memcmp(text.data, "we are closed.", 14) == 0) r->is_closed = 1;
}

/* Lines have numbers without gaps in their keys: so it can be seen that none is missing. */
static void count_line(room *r, const merle_heard *heard) {
    char key[32];
    snprintf(key, sizeof key, "%.*s", (int)heard->key.size, (const char *)heard->key.data);
    long long number = strtoll(key + strcspn(key, "0123456789"), NULL, 10);
    if (r->number != 0 && number > r->number + 1)
        r->missed += (unsigned long)(number - r->number - 1);
    if (number <= r->number) r->twice++;
    if (number > r->number) r->number = number;
    r->lines++;
}

static void hear(room *r, const merle_heard *heard) {
    switch (heard->kind) {
    case MERLE_HEARD_CONNECTED:
        printf("* The door is open.\n");
        break;
    case MERLE_HEARD_DISCONNECTED:
        printf("* Nobody answers: %s\n", heard->text);
        break;
    case MERLE_HEARD_TROUBLE:
        printf("* %s\n", heard->text);
        break;
    case MERLE_HEARD_GAP:
        printf("* Something was said that is gone: %s\n", heard->text);
        break;
    case MERLE_HEARD_SNAPSHOT_BEGIN:
        printf("* What was said before, as far as it is there:\n");
        r->number = 0;
        break;
    case MERLE_HEARD_DOCUMENT:
        print_line(r, heard);
        break; /* in no order */
    case MERLE_HEARD_SNAPSHOT_END:
        printf("* From here on I listen (commit %llu).\n", (unsigned long long)heard->seq);
        break;
    case MERLE_HEARD_INSERT:
        print_line(r, heard);
        count_line(r, heard);
        break;
    case MERLE_HEARD_EXPIRE:
        r->left++;
        break;
    default:
        break;
    }
}

static merle_err listen(room *r) {
    merle_heard heard[HEARD_MAX];
    size_t count = 0;
    merle_err err = MERLE_OK;
    while (err == MERLE_OK && !is_stopped && !r->is_closed) {
        err = merle_subscriber_wait(r->subscriber, LOOK_UP_NS);
        if (err == MERLE_BUSY) err = MERLE_OK; /* nothing came: a look at is_stopped */
        do {
            if (err == MERLE_OK)
                err = merle_subscriber_next(r->subscriber, heard, HEARD_MAX, &count);
            for (size_t i = 0; err == MERLE_OK && i < count; i++) hear(r, &heard[i]);
        } while (err == MERLE_OK && count > 0 && !is_stopped);
        (void)fflush(stdout);
    }
    return err;
}

/* ---- the position, from one life to the next ---- */

/* The file has the number of the last line, then what merle_subscriber_position gave. */
static merle_bytes read_position(room *r, uint8_t *bytes, size_t size_max) {
    size_t size = 0;
    FILE *file = r->file != NULL ? fopen(r->file, "rb") : NULL;
    if (file == NULL) return merle_bytes_of(NULL, 0);
    if (fread(&r->number, sizeof r->number, 1, file) == 1) size = fread(bytes, 1, size_max, file);
    (void)fclose(file);
    return merle_bytes_of(bytes, size);
}

static int write_position(const room *r) {
    merle_buffer position = {0};
    if (r->file == NULL) return 1;
    if (merle_subscriber_position(r->subscriber, &position) != MERLE_OK) return 1; /* none yet */
    FILE *file = fopen(r->file, "wb");
    int is_written = file != NULL && fwrite(&r->number, sizeof r->number, 1, file) == 1 &&
                     fwrite(position.data, 1, position.size, file) == position.size;
    if (file != NULL && fclose(file) != 0) is_written = 0;
    merle_buffer_free(&position);
    return is_written;
}

int main(int argument_count, char **arguments) {
    static uint8_t bytes[4096];
    room r = {0};
    merle_report report = {0};
    merle_wanted wanted = {.collection = "chat"};
    merle_subscriber_options options = {.name = "chat", .wanted = &wanted, .wanted_count = 1};
    int at = 1;
    if (argument_count > 3 && strcmp(arguments[1], "--position") == 0) {
        r.file = arguments[2];
        at = 3;
    }
    if (at >= argument_count) {
        fprintf(stderr, "usage: chat [--position FILE] SERVICE [NEWS]\n");
        return 2;
    }
    options.service = arguments[at];
    options.publisher = at + 1 < argument_count ? arguments[at + 1] : NULL;
    options.position = read_position(&r, bytes, sizeof bytes);
    (void)signal(SIGTERM, stop);
    (void)signal(SIGINT, stop);
    merle_err err = merle_subscriber_open(&options, &r.subscriber, &report);
    if (err == MERLE_OK) err = listen(&r);
    if (err != MERLE_OK) fprintf(stderr, "chat: %s. %s\n", merle_err_text(err), report.message);
    if (err == MERLE_OK && !write_position(&r)) err = MERLE_SYSTEM;
    merle_subscriber_close(r.subscriber);
    printf("chat lines=%lu missed=%lu twice=%lu gone=%lu\n", r.lines, r.missed, r.twice, r.left);
    return err == MERLE_OK ? 0 : 1;
}
