/* bench/workload.c - measures the workload of docs/workload.md on one or more systems.
 *
 * What    the command line, and one fresh process for each system, number of threads, round and
 *         pass, so that nothing that one leaves behind is in another's figures.
 * Sees    results go through a pipe to the parent, which prints the median of the rounds on stdout
 *         as `RESULT <system> <phase> <threads> <value> <unit>`; all else goes to stderr.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/common/measure.h"
#include "bench/phases.h"
#include "bench/plant.h"

#define RESULT_MAX 2048u
#define ROUND_MAX 64u
#define NAME_MAX_SIZE 96u
#define COUNT_MAX 50000000

typedef enum pass {
    PASS_PLAIN,
    PASS_TAIL,
    PASS_GETWRITER,
    PASS_GROWTH,
    PASS_MEMORY,
    PASS_COUNT
} pass;

typedef struct options {
    uint32_t count;
    unsigned threads[CREW_MAX];
    unsigned threads_count;
    unsigned round_count;
    unsigned entries;
    unsigned is_full;
    double scan_seconds;
    bench_background background;
    const char *phases;  /* a list with commas */
    const char *systems; /* a list with commas */
    const char *fault;   /* planted in every system; NULL: none */
} options;

/* One line of result, with its value in each round. */
typedef struct figure {
    char system[NAME_MAX_SIZE];
    char phase[NAME_MAX_SIZE];
    char unit[NAME_MAX_SIZE];
    unsigned thread_count;
    double values[ROUND_MAX];
    unsigned value_count;
} figure;

static figure figures[RESULT_MAX];
static size_t figure_count;

static const bench_system *const systems[] = {
    &bench_ck_hs,  &bench_ck_hs_tag, &bench_btree, &bench_idlist,
#ifdef BENCH_HAVE_MERLE
    &bench_merle,
#endif
#ifdef BENCH_HAVE_LMDB
    &bench_lmdb,
#endif
#ifdef BENCH_HAVE_SQLITE
    &bench_sqlite,
#endif
};
#define SYSTEM_COUNT (sizeof systems / sizeof *systems)

/* ---- lists on the command line ---- */

/* Whether a list has a word. */
static unsigned list_has(const char *list, const char *word) {
    size_t word_size = strlen(word);
    for (const char *at = list; *at != 0;) {
        size_t size = strcspn(at, ",");
        if (size == word_size && memcmp(at, word, size) == 0) return 1;
        at += size + (at[size] == ',');
    }
    return 0;
}

static unsigned is_wanted(const options *wanted, const char *system) {
    static const char floors[] = "ram,epoch,ck_hs,ck_hs_tag,btree,idlist";
    static const char peers[] = "lmdb,sqlite";
    return list_has(wanted->systems, "all") || list_has(wanted->systems, system) ||
           (list_has(wanted->systems, "floor") && list_has(floors, system)) ||
           (list_has(wanted->systems, "peers") && list_has(peers, system));
}

static unsigned phase_is_wanted(const options *wanted, const char *phase) {
    return list_has(wanted->phases, "all") || list_has(wanted->phases, phase);
}

static unsigned phase_is_known(const char *phase) {
    static const char others[] = "all,insert,tail,getwriter,growth,memory";
    if (list_has(others, phase)) return 1;
    for (const bench_phase *known = bench_phases; known->name != NULL; known++) {
        if (strcmp(known->name, phase) == 0) return 1;
    }
    return 0;
}

static unsigned system_is_known(const char *name) {
    static const char others[] = "all,floor,peers,ram,epoch";
    if (list_has(others, name)) return 1;
    for (size_t i = 0; i < SYSTEM_COUNT; i++) {
        if (strcmp(systems[i]->name, name) == 0) return 1;
    }
    return 0;
}

