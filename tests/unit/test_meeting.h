/* SPDX-License-Identifier: Apache-2.0 */
/* test_meeting.h - handshakes over memory, and what both sides report of them. */
#ifndef TEST_MEETING_H
#define TEST_MEETING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "sallyport/report.h"

struct meeting {
    SSL *server, *client;
    sallyport_report *server_report, *client_report;
};

/* One side's step; makes its report as soon as it has ended. */
static inline bool step(SSL *ssl, sallyport_report **report)
{
    if (*report)
        return true;
    ERR_clear_error();
    int r = SSL_do_handshake(ssl);

    if (r != 1 && SSL_get_error(ssl, r) == SSL_ERROR_WANT_READ)
        return false;
    assert_int_equal(sallyport_report_new(ssl, report), 0);
    return true;
}

static inline struct meeting meet(SSL *client, SSL *server)
{
    struct meeting m = {server, client, NULL, NULL};
    BIO *a, *b;

    assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
    SSL_set_bio(client, a, a);
    SSL_set_bio(server, b, b);
    for (unsigned i = 0; i < 20; i++) {
        bool done = step(client, &m.client_report);

        if (step(server, &m.server_report) && done)
            break;
    }
    return m;
}

static inline void part(struct meeting *m)
{
    SSL_free(m->server);
    SSL_free(m->client);
    sallyport_report_free(m->server_report);
    sallyport_report_free(m->client_report);
    ERR_clear_error();
}

static inline sallyport_how how_of(const sallyport_report *r)
{
    sallyport_how how = {.size = sizeof how};

    assert_non_null(r);
    assert_int_equal(sallyport_report_how(r, &how), 0);
    return how;
}

static inline void expect_why(const sallyport_report *r, const char *code, int err)
{
    sallyport_why why = {.size = sizeof why};

    assert_non_null(r);
    assert_int_equal(sallyport_report_why(r, 0, &why), 0);
    assert_string_equal(why.code, code);
    assert_int_equal(why.err, err);
    assert_true(why.text && *why.text);
    assert_int_equal(how_of(r).level, SALLYPORT_NONE);
    assert_null(sallyport_report_peer(r));
}

#endif
