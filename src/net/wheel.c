/* SPDX-License-Identifier: Apache-2.0 */
#include "net/wheel.h"

#define RING_BITS 6u
#define SLOT_MASK (WHEEL_SLOTS - 1u)

/* The wheel turns once in 2^30 ticks (99 days); what lies beyond hangs at its end and moves on from
 * there. */
#define WHEEL_SPAN (UINT64_C(1) << (RING_BITS * WHEEL_RINGS))

static void list_init(struct timer *head)
{
    head->prev = head;
    head->next = head;
}

static void list_append(struct timer *head, struct timer *t)
{
    t->prev = head->prev;
    t->next = head;
    head->prev->next = t;
    head->prev = t;
}

static void list_remove(struct timer *t)
{
    t->prev->next = t->next;
    t->next->prev = t->prev;
    t->prev = NULL;
    t->next = NULL;
}

static void list_move_all(struct timer *to, struct timer *from)
{
    list_init(to);
    if (from->next == from)
        return;
    *to = *from;
    to->prev->next = to;
    to->next->prev = to;
    list_init(from);
}

static bool is_hanging(const struct timer *t)
{
    return t->next != NULL;
}

/* Rounded up: never early. */
static uint64_t tick_of(uint64_t at_ms)
{
    return at_ms / WHEEL_TICK_MS + (at_ms % WHEEL_TICK_MS != 0);
}

void wheel_init(struct wheel *w, uint64_t now_ms)
{
    *w = (struct wheel){.tick = now_ms / WHEEL_TICK_MS};
    for (unsigned ring = 0; ring < WHEEL_RINGS; ring++)
        for (unsigned i = 0; i < WHEEL_SLOTS; i++)
            list_init(&w->slots[ring][i]);
}

/* The next tick at which some slot comes up. A slot of ring r comes up at ticks that are multiples
 * of 64^r. */
static uint64_t next_tick(const struct wheel *w)
{
    uint64_t best = UINT64_MAX;

    for (unsigned ring = 0; ring < WHEEL_RINGS; ring++) {
        unsigned shift = RING_BITS * ring;
        uint64_t base = (w->tick >> shift) + 1;
        unsigned turn = (unsigned)(base & SLOT_MASK);
        uint64_t bits = w->filled[ring];

        if (!bits)
            continue;
        bits = bits >> turn | bits << ((WHEEL_SLOTS - turn) & SLOT_MASK);
        uint64_t at = (base + (unsigned)__builtin_ctzll(bits)) << shift;

        if (at < best)
            best = at;
    }
    return best;
}

static void hang(struct wheel *w, struct timer *t)
{
    uint64_t due = tick_of(t->at_ms);
    unsigned ring = 0;

    if (due <= w->tick)
        due = w->tick + 1;
    if (due - w->tick >= WHEEL_SPAN)
        due = w->tick + WHEEL_SPAN - 1;
    while ((due - w->tick) >> (RING_BITS * (ring + 1)))
        ring++;
    uint64_t turn = due >> (RING_BITS * ring);
    unsigned slot = (unsigned)(turn & SLOT_MASK);

    list_append(&w->slots[ring][slot], t);
    w->filled[ring] |= UINT64_C(1) << slot;
    t->slot_ms = (turn << (RING_BITS * ring)) * WHEEL_TICK_MS;
    w->n++;
}

static void unhang(struct wheel *w, struct timer *t)
{
    list_remove(t);
    w->n--;
}

/* Nothing comes up between the wheel's tick and now: step over it, so that a new timer hangs as
 * near as it is. */
static void catch_up(struct wheel *w, uint64_t now_ms)
{
    uint64_t now = now_ms / WHEEL_TICK_MS;
    uint64_t next = w->n ? next_tick(w) : UINT64_MAX;

    if (now >= next)
        now = next - 1;
    if (now > w->tick)
        w->tick = now;
}

bool wheel_set(struct wheel *w, struct timer *t, uint64_t at_ms, uint64_t now_ms)
{
    if (at_ms == UINT64_MAX) {
        wheel_clear(w, t);
        return false;
    }
    t->at_ms = at_ms;
    if (is_hanging(t)) {
        if (at_ms >= t->slot_ms)
            return false;
        unhang(w, t);
    }
    catch_up(w, now_ms);
    hang(w, t);
    return true;
}

void wheel_clear(struct wheel *w, struct timer *t)
{
    if (is_hanging(t))
        unhang(w, t);
    t->at_ms = UINT64_MAX;
}

/* The slot's timers go to |due|, or back into a nearer ring. */
static void empty_slot(struct wheel *w, unsigned ring, struct timer *due)
{
    unsigned slot = (unsigned)(w->tick >> (RING_BITS * ring) & SLOT_MASK);
    struct timer list;

    if (!(w->filled[ring] >> slot & 1))
        return;
    w->filled[ring] &= ~(UINT64_C(1) << slot);
    list_move_all(&list, &w->slots[ring][slot]);
    while (list.next != &list) {
        struct timer *t = list.next;

        unhang(w, t);
        if (tick_of(t->at_ms) <= w->tick) {
            list_append(due, t);
            w->n++;
        } else {
            hang(w, t);
        }
    }
}

static void fire_all(struct wheel *w, struct timer *due)
{
    while (due->next != due) {
        struct timer *t = due->next;

        unhang(w, t);
        /* Moved by a callback that fired just before it. */
        if (tick_of(t->at_ms) > w->tick) {
            hang(w, t);
            continue;
        }
        t->at_ms = UINT64_MAX;
        t->fire(t);
    }
}

void wheel_advance(struct wheel *w, uint64_t now_ms)
{
    uint64_t target = now_ms / WHEEL_TICK_MS;

    while (w->tick < target) {
        uint64_t next = w->n ? next_tick(w) : UINT64_MAX;
        struct timer due;

        if (next > target) {
            w->tick = target;
            return;
        }
        w->tick = next;
        list_init(&due);
        for (unsigned ring = WHEEL_RINGS; ring-- > 0;)
            if (!(w->tick & ((UINT64_C(1) << (RING_BITS * ring)) - 1)))
                empty_slot(w, ring, &due);
        fire_all(w, &due);
    }
}

uint64_t wheel_next_ms(const struct wheel *w)
{
    uint64_t next = w->n ? next_tick(w) : UINT64_MAX;

    return next == UINT64_MAX ? UINT64_MAX : next * WHEEL_TICK_MS;
}