static void list_check(const char *list, unsigned (*is_known)(const char *), const char *what) {
    for (const char *at = list; *at != 0;) {
        char word[NAME_MAX_SIZE];
        size_t size = strcspn(at, ",");
        if (size >= sizeof word) bench_die("%s: %s is too long", what, at);
        memcpy(word, at, size);
        word[size] = 0;
        if (!is_known(word)) bench_die("there is no %s %s in this build", what, word);
        at += size + (at[size] == ',');
    }
}

/* ---- one pass, in a process of its own ---- */

static unsigned pass_is_wanted(const options *wanted, pass which) {
    static const char *const names[PASS_COUNT] = {[PASS_TAIL] = "tail",
                                                  [PASS_GETWRITER] = "getwriter",
                                                  [PASS_GROWTH] = "growth",
                                                  [PASS_MEMORY] = "memory"};
    if (which != PASS_PLAIN) return phase_is_wanted(wanted, names[which]);
    if (phase_is_wanted(wanted, "insert")) return 1;
    for (const bench_phase *phase = bench_phases; phase->name != NULL; phase++) {
        if (phase_is_wanted(wanted, phase->name)) return 1;
    }
    return 0;
}

static void plain_run(bench_stage *stage, const options *wanted) {
    bench_load(stage, phase_is_wanted(wanted, "insert") ? "insert" : NULL);
    for (const bench_phase *phase = bench_phases; phase->name != NULL; phase++) {
        if (!phase_is_wanted(wanted, phase->name)) continue;
        if (phase->can(stage)) {
            phase->run(stage);
        } else {
            bench_note("%s: cannot do %s with %u threads", stage->system->name, phase->name,
                       stage->thread_count);
        }
    }
}

static void pass_run(const options *wanted, const bench_system *system, unsigned thread_count,
                     pass which) {
    if (wanted->fault != NULL) system = bench_plant(system, wanted->fault);
    bench_stage stage = {.system = system,
                         .background = wanted->background,
                         .count = wanted->count,
                         .entries = wanted->entries,
                         .is_full = wanted->is_full,
                         .scan_seconds = wanted->scan_seconds,
                         .thread_count = thread_count};
    bench_stage_init(&stage);
    switch (which) {
    case PASS_PLAIN:
        plain_run(&stage, wanted);
        break;
    case PASS_TAIL:
        bench_tail(&stage);
        break;
    case PASS_GETWRITER:
        bench_load(&stage, NULL);
        bench_get_beside_writer(&stage);
        break;
    case PASS_GROWTH:
        bench_growth(&stage);
        break;
    case PASS_MEMORY:
    case PASS_COUNT:
        bench_memory(&stage);
        break;
    }
    system->thread_end(stage.thread);
    system->close();
}

/* ---- collecting ---- */

static void figure_add(const char *text) {
    figure line = {.value_count = 0};
    double value;
    if (sscanf(text, "RESULT %95s %95s %u %lf %95s", line.system, line.phase, &line.thread_count,
               &value, line.unit) != 5) {
        bench_die("a result line that is none: %s", text);
    }
    size_t at = 0;
    while (at < figure_count && (strcmp(figures[at].system, line.system) != 0 ||
                                 strcmp(figures[at].phase, line.phase) != 0 ||
                                 figures[at].thread_count != line.thread_count)) {
        at++;
    }
    if (at == RESULT_MAX) bench_die("too many results");
    if (at == figure_count) figures[figure_count++] = line;
    figures[at].values[figures[at].value_count++] = value;
}

