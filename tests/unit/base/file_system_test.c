/* tests/unit/base/file_system_test.c
 *
 * Aim     The machine's file system behind the seam: names stay inside the directory, no link is
 *         followed, permissions are tight, short and large writes are whole, one process owns a
 *         directory and a second one is told who does.
 * Method  A real temporary directory; planted links and pipes; forked children that report through
 *         a pipe; a limit on the size of files; a small tmpfs where one may be mounted.
 * Blind   Whether a sync reaches the metal; what a power cut leaves (tests/sim/disk.h).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

static const mrl_files *const files = &mrl_files_system;

/* ---- a directory for each test ---- */

typedef struct place {
    char path[600]; /* of the directory that the tests own */
    char root[256]; /* of the one that it is in */
    mrl_dir *dir;
} place;

static const char *path_in(const char *dir, const char *name) {
    static char path[1200];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int place_make(void **state) {
    place *p = calloc(1, sizeof *p);
    int created = 0;
    (void)snprintf(p->root, sizeof p->root, "/tmp/merle-files-XXXXXX");
    if (mkdtemp(p->root) == NULL) return -1;
    (void)snprintf(p->path, sizeof p->path, "%s/own", p->root);
    if (files->dir_open(files->context, p->path, 1, &p->dir, &created) != 0 || !created) return -1;
    *state = p;
    return 0;
}

static int place_clear(void **state) {
    place *p = *state;
    char command[400];
    files->dir_close(p->dir);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", p->root);
    int err = system(command);
    free(p);
    return err;
}

static mrl_file *open_ok(place *p, const char *name, mrl_file_mode mode) {
    mrl_file *file = NULL;
    assert_int_equal(files->file_open(p->dir, name, mode, &file), 0);
    assert_non_null(file);
    return file;
}

static void write_text(mrl_file *file, uint64_t offset, const char *text) {
    mrl_file_part part = {text, strlen(text)};
    assert_int_equal(files->file_write(file, offset, &part, 1), 0);
}

static void assert_text(mrl_file *file, uint64_t offset, const char *text) {
    char read[256];
    size_t size = 0;
    assert_int_equal(files->file_read(file, offset, read, strlen(text), &size), 0);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(read, text, size);
}

static mode_t mode_of(const char *path) {
    struct stat is;
    assert_int_equal(lstat(path, &is), 0);
    return is.st_mode & 0777;
}

/* ---- directories and names ---- */

static void directory_is_made_for_its_owner_alone(void **state) {
    place *p = *state;
    int created = 1;
    mrl_dir *again = NULL;
    assert_int_equal(mode_of(p->path), 0700);
    assert_int_equal(files->dir_open(NULL, p->path, 1, &again, &created), 0);
    assert_false(created);
    files->dir_close(again);
    assert_int_equal(files->dir_open(NULL, path_in(p->root, "none"), 0, &again, &created), ENOENT);
    assert_null(again);
    assert_int_equal(files->dir_open(NULL, path_in(p->root, "no/ne"), 1, &again, &created), ENOENT);
    assert_int_equal(files->dir_open(NULL, "", 1, &again, &created), ENOENT);
    files->dir_close(NULL);
}

static void directory_that_is_a_file_or_a_link_is_refused(void **state) {
    place *p = *state;
    char link_path[600];
    int created;
    mrl_dir *dir = NULL;
    files->file_close(open_ok(p, "file", MRL_FILE_CREATE));
    assert_int_equal(files->dir_open(NULL, path_in(p->path, "file"), 1, &dir, &created), ENOTDIR);
    (void)snprintf(link_path, sizeof link_path, "%s/link", p->root);
    assert_int_equal(symlink(p->path, link_path), 0);
    assert_int_equal(files->dir_open(NULL, link_path, 1, &dir, &created), ENOTDIR);
    /* A slash behind it would have it followed. */
    (void)strcat(link_path, "//");
    assert_int_equal(files->dir_open(NULL, link_path, 1, &dir, &created), ENOTDIR);
    assert_null(dir);
}

static void directory_without_a_path_before_it_opens(void **state) {
    place *p = *state;
    int created;
    mrl_dir *dir = NULL;
    char before[600];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(p->root), 0);
    int err = files->dir_open(NULL, "near/", 1, &dir, &created);
    assert_int_equal(chdir(before), 0);
    assert_int_equal(err, 0);
    assert_true(created);
    files->dir_close(dir);
    assert_int_equal(mode_of(path_in(p->root, "near")), 0700);
    assert_int_equal(files->dir_open(NULL, "/", 0, &dir, &created), 0);
    files->dir_close(dir);
}

