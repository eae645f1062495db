/* SPDX-License-Identifier: Apache-2.0 */
/* http_engine_time.c - deadlines of the server-role engine. Time comes in through http_now() and
 * http_tick() only. */
#include "base/deadline.h"
#include "http/http_engine_int.h"

static uint64_t write_deadline(const struct http_engine *e)
{
    return e->out.chain.len ? deadline_after(e->t_out, e->lim->write_idle_ms) : UINT64_MAX;
}

/* To the last byte of the answer; the engine's own refusal is no such answer. */
static uint64_t exchange_deadline(const struct http_engine *e)
{
    bool open = e->rq == RQ_HEAD || e->rp == RP_OPEN || e->rp == RP_BODY || e->out.chain.len;

    return open && !e->fault.err ? deadline_after(e->t_first, e->lim->exchange_ms) : UINT64_MAX;
}

/* Of the body. While the driver will not take bytes, or the client waits for a word of ours, the
 * client is not to blame. */
static uint64_t body_deadline(const struct http_engine *e)
{
    if (e->paused || (http_engine_is_held_back(e) && !http_engine_discards(e)))
        return UINT64_MAX;
    return deadline_after(e->t_in, e->lim->body_idle_ms);
}

/* Of the reading half. */
static uint64_t read_deadline(const struct http_engine *e)
{
    switch (e->rq) {
    case RQ_IDLE: return e->out.chain.len ? UINT64_MAX : deadline_after(e->t_idle, e->lim->idle_ms);
    case RQ_HEAD: return deadline_after(e->t_first, e->lim->head_ms);
    case RQ_BODY:
        if (http_engine_discards(e))
            return deadline_earlier(body_deadline(e),
                                    deadline_after(e->t_discard, e->lim->discard_ms));
        return body_deadline(e);
    case RQ_END:
    case RQ_SWITCH:
    case RQ_CLOSED:
    case RQ_DEAD:
    case RQ_STATES: break;
    }
    return UINT64_MAX;
}

uint64_t http_deadline(const struct http_engine *e)
{
    return deadline_earlier(exchange_deadline(e),
                            deadline_earlier(read_deadline(e), write_deadline(e)));
}

static void read_expired(struct http_engine *e)
{
    struct fault f;

    if (e->rq == RQ_IDLE) { /* nobody waits for an answer: just close */
        http_engine_set(e, RQ_CLOSED);
    } else if (http_engine_discards(e)) {
        http_engine_stop_discarding(e);
    } else {
        (void)fault_set(&f, ERR_TIMEOUT, 408, 0,
                        e->rq == RQ_HEAD ? "the head took too long"
                                         : "no byte of the body for too long");
        http_engine_refuse(e, &f);
    }
}

/* Where no answer has begun there is one now: RFC 9110 15.5.9 for a request that does not come to
 * its end; for one that did, and waits, the fault is not the client's. What was begun cannot be
 * taken back, and between 101 and the new protocol nobody could read it. */
static void exchange_expired(struct http_engine *e)
{
    bool unread = e->rq == RQ_HEAD || e->rq == RQ_BODY;
    bool waits = e->rq == RQ_HEAD || (e->rp == RP_OPEN && e->rq != RQ_SWITCH);
    struct fault f;

    (void)fault_set(&f, ERR_TIMEOUT, unread ? 408 : 503, 0, "the exchange took too long");
    if (waits)
        http_engine_refuse(e, &f);
    else
        http_engine_expire(e, &f);
}

void http_now(struct http_engine *e, uint64_t now_ms)
{
    if (now_ms > e->now)
        e->now = now_ms;
}

void http_tick(struct http_engine *e, uint64_t now_ms)
{
    struct fault f;

    http_now(e, now_ms);
    http_engine_release(e);
    if (write_deadline(e) <= e->now) {
        (void)fault_set(&f, ERR_TIMEOUT, 0, 0, "the peer takes no output");
        http_engine_expire(e, &f);
    } else if (exchange_deadline(e) <= e->now) {
        exchange_expired(e);
    } else if (read_deadline(e) <= e->now) {
        read_expired(e);
    }
}
