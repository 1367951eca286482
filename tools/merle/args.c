/* tools/merle/args.c - the words of a command line, understood by what a command takes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "tools/merle/command.h"
#include "tools/merle/print.h"

/* The number of the option that text is ("name", or "name=value"); -1: there is none. */
static int find_option(const command *c, const char *text, const char **out_value) {
    const char *equals = strchr(text, '=');
    size_t size = equals == NULL ? strlen(text) : (size_t)(equals - text);
    *out_value = equals == NULL ? NULL : equals + 1;
    for (int i = 0; c->options[i].name != NULL; i++)
        if (strlen(c->options[i].name) == size && memcmp(c->options[i].name, text, size) == 0)
            return i;
    return -1;
}

/* Words that every command takes. 1: it was one of them. */
static int read_common(const char *word, command_line *line) {
    if (strcmp(word, "--json") == 0)
        print_choose(PRINT_JSON);
    else if (strcmp(word, "--table") == 0)
        print_choose(PRINT_TABLE);
    else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        line->wants_help = 1;
    else
        return 0;
    return 1;
}

/* One word that begins with a dash; *at is moved where its value is the next word. */
static int read_option(const command *c, char **words, int *at, command_line *line) {
    const char *value = NULL, *word = words[*at];
    if (read_common(word, line)) return EXIT_GOOD;
    int number = strncmp(word, "--", 2) == 0 ? find_option(c, word + 2, &value) : -1;
    if (number < 0)
        return command_misuse("%s has no option %s; see merle %s --help", c->name, word, c->name);
    const command_option *option = &c->options[number];
    if (line->values[number] != NULL)
        return command_misuse("--%s stands there twice; see merle %s --help", option->name,
                              c->name);
    if (option->value == NULL && value != NULL)
        return command_misuse("--%s takes no value; see merle %s --help", option->name, c->name);
    if (option->value == NULL) value = "";
    if (value == NULL) value = words[*at + 1];
    if (value == NULL)
        return command_misuse("--%s wants a value: %s; see merle %s --help", option->name,
                              option->value, c->name);
    if (option->value != NULL && value == words[*at + 1]) ++*at;
    line->values[number] = value;
    return EXIT_GOOD;
}

int args_read(const command *c, char **words, command_line *line) {
    int count = 0, only_arguments = 0;
    for (int at = 0; words[at] != NULL; at++) {
        const char *word = words[at];
        if (!only_arguments && strcmp(word, "--") == 0) {
            only_arguments = 1;
        } else if (!only_arguments && word[0] == '-' && word[1] != 0) {
            int end = read_option(c, words, &at, line);
            if (end != EXIT_GOOD) return end;
        } else if (word[0] == 0) {
            return command_misuse("a directory has a name, \"\" is none");
        } else if (count < c->argument_count) {
            line->arguments[count++] = word;
        } else {
            return command_misuse("%s takes %s, and no \"%s\"; see merle %s --help", c->name,
                                  c->arguments, word, c->name);
        }
    }
    if (count < c->argument_count && !line->wants_help)
        return command_misuse("%s wants %s; see merle %s --help", c->name, c->arguments, c->name);
    return EXIT_GOOD;
}