static void names_that_lead_elsewhere_are_refused(void **state) {
    place *p = *state;
    static const char *const bad[] = {"", ".", "..", "../x", "a/b", "/etc/passwd"};
    mrl_file *file = NULL;
    uint64_t pid;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(files->file_open(p->dir, bad[i], MRL_FILE_CREATE, &file), EINVAL);
        assert_null(file);
        assert_int_equal(files->rename(p->dir, bad[i], "x"), EINVAL);
        assert_int_equal(files->rename(p->dir, "x", bad[i]), EINVAL);
        assert_int_equal(files->remove(p->dir, bad[i]), EINVAL);
        assert_int_equal(files->link(p->dir, "x", p->dir, bad[i]), EINVAL);
        assert_int_equal(files->dir_lock(p->dir, bad[i], &pid), EINVAL);
    }
}

static void planted_link_is_never_followed(void **state) {
    place *p = *state;
    mrl_file *file = NULL;
    uint64_t pid;
    char outside[600];
    (void)snprintf(outside, sizeof outside, "%s/outside", p->root);
    FILE *victim = fopen(outside, "w");
    assert_non_null(victim);
    (void)fputs("mine", victim);
    (void)fclose(victim);
    assert_int_equal(symlink(outside, path_in(p->path, "log-1")), 0);
    assert_int_equal(symlink("../made", path_in(p->path, "lock")), 0);
    assert_int_equal(files->file_open(p->dir, "log-1", MRL_FILE_READ, &file), ELOOP);
    assert_int_equal(files->file_open(p->dir, "log-1", MRL_FILE_WRITE, &file), ELOOP);
    assert_int_equal(files->file_open(p->dir, "log-1", MRL_FILE_CREATE, &file), EEXIST);
    assert_null(file);
    assert_int_equal(files->link(p->dir, "log-1", p->dir, "log-2"), ELOOP);
    assert_int_equal(files->dir_lock(p->dir, "lock", &pid), ELOOP);
    assert_int_not_equal(access(path_in(p->root, "made"), F_OK), 0);
    struct stat is;
    assert_int_equal(stat(outside, &is), 0);
    assert_int_equal(is.st_size, 4);
}

static void planted_pipe_or_directory_is_no_file(void **state) {
    place *p = *state;
    mrl_file *file = NULL;
    uint64_t pid;
    assert_int_equal(mkfifo(path_in(p->path, "pipe"), 0600), 0);
    assert_int_equal(mkdir(path_in(p->path, "inner"), 0700), 0);
    assert_int_equal(files->file_open(p->dir, "pipe", MRL_FILE_READ, &file), EINVAL);
    assert_int_equal(files->file_open(p->dir, "pipe", MRL_FILE_WRITE, &file), EINVAL);
    assert_int_equal(files->file_open(p->dir, "inner", MRL_FILE_READ, &file), EINVAL);
    assert_int_equal(files->file_open(p->dir, "inner", MRL_FILE_WRITE, &file), EISDIR);
    assert_int_equal(files->dir_lock(p->dir, "pipe", &pid), EINVAL);
}

typedef struct listing {
    uint32_t count;
    uint64_t size;
    uint32_t stop_at;
} listing;

static int list(void *context, const char *name, uint64_t size) {
    listing *l = context;
    (void)name;
    l->count++;
    l->size += size;
    return l->count == l->stop_at;
}

