/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_glob.c - globs and host patterns against slow twins that are easy to believe. */
#include <stdlib.h>
#include <string.h>

#include "adapt/rules.h"

#define SLOW_MAX 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Row by row: can the first p of the pattern be the first t of the text? */
static bool slow_glob(struct span pattern, struct span text)
{
    bool row[SLOW_MAX + 1] = {true}, next[SLOW_MAX + 1];

    for (size_t p = 0; p < pattern.n; p++) {
        char c = char_lower(pattern.p[p]);

        next[0] = row[0] && c == '*';
        for (size_t t = 1; t <= text.n; t++)
            next[t] = c == '*' ? row[t] || next[t - 1]
                               : row[t - 1] && (c == '?' || c == char_lower(text.p[t - 1]));
        memcpy(row, next, sizeof row);
    }
    return row[text.n];
}

static void glob_properties(struct span pattern, struct span text)
{
    struct steps steps = {.left = UINT64_MAX};
    bool match = glob_match_within(pattern, text, &steps);
    uint64_t used = UINT64_MAX - steps.left;

    check(used > 0 && used <= 3 + pattern.n + (pattern.n + 1) * (text.n + 1));
    check(!steps.out && glob_match(pattern, text) == match);
    check(glob_match(SPAN("*"), text));
    check(glob_match(text, text));
    if (text.n <= SLOW_MAX && pattern.n <= SLOW_MAX)
        check(match == slow_glob(pattern, text));
}

/* Names of letters, digits, dots and hyphens that are no addresses have nothing to be undone. */
static bool is_plain_name(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = char_lower(s.p[i]);

        if ((c < 'g' || c > 'z') && c != '.' && c != '-')
            return false;
    }
    return s.n > 0 && s.n < 250 && s.p[s.n - 1] != '.';
}

static void host_properties(struct span pattern, struct span host)
{
    bool match = host_match(pattern, host), below = span_starts(pattern, SPAN("."));
    struct span name = span_sub(pattern, below ? 1 : 0, pattern.n);

    if (!is_plain_name(name) || !is_plain_name(host))
        return;
    if (span_ieq(name, host))
        check(match);
    else if (!below || host.n <= name.n)
        check(!match);
    else
        check(match == span_ieq(pattern, span_sub(host, host.n - pattern.n, pattern.n)));
}

/* Input: pattern LF text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size}, pattern = span_cut(&text, '\n');

    if (!text.p)
        text = SPAN("");
    glob_properties(pattern, text);
    host_properties(pattern, text);
    return 0;
}
