/* query/plan.c - which drive is the cheapest.
 *
 * All drives that the condition allows are made and estimated. What a drive costs is what its
 * candidates cost, of which fewer are needed if there is a limit and the drive gives the order that
 * is asked for; and sorting what comes of them, if it does not.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/report.h"
#include "query/query_private.h"

/* What things cost, in nanoseconds, by the order of magnitude: what counts is how they compare. */
#define COST_HIT 6.0      /* an entry of an ordered index */
#define COST_TAG_SLOT 4.0 /* a slot of an expression */
#define COST_WINDOW 600.0 /* 4,096 slots looked at for an expression */
#define COST_VERSION 55.0 /* a version that is loaded and compared */
#define COST_WALK 30.0    /* the same, with those around it */
#define COST_FILTER 14.0  /* a slot compared with an expression */
#define COST_COLLECT 12.0 /* a slot noted and sorted */
#define COST_SEEK 250.0   /* the begin of a range */
#define COST_SORT 90.0    /* a document that is sorted */

typedef struct planning {
    mrl_planner planner;
    merle_rows *rows;
    mrl_plan *plan;
    const mrl_wishes *wishes;
    const mrl_schema_index *forced; /* the index that must drive */
    int is_forced;                  /* and if that is NULL, none does */
    mrl_drive *drives;
    uint32_t count, capacity;
    mrl_drive tagging;
    int has_tagging;
    double wanted; /* how many documents are */
    double matches;
} planning;

/* ---- making ---- */

static void planner_init(planning *p) {
    mrl_planner *planner = &p->planner;
    const mrl_schema *schema = p->rows->view.schema;
    const merle_condition *condition = p->plan->terms.condition;
    planner->pool = &p->rows->pool;
    planner->view = &p->rows->view;
    planner->condition = condition;
    planner->values = p->plan->terms.values;
    planner->slot_end = mrl_slots_end(&p->rows->view.root->slots);
    planner->err = MERLE_OK;
    for (uint32_t i = 0; i < schema->path_count; i++) {
        planner->condition_path[i] = MRL_PATH_NONE;
        for (uint32_t j = 0; condition != NULL && j < condition->path_count; j++)
            if (mrl_path_order(schema->paths[i], condition->paths[j]) == 0)
                planner->condition_path[i] = j;
    }
}

static void add(planning *p, const mrl_drive *drive) {
    mrl_drive *to = &p->drives[p->count++];
    *to = *drive;
    if (to->about == 0) to->about = drive->terms;
    /* Slots are compared with all of it. */
    if (to->kind == MRL_DRIVE_UNIQUE || to->is_each) to->terms = 0;
}

/* The drives of one index for these terms: returns how many, at most two. */
static int drives_of(planning *p, const mrl_terms *terms, const mrl_schema_index *index,
                     mrl_drive out[2]) {
    int count = 0;
    if (!mrl_index_is_ready(index)) return 0;
    if (mrl_index_is_unique(index)) count += mrl_unique_of(&p->planner, terms, index, out);
    if (mrl_index_has_tree(index)) count += mrl_ranges_of(&p->planner, terms, index, out + count);
    return count;
}

/* The drive with the fewest candidates for one branch of an `or`; 0: there is none. */
static int branch_of(planning *p, const mrl_condition_node *node, mrl_drive *out) {
    const mrl_schema *schema = p->rows->view.schema;
    mrl_terms terms = p->plan->terms;
    mrl_drive drives[2];
    terms.list = node->kind == MRL_CONDITION_AND ? node->children : node;
    terms.count = node->kind == MRL_CONDITION_AND ? node->child_count : 1;
    int found = mrl_tagging_of(&p->planner, &terms, NULL, out);
    /* What only leaves slots out has nothing to collect. */
    if (found && out->estimate >= p->planner.slot_end) found = 0;
    for (uint32_t i = 0; i < schema->index_count; i++) {
        int count = drives_of(p, &terms, &schema->indexes[i], drives);
        for (int j = 0; j < count; j++) {
            if (drives[j].kind == MRL_DRIVE_RANGES && !drives[j].is_bounded) continue;
            if (found && drives[j].estimate >= out->estimate) continue;
            *out = drives[j];
            found = 1;
        }
    }
    return found;
}

