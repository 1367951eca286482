/* bench/disk/main.c - measures the phases that have a disk in them; see disk.h.
 *
 * What    the command line, the directory, and a fresh process for each phase of each system.
 * Sees    `RESULT <system> <phase> <threads> <value> <unit>` on stdout, and first a line
 *         `FILES <file system> <device> <path>`; all else goes to stderr.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/common/measure.h"
#include "bench/disk/disk.h"
#include "bench/plant.h"

#define COUNT_MAX 20000000
#define TMPFS 0x01021994
#define RAMFS 0x858458f6
#define REOPEN_COUNT 3u

typedef struct options {
    disk_stage stage;
    const char *phases; /* lists with commas */
    const char *systems;
    const char *threads;
    const char *directory;
    const char *fault; /* planted in every system; NULL: none */
    unsigned allows_tmpfs;
    unsigned is_about; /* nothing is measured: what the systems and the files are */
    const char *role;  /* of a process that was started for reopen; NULL: the first one */
    uint64_t start_ns;
} options;

typedef enum piece_threads { THREADS_ONE, THREADS_EACH } piece_threads;

/* One phase of one system, in a process of its own. */
typedef struct piece {
    const char *phase;
    const char *system; /* "raw", or NULL: each that can */
    void (*run)(const disk_stage *disk);
    unsigned (*can)(const bench_system *system);
    piece_threads threads;
} piece;

static const bench_system *const systems[] = {
#ifdef BENCH_HAVE_MERLE
    &bench_merle,
#endif
#ifdef BENCH_HAVE_LMDB
    &bench_lmdb,
#endif
#ifdef BENCH_HAVE_SQLITE
    &bench_sqlite,
#endif
    NULL};

/* ---- what can be done ---- */

static unsigned can_sync(const bench_system *system) {
    return system->disk != NULL;
}
static unsigned can_wait(const bench_system *system) {
    return system->disk != NULL && system->disk->insert_later != NULL;
}
static unsigned can_checkpoint(const bench_system *system) {
    return system->disk != NULL && system->disk->checkpoint != NULL;
}
static unsigned can_expire(const bench_system *system) {
    return system->disk != NULL && system->disk->insert_for != NULL;
}

static const piece pieces[] = {
    {"async", "raw", disk_raw_async, NULL, THREADS_ONE},
    {"async", NULL, disk_async_memory, can_wait, THREADS_EACH},
    {"async", NULL, disk_async, can_wait, THREADS_EACH},
    {"sync", "raw", disk_raw_sync, NULL, THREADS_ONE},
    {"sync", NULL, disk_sync, can_sync, THREADS_ONE},
    {"sync64", "raw", disk_raw_sync64, NULL, THREADS_ONE},
    {"sync64", NULL, disk_sync64_loop, can_wait, THREADS_ONE},
    {"sync64", NULL, disk_sync64_poll, can_wait, THREADS_ONE},
    {"sync64", NULL, disk_sync64_threads, can_wait, THREADS_ONE},
    {"checkpoint", NULL, disk_checkpoint, can_checkpoint, THREADS_ONE},
    {"expiry", NULL, disk_expiry, can_expire, THREADS_ONE},
};
#define PIECE_COUNT (sizeof pieces / sizeof *pieces)
static const char *const phase_names = "async,sync,sync64,checkpoint,reopen,expiry";

/* Whether a list has a word of this size. */
static unsigned list_has(const char *list, const char *word, size_t word_size) {
    for (const char *at = list; *at != 0;) {
        size_t size = strcspn(at, ",");
        if (size == word_size && memcmp(at, word, size) == 0) return 1;
        at += size + (at[size] == ',');
    }
    return 0;
}

static unsigned is_wanted(const char *list, const char *word) {
    return list_has(list, "all", 3) || list_has(list, word, strlen(word));
}

static void list_check(const char *list, const char *known, const char *what) {
    for (const char *at = list; *at != 0;) {
        size_t size = strcspn(at, ",");
        if (!list_has("all", at, size) && !list_has(known, at, size)) {
            bench_die("%s: of %s, not %.*s", what, known, (int)size, at);
        }
        at += size + (at[size] == ',');
    }
}

/* ---- the directory ---- */

static int entry_remove(const char *path, const struct stat *about, int kind, struct FTW *place) {
    (void)about;
    (void)kind;
    (void)place;
    return remove(path);
}

