/* examples/ask.c - queries as somebody types them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "examples/ask.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <merle/query.h>

enum { LINE_SIZE = 1024, PARTS = 3, LIMIT_DEFAULT = 10, BATCH = 16, CARET_INDENT = 2 };

/* A line in its parts. They point into a copy of it. */
typedef struct question {
    char text[LINE_SIZE];
    char *parts[PARTS]; /* condition, order, limit */
    int wants_plan;     /* it began with "explain" */
} question;

/* ---- from a line to its parts ---- */

static char *trim(char *text) {
    size_t size = strlen(text);
    while (size > 0 && strchr(" \t\r\n", text[size - 1]) != NULL) text[--size] = '\0';
    return text + strspn(text, " \t");
}

/* Cuts at the first semicolon that stands in no quotes, and gives what is behind it. */
static char *cut(char *text) {
    char quote = '\0';
    for (; *text != '\0'; text++) {
        if (quote != '\0') {
            if (*text == '\\' && text[1] != '\0')
                text++;
            else if (*text == quote)
                quote = '\0';
        } else if (*text == '"' || *text == '\'') {
            quote = *text;
        } else if (*text == ';') {
            *text = '\0';
            return text + 1;
        }
    }
    return text;
}

static void take_apart(question *q, const char *line) {
    static const char word[] = "explain ";
    snprintf(q->text, sizeof q->text, "%s", line);
    char *rest = trim(q->text);
    q->wants_plan = strncmp(rest, word, sizeof word - 1) == 0;
    if (q->wants_plan) rest += sizeof word - 1;
    for (int i = 0; i < PARTS; i++) {
        char *next = cut(rest);
        q->parts[i] = trim(rest);
        rest = next;
    }
}

/* An empty limit is the usual one. 0: this is no number. */
static uint64_t limit_of(const char *text) {
    char *end;
    if (*text == '\0') return LIMIT_DEFAULT;
    unsigned long limit = strtoul(text, &end, 10);
    return *end == '\0' && *text != '-' ? limit : 0;
}

/* ---- answers ---- */

/* The tag that begins so, without that; a document's tags may stand in any order. */
static void print_tag(merle_doc doc, const char *prefix) {
    static const char *const paths[] = {"tags[0]", "tags[1]"};
    size_t skip = strlen(prefix);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        merle_bytes tag = merle_doc_str(doc, paths[i]);
        if (tag.size < skip || memcmp(tag.data, prefix, skip) != 0) continue;
        printf("  %-8.*s", (int)(tag.size - skip), (const char *)tag.data + skip);
    }
}

static void print_row(merle_doc doc) {
    merle_bytes name = merle_doc_str(doc, "name");
    printf("  %-12.*s %5" PRId64 " %7" PRId64, (int)name.size, (const char *)name.data,
           merle_doc_int(doc, "level", 0), merle_doc_int(doc, "score", 0));
    print_tag(doc, "guild:");
    print_tag(doc, "lang:");
    printf("%s\n", merle_doc_bool(doc, "banned", 0) ? "  banned" : "");
}

/* In one line what drove the query and what came of it; or all that explain says. */
static merle_err print_plan(const merle_rows *rows, int in_full) {
    merle_buffer json = {0}, bytes = {0}, text = {0};
    merle_doc doc;
    merle_err err = merle_rows_explain(rows, &json);
    if (err == MERLE_OK) err = merle_json_read(merle_bytes_of(json.data, json.size), &bytes, NULL);
    if (err == MERLE_OK) err = merle_doc_over(merle_bytes_of(bytes.data, bytes.size), &doc);
    if (err != MERLE_OK) goto done;
    merle_bytes by = merle_doc_str(doc, "drive.by"), index = merle_doc_str(doc, "drive.index");
    merle_bytes sort = merle_doc_str(doc, "sort.how");
    printf("  by %.*s%s%.*s, about %" PRId64 " expected; %" PRId64 " documents loaded, %" PRId64
           " met the condition; sorted: %.*s\n",
           (int)by.size, (const char *)by.data, index.size > 0 ? " of " : "", (int)index.size,
           (const char *)index.data, merle_doc_int(doc, "drive.estimate", 0),
           merle_doc_int(doc, "happened.versions", 0), merle_doc_int(doc, "happened.matched", 0),
           (int)sort.size, (const char *)sort.data);
    if (in_full) {
        err = merle_json_write(merle_bytes_of(bytes.data, bytes.size), MERLE_JSON_INDENTED, &text);
        if (err == MERLE_OK) printf("%.*s\n", (int)text.size, (const char *)text.data);
    }
done:
    merle_buffer_free(&text);
    merle_buffer_free(&bytes);
    merle_buffer_free(&json);
    return err;
}