static void add_union(planning *p, const mrl_condition_node *node, uint32_t number) {
    mrl_drive drive = {.kind = MRL_DRIVE_UNION, .about = mrl_term_bit(number)};
    mrl_drive *branches = mrl_pool_take(p->planner.pool, node->child_count * sizeof *branches);
    if (branches == NULL) {
        p->planner.err = MERLE_NO_MEMORY;
        return;
    }
    for (uint32_t i = 0; i < node->child_count; i++) {
        if (!branch_of(p, &node->children[i], &branches[i])) return;
        drive.estimate += branches[i].estimate;
    }
    drive.branches = branches;
    drive.branch_count = node->child_count;
    add(p, &drive);
}

static void add_indexes(planning *p) {
    const mrl_schema *schema = p->rows->view.schema;
    mrl_drive drives[2];
    for (uint32_t i = 0; i < schema->index_count; i++) {
        const mrl_schema_index *index = &schema->indexes[i];
        if (p->is_forced && index != p->forced) continue;
        int count = drives_of(p, &p->plan->terms, index, drives);
        for (int j = 0; j < count; j++) add(p, &drives[j]);
    }
}

static void add_all(planning *p) {
    const mrl_terms *terms = &p->plan->terms;
    mrl_drive drive;
    p->capacity = 2 * p->rows->view.schema->index_count + terms->count + 3;
    p->drives = mrl_pool_take(p->planner.pool, p->capacity * sizeof *p->drives);
    if (p->drives == NULL) {
        p->planner.err = MERLE_NO_MEMORY;
        return;
    }
    p->has_tagging = mrl_tagging_of(&p->planner, terms, NULL, &p->tagging);
    add_indexes(p);
    if (p->forced != NULL && mrl_index_has_tags(p->forced) &&
        mrl_tagging_of(&p->planner, terms, p->forced, &drive))
        add(p, &drive);
    if (!p->is_forced && p->has_tagging) add(p, &p->tagging);
    for (uint32_t i = 0; !p->is_forced && i < terms->count; i++)
        if (terms->list[i].kind == MRL_CONDITION_OR && (p->tagging.terms & mrl_term_bit(i)) == 0)
            add_union(p, &terms->list[i], i);
    if (p->forced != NULL) return;
    memset(&drive, 0, sizeof drive);
    drive.kind = MRL_DRIVE_WALK;
    drive.estimate = p->planner.slot_end;
    add(p, &drive);
}

/* ---- order ---- */

static merle_err parse_order(planning *p, const char *text) {
    mrl_part parts[MERLE_INDEX_PART_COUNT_MAX];
    mrl_plan *plan = p->plan;
    const mrl_schema *schema = p->rows->view.schema;
    size_t count;
    plan->order_text = "";
    if (text == NULL) return MERLE_OK;
    char *copy = mrl_pool_take(p->planner.pool, strlen(text) + 1);
    if (copy == NULL) return MERLE_NO_MEMORY;
    plan->order_text = strcpy(copy, text);
    merle_err err = mrl_parts_parse(text, parts, MERLE_INDEX_PART_COUNT_MAX, &count,
                                    p->rows->view.section->member->report);
    if (err != MERLE_OK) return err;
    plan->order = mrl_pool_take(p->planner.pool, count * sizeof *plan->order);
    if (plan->order == NULL) {
        mrl_parts_destroy(parts, count);
        return MERLE_NO_MEMORY;
    }
    plan->order_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        mrl_sort_part *part = &plan->order[i];
        *part = (mrl_sort_part){parts[i].path, MRL_PATH_NONE, parts[i].descending};
        if (parts[i].source == MRL_SOURCE_EACH) {
            mrl_path_destroy(parts[i].element);
            err = mrl_query_fail(p->rows, MERLE_INVALID,
                                 "a query orders by single values, and \"%.100s\" has one on each "
                                 "element",
                                 text);
        }
        for (uint32_t j = 0; part->path != NULL && j < schema->path_count; j++)
            if (mrl_path_order(schema->paths[j], part->path) == 0) part->schema_path = j;
    }
    return err;
}