static void directory_remove(const char *path) {
    if (nftw(path, entry_remove, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT) {
        bench_note("disk: cannot remove %s: %s", path, strerror(errno));
    }
}

/* Says which file system it is: the mount whose device is the directory's. */
static void file_system_say(const char *path) {
    char line[1024];
    struct stat about;
    if (stat(path, &about) != 0) bench_die("%s: %s", path, strerror(errno));
    FILE *mounts = fopen("/proc/self/mountinfo", "r");
    char kind[64] = "unknown";
    char device[256] = "unknown";
    while (mounts != NULL && fgets(line, sizeof line, mounts) != NULL) {
        unsigned major_number;
        unsigned minor_number;
        const char *rest = strstr(line, " - ");
        if (rest == NULL || sscanf(line, "%*u %*u %u:%u", &major_number, &minor_number) != 2) {
            continue;
        }
        if (about.st_dev != (((dev_t)major_number & 0xfff) << 8 | (minor_number & 0xff))) continue;
        (void)sscanf(rest, " - %63s %255s", kind, device);
    }
    if (mounts != NULL) fclose(mounts);
    printf("FILES %s %s %s\n", kind, device, path);
    fflush(stdout);
}

static void directory_check(const options *wanted, const char *path) {
    struct statfs about;
    if (statfs(path, &about) != 0) bench_die("%s: %s", path, strerror(errno));
    unsigned is_memory = about.f_type == TMPFS || (unsigned long)about.f_type == RAMFS;
    if (is_memory && !wanted->allows_tmpfs) {
        bench_die("%s is in memory, which says nothing of a disk (--dir, or --allow-tmpfs)", path);
    }
}

/* Beside this program, where nothing else was asked for. */
static const char *directory_default(void) {
    static char path[PATH_MAX + 16];
    char program[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
    if (size <= 0) bench_die("cannot tell where this program is");
    program[size] = 0;
    snprintf(path, sizeof path, "%s/disk.files", dirname(program));
    return path;
}

static void directory_make(const options *wanted, const char *what, char *out_path) {
    if (snprintf(out_path, DISK_PATH_SIZE, "%s/%s.%d", wanted->directory, what, (int)getpid()) >=
        (int)DISK_PATH_SIZE) {
        bench_die("--dir: the path is too long");
    }
    if (mkdir(out_path, 0700) != 0) bench_die("%s: %s", out_path, strerror(errno));
}

/* ---- processes ---- */

/* Whoever ends this program ends its children: they would go on writing. */
static void parent_follow(void) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) bench_die("prctl: %s", strerror(errno));
}

/* Waits for a child that is to end well, or by a signal. */
static void child_wait(pid_t child, int signal_wanted, const char *directory) {
    int status = 0;
    if (waitpid(child, &status, 0) != child) bench_die("lost a process");
    unsigned is_good = signal_wanted == 0
                           ? WIFEXITED(status) && WEXITSTATUS(status) == 0
                           : WIFSIGNALED(status) && WTERMSIG(status) == signal_wanted;
    if (is_good) return;
    directory_remove(directory);
    bench_die("a measurement gave up; what was printed before it stands");
}

static void forked_run(const disk_stage *stage, void (*run)(const disk_stage *),
                       int signal_wanted) {
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) bench_die("cannot fork");
    if (child == 0) {
        parent_follow();
        run(stage);
        _exit(0);
    }
    child_wait(child, signal_wanted, stage->directory);
}

static void piece_run(const options *wanted, const piece *what, const bench_system *system,
                      unsigned thread_count) {
    disk_stage stage = wanted->stage;
    stage.system = system;
    stage.thread_count = thread_count;
    directory_make(wanted, what->phase, stage.directory);
    forked_run(&stage, what->run, 0);
    directory_remove(stage.directory);
}

static void piece_run_each(const options *wanted, const piece *what, const bench_system *system) {
    if (what->threads == THREADS_ONE) {
        piece_run(wanted, what, system, 1);
        return;
    }
    for (const char *at = wanted->threads; *at != 0;) {
        piece_run(wanted, what, system, (unsigned)strtoul(at, NULL, 10));
        at += strcspn(at, ",");
        at += *at == ',';
    }
}

/* ---- reopen ---- */