static void listing_has_regular_files_only(void **state) {
    place *p = *state;
    mrl_file *file = open_ok(p, "one", MRL_FILE_CREATE);
    write_text(file, 0, "12345");
    files->file_close(file);
    files->file_close(open_ok(p, "two", MRL_FILE_CREATE));
    assert_int_equal(mkdir(path_in(p->path, "inner"), 0700), 0);
    assert_int_equal(mkfifo(path_in(p->path, "pipe"), 0600), 0);
    assert_int_equal(symlink("one", path_in(p->path, "link")), 0);
    for (int i = 0; i < 2; i++) { /* twice: the second one begins at the beginning */
        listing all = {0}, first = {.stop_at = 1};
        assert_int_equal(files->dir_each(p->dir, list, &all), 0);
        assert_int_equal(all.count, 2);
        assert_int_equal(all.size, 5);
        assert_int_equal(files->dir_each(p->dir, list, &first), 0);
        assert_int_equal(first.count, 1);
    }
}

static void names_are_renamed_removed_and_linked(void **state) {
    place *p = *state;
    mrl_dir *other = NULL;
    int created;
    mrl_file *file = open_ok(p, "a", MRL_FILE_CREATE);
    write_text(file, 0, "aaa");
    files->file_close(file);
    file = open_ok(p, "b", MRL_FILE_CREATE);
    write_text(file, 0, "bbb");
    assert_int_equal(files->rename(p->dir, "a", "b"), 0);
    assert_text(file, 0, "bbb"); /* who has it open keeps it */
    files->file_close(file);
    file = open_ok(p, "b", MRL_FILE_READ);
    assert_text(file, 0, "aaa");
    files->file_close(file);
    assert_int_equal(files->rename(p->dir, "a", "b"), ENOENT);
    assert_int_equal(files->dir_open(NULL, path_in(p->root, "other"), 1, &other, &created), 0);
    assert_int_equal(files->link(p->dir, "b", other, "c"), 0);
    assert_int_equal(files->link(p->dir, "b", other, "c"), EEXIST);
    assert_int_equal(files->remove(p->dir, "b"), 0);
    assert_int_equal(files->remove(p->dir, "b"), ENOENT);
    assert_int_equal(files->file_open(other, "c", MRL_FILE_READ, &file), 0);
    assert_text(file, 0, "aaa");
    files->file_close(file);
    assert_int_equal(files->dir_sync(other), 0);
    files->dir_close(other);
}

/* ---- files ---- */

static void file_is_its_owners_alone_and_made_once(void **state) {
    place *p = *state;
    mrl_file *file = NULL;
    mode_t before = umask(0);
    files->file_close(open_ok(p, "new", MRL_FILE_CREATE));
    (void)umask(before);
    assert_int_equal(mode_of(path_in(p->path, "new")), 0600);
    assert_int_equal(files->file_open(p->dir, "new", MRL_FILE_CREATE, &file), EEXIST);
    assert_int_equal(files->file_open(p->dir, "old", MRL_FILE_WRITE, &file), ENOENT);
    assert_int_equal(files->file_open(p->dir, "old", MRL_FILE_READ, &file), ENOENT);
    assert_null(file);
    file = open_ok(p, "new", MRL_FILE_READ);
    mrl_file_part part = {"x", 1};
    assert_int_equal(files->file_write(file, 0, &part, 1), EBADF);
    files->file_close(file);
    files->file_close(NULL);
}

static void file_never_has_a_standard_descriptor(void **state) {
    place *p = *state;
    int kept = dup(STDIN_FILENO);
    (void)close(STDIN_FILENO);
    mrl_file *file = open_ok(p, "new", MRL_FILE_CREATE);
    int is_free = fcntl(STDIN_FILENO, F_GETFD) < 0;
    if (kept >= 0) (void)dup2(kept, STDIN_FILENO);
    assert_true(is_free);
    write_text(file, 0, "x");
    files->file_close(file);
    (void)close(kept);
}