/* Whether the condition leaves the field one value, so that it orders nothing. */
static int is_constant(const planning *p, const mrl_sort_part *part) {
    const mrl_terms *terms = &p->plan->terms;
    for (uint32_t i = 0; part->path != NULL && i < terms->count; i++) {
        const mrl_condition_node *leaf = &terms->list[i];
        if (leaf->kind == MRL_CONDITION_COMPARE && leaf->compare == MERLE_EQ && !leaf->each &&
            !leaf->negated &&
            mrl_path_order(mrl_condition_path(terms->condition, leaf), part->path) == 0)
            return 1;
    }
    return 0;
}

static void drop_constants(planning *p) {
    mrl_plan *plan = p->plan;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < plan->order_count; i++) {
        if (is_constant(p, &plan->order[i]))
            mrl_path_destroy(plan->order[i].path);
        else
            plan->order[kept++] = plan->order[i];
    }
    plan->order_count = kept;
}

/* Whether the part is what is sorted by, with missing ones where the order wants them: as if they
 * were the least. */
static int is_sorted_by(const planning *p, const mrl_schema_index *index,
                        const mrl_schema_part *part, const mrl_sort_part *wanted) {
    if (part->source == MRL_SOURCE_KEY) return wanted->path == NULL;
    if (part->source != MRL_SOURCE_PATH || wanted->path == NULL) return 0;
    if (mrl_path_order(p->rows->view.schema->paths[part->path], wanted->path) != 0) return 0;
    int is_in_place = (index->missing == MERLE_MISSING_FIRST) == !part->descending;
    return (index->missing != MERLE_MISSING_OUT && is_in_place) ||
           mrl_terms_imply(&p->planner, &p->plan->terms, part->path);
}

/* Whether the drive gives the order, and in which direction it must be gone through for it. */
static void match_order(const planning *p, mrl_drive *drive) {
    const mrl_plan *plan = p->plan;
    uint32_t part = 0, met = 0, backwards = 0;
    drive->is_ordered = plan->order_count == 0;
    if (drive->kind != MRL_DRIVE_RANGES || drive->is_each) return;
    const mrl_schema_index *index = drive->index;
    while (met < plan->order_count && part < index->part_count) {
        const mrl_sort_part *wanted = &plan->order[met];
        const mrl_schema_part *has = &index->parts[part++];
        int is_same = is_sorted_by(p, index, has, wanted);
        if (!is_same && (drive->constant_parts >> (part - 1) & 1)) continue;
        if (!is_same) return;
        uint32_t turned = has->descending != wanted->descending;
        if (met++ > 0 && turned != backwards) return;
        backwards = turned;
    }
    drive->is_ordered = met == plan->order_count;
    drive->is_backwards = (uint8_t)(drive->is_ordered && backwards);
}

/* ---- choosing ---- */

/* About how many documents meet the condition, as if its terms had nothing to do with one another;
 * of a term that nothing estimates, every second one does. */
static double guess_matches(const planning *p) {
    double all = p->planner.slot_end, matches = all;
    uint64_t seen = 0;
    uint32_t unknown = 0;
    for (;;) {
        const mrl_drive *best = NULL;
        for (uint32_t i = 0; i <= p->count; i++) {
            const mrl_drive *drive = i < p->count ? &p->drives[i] : &p->tagging;
            uint64_t about = i < p->count ? drive->about : drive->terms;
            if (about == 0 || (about & seen) != 0) continue;
            if (best == NULL || drive->estimate < best->estimate) best = drive;
        }
        if (best == NULL) break;
        seen |= best->about | best->terms;
        if (all > 0 && (double)best->estimate < all) matches *= (double)best->estimate / all;
    }
    for (uint32_t i = 0; i < p->plan->terms.count && unknown < 4; i++)
        if ((seen & mrl_term_bit(i)) == 0) unknown++;
    matches /= (double)(1u << unknown);
    return matches < 1 ? 1 : matches;
}