/* Starts this program anew: nothing of this process is in the time. */
static void opening_run(const options *wanted, const disk_stage *stage, const char *role,
                        int signal_wanted) {
    char count[16];
    char start[32];
    char entries[8];
    snprintf(count, sizeof count, "%u", stage->count);
    snprintf(entries, sizeof entries, "%u", stage->entries);
    fflush(stdout);
    snprintf(start, sizeof start, "%lu", bench_now_ns());
    const char *words[24] = {"disk",
                             "--n",
                             count,
                             "--role",
                             role,
                             "--system",
                             stage->system->name,
                             "--dir",
                             stage->directory,
                             "--started",
                             start,
                             "--entries",
                             entries};
    size_t word_count = 13;
    if (stage->background == BENCH_BACKGROUND_NONE) {
        words[word_count++] = "--background";
        words[word_count++] = "none";
    }
    if (wanted->fault != NULL) {
        words[word_count++] = "--plant";
        words[word_count++] = wanted->fault;
    }
    pid_t child = vfork();
    if (child < 0) bench_die("cannot fork");
    if (child == 0) {
        execv("/proc/self/exe", (char *const *)(uintptr_t)words);
        _exit(127);
    }
    child_wait(child, signal_wanted, stage->directory);
}

static void reopen_run(const options *wanted, const bench_system *system) {
    disk_stage stage = wanted->stage;
    stage.system = system;
    stage.thread_count = 1;
    directory_make(wanted, "reopen", stage.directory);
    forked_run(&stage, disk_reopen_fill, 0);
    for (unsigned i = 0; i < REOPEN_COUNT; i++) {
        forked_run(&stage, disk_files_reopen, 0);
        opening_run(wanted, &stage, "open", 0);
    }
    forked_run(&stage, (void (*)(const disk_stage *))disk_reopen_change, SIGKILL);
    for (unsigned i = 0; i < REOPEN_COUNT; i++) opening_run(wanted, &stage, "killed", SIGKILL);
    directory_remove(stage.directory);
}

/* The floor alone, over files of as many bytes, where no system can be reopened. */
static void files_alone_run(const options *wanted) {
    disk_stage stage = wanted->stage;
    char path[DISK_PATH_SIZE + 16];
    directory_make(wanted, "files", stage.directory);
    snprintf(path, sizeof path, "%s/documents", stage.directory);
    FILE *file = fopen(path, "w");
    for (uint32_t i = 0; file != NULL && i < stage.count; i++) {
        bench_record record;
        bench_record_make(&record, i, 0, stage.count);
        if (fwrite(record.bytes, record.size, 1, file) != 1) bench_die("cannot write %s", path);
    }
    if (file == NULL || fclose(file) != 0) bench_die("cannot write %s", path);
    forked_run(&stage, disk_files_reopen, 0);
    directory_remove(stage.directory);
}

/* ---- the whole ---- */

static const bench_system *system_wanted(const options *wanted, size_t at) {
    if (!is_wanted(wanted->systems, systems[at]->name)) return NULL;
    return wanted->fault == NULL ? systems[at] : bench_plant(systems[at], wanted->fault);
}

static void phase_run(const options *wanted, const piece *what) {
    if (!is_wanted(wanted->phases, what->phase)) return;
    if (what->system != NULL) {
        if (is_wanted(wanted->systems, what->system)) piece_run_each(wanted, what, NULL);
        return;
    }
    for (size_t at = 0; systems[at] != NULL; at++) {
        const bench_system *system = system_wanted(wanted, at);
        if (system != NULL && what->can(system)) piece_run_each(wanted, what, system);
    }
}

static void all_run(const options *wanted) {
    unsigned is_reopened = 0;
    for (size_t i = 0; i < PIECE_COUNT; i++) phase_run(wanted, &pieces[i]);
    if (!is_wanted(wanted->phases, "reopen")) return;
    for (size_t at = 0; systems[at] != NULL; at++) {
        const bench_system *system = system_wanted(wanted, at);
        if (system == NULL || !can_checkpoint(system)) continue;
        reopen_run(wanted, system);
        is_reopened = 1;
    }
    if (!is_reopened && is_wanted(wanted->systems, "files")) files_alone_run(wanted);
}

/* What a process does that reopen started. */
static int role_run(const options *wanted) {
    disk_stage stage = wanted->stage;
    parent_follow();
    snprintf(stage.directory, sizeof stage.directory, "%s", wanted->directory);
    for (size_t at = 0; systems[at] != NULL; at++) {
        const bench_system *system = system_wanted(wanted, at);
        if (system == NULL) continue;
        stage.system = system;
        disk_reopen_open(&stage, strcmp(wanted->role, "killed") == 0, wanted->start_ns);
        return 0;
    }
    return 1;
}

/* ---- the command line ---- */

