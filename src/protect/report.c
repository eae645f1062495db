/* SPDX-License-Identifier: Apache-2.0 */
/* report.c - reads what OpenSSL knows of one connection into an immutable answer. Part of
 * libsallyport: no logs, no globals, no reference kept on the SSL. */
#include "sallyport/report.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "protect/peer_int.h"
#include "protect/report_int.h"
#include "protect/strength.h"

static_assert(sizeof(sallyport_how) <= UINT32_MAX && sizeof(sallyport_why) <= UINT32_MAX,
              "sizes go into 32 bits");

/* The struct as it was first. */
struct how_0 {
    uint32_t size;
    sallyport_level level;
    unsigned via;
    const char *protocol, *cipher, *text;
    int resumed;
};
static_assert(offsetof(sallyport_how, resumed) == offsetof(struct how_0, resumed),
              "the struct only grows at its end");

/* Nearly all clear connections say the same, so they share one. */
static const sallyport_report clear_report = {
    .how = {.level = SALLYPORT_NONE,
            .via = SALLYPORT_VIA_CLEAR,
            .protocol = "clear",
            .text = clear_report.text,
            .accepted_by_peer = SALLYPORT_UNKNOWN,
            .limit = "there is no protection",
            .classes = STRENGTH_CLASSES},
    .text = "clear text, peer not authenticated",
};

static void write_text(sallyport_report *r)
{
    const sallyport_how *h = &r->how;

    /* Cut off where it does not fit: the peer alone is bounded, and the line is for people. */
    (void)snprintf(r->text, sizeof r->text, "%s %s%s%s%s", h->protocol, h->cipher,
                   h->resumed ? ", resumed" : "", r->peer ? ", peer " : ", peer not authenticated",
                   r->peer ? sallyport_peer_text(r->peer) : "");
}

sallyport_report *report_alloc(void)
{
    sallyport_report *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    atomic_init(&r->refs, 1);
    r->how.text = r->text;
    r->how.classes = STRENGTH_CLASSES;
    return r;
}

static void read_failed(sallyport_report *r)
{
    r->how.level = SALLYPORT_NONE;
    r->how.via = SALLYPORT_VIA_CLEAR;
    r->how.protocol = "none";
    r->how.limit = "there is no protection";
    (void)snprintf(r->text, sizeof r->text, "no TLS: %.150s",
                   r->n_whys ? r->whys[0].text : "the handshake did not end");
}

int report_of_clear(int fd, sallyport_report **ret_report)
{
    sallyport_report *r = report_alloc();
    int e = r ? peer_of_socket(fd, &r->peer) : -ENOMEM;

    if (e) {
        sallyport_report_free(r);
        return e;
    }
    r->how = clear_report.how;
    r->how.text = r->text;
    if (r->peer)
        (void)snprintf(r->text, sizeof r->text, "clear text within this machine, peer %.100s",
                       sallyport_peer_text(r->peer));
    else
        memcpy(r->text, clear_report.text, sizeof r->text);
    *ret_report = r;
    return 0;
}

int report_of_open(SSL *ssl, bool heard, bool failed, sallyport_report **ret_report)
{
    sallyport_report *r = report_alloc();
    int e = r ? report_read_how(r, ssl) : -ENOMEM;

    if (!e && heard)
        r->how.accepted_by_peer = SALLYPORT_YES;
    if (!e && failed)
        e = report_read_later_failure(r);
    if (!e)
        e = report_read_peer(r, ssl);
    if (e) {
        sallyport_report_free(r);
        return e;
    }
    write_text(r);
    *ret_report = r;
    return 0;
}

static int report_of_failed(SSL *ssl, sallyport_report **ret_report)
{
    sallyport_report *r = report_alloc();
    int e = r ? report_read_failure(r, ssl) : -ENOMEM;

    if (e) {
        sallyport_report_free(r);
        return e;
    }
    read_failed(r);
    *ret_report = r;
    return 0;
}

/* After a fatal error OpenSSL counts as being in a handshake again, but its state machine stays
 * where it was. That both sides have a Finished message is no sign: OpenSSL notes the peer's before
 * it looks whether it is right. */
