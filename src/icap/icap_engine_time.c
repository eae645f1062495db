/* SPDX-License-Identifier: Apache-2.0 */
/* icap_engine_time.c - deadlines of the server-role engine. Time comes in through icap_tick() only.
 */
#include "base/deadline.h"
#include "icap/icap_engine_int.h"

static uint64_t write_deadline(const struct icap_engine *e)
{
    return e->out.chain.len ? deadline_after(e->t_out, e->lim->write_idle_ms) : UINT64_MAX;
}

static uint64_t transaction_deadline(const struct icap_engine *e)
{
    return deadline_after(e->t_first, e->lim->transaction_ms);
}

/* Of the reading half. While the driver cannot or will not take bytes the peer is not to blame. */
static uint64_t read_deadline(const struct icap_engine *e)
{
    switch (e->rq) {
    case RQ_IDLE: return e->out.chain.len ? UINT64_MAX : deadline_after(e->t_idle, e->lim->idle_ms);
    case RQ_HEAD:
    case RQ_HEADS: return deadline_after(e->t_first, e->lim->head_ms);
    case RQ_PREVIEW:
    case RQ_BODY:
        if (e->paused || icap_engine_queue_full(e))
            return UINT64_MAX;
        return deadline_after(e->t_in, e->lim->body_idle_ms);
    case RQ_WAIT:
    case RQ_END:
    case RQ_CLOSED:
    case RQ_DEAD:
    case RQ_STATES: break;
    }
    return UINT64_MAX;
}

static bool in_transaction(const struct icap_engine *e)
{
    return (e->rq != RQ_IDLE && e->rq != RQ_CLOSED && e->rq != RQ_DEAD) || e->rp != RP_NONE;
}

uint64_t icap_deadline(const struct icap_engine *e)
{
    uint64_t at = deadline_earlier(read_deadline(e), write_deadline(e));

    if (in_transaction(e))
        at = deadline_earlier(at, transaction_deadline(e));
    return at;
}

static void read_expired(struct icap_engine *e)
{
    struct fault f;

    (void)fault_set(&f, ERR_TIMEOUT, 408, 0,
                    e->rq == RQ_HEAD || e->rq == RQ_HEADS ? "the heads took too long"
                                                          : "no byte of the body for too long");
    if (e->rq == RQ_IDLE) /* nobody waits for an answer: just close */
        icap_engine_set(e, RQ_CLOSED);
    else if (e->rp == RP_BODY)
        icap_engine_expire(e, &f);
    else
        icap_engine_refuse(e, &f);
}

/* Where no answer has begun there is one now: RFC 9110 15.5.9 for a request that does not come to
 * its end; for one that did, and waits for its verdict, the fault is not the client's. What was
 * begun cannot be taken back, and what was said already is not said again. */
static void transaction_expired(struct icap_engine *e)
{
    bool is_read = e->rq == RQ_WAIT || e->rq == RQ_END;
    bool begun = e->rp == RP_BODY || e->rp == RP_DONE;
    struct fault f;

    (void)fault_set(&f, ERR_TIMEOUT,
                    begun     ? 0
                    : is_read ? 503
                              : 408,
                    0, "the transaction took too long");
    if (begun)
        icap_engine_expire(e, &f);
    else
        icap_engine_refuse(e, &f);
}

void icap_tick(struct icap_engine *e, uint64_t now_ms)
{
    struct fault f;

    if (now_ms > e->now)
        e->now = now_ms;
    if (e->q_n == 0 && e->fault_kind == ICAP_EV_NONE)
        icap_engine_release(e);
    if (write_deadline(e) <= e->now) {
        (void)fault_set(&f, ERR_TIMEOUT, 0, 0, "the peer takes no output");
        icap_engine_expire(e, &f);
    } else if (in_transaction(e) && transaction_deadline(e) <= e->now) {
        transaction_expired(e);
    } else if (read_deadline(e) <= e->now) {
        read_expired(e);
    }
}
