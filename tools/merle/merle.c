/* tools/merle/merle.c - the program `merle`: looks at a database's directory, and takes care of it.
 *
 * What    merle COMMAND ARGUMENTS... A table of commands; each stands in a file of its own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tools/merle/command.h"
#include "tools/merle/print.h"

static const command *const commands[] = {
    &command_info,
    &command_dump,
    &command_tail,
    &command_checkpoint,
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

/* ---- help ---- */

static void help_all(FILE *to) {
    fputs(
        "merle - looks at the directory of a merle database, and takes care of it\n\n"
        "  merle COMMAND ARGUMENTS...   see merle COMMAND --help\n\n",
        to);
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-10s %-8s %s\n", commands[i]->name, commands[i]->arguments,
                commands[i]->summary);
    fputs(
        "\nAnswers are tables on a terminal and JSON elsewhere; --json and --table choose.\n"
        "Ends with 0: good; 1: the answer is bad; 2: wrong usage; 3: it could not be done.\n",
        to);
}

static void help_one(const command *c, FILE *to) {
    fprintf(to, "merle %s %s - %s\n\n%s\n", c->name, c->arguments, c->summary, c->help);
    for (const command_option *o = c->options; o->name != NULL; o++) {
        char spelled[40];
        snprintf(spelled, sizeof spelled, "--%s %s", o->name, o->value == NULL ? "" : o->value);
        fprintf(to, "  %-20s %s\n", spelled, o->help);
    }
    fprintf(to, "  %-20s %s\n", "--json, --table", "how the answer is written");
}

int command_misuse(const char *format, ...) {
    va_list list;
    va_start(list, format);
    fputs("merle: ", stderr);
    vfprintf(stderr, format, list);
    fputs("\n", stderr);
    va_end(list);
    return EXIT_USAGE;
}

/* ---- the command line ---- */

static const command *find_command(const char *name) {
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

/* The number of the option that text is ("name", or "name=value"); -1: there is none. */
static int find_option(const command *c, const char *text, const char **out_value) {
    const char *equals = strchr(text, '=');
    size_t size = equals == NULL ? strlen(text) : (size_t)(equals - text);
    *out_value = equals == NULL ? NULL : equals + 1;
    for (int i = 0; i < COMMAND_OPTION_MAX && c->options[i].name != NULL; i++)
        if (strlen(c->options[i].name) == size && memcmp(c->options[i].name, text, size) == 0)
            return i;
    return -1;
}

/* One word that begins with dashes; *at is moved where its value is the next word. */
static int read_option(const command *c, char **words, int *at, command_line *line) {
    const char *value, *text = words[*at] + 2;
    if (strcmp(text, "json") == 0 || strcmp(text, "table") == 0) {
        print_choose(text[0] == 'j' ? PRINT_JSON : PRINT_TABLE);
        return EXIT_GOOD;
    }
    int number = find_option(c, text, &value);
    if (number < 0)
        return command_misuse("%s has no option --%s; see merle %s --help", c->name, text, c->name);
    if (c->options[number].value == NULL) {
        if (value != NULL) return command_misuse("--%s takes no value", c->options[number].name);
        value = "";
    } else if (value == NULL) {
        value = words[++*at];
        if (value == NULL)
            return command_misuse("--%s wants a value: %s", c->options[number].name,
                                  c->options[number].value);
    }
    line->values[number] = value;
    return EXIT_GOOD;
}

static int read_line(const command *c, char **words, command_line *line, int *out_help) {
    int count = 0, only_arguments = 0;
    for (int at = 0; words[at] != NULL; at++) {
        if (!only_arguments && strcmp(words[at], "--") == 0) {
            only_arguments = 1;
        } else if (!only_arguments && strcmp(words[at], "--help") == 0) {
            *out_help = 1;
            return EXIT_GOOD;
        } else if (!only_arguments && strncmp(words[at], "--", 2) == 0) {
            int end = read_option(c, words, &at, line);
            if (end != EXIT_GOOD) return end;
        } else if (count < c->argument_count) {
            line->arguments[count++] = words[at];
        } else {
            return command_misuse("%s does not know what to do with \"%s\"", c->name, words[at]);
        }
    }
    if (count < c->argument_count)
        return command_misuse("%s wants %s; see merle %s --help", c->name, c->arguments, c->name);
    return EXIT_GOOD;
}

static int show_help(const char *name) {
    const command *c = name == NULL ? NULL : find_command(name);
    if (name != NULL && c == NULL)
        return command_misuse("there is no command \"%s\"; see merle --help", name);
    if (c == NULL)
        help_all(stdout);
    else
        help_one(c, stdout);
    return EXIT_GOOD;
}

int main(int count, char **words) {
    command_line line = {0};
    int wants_help = 0;
    if (count < 2) {
        help_all(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(words[1], "--version") == 0) return printf("merle %s\n", merle_version()) < 0;
    if (strcmp(words[1], "--help") == 0) return show_help(NULL);
    if (strcmp(words[1], "help") == 0) return show_help(words[2]);
    const command *c = find_command(words[1]);
    if (c == NULL) return command_misuse("there is no command \"%s\"; see merle --help", words[1]);
    int end = read_line(c, words + 2, &line, &wants_help);
    if (end == EXIT_GOOD && wants_help) return show_help(c->name);
    return end == EXIT_GOOD ? c->run(&line) : end;
}
