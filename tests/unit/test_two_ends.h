/* SPDX-License-Identifier: Apache-2.0 */
/* test_two_ends.h - a TLS client and a server that meet over memory. Include cmocka first. */
#ifndef TEST_TWO_ENDS_H
#define TEST_TWO_ENDS_H

#include <openssl/err.h>

#include "test_certs.h"

struct meeting {
    SSL *client, *server;
    bool client_done, server_done; /* their handshakes ended, well or not */
};

/* One step of one side: true when its handshake ended. |at_end| is told at once, while the error
 * queue says why. */
static inline bool meeting_step(SSL *ssl, bool *done, void (*at_end)(void *, SSL *), void *arg)
{
    int r;

    if (*done)
        return true;
    ERR_clear_error();
    r = SSL_do_handshake(ssl);
    *done = r == 1 || SSL_get_error(ssl, r) != SSL_ERROR_WANT_READ;
    if (*done)
        at_end(arg, ssl);
    return *done;
}

/* Takes both; |at_end| is called once for each side. */
static inline struct meeting meeting_of(SSL *client, SSL *server, void (*at_end)(void *, SSL *),
                                        void *arg)
{
    struct meeting m = {.client = client, .server = server};
    BIO *a, *b;

    assert_non_null(client);
    assert_non_null(server);
    assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
    SSL_set_bio(client, a, a);
    SSL_set_bio(server, b, b);
    for (unsigned i = 0; i < 20; i++) {
        bool client_ended = meeting_step(client, &m.client_done, at_end, arg);

        if (meeting_step(server, &m.server_done, at_end, arg) && client_ended)
            break;
    }
    return m;
}

static inline void meeting_end(struct meeting *m)
{
    SSL_free(m->server);
    SSL_free(m->client);
    ERR_clear_error();
}

#endif
