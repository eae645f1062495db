/* SPDX-License-Identifier: Apache-2.0 */
/* What a client sees while its file takes long. In mode trickle: after a while the answer begins as
 * if the file were clean, and a few of its bytes follow now and then, so that neither the proxy nor
 * the user gives up. The price is that the beginning is with the user before anybody knows what it
 * is, and that a blocked file is cut off instead of replaced. In mode progress: a page, for which
 * icap_progress.c takes the scan off the connection. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "icap/icap_server_int.h"

#define HEAD_MAX (64u << 10) /* bytes of a body that can be trickled */

static struct budget *memory(const struct icap_transaction *tx)
{
    return tx->server->env.spool->memory;
}

static const struct icap_slow_settings *settings(const struct icap_transaction *tx)
{
    return &tx->service->set->slow;
}

static bool is_waiting(const struct icap_transaction *tx)
{
    return tx->state == TX_RECEIVE || tx->state == TX_FILE || tx->state == TX_SCAN;
}

/* Inside a preview the client listens for 100 or a final answer: what began there would end its
 * body (RFC 3507 4.5). */
static bool may_begin(const struct icap_transaction *tx)
{
    return !tx->req->has_preview || tx->went_on || tx->request_over;
}

static NODISCARD enum err begin(struct icap_transaction *tx)
{
    enum err e;

    if (tx->slow.begun)
        return OK;
    tx->icap_status = 200;
    e = icap_answer_original(tx);
    if (e == OK) {
        tx->slow.begun = true;
        log_debug("icap", "id=%s service=%s: slow, the answer begins before the verdict", tx->id,
                  tx->service->set->name);
    }
    return e;
}

/* How much of the head may be out by now: not what is to be held back. */
static uint32_t may_send(const struct icap_transaction *tx)
{
    uint64_t len = tx->body ? body_len(tx->body) : 0;
    uint64_t free = len > settings(tx)->hold_max ? len - settings(tx)->hold_max : 0;

    return free < tx->slow.n ? (uint32_t)free : tx->slow.n;
}

static NODISCARD enum err send_piece(struct icap_transaction *tx)
{
    uint32_t max = may_send(tx);
    uint32_t n = max > tx->slow.sent ? max - tx->slow.sent : 0;

    if (n > settings(tx)->bytes)
        n = (uint32_t)settings(tx)->bytes;
    if (n == 0)
        return OK;
    TRY(icap_reply_copy(tx->conn->engine,
                        (struct span){(const char *)tx->slow.head + tx->slow.sent, n}));
    tx->slow.sent += n;
    return OK;
}

static void on_timer(struct timer *t)
{
    struct icap_transaction *tx = CONTAINER_OF(t, struct icap_transaction, slow.timer);
    struct icap_connection *c = tx->conn;
    struct loop *loop = c->server->env.loop;

    if (!is_waiting(tx))
        return;
    /* An answer that cannot begin (a REQMOD without its head) does not: the scan goes on. */
    if (may_begin(tx) && (begin(tx) != OK || send_piece(tx) != OK))
        return;
    timer_set(loop, t, loop_now_ms(loop) + settings(tx)->every_ms);
    icap_connection_pump(c);
}

static void on_page_timer(struct timer *t)
{
    struct icap_transaction *tx = CONTAINER_OF(t, struct icap_transaction, slow.timer);
    struct icap_connection *c = tx->conn;

    if (tx->state == TX_FILE || tx->state == TX_SCAN)
        (void)icap_progress_detach(tx); /* else it waits */
    icap_connection_pump(c);
}

void icap_slow_complete(struct icap_transaction *tx)
{
    struct loop *loop = tx->server->env.loop;

    if (!tx->slow.page)
        return;
    tx->slow.since_ms = loop_now_ms(loop);
    tx->slow.timer.fire = on_page_timer;
    timer_set(loop, &tx->slow.timer, tx->slow.since_ms + settings(tx)->after_ms);
}

/* The engines keep theirs; without one of our own nobody could fetch the file. */
void icap_slow_file(struct icap_transaction *tx, int fd)
{
    if (!tx->slow.page)
        return;
    tx->slow.file = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    tx->slow.has_file = tx->slow.file >= 0;
    if (!tx->slow.has_file)
        icap_slow_end(tx);
}

/* As many pieces as the transaction has time for, and no more than the body has bytes. */
static uint32_t head_max(const struct icap_transaction *tx)
{
    uint64_t pieces = tx->snapshot->limits->transaction_ms / settings(tx)->every_ms + 1;
    uint64_t len, max = HEAD_MAX;
    const struct head *http = icap_message_head(tx->req);

    if (tx->snapshot->limits->transaction_ms && pieces < max / settings(tx)->bytes)
        max = pieces * settings(tx)->bytes;
    if (http && head_content_length(http, &len) == OK && len < max)
        max = len;
    return (uint32_t)max;
}

/* Many slow bodies at once are much memory, and it is limits.memory like that of the bodies. */
static bool head_new(struct icap_transaction *tx)
{
    uint32_t max = head_max(tx);

    if (max == 0 || !budget_take(memory(tx), max))
        return false;
    tx->slow.head = mem_fail_now() ? NULL : malloc(max);
    if (tx->slow.head)
        tx->slow.max = max;
    else
        budget_give(memory(tx), max);
    return tx->slow.head != NULL;
}

void icap_slow_begin(struct icap_transaction *tx)
{
    struct loop *loop = tx->server->env.loop;

    if (!tx->req->has_body)
        return;
    tx->slow.page = settings(tx)->mode == ICAP_SLOW_PROGRESS && icap_progress_suits(tx);
    if (settings(tx)->mode != ICAP_SLOW_TRICKLE)
        return;
    if (!head_new(tx))
        return; /* it waits, then */
    tx->slow.timer.fire = on_timer;
    timer_set(loop, &tx->slow.timer, loop_now_ms(loop) + settings(tx)->after_ms);
}

void icap_slow_body(struct icap_transaction *tx, struct slice s)
{
    uint32_t n = tx->slow.max - tx->slow.n;

    if (!tx->slow.head || n == 0)
        return;
    if (n > s.len)
        n = s.len;
    memcpy(tx->slow.head + tx->slow.n, s.block->data + s.off, n);
    tx->slow.n += n;
}

void icap_slow_end(struct icap_transaction *tx)
{
    if (tx->slow.timer.fire)
        timer_clear(tx->server->env.loop, &tx->slow.timer);
}

void icap_slow_free(struct icap_transaction *tx)
{
    icap_slow_end(tx);
    if (tx->slow.head)
        budget_give(memory(tx), tx->slow.max);
    free(tx->slow.head);
    tx->slow.head = NULL;
    if (tx->slow.has_file)
        (void)close(tx->slow.file);
    tx->slow.has_file = false;
}