static bool has_been_open(const SSL *ssl)
{
    return SSL_get_state(ssl) == TLS_ST_OK;
}

static bool broke_later(const SSL *ssl)
{
    return report_alert_waits() || (!SSL_is_init_finished(ssl) && ERR_peek_error() != 0);
}

int sallyport_report_new(const void *ssl_ptr, sallyport_report **ret_report)
{
    /* The getters of OpenSSL 3.0 take SSL without const, although they only read. */
    SSL *ssl = (SSL *)(uintptr_t)ssl_ptr;

    if (!ssl) {
        *ret_report = (sallyport_report *)(uintptr_t)&clear_report;
        return 0;
    }
    return has_been_open(ssl) ? report_of_open(ssl, false, broke_later(ssl), ret_report)
                              : report_of_failed(ssl, ret_report);
}

sallyport_report *report_ref(sallyport_report *r)
{
    if (r != &clear_report)
        (void)atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void sallyport_report_free(sallyport_report *report)
{
    if (!report || report == &clear_report ||
        atomic_fetch_sub_explicit(&report->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < report->n_decisions; i++)
        free(report->decisions[i].value);
    free(report->decisions);
    sallyport_peer_unref(report->peer);
    free(report->whys);
    free(report);
}

int sallyport_report_how(const sallyport_report *report, sallyport_how *ret_how)
{
    uint32_t size = ret_how->size;

    if (size < sizeof(struct how_0))
        return -EINVAL;
    /* What a later version of the caller's struct has more stays as the caller zeroed it. */
    memcpy(ret_how, &report->how, size < sizeof report->how ? size : sizeof report->how);
    ret_how->size = size;
    return 0;
}

const sallyport_peer *sallyport_report_peer(const sallyport_report *report)
{
    return report->peer;
}

int sallyport_report_why(const sallyport_report *report, size_t i, sallyport_why *ret_why)
{
    if (!reason_fits(ret_why))
        return -EINVAL;
    if (i >= report->n_whys)
        return -ENOENT;
    reason_give(&report->whys[i].why, ret_why);
    return 0;
}

/* [required][got] */
static const char *const level_why[REPORT_LEVELS][REPORT_LEVELS] = {
    [SALLYPORT_INTEGRITY] = {"the connection is not protected; its integrity must be"},
    [SALLYPORT_WEAK] = {         "the connection is not protected; it must be confidential",
                             "the connection is not confidential; it must be"},
    [SALLYPORT_STRONG] = { "the connection is not protected; strong protection is required",
                             "the connection is not confidential; strong protection is required", "the connection is weakly protected; strong protection is required"},
};

const char *report_level_why(sallyport_level required, sallyport_level got)
{
    const char *text = (unsigned)required < REPORT_LEVELS && (unsigned)got < REPORT_LEVELS
                           ? level_why[required][got]
                           : NULL;

    return text ? text : "the connection is protected less than required";
}

const char *sallyport_level_name(sallyport_level level)
{
    switch (level) {
    case SALLYPORT_NONE: return "none";
    case SALLYPORT_INTEGRITY: return "integrity";
    case SALLYPORT_WEAK: return "weak";
    case SALLYPORT_STRONG: return "strong";
    }
    return "none";
}

const char *sallyport_side_name(int side)
{
    switch (side) {
    case SALLYPORT_SIDE_LOCAL: return "local";
    case SALLYPORT_SIDE_PEER: return "peer";
    case SALLYPORT_SIDE_BOTH: return "both";
    default: return "unknown";
    }
}

const char *sallyport_stage_name(int stage)
{
    switch (stage) {
    case SALLYPORT_STAGE_POLICY: return "policy";
    case SALLYPORT_STAGE_CONNECT: return "connect";
    case SALLYPORT_STAGE_HANDSHAKE: return "handshake";
    case SALLYPORT_STAGE_IDENTITY: return "identity";
    case SALLYPORT_STAGE_OPEN: return "open";
    default: return "unknown";
    }
}

const char *sallyport_tri_name(sallyport_tri value)
{
    switch (value) {
    case SALLYPORT_NO: return "no";
    case SALLYPORT_YES: return "yes";
    case SALLYPORT_UNKNOWN: break;
    }
    return "unknown";
}
