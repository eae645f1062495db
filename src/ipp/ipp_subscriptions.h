/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_subscriptions.h - what the gateway knows of each subscription (RFC 3995): how and by whom it
 * was made, which stands for all that is done to it, as with jobs, and is kept beside them in the
 * store. Printers number subscriptions; the gateway has no numbers of its own for them.
 *
 * A record is that of a job (ipp_jobs.h) of which |id| and |printer_id| both are the subscription's
 * number, and |stage| is IPP_JOB_PRINTER.
 *
 * Threads: any; answers come on the asker's loop, never inside the call. */
#ifndef IPP_SUBSCRIPTIONS_H
#define IPP_SUBSCRIPTIONS_H

#include "ipp/ipp_jobs.h"

#define IPP_SUBSCRIPTIONS_SPACE "ipp-subscriptions"
#define IPP_SUBSCRIPTIONS_MAX   1000u     /* of one question */
#define IPP_LEASE_MAX_S         67108863u /* RFC 3995 5.3.8: notify-lease-duration */
#define IPP_LEASE_ASKED_MAX_S   2678400u  /* 31 days: where the printer says none */

/* One question; embed it, zeroed, and leave it alone until it is answered. */
struct ipp_subscriptions_ask {
    struct store *store; /* borrowed; questions are answered or cancelled before it is freed */
    struct loop *loop;
    /* Of ipp_subscriptions_find(): what the book has of one of them, in their order; NULL: nothing,
     * or nothing that is legible. |made| lives for the call, which asks for nothing else. */
    void (*found)(void *arg, int32_t id, const struct ipp_job *made);
    /* OK; ERR_FULL, ERR_IO, ERR_BUSY, ERR_NOMEM, ERR_ABORTED: the store's; some of it may have
     * happened then. |done| may ask again with the same struct, and may free it. */
    void (*done)(void *arg, enum err err);
    void *arg;
    /* private */
    struct store_op *op;
    char printer[IPP_JOB_PRINTER_MAX + 1];
    struct ipp_job made;
    uint64_t expires_wall_ms;
    int32_t ids[IPP_SUBSCRIPTIONS_MAX];
    size_t n, at;
};
/* Each answers through |a->done| unless it returns an error itself: ERR_BUSY, ERR_NOMEM; ERR_LIMIT:
 * |n| is not 1..IPP_SUBSCRIPTIONS_MAX, or the printer's name is longer than any. They work at one
 * after the other. */

/* The |n| of |v|, numbers of |printer|. Any may be asked for. */
NODISCARD enum err ipp_subscriptions_find(struct ipp_subscriptions_ask *a, const char *printer,
                                          const int32_t *v, size_t n);
/* Keeps the |n| of |v| (1.. each) as |made|, instead of what had these numbers before, until
 * |expires_wall_ms|. */
NODISCARD enum err ipp_subscriptions_keep(struct ipp_subscriptions_ask *a,
                                          const struct ipp_job *made, const int32_t *v, size_t n,
                                          uint64_t expires_wall_ms);
/* It is over at the printer: so it is here. Fine for one that is not there. */
NODISCARD enum err ipp_subscriptions_forget(struct ipp_subscriptions_ask *a, const char *printer,
                                            int32_t id);
/* |done| is not called any more. What was asked for may happen all the same. Fine at any time. */
void ipp_subscriptions_cancel(struct ipp_subscriptions_ask *a);

#endif