static int value_compare(const void *left, const void *right) {
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median_of(figure *line) {
    unsigned count = line->value_count;
    qsort(line->values, count, sizeof *line->values, value_compare);
    if (count % 2 == 1) return line->values[count / 2];
    return (line->values[count / 2 - 1] + line->values[count / 2]) / 2;
}

/* Reads what a child says until it ends. With one round its lines are printed as they come. */
static void child_follow(const options *wanted, int descriptor, pid_t child) {
    char text[512];
    int status = 0;
    FILE *lines = fdopen(descriptor, "r");
    if (lines == NULL) bench_die("no memory");
    while (fgets(text, sizeof text, lines) != NULL) {
        if (wanted->round_count == 1) {
            fputs(text, stdout);
            fflush(stdout);
        } else {
            figure_add(text);
        }
    }
    fclose(lines);
    if (waitpid(child, &status, 0) != child || status != 0) {
        bench_die("a measurement gave up; what was printed before it stands");
    }
}

typedef struct piece {
    const char *floor;          /* a floor that is no table, or */
    const bench_system *system; /* a system and */
    pass which;                 /* one of its passes */
} piece;

static void piece_run(const options *wanted, piece what, unsigned thread_count) {
    int ends[2];
    if (pipe(ends) != 0) bench_die("no pipe");
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) bench_die("cannot fork");
    if (child == 0) {
        close(ends[0]);
        bench_result_to(ends[1]);
        if (what.floor != NULL) {
            bench_floor_run(what.floor, thread_count);
        } else {
            pass_run(wanted, what.system, thread_count, what.which);
        }
        _exit(0);
    }
    close(ends[1]);
    child_follow(wanted, ends[0], child);
}

static void system_run(const options *wanted, const bench_system *system, unsigned at) {
    unsigned thread_count = wanted->threads[at];
    for (pass which = PASS_PLAIN; which < PASS_COUNT; which++) {
        if (!pass_is_wanted(wanted, which)) continue;
        /* The other passes have a number of threads of their own: once is enough. */
        if (which != PASS_PLAIN && at != 0) continue;
        unsigned reader_min = which == PASS_GETWRITER ? 2 : which == PASS_PLAIN ? thread_count : 1;
        unsigned is_written = which == PASS_TAIL || which == PASS_GETWRITER;
        if (system->reader_max < reader_min || (is_written && system->update == NULL)) {
            bench_note("%s: cannot do this with %u threads", system->name, reader_min);
            continue;
        }
        piece what = {.system = system, .which = which};
        piece_run(wanted, what, which == PASS_PLAIN ? thread_count : 1);
    }
}

static void round_run(const options *wanted) {
    static const char *const floors[] = {"ram", "epoch"};
    for (unsigned at = 0; at < wanted->threads_count; at++) {
        for (size_t i = 0; i < 2; i++) {
            piece what = {.floor = floors[i]};
            if (is_wanted(wanted, floors[i])) piece_run(wanted, what, wanted->threads[at]);
        }
        for (size_t i = 0; i < SYSTEM_COUNT; i++) {
            if (is_wanted(wanted, systems[i]->name)) system_run(wanted, systems[i], at);
        }
    }
}

/* ---- the command line ---- */

static const char usage[] =
    "usage: workload [options]\n"
    "  --n N            documents; default 1000000\n"
    "  --threads LIST   numbers of threads; default 1,2\n"
    "  --entries E      index entries a document: 5, or 2 (name and email); default 5\n"
    "  --system LIST    merle, ck_hs, ck_hs_tag, btree, idlist, ram, epoch, lmdb, sqlite; floor,\n"
    "                   peers, all; default all\n"
    "  --phase LIST     insert, get, get_miss, get_many, unique, range100, top100, tag100, "
    "tagand,\n"
    "                   update, patch, tick, mixed95, scanwrite, dup, delete, tail, getwriter,\n"
    "                   growth, memory; default all\n"
    "  --scan-seconds S how long each of the three runs of scanwrite takes; default 5\n"
    "  --rounds R       the median of R rounds is printed; default 1\n"
    "  --background B   merle's own threads: default or none\n"
    "  --full           as many operations as for a million documents, also with fewer of them\n"
    "  --plant FAULT    lets insert, get, range, top, tag, tagand, update or patch go wrong once, "
    "at\n"
    "                   its third call: the measurement must give up\n"
    "  --about          prints what the systems are, and ends\n";

static long number_parse(const char *text, long least, long most, const char *what) {
    char *end;
    long number = strtol(text, &end, 10);
    if (end == text || (*end != 0 && *end != ',') || number < least || number > most) {
        bench_die("%s: from %ld to %ld, not %s", what, least, most, text);
    }
    return number;
}

