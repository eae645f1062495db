/* SPDX-License-Identifier: Apache-2.0 */
/* http_client_engine_time.c - how long each side may be silent, and when memory is given back. */
#include "base/deadline.h"
#include "http/http_client_engine_int.h"

/* What an exchange left behind is given back after so long a pause. */
#define REST_MS 1000u

/* |t|, later by the pause that ends now. */
static uint64_t past_pause(const struct http_client_engine *e, uint64_t t)
{
    return t + (e->now - (t > e->t_paused ? t : e->t_paused));
}

void http_client_pause(struct http_client_engine *e, bool paused)
{
    if (!e->open || paused == e->paused)
        return;
    e->paused = paused;
    if (paused) {
        e->t_paused = e->now;
    } else {
        e->t_in = past_pause(e, e->t_in);
        e->t_head = past_pause(e, e->t_head);
    }
}

static uint64_t head_deadline(const struct http_client_engine *e)
{
    if (e->head.text.n)
        return deadline_after(e->t_head, e->lim->head_ms);
    return e->sent ? deadline_after(e->t_in, e->lim->head_ms) : UINT64_MAX;
}

static uint64_t read_deadline(const struct http_client_engine *e)
{
    if (!e->open || e->paused || http_client_queue_full(e))
        return UINT64_MAX;
    switch (e->cr) {
    case CR_HEAD: return head_deadline(e);
    case CR_LENGTH:
    case CR_CHUNKED:
    case CR_TO_END: return deadline_after(e->t_in, e->lim->body_idle_ms);
    case CR_IDLE:
    case CR_SWITCHED:
    case CR_CLOSED:
    case CR_STATES: break;
    }
    return UINT64_MAX;
}

static uint64_t write_deadline(const struct http_client_engine *e)
{
    return e->out.chain.len ? deadline_after(e->t_out, e->lim->write_idle_ms) : UINT64_MAX;
}

static uint64_t exchange_deadline(const struct http_client_engine *e)
{
    return e->open ? deadline_after(e->t_begin, e->lim->exchange_ms) : UINT64_MAX;
}

static uint64_t idle_deadline(const struct http_client_engine *e)
{
    return e->cr == CR_IDLE && http_client_is_written(e)
               ? deadline_after(e->t_idle, e->lim->idle_ms)
               : UINT64_MAX;
}

static uint64_t rest_deadline(const struct http_client_engine *e)
{
    return http_client_is_idle(e) && !e->resting ? deadline_after(e->t_idle, REST_MS) : UINT64_MAX;
}

uint64_t http_client_expects(const struct http_client_engine *e)
{
    return e->cr == CR_LENGTH ? e->left : 0;
}

uint64_t http_client_deadline(const struct http_client_engine *e)
{
    uint64_t open = deadline_earlier(read_deadline(e), exchange_deadline(e));
    uint64_t idle = deadline_earlier(idle_deadline(e), rest_deadline(e));

    return deadline_earlier(write_deadline(e), deadline_earlier(open, idle));
}

static const char *what_is_late(const struct http_client_engine *e)
{
    if (write_deadline(e) <= e->now)
        return "the server takes no output";
    if (exchange_deadline(e) <= e->now)
        return "the exchange took too long";
    if (read_deadline(e) > e->now)
        return NULL;
    return e->cr == CR_HEAD && e->head.text.n == 0 ? "the server did not answer"
                                                   : "the answer stopped";
}

void http_client_tick(struct http_client_engine *e, uint64_t now_ms)
{
    struct fault f = {.err = ERR_TIMEOUT};

    if (now_ms > e->now)
        e->now = now_ms;
    f.why = what_is_late(e);
    if (f.why)
        http_client_fail(e, &f);
    else if (idle_deadline(e) <= e->now)
        http_client_set(e, CR_CLOSED);
    if (rest_deadline(e) > e->now)
        return;
    arena_done(&e->mem);
    http_out_rest(&e->out);
    e->resting = true;
}
