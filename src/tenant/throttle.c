/* SPDX-License-Identifier: Apache-2.0 */
#include "tenant/throttle.h"

bool throttle_allows(const struct throttle *t, uint64_t key, const struct throttle_limits *l,
                     uint64_t now_us)
{
    for (unsigned i = 0; i < THROTTLE_WAYS; i++)
        if (t->slots[key % THROTTLE_SETS][i].key == key) {
            uint64_t whole = t->slots[key % THROTTLE_SETS][i].whole_us;

            return whole <= now_us ||
                   whole - now_us + l->every_ms * 1000 <= l->burst * l->every_ms * 1000;
        }
    return true;
}

void throttle_failed(struct throttle *t, uint64_t key, const struct throttle_limits *l,
                     uint64_t now_us)
{
    unsigned at = 0;

    for (unsigned i = 0; i < THROTTLE_WAYS; i++) {
        if (t->slots[key % THROTTLE_SETS][i].key == key) {
            at = i;
            break;
        }
        if (t->slots[key % THROTTLE_SETS][i].whole_us < t->slots[key % THROTTLE_SETS][at].whole_us)
            at = i;
    }
    uint64_t *whole = &t->slots[key % THROTTLE_SETS][at].whole_us;

    if (t->slots[key % THROTTLE_SETS][at].key != key || *whole < now_us)
        *whole = now_us;
    t->slots[key % THROTTLE_SETS][at].key = key;
    *whole += l->every_ms * 1000;
}
