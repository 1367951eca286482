/* document/rules.c - field rules: what a collection asks of its documents.
 * SPDX-License-Identifier: Apache-2.0 */
#include "document/rules.h"

#include <stdio.h>

#include "base/report.h"
#include "document/scan.h"

static int type_fits(merle_type wanted, merle_type found) {
    if (wanted == MERLE_TYPE_NONE || wanted == found) return 1;
    if (wanted == MERLE_TYPE_INT) return found == MERLE_TYPE_UINT;
    if (wanted == MERLE_TYPE_FLOAT) return found == MERLE_TYPE_INT || found == MERLE_TYPE_UINT;
    return 0;
}

static size_t length_of(const merle_value *value) {
    switch (value->type) {
    case MERLE_TYPE_STR:
    case MERLE_TYPE_BIN:
    case MERLE_TYPE_EXT:
        return value->bytes.size;
    case MERLE_TYPE_ARRAY:
    case MERLE_TYPE_MAP:
        return value->count;
    default:
        return 0;
    }
}

__attribute__((cold)) static merle_err refuse(const mrl_rule *rule, const char *expected,
                                              const char *found, merle_report *report) {
    const char *path = mrl_path_text(rule->path);
    mrl_report_fill(report, MERLE_RULE, "The field %.100s must be %s, but there is %s.", path,
                    expected, found);
    mrl_report_path(report, path);
    mrl_report_expected(report, expected);
    mrl_report_found(report, found);
    return MERLE_RULE;
}

static const char *wanted_text(merle_type type) {
    return type == MERLE_TYPE_NONE ? "there" : mrl_type_text(type);
}

static merle_err refuse_length(const mrl_rule *rule, size_t length, merle_report *report) {
    char expected[64], found[48];
    snprintf(expected, sizeof(expected), "at most %u long", rule->length_max);
    snprintf(found, sizeof(found), "a length of %zu", length);
    return refuse(rule, expected, found, report);
}

static merle_err check_value(const mrl_rule *rule, const uint8_t *at, merle_report *report) {
    merle_value value = {MERLE_TYPE_NONE, 0, {0}, {NULL, 0}, 0};
    const uint8_t *first;
    /* The head of an array or map tells all that a rule asks. */
    value.type = mrl_scan_container(at, &first, &value.count);
    if (value.type == MERLE_TYPE_NONE) mrl_scan_value(at, &value);
    if (!type_fits(rule->type, value.type))
        return refuse(rule, wanted_text(rule->type), mrl_type_text(value.type), report);
    size_t length = length_of(&value);
    if (rule->length_max != 0 && length > rule->length_max)
        return refuse_length(rule, length, report);
    return MERLE_OK;
}

merle_err mrl_rules_check(const mrl_rule *rules, size_t rule_count, const uint8_t *doc, size_t size,
                          merle_report *report) {
    for (size_t i = 0; i < rule_count; i++) {
        uint32_t offset;
        if (mrl_path_locate(rules[i].path, doc, size, &offset)) {
            merle_err err = check_value(&rules[i], doc + offset, report);
            if (err != MERLE_OK) return err;
        } else if (rules[i].required) {
            return refuse(&rules[i], wanted_text(rules[i].type), "nothing", report);
        }
    }
    return MERLE_OK;
}
