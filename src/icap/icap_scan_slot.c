/* SPDX-License-Identifier: Apache-2.0 */
/* A file's slot among the scans that may be open, and the wait for one: in the order in which a
 * client's files came, so that a burst passes and nobody gains by coming later and asking more
 * often. */
#include <assert.h>
#include <stdlib.h>

#include <utlist.h>

#include "base/map.h"
#include "icap/icap_server_int.h"

/* Slots are given back on other threads, too: how often the first of a queue asks meanwhile, within
 * scan_wait_ms. */
#define ASKS 10u
/* For the tenant's own quota, as its requests do. */
#define QUOTA_WAIT_MS 2000u

/* A client's files that wait on this thread. */
struct icap_scan_queue {
    uint64_t client;
    struct icap_scan_wait *first; /* not NULL */
    UT_hash_handle hh;
};

static struct icap_transaction *tx_of(struct icap_scan_wait *w)
{
    return CONTAINER_OF(w, struct icap_transaction, scan_wait);
}

static struct icap_scan_queue *queue_of(const struct icap_transaction *tx)
{
    struct icap_scan_queue *q;

    HASH_FIND(hh, tx->server->scan_queues, &tx->client, sizeof tx->client, q);
    return q;
}

static bool is_first(const struct icap_scan_wait *w)
{
    return w->queue->first == w;
}

static void on_timer(struct timer *t)
{
    struct icap_transaction *tx = tx_of(CONTAINER_OF(t, struct icap_scan_wait, timer));

    /* Hundreds may be due at the same time: not all in one turn, and others pass. */
    tx->scan_wait.due = true;
    if (tx->conn)
        icap_connection_wake(tx->conn);
    else
        icap_transaction_turn(tx);
}

/* It may have its turn. The timer tells one that has no connection: never inside a call. */
static void wake(struct icap_scan_wait *w)
{
    struct icap_transaction *tx = tx_of(w);

    if (w->due)
        return;
    if (!tx->conn) {
        timer_set(tx->server->env.loop, &w->timer, loop_now_ms(tx->server->env.loop));
        return;
    }
    w->due = true;
    icap_connection_wake(tx->conn);
}

/* Within the tenant's quota. */
static bool take(struct icap_transaction *tx)
{
    struct quota *q = tx->tenant ? tx->tenant->quota : NULL;

    tx->scan_wait.over_quota = q && !quota_scan(q);
    if (tx->scan_wait.over_quota)
        return false;
    tx->scan_slot = scan_slots_take(tx->server->env.scans, tx->client);
    if (!tx->scan_slot && q)
        quota_scanned(q);
    return tx->scan_slot;
}

/* A slot became free: for another file of |client| if it was that one's share, else for the next of
 * the others. */
static void tell_those_who_wait(struct icap_server *s, uint64_t client)
{
    struct icap_scan_queue *q, *other = s->scan_queues;

    HASH_FIND(hh, s->scan_queues, &client, sizeof client, q);
    if (q)
        wake(q->first);
    if (other && other == q)
        other = q->hh.next;
    if (other)
        wake(other->first);
}

static void give(struct icap_transaction *tx)
{
    tx->scan_slot = false;
    scan_slots_give(tx->server->env.scans, tx->client);
    if (tx->tenant && tx->tenant->quota)
        quota_scanned(tx->tenant->quota);
    tell_those_who_wait(tx->server, tx->client);
}

static void leave(struct icap_transaction *tx)
{
    struct icap_scan_wait *w = &tx->scan_wait;
    struct icap_scan_queue *q = w->queue;
    bool was_first = is_first(w);

    timer_clear(tx->server->env.loop, &w->timer);
    DL_DELETE(q->first, w);
    w->queue = NULL;
    w->due = false;
    if (!q->first) {
        HASH_DEL(tx->server->scan_queues, q);
        free(q);
    } else if (was_first) {
        wake(q->first);
    }
}

static uint64_t until_ms(const struct icap_transaction *tx)
{
    uint64_t wait = tx->server->env.scan_wait_ms;

    if (tx->scan_wait.over_quota && wait < QUOTA_WAIT_MS)
        wait = QUOTA_WAIT_MS;
    return tx->scan_wait.since_ms + wait;
}

static void set_timer(struct icap_transaction *tx)
{
    const struct icap_server_environment *env = &tx->server->env;
    uint64_t at = until_ms(tx), next = loop_now_ms(env->loop) + env->scan_wait_ms / ASKS + 1;

    timer_set(env->loop, &tx->scan_wait.timer, is_first(&tx->scan_wait) && next < at ? next : at);
}

static struct icap_scan_queue *queue_new(struct icap_transaction *tx)
{
    struct icap_scan_queue *q = mem_fail_now() ? NULL : calloc(1, sizeof *q);

    if (!q)
        return NULL;
    q->client = tx->client;
    HASH_ADD(hh, tx->server->scan_queues, client, sizeof q->client, q);
    if (!q->hh.tbl) {
        free(q);
        return NULL;
    }
    return q;
}

/* Files that came together do not give up together. */
static enum icap_scan_slot join(struct icap_transaction *tx, struct icap_scan_queue *q)
{
    const struct icap_server_environment *env = &tx->server->env;
    struct icap_scan_wait *w = &tx->scan_wait;

    w->queue = q;
    w->since_ms = loop_now_ms(env->loop) + tx->server->next_id % (env->scan_wait_ms / ASKS + 1);
    w->timer.fire = on_timer;
    DL_APPEND(q->first, w);
    set_timer(tx);
    return ICAP_SCAN_WAITS;
}

static enum icap_scan_slot refuse(struct icap_transaction *tx)
{
    if (tx->scan_wait.over_quota)
        quota_refused(tx->tenant->quota);
    return ICAP_SCAN_REFUSED;
}

enum icap_scan_slot icap_scan_slot_take(struct icap_transaction *tx)
{
    struct icap_scan_queue *q = queue_of(tx);

    if (q) {
        tx->scan_wait.over_quota = q->first->over_quota;
        return join(tx, q);
    }
    if (take(tx))
        return ICAP_SCAN_GOES_ON;
    q = queue_new(tx);
    return q ? join(tx, q) : refuse(tx);
}

enum icap_scan_slot icap_scan_slot_turn(struct icap_transaction *tx)
{
    struct icap_scan_wait *w = &tx->scan_wait;

    if (!w->queue || !w->due)
        return ICAP_SCAN_WAITS;
    w->due = false;
    if (is_first(w) && take(tx)) {
        leave(tx);
        return ICAP_SCAN_GOES_ON;
    }
    w->over_quota = w->queue->first->over_quota;
    if (loop_now_ms(tx->server->env.loop) >= until_ms(tx)) {
        leave(tx);
        return refuse(tx);
    }
    set_timer(tx);
    return ICAP_SCAN_WAITS;
}

void icap_scan_slot_drop(struct icap_transaction *tx)
{
    if (tx->scan_wait.queue)
        leave(tx);
    if (tx->scan_slot)
        give(tx);
}

void icap_scan_slot_detached(struct icap_transaction *tx)
{
    struct icap_scan_wait *w = &tx->scan_wait;

    if (!w->due)
        return;
    w->due = false; /* no connection's turn will ask for the slot */
    wake(w);
}