/* Whether candidates are better compared with the tags before their versions are loaded. */
static int is_filtered(const planning *p, const mrl_drive *drive) {
    double share =
        p->planner.slot_end == 0 ? 1 : (double)p->tagging.estimate / (double)p->planner.slot_end;
    if (!p->has_tagging || (p->tagging.terms & ~drive->terms) == 0) return 0;
    if (drive->kind == MRL_DRIVE_UNIQUE || drive->kind == MRL_DRIVE_NOTHING) return 0;
    return (1 - share) * COST_VERSION > COST_FILTER;
}

static double candidate_cost(const planning *p, const mrl_drive *drive) {
    double version = drive->kind == MRL_DRIVE_WALK ? COST_WALK : COST_VERSION;
    if (is_filtered(p, drive))
        version = COST_FILTER + version * (double)p->tagging.estimate / p->planner.slot_end;
    switch (drive->kind) {
    case MRL_DRIVE_RANGES:
        return version + COST_HIT;
    case MRL_DRIVE_TAGS:
        return version + COST_TAG_SLOT;
    case MRL_DRIVE_UNION:
        return version + COST_COLLECT;
    default:
        return version;
    }
}

static double drive_cost(const planning *p, const mrl_drive *drive) {
    double visits = (double)drive->estimate, cost = 0;
    int collects = drive->kind == MRL_DRIVE_UNION || drive->is_each ||
                   (drive->kind == MRL_DRIVE_RANGES && p->wishes->by_slot);
    if (drive->kind == MRL_DRIVE_NOTHING) return 0;
    if (collects) cost += visits * (COST_HIT + COST_COLLECT);
    if (drive->is_ordered && p->wanted > 0) {
        double needed = p->wanted * visits / p->matches;
        if (needed < visits) visits = needed;
    }
    cost += visits * candidate_cost(p, drive) + drive->range_count * COST_SEEK;
    if (drive->kind == MRL_DRIVE_TAGS)
        cost += COST_WINDOW * visits / 4096; /* at most: small sets go by lists */
    if (!drive->is_ordered) cost += p->matches * COST_SORT;
    return cost;
}

/* Whether a place to go on behind lets the drive be used. */
static int may_go_on(const planning *p, const mrl_drive *drive) {
    const mrl_after *after = &p->rows->after;
    int is_ranges = drive->kind == MRL_DRIVE_RANGES && !drive->is_each;
    /* Nothing has no order, in which the commit's own documents could have their place. */
    if (drive->kind == MRL_DRIVE_NOTHING && p->rows->view.own_count == 0) return 1;
    switch (after->kind) {
    case MRL_PLACE_SLOT:
        return drive->is_ordered && (!is_ranges || p->wishes->by_slot);
    case MRL_PLACE_FORWARDS:
    case MRL_PLACE_BACKWARDS:
        return is_ranges && drive->is_ordered && drive->index == after->index &&
               drive->is_backwards == (after->kind == MRL_PLACE_BACKWARDS);
    case MRL_PLACE_SORTED:
        return p->plan->order_count > 0;
    default:
        return 1;
    }
}

static int is_worth_it(const planning *p, const mrl_drive *drive) {
    if (drive->kind != MRL_DRIVE_RANGES || drive->is_bounded || p->forced != NULL) return 1;
    /* All of an index: only for its order. */
    return p->plan->order_count > 0 && drive->is_ordered;
}