static const char usage[] =
    "usage: disk [options]\n"
    "  --n N            documents; default 1000000\n"
    "  --phase LIST     async, sync, sync64, checkpoint, reopen, expiry; default all\n"
    "  --system LIST    merle, raw, files, lmdb, sqlite; default all\n"
    "  --threads LIST   of async; default 1,2\n"
    "  --entries E      index entries a document: 5, or 2; default 5\n"
    "  --dir PATH       where the files are made; default disk.files beside this program\n"
    "  --allow-tmpfs    also where that is no disk but memory\n"
    "  --seconds S      sync64 takes at least so long, and the writer of checkpoint is alone for "
    "so\n"
    "                   long; default 5\n"
    "  --background B   merle's own threads: default or none\n"
    "  --plant FAULT    lets insert, later, get, range, top, tag, tagand or update go wrong once:\n"
    "                   the measurement must give up\n"
    "  --about          prints what the systems and the file system are, and ends\n";

static long number_parse(const char *text, long least, long most, const char *what) {
    char *end;
    long number = strtol(text, &end, 10);
    if (end == text || *end != 0 || number < least || number > most) {
        bench_die("%s: from %ld to %ld, not %s", what, least, most, text);
    }
    return number;
}

static void about_print(void) {
    for (size_t at = 0; systems[at] != NULL; at++) {
        printf("ABOUT %s %s\n", systems[at]->name, systems[at]->about);
    }
}

static void stage_option(disk_stage *stage, int option, const char *text) {
    if (option == 'n') stage->count = (uint32_t)number_parse(text, 2000, COUNT_MAX, "--n");
    if (option == 'e') {
        stage->entries = (unsigned)number_parse(text, 2, 5, "--entries");
        if (stage->entries != BENCH_ENTRIES_FEW) stage->entries = BENCH_ENTRIES_ALL;
    }
    if (option == 'd') {
        stage->seconds = strtod(text, NULL);
        if (!(stage->seconds > 0 && stage->seconds <= 60)) bench_die("--seconds: to 60");
    }
    if (option == 'b' && strcmp(text, "none") == 0) stage->background = BENCH_BACKGROUND_NONE;
}

static void options_parse(options *wanted, int argc, char **argv) {
    static const struct option known[] = {{"n", required_argument, NULL, 'n'},
                                          {"phase", required_argument, NULL, 'p'},
                                          {"system", required_argument, NULL, 's'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"entries", required_argument, NULL, 'e'},
                                          {"dir", required_argument, NULL, 'D'},
                                          {"allow-tmpfs", no_argument, NULL, 'm'},
                                          {"seconds", required_argument, NULL, 'd'},
                                          {"background", required_argument, NULL, 'b'},
                                          {"plant", required_argument, NULL, 'f'},
                                          {"role", required_argument, NULL, 'r'},
                                          {"started", required_argument, NULL, 'S'},
                                          {"about", no_argument, NULL, 'a'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        stage_option(&wanted->stage, option, optarg);
        if (option == 'p') wanted->phases = optarg;
        if (option == 's') wanted->systems = optarg;
        if (option == 't') wanted->threads = optarg;
        if (option == 'D') wanted->directory = optarg;
        if (option == 'm') wanted->allows_tmpfs = 1;
        if (option == 'f') wanted->fault = optarg;
        if (option == 'r') wanted->role = optarg;
        if (option == 'S') wanted->start_ns = strtoull(optarg, NULL, 10);
        if (option == 'a') wanted->is_about = 1;
        if (option == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        if (option == '?') {
            fputs(usage, stderr);
            exit(2);
        }
    }
}

int main(int argc, char **argv) {
    options wanted = {
        .stage = {.count = 1000000, .entries = BENCH_ENTRIES_ALL, .thread_count = 1, .seconds = 5},
        .phases = "all",
        .systems = "all",
        .threads = "1,2"};
    options_parse(&wanted, argc, argv);
    list_check(wanted.phases, phase_names, "--phase");
    list_check(wanted.systems, "merle,raw,files,lmdb,sqlite", "--system");
    list_check(wanted.threads, "1,2,3,4,8,16,32,64", "--threads");
    if (wanted.role != NULL) return role_run(&wanted);
    if (wanted.directory == NULL) wanted.directory = directory_default();
    if (mkdir(wanted.directory, 0700) != 0 && errno != EEXIST) {
        bench_die("%s: %s", wanted.directory, strerror(errno));
    }
    directory_check(&wanted, wanted.directory);
    file_system_say(wanted.directory);
    if (wanted.is_about) {
        about_print();
    } else {
        all_run(&wanted);
    }
    return 0;
}
