/* document/rules.h - field rules: what a collection asks of its documents.
 *
 * What    checks documents against compiled rules.
 * Owns    nothing; the rule's path belongs to whoever made the rule.
 * Threads any.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DOCUMENT_RULES_H
#define MRL_DOCUMENT_RULES_H

#include "document/path.h"

typedef struct mrl_rule {
    mrl_path *path;
    merle_type type;     /* MERLE_TYPE_NONE: any. INT allows UINT; FLOAT allows both */
    int required;        /* 1: must be there */
    uint32_t length_max; /* bytes of a string, binary, extension; elements or pairs; 0: no limit */
} mrl_rule;

/* Checks a checked document. Errors: MERLE_RULE; the report has path, expected and found. */
MERLE_MUST_USE merle_err mrl_rules_check(const mrl_rule *rules, size_t rule_count,
                                         const uint8_t *doc, size_t size, merle_report *report);

#endif
