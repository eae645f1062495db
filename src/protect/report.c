/* SPDX-License-Identifier: Apache-2.0 */
/* report.c - reads what OpenSSL knows of one connection into an immutable answer. Part of
 * libsallyport: no logs, no globals, no reference kept on the SSL. */
#include "sallyport/report.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/ssl.h>

#include "protect/report_int.h"

static_assert(sizeof(sallyport_how) <= UINT32_MAX && sizeof(sallyport_why) <= UINT32_MAX,
              "sizes go into 32 bits");

/* Nearly all clear connections say the same, so they share one. */
static const sallyport_report clear_report = {
    .level = SALLYPORT_NONE,
    .via = SALLYPORT_VIA_CLEAR,
    .protocol = "clear",
    .text = "clear text, peer not authenticated",
};

/* TLS 1.3 knows only ephemeral exchanges and AEAD; before, both must have been chosen. */
static sallyport_level level_of(const SSL *ssl, const SSL_CIPHER *cipher)
{
    int kx;

    if (!cipher || SSL_version(ssl) < TLS1_2_VERSION || !SSL_CIPHER_is_aead(cipher))
        return SALLYPORT_WEAK;
    kx = SSL_CIPHER_get_kx_nid(cipher);
    return kx == NID_kx_ecdhe || kx == NID_kx_any ? SALLYPORT_STRONG : SALLYPORT_WEAK;
}

static void read_open(sallyport_report *r, SSL *ssl)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);

    r->level = level_of(ssl, cipher);
    r->via = SALLYPORT_VIA_TLS;
    r->protocol = SSL_get_version(ssl);
    r->cipher = cipher ? SSL_CIPHER_get_name(cipher) : "unknown";
    r->resumed = SSL_session_reused(ssl) == 1;
}

static void write_text(sallyport_report *r)
{
    /* Cut off where it does not fit: the peer alone is bounded, and the line is for people. */
    (void)snprintf(r->text, sizeof r->text, "%s %s%s%s%s", r->protocol, r->cipher,
                   r->resumed ? ", resumed" : "", r->peer ? ", peer " : ", peer not authenticated",
                   r->peer ? sallyport_peer_text(r->peer) : "");
}

static void read_failed(sallyport_report *r)
{
    r->level = SALLYPORT_NONE;
    r->via = SALLYPORT_VIA_CLEAR;
    r->protocol = "none";
    (void)snprintf(r->text, sizeof r->text, "no TLS: %.150s",
                   r->n_whys ? r->whys[0].text : "the handshake did not end");
}

int sallyport_report_new(const void *ssl_ptr, sallyport_report **ret_report)
{
    /* The getters of OpenSSL 3.0 take SSL without const, although they only read. */
    SSL *ssl = (SSL *)(uintptr_t)ssl_ptr;
    sallyport_report *r;
    int e = 0;

    if (!ssl) {
        *ret_report = (sallyport_report *)(uintptr_t)&clear_report;
        return 0;
    }
    r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    if (SSL_is_init_finished(ssl)) {
        read_open(r, ssl);
        e = report_read_peer(r, ssl);
        write_text(r);
    } else {
        e = report_read_failure(r, ssl);
        read_failed(r);
    }
    if (e) {
        sallyport_report_free(r);
        return e;
    }
    *ret_report = r;
    return 0;
}

void sallyport_report_free(sallyport_report *report)
{
    if (!report || report == &clear_report)
        return;
    sallyport_peer_unref(report->peer);
    free(report->whys);
    free(report);
}

int sallyport_report_how(const sallyport_report *report, sallyport_how *ret_how)
{
    if (ret_how->size < sizeof *ret_how)
        return -EINVAL;
    /* What a later version of the caller's struct has more stays as the caller zeroed it. */
    uint32_t size = ret_how->size;

    *ret_how = (sallyport_how){
        .size = size,
        .level = report->level,
        .via = report->via,
        .protocol = report->protocol,
        .cipher = report->cipher,
        .text = report->text,
        .resumed = report->resumed,
    };
    return 0;
}

const sallyport_peer *sallyport_report_peer(const sallyport_report *report)
{
    return report->peer;
}

int sallyport_report_why(const sallyport_report *report, size_t i, sallyport_why *ret_why)
{
    if (ret_why->size < sizeof *ret_why)
        return -EINVAL;
    if (i >= report->n_whys)
        return -ENOENT;
    const struct report_why *w = &report->whys[i];
    uint32_t size = ret_why->size;

    *ret_why = (sallyport_why){.size = size, .code = w->code, .err = w->err, .text = w->text};
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