static void many_parts_are_written_behind_each_other(void **state) {
    enum { PART_COUNT = 3000 };
    place *p = *state;
    static char bytes[PART_COUNT * 7];
    static char back[sizeof bytes + 10];
    mrl_file_part parts[PART_COUNT];
    size_t at = 0;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 31 + i / 251);
    for (size_t i = 0; i < PART_COUNT; i++) {
        parts[i] = (mrl_file_part){bytes + at, i % 8};
        at += i % 8;
    }
    mrl_file *file = open_ok(p, "parts", MRL_FILE_CREATE);
    assert_int_equal(files->file_write(file, 100, parts, PART_COUNT), 0);
    assert_int_equal(files->file_write(file, 0, parts, 0), 0);
    size_t got = 0;
    assert_int_equal(files->file_read(file, 100, back, sizeof back, &got), 0);
    assert_int_equal(got, at);
    assert_memory_equal(back, bytes, at);
    assert_int_equal(files->file_read(file, 0, back, 100, &got), 0);
    for (int i = 0; i < 100; i++) assert_int_equal(back[i], 0);
    assert_int_equal(files->file_read(file, 1 << 20, back, 5, &got), 0);
    assert_int_equal(got, 0);
    assert_int_equal(files->file_sync(file), 0);
    files->file_close(file);
}

static void offsets_beyond_the_system_are_refused(void **state) {
    place *p = *state;
    char byte;
    size_t got = 7;
    mrl_file_part part = {"x", 1};
    mrl_file *file = open_ok(p, "far", MRL_FILE_CREATE);
    assert_int_equal(files->file_write(file, UINT64_MAX, &part, 1), EFBIG);
    assert_int_equal(files->file_write(file, INT64_MAX, &part, 1), EFBIG);
    assert_int_equal(files->file_read(file, UINT64_MAX, &byte, 1, &got), EOVERFLOW);
    assert_int_equal(got, 0);
    assert_int_equal(files->file_reserve(file, UINT64_MAX), EFBIG);
    assert_int_equal(files->file_truncate(file, UINT64_MAX), EFBIG);
    files->file_close(file);
}

static void reserved_room_reads_as_zeros_and_is_counted(void **state) {
    place *p = *state;
    struct stat is;
    uint64_t size;
    mrl_file *file = open_ok(p, "room", MRL_FILE_CREATE);
    write_text(file, 0, "abc");
    assert_int_equal(files->file_reserve(file, 0), 0);
    assert_int_equal(files->file_reserve(file, 300000), 0);
    assert_int_equal(files->file_size(file, &size), 0);
    assert_int_equal(size, 300000);
    assert_text(file, 0, "abc");
    char end[4] = "xyz";
    size_t got;
    assert_int_equal(files->file_read(file, 299997, end, 4, &got), 0);
    assert_int_equal(got, 3);
    assert_memory_equal(end, "\0\0\0", 3);
    assert_int_equal(stat(path_in(p->path, "room"), &is), 0);
    assert_true(is.st_blocks * 512 >= 300000);
    assert_int_equal(files->file_reserve(file, 10), 0); /* never makes it smaller */
    assert_int_equal(files->file_size(file, &size), 0);
    assert_int_equal(size, 300000);
    assert_int_equal(files->file_truncate(file, 2), 0);
    assert_int_equal(files->file_size(file, &size), 0);
    assert_int_equal(size, 2);
    files->file_close(file);
}

/* A limit on the size of files: a write is cut short, and the rest refused. */
static void write_beyond_the_limit_of_the_process_is_an_error(void **state) {
    place *p = *state;
    struct rlimit before, small = {.rlim_cur = 1000};
    static char bytes[3000];
    mrl_file_part parts[2] = {{bytes, 700}, {bytes, 700}};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    mrl_file *file = NULL;
    uint64_t size = 0;
    int opened = files->file_open(p->dir, "big", MRL_FILE_CREATE, &file);
    int written = files->file_write(file, 0, parts, 2);
    int reserved = files->file_reserve(file, 5000);
    int sized = files->file_size(file, &size);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, handler);
    assert_int_equal(opened, 0);
    assert_int_equal(written, EFBIG);
    assert_int_equal(reserved, EFBIG);
    assert_int_equal(sized, 0);
    assert_int_equal(size, 1000); /* the part that fitted was written */
    files->file_close(file);
}

