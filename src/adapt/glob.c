/* SPDX-License-Identifier: Apache-2.0 */
/* glob.c - patterns that operators write, held against texts that strangers choose. */
#include "adapt/rules.h"
#include "adapt/url_normal.h"

/* One star to go back to is enough: when a later star was reached, what stands before it matched at
 * its earliest place, and no other place could help. So the work is at most pattern times text. */
bool glob_match(struct span pattern, struct span text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, star_t = 0;

    while (t < text.n) {
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
