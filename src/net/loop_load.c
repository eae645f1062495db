/* SPDX-License-Identifier: Apache-2.0 */
#include "net/loop_load.h"

#define SECOND_US 1000000u

static uint64_t get(const _Atomic uint64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

/* Nobody else writes. */
static void set(_Atomic uint64_t *v, uint64_t to)
{
    atomic_store_explicit(v, to, memory_order_relaxed);
}

static void add(_Atomic uint64_t *v, uint64_t n)
{
    set(v, get(v) + n);
}

static void begin_second(struct loop_load_slot *s, uint64_t second)
{
    set(&s->turns, 0);
    set(&s->busy_us, 0);
    set(&s->longest_us, 0);
    set(&s->second, second);
}

static void count(struct loop_load *l, uint64_t now_us, uint64_t took_us)
{
    uint64_t second = now_us / SECOND_US;
    struct loop_load_slot *s = &l->slots[second % LOOP_LOAD_SLOTS];

    if (get(&s->second) != second)
        begin_second(s, second);
    add(&s->turns, 1);
    add(&s->busy_us, took_us);
    if (took_us > get(&s->longest_us))
        set(&s->longest_us, took_us);
    add(&l->turns, 1);
    add(&l->busy_us, took_us);
}

void loop_load_begin(struct loop_load *l, uint64_t now_us)
{
    loop_load_end(l, now_us);
    set(&l->began_us, now_us);
}

void loop_load_end(struct loop_load *l, uint64_t now_us)
{
    uint64_t began = get(&l->began_us);

    if (began)
        count(l, now_us, now_us - began);
    set(&l->began_us, 0);
}

void loop_load_read(const struct loop_load *l, uint64_t now_us, struct loop_load_figures *ret)
{
    uint64_t now = now_us / SECOND_US, began = get(&l->began_us), turns = 0, busy = 0, longest = 0;
    /* The second that is going on, and those before it. */
    uint64_t span_us = (LOOP_LOAD_SECONDS - 1) * SECOND_US + now_us % SECOND_US;

    for (unsigned i = 0; i < LOOP_LOAD_SLOTS; i++) {
        const struct loop_load_slot *s = &l->slots[i];
        uint64_t second = get(&s->second), long_us = get(&s->longest_us);

        if (second == 0 || second > now || second + LOOP_LOAD_SECONDS <= now)
            continue;
        turns += get(&s->turns);
        busy += get(&s->busy_us);
        longest = long_us > longest ? long_us : longest;
    }
    if (began && began < now_us && now_us - began > longest)
        longest = now_us - began;
    *ret = (struct loop_load_figures){
        .turns = get(&l->turns),
        .busy_us = get(&l->busy_us),
        .turns_per_s = turns * SECOND_US / span_us,
        .mean_us = turns ? busy / turns : 0,
        .longest_us = longest,
    };
}
