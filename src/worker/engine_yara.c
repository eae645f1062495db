/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine_yara.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <yara.h>

#define EXTENSION_MAX 16u

static const char *meta_text(YR_RULE *rule, const char *name)
{
    YR_META *meta;

    yr_rule_metas_foreach(rule, meta)
    {
        if (meta->type == META_TYPE_STRING && strcmp(meta->identifier, name) == 0)
            return meta->string;
    }
    return NULL;
}

/* The smallest offset of a list of matches, or |least|. libyara packs them without alignment, so
 * they are copied out; a private string's matches are nobody's business. */
static int64_t least_offset(const YR_MATCH *head, int64_t least)
{
    YR_MATCH m;

    for (const void *at = head; at; at = m.next) {
        memcpy(&m, at, sizeof m);
        if (!m.is_private && (least < 0 || m.base + m.offset < least))
            least = m.base + m.offset;
    }
    return least;
}

/* Where the first of the rule's strings was seen, or -1 for a rule that looks at no string. */
static int64_t first_offset(YR_SCAN_CONTEXT *context, YR_RULE *rule)
{
    int64_t least = -1;
    YR_STRING *string;

    yr_rule_strings_foreach(rule, string)
    {
        least = least_offset(context->matches[string->idx].head, least);
    }
    return least;
}

static void on_match(YR_SCAN_CONTEXT *context, YR_RULE *rule, struct scan_result *r)
{
    const char *threat = meta_text(rule, "threat"), *action = meta_text(rule, "action");
    struct finding f = {.engine = "yara", .note = action && strcmp(action, "note") == 0};
    int64_t at = first_offset(context, rule);

    (void)span_copy(span_of(threat ? threat : rule->identifier), f.name, sizeof f.name);
    if (at >= 0)
        (void)snprintf(f.where, sizeof f.where, "offset %" PRId64, at);
    engine_find(r, &f);
    if (!f.note)
        engine_judge(r, VERDICT_BLOCK, CAUSE_INFECTED, OK, "%s", f.name);
}

/* Messages other than a match need no answer: of a string with too many matches the first million
 * count, and `console` has nobody to talk to. */
static int on_message(YR_SCAN_CONTEXT *context, int message, void *data, void *user)
{
    struct scan_result *r = user;

    if (message == CALLBACK_MSG_RULE_MATCHING)
        on_match(context, data, r);
    return CALLBACK_CONTINUE;
}

/* ".pdf" of "Report.PDF"; "" for none or an over-long one. */
static void extension_of(const char *name, char ret[EXTENSION_MAX])
{
    const char *dot = strrchr(name, '.');
    size_t n = dot ? strlen(dot) : 0;

    if (n >= EXTENSION_MAX || (dot && strpbrk(dot, "/\\")))
        n = 0;
    for (size_t i = 0; i < n; i++)
        ret[i] = char_lower(dot[i]);
    ret[n] = '\0';
}

static NODISCARD int define_variables(YR_SCANNER *scanner, const struct engine_file *file)
{
    char extension[EXTENSION_MAX];
    int rc;

    extension_of(file->name, extension);
    rc = yr_scanner_define_string_variable(scanner, yara_variables[YARA_FILENAME], file->name);
    if (rc == ERROR_SUCCESS)
        rc = yr_scanner_define_string_variable(scanner, yara_variables[YARA_DECLARED_TYPE],
                                               file->type);
    if (rc == ERROR_SUCCESS)
        rc = yr_scanner_define_string_variable(scanner, yara_variables[YARA_EXTENSION], extension);
    return rc;
}

/* Everything that depends on the object: the scanner has seen others before. */
static NODISCARD int set_up(YR_SCANNER *scanner, const struct engine_file *file,
                            struct scan_result *r)
{
    yr_scanner_set_callback(scanner, on_message, r);
    /* The function takes seconds; the field, which the header publishes, nanoseconds. 0 is none. */
    scanner->timeout = (uint64_t)(file->time_ms ? file->time_ms : 1) * 1000000;
    /* libyara (4.2) clears matches and modules behind a scan, but keeps the entry point of the
     * first program that it meets for all objects after it. */
    scanner->entry_point = YR_UNDEFINED;
    return define_variables(scanner, file);
}

static void judge_failure(int rc, struct scan_result *r)
{
    switch (rc) {
    case ERROR_SUCCESS: break;
    case ERROR_SCAN_TIMEOUT:
        engine_judge(r, VERDICT_ERROR, CAUSE_TIMEOUT, ERR_TIMEOUT, "yara ran out of time");
        break;
    case ERROR_INSUFFICIENT_MEMORY:
        engine_judge(r, VERDICT_ERROR, CAUSE_WORKER_CRASH, ERR_NOMEM,
                     "yara needs more memory than a worker may have");
        break;
    default:
        engine_judge(r, VERDICT_ERROR, CAUSE_NOT_INSPECTED, ERR_ENGINE,
                     "yara could not inspect the file (its error %d)", rc);
        break;
    }
}

/* One for all objects: the first makes it, in the zygote before it forks. */
static NODISCARD int need_scanner(struct yara_rules *rules)
{
    int rc = ERROR_SUCCESS;

    if (!rules->scanner)
        rc = yr_scanner_create(rules->compiled, &rules->scanner);
    /* One match of a string is enough for us, and YARA's own handlers of SIGSEGV and SIGBUS would
     * go on where dying is safer. */
    if (rc == ERROR_SUCCESS)
        yr_scanner_set_flags(rules->scanner, SCAN_FLAGS_FAST_MODE | SCAN_FLAGS_NO_TRYCATCH |
                                                 SCAN_FLAGS_REPORT_RULES_MATCHING);
    return rc;
}

static void scan(void *ctx, const struct engine_file *file, struct scan_result *r)
{
    struct yara_rules *rules = ctx;
    int rc = need_scanner(rules);

    if (rc == ERROR_SUCCESS)
        rc = set_up(rules->scanner, file, r);
    if (rc == ERROR_SUCCESS)
        rc = yr_scanner_scan_mem(rules->scanner, file->p, file->n);
    judge_failure(rc, r);
    /* What a scan leaves behind that broke off, nobody promises. */
    if (rc != ERROR_SUCCESS)
        yara_rules_drop_scanner(rules);
}

struct engine engine_yara(struct yara_rules *rules, struct buf *describe)
{
    buf_fmt(describe, "yara %s rules %s", YR_VERSION, rules->digest);
    return (struct engine){.name = "yara", .bit = WIRE_ENGINE_YARA, .ctx = rules, .scan = scan};
}