static merle_err print_rows(merle_section *section, const world *w, const merle_query *query,
                            int in_full) {
    merle_rows *rows;
    merle_doc docs[BATCH];
    size_t count;
    uint64_t given = 0, total;
    merle_query all = *query;
    all.limit = 0;
    merle_err err = merle_query_open(section, w->league, query, &rows);
    if (err != MERLE_OK) return err;
    while ((err = merle_rows_next(rows, docs, BATCH, &count)) == MERLE_OK) {
        if (given == 0)
            printf("  %-12s %5s %7s  %-8s  %s\n", "name", "level", "score", "guild", "lang");
        for (size_t i = 0; i < count; i++) print_row(docs[i]);
        given += count;
    }
    if (err == MERLE_NOT_FOUND) err = merle_query_count(section, w->league, &all, &total);
    if (err == MERLE_OK) {
        printf("  %" PRIu64 " of %" PRIu64 "\n", given, total);
        err = print_plan(rows, in_full);
    }
    merle_rows_close(rows);
    return err;
}

/* ---- mistakes ---- */

/* Columns are counted in characters: bytes that continue one do not count. */
static int columns_before(const char *text, uint64_t offset) {
    int columns = 0;
    for (uint64_t i = 0; i < offset && text[i] != '\0'; i++)
        columns += ((unsigned char)text[i] & 0xc0) != 0x80;
    return columns;
}

static merle_err refuse_condition(const char *text, const merle_report *report) {
    int columns = columns_before(text, report->offset);
    printf("  %s\n%*s^\n  %s\n", text, CARET_INDENT + columns, "", report->message);
    return report->err;
}

static merle_err refuse(merle_err err, const merle_report *report) {
    printf("  %s: %s\n", merle_err_name(err),
           report->message[0] != '\0' ? report->message : merle_err_text(err));
    return err;
}

/* ---- asking ---- */

static merle_err answer(const world *w, const question *q, const merle_query *query) {
    merle_section section;
    merle_report report = {0};
    merle_err err = merle_section_begin(w->db, &section);
    if (err != MERLE_OK) return err;
    merle_report_to(w->db, &report);
    err = print_rows(&section, w, query, q->wants_plan);
    merle_report_to(w->db, NULL);
    (void)merle_section_end(&section);
    return err != MERLE_OK ? refuse(err, &report) : MERLE_OK;
}

merle_err ask(const world *w, const char *line) {
    question q;
    merle_condition *condition = NULL;
    merle_report report = {0};
    take_apart(&q, line);
    const char *where = q.parts[0], *order = q.parts[1];
    merle_query query = {.limit = limit_of(q.parts[2])};
    if (query.limit == 0) {
        printf("  the limit must be a number of at least 1, not \"%s\"\n", q.parts[2]);
        return MERLE_INVALID;
    }
    if (*where != '\0' && merle_condition_parse(merle_str(where), &condition, &report) != MERLE_OK)
        return refuse_condition(where, &report);
    query.where = condition;
    query.order = *order != '\0' ? order : NULL;
    merle_err err = answer(w, &q, &query);
    merle_condition_destroy(condition);
    return err;
}

void ask_lines(const world *w, FILE *input, int is_terminal) {
    char line[LINE_SIZE];
    if (is_terminal)
        printf(
            "\nAsk the league: condition ; order ; limit (an empty line ends). For instance\n"
            "  level >= 50 and tags: \"guild:owls\" ; -score ; 5\n"
            "The fields are name, level, score, tags (guild:..., lang:...), banned.\n"
            "\"explain\" in front shows the whole plan.\n");
    for (;;) {
        if (is_terminal) printf("merle> ");
        fflush(stdout);
        if (fgets(line, sizeof line, input) == NULL) break;
        if (strchr(line, '\n') == NULL && !feof(input)) {
            printf("  a line may have %d bytes\n", LINE_SIZE - 2);
            while (strchr(line, '\n') == NULL && fgets(line, sizeof line, input) != NULL) continue;
            continue;
        }
        char *text = trim(line);
        if (*text == '\0' || strcmp(text, "quit") == 0) break;
        if (!is_terminal) printf("merle> %s\n", text);
        (void)ask(w, text); /* what went wrong was printed; the next line may be better */
    }
    if (is_terminal) printf("\n");
}

int ask_examples(const world *w) {
    static const struct {
        const char *line;
        merle_err expected;
    } examples[] = {
        {"level >= 50 and tags: all(\"guild:owls\", \"lang:de\") ; -score, name ; 5", MERLE_OK},
        {"not banned and name starts with \"Quin 9\" ; -level, name ; 3", MERLE_OK},
        {"level >= 50 adn tags: \"lang:de\"", MERLE_INVALID},
    };
    int holds = 1;
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        printf("\nmerle> %s\n", examples[i].line);
        holds &= ask(w, examples[i].line) == examples[i].expected;
    }
    return holds;
}