static unsigned entries_parse(const char *text) {
    long entries = number_parse(text, BENCH_ENTRIES_FEW, BENCH_ENTRIES_ALL, "--entries");
    if (entries != BENCH_ENTRIES_FEW && entries != BENCH_ENTRIES_ALL)
        bench_die("--entries: %u or %u", BENCH_ENTRIES_FEW, BENCH_ENTRIES_ALL);
    return (unsigned)entries;
}

static double seconds_parse(const char *text) {
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end != 0 || !(seconds > 0 && seconds <= 3600))
        bench_die("--scan-seconds: more than 0, at most 3600, not %s", text);
    return seconds;
}

static void threads_parse(options *wanted, const char *list) {
    wanted->threads_count = 0;
    for (const char *at = list; *at != 0;) {
        if (wanted->threads_count == CREW_MAX) bench_die("--threads: too many");
        wanted->threads[wanted->threads_count++] =
            (unsigned)number_parse(at, 1, CREW_MAX, "--threads");
        at += strcspn(at, ",");
        at += *at == ',';
    }
}

static void about_print(void) {
    for (size_t i = 0; i < SYSTEM_COUNT; i++) {
        printf("ABOUT %s %s\n", systems[i]->name, systems[i]->about);
    }
}

static void options_parse(options *wanted, int argc, char **argv) {
    static const struct option known[] = {{"n", required_argument, NULL, 'n'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"system", required_argument, NULL, 's'},
                                          {"phase", required_argument, NULL, 'p'},
                                          {"rounds", required_argument, NULL, 'r'},
                                          {"entries", required_argument, NULL, 'e'},
                                          {"scan-seconds", required_argument, NULL, 'd'},
                                          {"background", required_argument, NULL, 'b'},
                                          {"full", no_argument, NULL, 'o'},
                                          {"plant", required_argument, NULL, 'f'},
                                          {"about", no_argument, NULL, 'a'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == 'n') wanted->count = (uint32_t)number_parse(optarg, 200, COUNT_MAX, "--n");
        if (option == 't') threads_parse(wanted, optarg);
        if (option == 's') wanted->systems = optarg;
        if (option == 'p') wanted->phases = optarg;
        if (option == 'r') {
            wanted->round_count = (unsigned)number_parse(optarg, 1, ROUND_MAX, "--rounds");
        }
        if (option == 'o') wanted->is_full = 1;
        if (option == 'f') wanted->fault = optarg;
        if (option == 'e') wanted->entries = entries_parse(optarg);
        if (option == 'd') wanted->scan_seconds = seconds_parse(optarg);
        if (option == 'b') {
            if (strcmp(optarg, "none") == 0)
                wanted->background = BENCH_BACKGROUND_NONE;
            else if (strcmp(optarg, "default") != 0)
                bench_die("--background default or none");
        }
        if (option == 'a' || option == 'h') {
            if (option == 'a') about_print();
            if (option == 'h') fputs(usage, stdout);
            exit(0);
        }
        if (option == '?') {
            fputs(usage, stderr);
            exit(2);
        }
    }
}

int main(int argc, char **argv) {
    options wanted = {.count = 1000000,
                      .threads = {1, 2},
                      .threads_count = 2,
                      .round_count = 1,
                      .entries = BENCH_ENTRIES_ALL,
                      .scan_seconds = 5,
                      .phases = "all",
                      .systems = "all"};
    options_parse(&wanted, argc, argv);
    list_check(wanted.phases, phase_is_known, "phase");
    list_check(wanted.systems, system_is_known, "system");
    for (unsigned round = 0; round < wanted.round_count; round++) round_run(&wanted);
    for (size_t i = 0; i < figure_count; i++) {
        bench_result(figures[i].system, figures[i].phase, figures[i].thread_count,
                     median_of(&figures[i]), figures[i].unit);
    }
    return 0;
}