/* ---- a full disk ---- */

static void fill(place *p) {
    static char bytes[64 << 10];
    mrl_file_part part = {bytes, sizeof bytes};
    uint64_t room = 0, after = 0;
    mrl_file *file = open_ok(p, "fill", MRL_FILE_CREATE);
    assert_int_equal(files->dir_room(p->dir, &room), 0);
    assert_true(room > 0 && room <= 256 << 10);
    assert_int_equal(files->file_reserve(file, 1 << 20), ENOSPC);
    assert_int_equal(files->file_truncate(file, 0), 0);
    assert_int_equal(files->file_reserve(file, 128 << 10), 0);
    assert_int_equal(files->dir_room(p->dir, &after), 0);
    assert_true(after + (128 << 10) <= room);
    int err = 0;
    for (uint64_t at = 0; err == 0 && at < 1 << 20; at += sizeof bytes)
        err = files->file_write(file, at, &part, 1);
    assert_int_equal(err, ENOSPC);
    files->file_close(file);
    /* A name more is no room more. */
    assert_int_equal(files->remove(p->dir, "fill"), 0);
}

static void full_disk_says_so(void **state) {
    place *p = *state;
    mrl_dir *before = p->dir;
    int created;
    if (mount("tmpfs", p->path, "tmpfs", 0, "size=256k") != 0) {
        /* Said aloud, and no failure: tests/model/disk_test.c has a disk that fills up, too. */
        print_message("# NOT TRIED full_disk_says_so: no tmpfs may be mounted: %s\n",
                      strerror(errno));
        return;
    }
    int err = files->dir_open(NULL, p->path, 0, &p->dir, &created);
    if (err == 0) fill(p);
    files->dir_close(p->dir);
    p->dir = before;
    (void)umount(p->path);
    assert_int_equal(err, 0);
}

/* ---- the lock ---- */

/* What a child found. */
typedef struct answer {
    int err;
    uint64_t pid;
} answer;

/* A child that never outlives a test that failed. */
static pid_t fork_child(void) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    return child;
}

/* Tries the directory's lock in a process of its own; mode 'h' holds it until it is killed. */
static answer ask_child(const char *path, char mode, pid_t *out_child) {
    int pipe_fds[2];
    answer a = {-1, 0};
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork_child();
    if (child == 0) {
        mrl_dir *dir = NULL;
        int created;
        answer mine = {-2, 0};
        if (files->dir_open(NULL, path, 0, &dir, &created) == 0)
            mine.err = files->dir_lock(dir, "lock", &mine.pid);
        ssize_t put = write(pipe_fds[1], &mine, sizeof mine);
        while (mode == 'h' && put > 0) (void)pause();
        _exit(0);
    }
    (void)close(pipe_fds[1]);
    assert_int_equal(read(pipe_fds[0], &a, sizeof a), sizeof a);
    (void)close(pipe_fds[0]);
    if (mode == 'h')
        *out_child = child;
    else
        (void)waitpid(child, NULL, 0);
    return a;
}

static void second_open_of_one_process_is_refused(void **state) {
    place *p = *state;
    mrl_dir *again = NULL;
    int created;
    uint64_t pid = 1;
    assert_int_equal(files->dir_lock(p->dir, "lock", &pid), 0);
    assert_int_equal(pid, 0);
    assert_int_equal(mode_of(path_in(p->path, "lock")), 0600);
    assert_int_equal(files->dir_open(NULL, p->path, 1, &again, &created), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(files->dir_lock(again, "lock", &pid), EBUSY);
        assert_int_equal(pid, getpid());
        /* The refusal did not cost the first one its lock. */
        answer other = ask_child(p->path, 't', NULL);
        assert_int_equal(other.err, EBUSY);
        assert_int_equal(other.pid, getpid());
    }
    files->dir_unlock(p->dir);
    files->dir_unlock(p->dir);
    assert_int_equal(files->dir_lock(again, "lock", &pid), 0);
    files->dir_close(again); /* gives it up, too */
    assert_int_equal(ask_child(p->path, 't', NULL).err, 0);
}

