/* SPDX-License-Identifier: Apache-2.0 */
/* What clamd says. Properties: a refusal writes nothing; what is accepted is one of the four
 * verdicts with the text that its kind must have; clean is said in exactly one way; the answer
 * written anew reads as itself; a NUL never passes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapt/clamd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static bool is_limit(const char *text)
{
    return strncmp(text, "Heuristics.Limits.Exceeded", 26) == 0 ||
           strncmp(text, "Heuristics.Encrypted.", 21) == 0;
}

static void check_text(const struct clamd_answer *a, struct span reply)
{
    size_t n = strlen(a->text);

    check(n < sizeof a->text);
    check((a->err == ERR_UPSTREAM) == (a->verdict == CLAMD_ERROR));
    switch (a->verdict) {
    case CLAMD_CLEAN: check(n == 0 && span_ends(reply, SPAN(": OK"))); break;
    case CLAMD_FOUND: check(n > 0 && span_ends(reply, SPAN(" FOUND")) && !is_limit(a->text)); break;
    case CLAMD_LIMIT: check(is_limit(a->text) || strcmp(a->text, "StreamMaxLength") == 0); break;
    case CLAMD_ERROR: check(n > 0); break;
    }
}

static void check_again(const struct clamd_answer *a, uint32_t id)
{
    struct clamd_answer b;
    char line[FINDING_NAME_MAX + 64];
    uint32_t again = 0;
    int n;

    if (id == 0 || (a->verdict == CLAMD_LIMIT && !is_limit(a->text)))
        return;
    n = a->verdict == CLAMD_CLEAN ? snprintf(line, sizeof line, "%u: stream: OK", id)
                                  : snprintf(line, sizeof line, "%u: stream: %s %s", id, a->text,
                                             a->verdict == CLAMD_ERROR ? "ERROR" : "FOUND");
    check(n > 0 && (size_t)n < sizeof line);
    check(clamd_parse_reply((struct span){line, (size_t)n}, &again, &b) == OK);
    check(again == id && b.verdict == a->verdict && b.err == a->err);
    check(strcmp(a->text, b.text) == 0);
}

static void fuzz_version(struct span reply)
{
    char version[CLAMD_VERSION_MAX];
    uint32_t id = 0;

    memset(version, 0x5a, sizeof version);
    if (clamd_parse_version(reply, &id, version) != OK) {
        check(id == 0 && version[0] == 0x5a);
        return;
    }
    check(id > 0 && strlen(version) > 0 && strlen(version) < sizeof version);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct clamd_answer a, kept;
    uint32_t id = 0x5a5a5a5a;
    char *p = malloc(size ? size : 1); /* of its own, so that reading past it shows */

    check(p != NULL);
    if (size)
        memcpy(p, data, size);
    struct span reply = {p, size};

    memset(&a, 0x5a, sizeof a);
    kept = a;
    if (clamd_parse_reply(reply, &id, &a) == OK) {
        check(memchr(p, '\0', size) == NULL);
        check_text(&a, reply);
        check_again(&a, id);
    } else {
        check(id == 0x5a5a5a5a && memcmp(&a, &kept, sizeof a) == 0);
    }
    fuzz_version(reply);
    free(p);
    return 0;
}
