/* bench/events/main.c - measures the phases in which changes reach other processes; see events.h.
 *
 * What    the command line; each phase in a process of its own, and one for everybody who hears.
 * Sees    `RESULT <system> <phase>_<transport> 1 <value> <unit>` on stdout; all else on stderr.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench/common/measure.h"
#include "bench/events/events.h"

typedef struct phase {
    const char *name;
    const char *system;
    void (*run)(const events_options *options);
    unsigned is_asked; /* 1: only if it is named */
} phase;

static const phase phases[] = {
    {"backlog", "raw", events_raw_backlog, 0}, {"backlog", "merle", events_backlog, 0},
    {"paced", "merle", events_paced, 0},       {"idle", "merle", events_idle, 0},
    {"audience", "merle", events_audience, 0}, {"count", "merle", events_count, 1}};

typedef struct wanted {
    events_options options;
    const char *phases, *systems, *transports;
    const char *role; /* of a process that was started to hear; NULL: the first one */
    int page_fd;
    unsigned index;
} wanted;

static const char usage[] =
    "usage: events [options]\n"
    "  --phase LIST      backlog, paced, idle, audience; default all. count: see --audience\n"
    "  --system LIST     merle, raw; default all. idle measures both in turns\n"
    "  --transport LIST  ipc, tcp; default both\n"
    "  --n N             changes of a backlog; default 2000000\n"
    "  --samples N       of idle; default 1000\n"
    "  --rate N          changes a second of paced; default 100000\n"
    "  --seconds S       of paced; default 5\n"
    "  --rounds R        of audience; default 5\n"
    "  --commits C       of audience, each time; default 100000\n"
    "  --audience K      of count: so many listen to the commits, and nothing is measured:\n"
    "                    valgrind --tool=callgrind --toggle-collect=commit_counted\n"
    "  --plant FAULT     lets a listener lose or double one change: the measurement must give up\n"
    "  --stopped         of count: they have stopped reading\n";

static int has_word(const char *list, const char *word) {
    size_t size = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += size)
        if ((at == list || at[-1] == ',') && (at[size] == 0 || at[size] == ',')) return 1;
    return 0;
}

static int is_wanted(const wanted *w, const phase *p) {
    if (strcmp(w->systems, "all") != 0 && !has_word(w->systems, p->system)) return 0;
    if (strcmp(w->phases, "all") == 0) return !p->is_asked;
    return has_word(w->phases, p->name);
}

static void phase_run(const phase *p, const events_options *options) {
    bench_note("%s %s %s", p->system, p->name, options->transport);
    pid_t pid = p->is_asked ? 0 : fork(); /* callgrind follows no fork */
    if (pid < 0) bench_die("events: cannot fork");
    if (pid > 0) {
        events_files_remove(pid);
        events_end(pid);
        return;
    }
    if (!p->is_asked) prctl(PR_SET_PDEATHSIG, SIGKILL);
    p->run(options);
    if (!p->is_asked) exit(0);
}

static int role_run(const wanted *w) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    events_page_take(w->page_fd);
    if (w->index >= EVENTS_LISTENER_MAX) bench_die("events: no such listener");
    if (strcmp(w->role, "hear") == 0) events_hear(w->index);
    if (strcmp(w->role, "resume") == 0) events_resume(w->index);
    if (strcmp(w->role, "pull") == 0) events_raw_hear();
    return 0;
}

static uint32_t number_of(const char *text, uint32_t most) {
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    if (end == text || *end != 0 || number > most) bench_die("events: a number to %u", most);
    return (uint32_t)number;
}

static void take_number(wanted *w, int option, const char *text) {
    events_options *o = &w->options;
    if (option == 'n') o->count = number_of(text, 3000000);
    if (option == 's') o->samples = number_of(text, 1u << 16);
    if (option == 'r') o->rate = number_of(text, 10000000);
    if (option == 'R') o->rounds = number_of(text, 32);
    if (option == 'c') o->commits = number_of(text, 3000000);
    if (option == 'a') o->audience = number_of(text, EVENTS_LISTENER_MAX);
    if (option == 'P') w->page_fd = (int)number_of(text, 1u << 20);
    if (option == 'I') w->index = number_of(text, EVENTS_LISTENER_MAX);
}

static void take_option(wanted *w, int option, const char *text) {
    if (option == 'p') w->phases = text;
    if (option == 'S') w->systems = text;
    if (option == 't') w->transports = text;
    if (option == 'd') w->options.seconds = strtod(text, NULL);
    if (option == 'x') w->options.is_stopped = 1;
    if (option == 'o') w->role = text;
    if (option == 'f')
        w->options.plant = strcmp(text, "lose") == 0 ? EVENTS_PLANT_LOSE : EVENTS_PLANT_DOUBLE;
    if (option == 'h' || option == '?') {
        fputs(usage, option == 'h' ? stdout : stderr);
        exit(option == 'h' ? 0 : 2);
    }
    if (strchr("nsrRcaPI", option) != NULL) take_number(w, option, text);
}

int main(int argc, char **argv) {
    static const struct option known[] = {{"phase", required_argument, NULL, 'p'},
                                          {"system", required_argument, NULL, 'S'},
                                          {"transport", required_argument, NULL, 't'},
                                          {"n", required_argument, NULL, 'n'},
                                          {"samples", required_argument, NULL, 's'},
                                          {"rate", required_argument, NULL, 'r'},
                                          {"seconds", required_argument, NULL, 'd'},
                                          {"rounds", required_argument, NULL, 'R'},
                                          {"commits", required_argument, NULL, 'c'},
                                          {"audience", required_argument, NULL, 'a'},
                                          {"plant", required_argument, NULL, 'f'},
                                          {"stopped", no_argument, NULL, 'x'},
                                          {"role", required_argument, NULL, 'o'},
                                          {"page", required_argument, NULL, 'P'},
                                          {"index", required_argument, NULL, 'I'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    wanted w = {.options = {.count = 2000000,
                            .samples = 1000,
                            .rounds = 5,
                            .commits = 100000,
                            .rate = 100000,
                            .seconds = 5},
                .phases = "all",
                .systems = "all",
                .transports = "ipc,tcp"};
    static const char *const transports[] = {"ipc", "tcp"};
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
        take_option(&w, option, optarg);
    if (w.role != NULL) return role_run(&w);
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
        for (size_t t = 0; t < 2; t++) {
            w.options.transport = transports[t];
            if (is_wanted(&w, &phases[i]) && has_word(w.transports, transports[t]))
                phase_run(&phases[i], &w.options);
        }
    return 0;
}