static void other_process_is_named_and_its_end_frees(void **state) {
    place *p = *state;
    pid_t child = 0;
    uint64_t pid = 0;
    assert_int_equal(ask_child(p->path, 'h', &child).err, 0);
    assert_int_equal(files->dir_lock(p->dir, "lock", &pid), EBUSY);
    assert_int_equal(pid, child);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(files->dir_lock(p->dir, "lock", &pid), 0);
    assert_int_equal(pid, 0);
}

/* A child that outlives its parent's database does not keep the directory; and what the child does
 * with what it has inherited does not drop its parent's lock. */
static void forked_child_neither_has_nor_keeps_it(void **state) {
    place *p = *state;
    uint64_t pid;
    int pipe_fds[2];
    char byte;
    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(files->dir_lock(p->dir, "lock", &pid), 0);
    pid_t child = fork_child();
    if (child == 0) {
        files->dir_unlock(p->dir); /* closes its descriptor only */
        (void)!write(pipe_fds[1], "x", 1);
        for (;;) (void)pause();
    }
    assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
    answer other = ask_child(p->path, 't', NULL);
    assert_int_equal(other.err, EBUSY);
    assert_int_equal(other.pid, getpid());
    files->dir_unlock(p->dir);
    other = ask_child(p->path, 't', NULL); /* forked while the first child lives */
    assert_int_equal(other.err, 0);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
}

/* Threads that lock and unlock one directory: never two at once. */
typedef struct race {
    const char *path;
    _Atomic int holders, taken, broken;
} race;

static void *race_run(void *context) {
    race *r = context;
    for (int i = 0; i < 300; i++) {
        mrl_dir *dir = NULL;
        int created;
        uint64_t pid;
        if (files->dir_open(NULL, r->path, 0, &dir, &created) != 0) {
            r->broken++;
            return NULL;
        }
        if (files->dir_lock(dir, "lock", &pid) == 0) {
            if (r->holders++ != 0) r->broken++;
            r->taken++;
            (void)sched_yield();
            r->holders--;
        }
        files->dir_close(dir);
    }
    return NULL;
}

static void threads_never_hold_it_together(void **state) {
    place *p = *state;
    race r = {p->path, 0, 0, 0};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race_run, &r), 0);
    for (int i = 0; i < 3; i++) (void)pthread_join(threads[i], NULL);
    assert_int_equal(r.broken, 0);
    assert_true(r.taken > 0);
}

#define IN_A_PLACE(test) cmocka_unit_test_setup_teardown(test, place_make, place_clear)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_A_PLACE(directory_is_made_for_its_owner_alone),
        IN_A_PLACE(directory_that_is_a_file_or_a_link_is_refused),
        IN_A_PLACE(directory_without_a_path_before_it_opens),
        IN_A_PLACE(names_that_lead_elsewhere_are_refused),
        IN_A_PLACE(planted_link_is_never_followed),
        IN_A_PLACE(planted_pipe_or_directory_is_no_file),
        IN_A_PLACE(listing_has_regular_files_only),
        IN_A_PLACE(names_are_renamed_removed_and_linked),
        IN_A_PLACE(file_is_its_owners_alone_and_made_once),
        IN_A_PLACE(file_never_has_a_standard_descriptor),
        IN_A_PLACE(many_parts_are_written_behind_each_other),
        IN_A_PLACE(offsets_beyond_the_system_are_refused),
        IN_A_PLACE(reserved_room_reads_as_zeros_and_is_counted),
        IN_A_PLACE(write_beyond_the_limit_of_the_process_is_an_error),
        IN_A_PLACE(full_disk_says_so),
        IN_A_PLACE(second_open_of_one_process_is_refused),
        IN_A_PLACE(other_process_is_named_and_its_end_frees),
        IN_A_PLACE(forked_child_neither_has_nor_keeps_it),
        IN_A_PLACE(threads_never_hold_it_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
