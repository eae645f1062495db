/* SPDX-License-Identifier: Apache-2.0 */
/* glob.c - patterns that operators write, held against texts that strangers choose. */
#include "adapt/rules.h"
#include "adapt/url_normal.h"

#define CALL_STEPS 3u /* of a match that ends at its first byte */

/* One star to go back to is enough: when a later star was reached, what stands before it matched at
 * its earliest place, and no other place could help. So the work is at most pattern times text. */
static bool match(struct span pattern, struct span text, uint64_t *steps)
{
    size_t p = 0, t = 0, star = SIZE_MAX, star_t = 0;

    while (t < text.n) {
        ++*steps;
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            star_t = t;
        } else if (p < pattern.n &&
                   (pattern.p[p] == '?' || char_lower(pattern.p[p]) == char_lower(text.p[t]))) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++star_t;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}

/* Behind the last star every byte has its place at the text's end: "*.exe" is told from most names
 * by their last byte. */
static bool ends_fit(struct span pattern, struct span text, uint64_t *steps)
{
    for (size_t p = pattern.n, t = text.n; p > 0 && pattern.p[p - 1] != '*'; p--, t--) {
        ++*steps;
        if (t == 0 ||
            (pattern.p[p - 1] != '?' && char_lower(pattern.p[p - 1]) != char_lower(text.p[t - 1])))
            return false;
    }
    return true;
}

bool glob_match_within(struct span pattern, struct span text, struct steps *steps)
{
    uint64_t n = CALL_STEPS;
    bool fits = ends_fit(pattern, text, &n) && match(pattern, text, &n);

    (void)steps_take(steps, n);
    return fits;
}

bool glob_match(struct span pattern, struct span text)
{
    return glob_match_within(pattern, text, NULL);
}

bool host_match(struct span pattern, struct span host)
{
    bool below = span_starts(pattern, SPAN("."));
    struct url_host want, got;
    struct span w, g;

    if (url_host_normal(below ? span_sub(pattern, 1, pattern.n) : pattern, &want) != OK ||
        url_host_normal(host, &got) != OK || want.n == 0)
        return false;
    w = (struct span){want.text, want.n};
    g = (struct span){got.text, got.n};
    if (span_eq(w, g))
        return true;
    return below && !got.address && g.n > w.n && span_ends(g, w) && g.p[g.n - w.n - 1] == '.';
}