/* Returns the number of the cheapest; count: none can be used. */
static uint32_t choose(planning *p) {
    uint32_t best = p->count;
    for (uint32_t i = 0; i < p->count; i++) {
        mrl_drive *drive = &p->drives[i];
        match_order(p, drive);
        int is_sorted = p->rows->after.kind == MRL_PLACE_SORTED;
        if (is_sorted) drive->is_ordered = drive->is_backwards = 0;
        /* After a place in the whole of an index, it goes on there. */
        int goes_on = p->rows->after.kind == MRL_PLACE_FORWARDS;
        if (drive->kind == MRL_DRIVE_RANGES && drive->range_count == 0)
            drive->kind = MRL_DRIVE_NOTHING;
        drive->cost = drive_cost(p, drive);
        if (!may_go_on(p, drive) || (!goes_on && !is_worth_it(p, drive))) continue;
        if (best == p->count || drive->cost < p->drives[best].cost) best = i;
    }
    return best;
}

/* ---- the plan ---- */

static merle_err find_forced(planning *p, const char *name) {
    if (name == NULL) return MERLE_OK;
    p->is_forced = 1;
    if (name[0] == 0) return MERLE_OK;
    merle_err err = mrl_schema_read_index(p->rows->view.schema, name, &p->forced);
    if (err == MERLE_OK) return MERLE_OK;
    return mrl_query_fail(p->rows, err,
                          err == MERLE_INVALID
                              ? "the query names index %s, and there is none"
                              : "the query names index %s, which is not ready for the section",
                          name);
}

static merle_err refuse(const planning *p) {
    if (p->rows->after.kind != MRL_PLACE_NONE)
        return mrl_query_fail(p->rows, MERLE_INVALID,
                              "the position to go on behind is one of another query");
    return mrl_query_fail(p->rows, MERLE_INVALID,
                          "index %s cannot drive the query: documents that meet the condition may "
                          "not be in it, or the condition does not speak of it",
                          p->forced == NULL ? "" : p->forced->name);
}

static void settle(planning *p, const merle_query *query) {
    mrl_plan *plan = p->plan;
    plan->drives = p->drives;
    plan->drive_count = p->count;
    plan->drive = p->drives[plan->drive_chosen];
    plan->estimate = (uint64_t)p->matches;
    if (plan->drive.kind == MRL_DRIVE_NOTHING) plan->estimate = 0;
    if (is_filtered(p, &plan->drive)) {
        plan->filter = p->tagging.expr;
        plan->filter_terms = p->tagging.terms;
    }
    if (!plan->drive.is_ordered) plan->sort = query->limit > 0 ? MRL_SORT_TOP : MRL_SORT_ALL;
    /* In the order of slots ranges are collected, as branches of a union are. */
    int collects = plan->drive.is_each || (p->wishes->by_slot && plan->order_count == 0);
    if (collects && plan->drive.kind == MRL_DRIVE_RANGES) {
        plan->drive.branches = &p->drives[plan->drive_chosen];
        plan->drive.branch_count = 1;
        plan->drive.kind = MRL_DRIVE_UNION;
        plan->drive.terms = 0;
    }
}

merle_err mrl_plan_make(merle_rows *rows, const merle_query *query, const mrl_wishes *wishes) {
    planning p = {.rows = rows, .plan = &rows->plan, .wishes = wishes};
    uint64_t wanted = query->limit == 0 ? 0 : query->offset + query->limit;
    p.wanted = wanted < query->limit ? 0 : (double)wanted;
    planner_init(&p);
    merle_err err = find_forced(&p, query->index);
    if (err != MERLE_OK) return err;
    int is_cut = query->limit != 0 || query->offset != 0;
    int needs_no_order =
        rows->after.kind == MRL_PLACE_NONE && (wishes->is_count || (wishes->is_sum && !is_cut));
    if ((err = parse_order(&p, needs_no_order ? NULL : query->order)) != MERLE_OK) return err;
    drop_constants(&p);
    add_all(&p);
    if (p.planner.err != MERLE_OK) return p.planner.err;
    p.matches = guess_matches(&p);
    rows->plan.drive_chosen = choose(&p);
    if (rows->plan.drive_chosen == p.count) return refuse(&p);
    settle(&p, query);
    return MERLE_OK;
}
