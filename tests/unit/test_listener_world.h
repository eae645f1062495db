/* SPDX-License-Identifier: Apache-2.0 */
/* test_listener_world.h - a listener on one loop by the test's clock, and what came of whom. */
#ifndef TEST_LISTENER_WORLD_H
#define TEST_LISTENER_WORLD_H

#include "test_net.h"

#include "net/listener_int.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include <openssl/err.h>

#include "base/log.h"
#include "net/listener.h"
#include "test_certs.h"

#define CLIENTS_MAX 64

static struct test_cert ca, leaf, client_cert;
static struct tls_context *server_tls, *strict_tls, *client_tls, *known_client_tls;

static int make_certs(void **state)
{
    (void)state;
    ca = test_ca_new("Test CA");
    leaf = test_cert_new(&ca, (struct test_cert_spec){.cn = "localhost", .san = "DNS:localhost"});
    client_cert = test_cert_new(&ca, (struct test_cert_spec){.cn = "tenant one"});
    server_tls = test_tls_server(&leaf, NULL, false);
    strict_tls = test_tls_server(&leaf, &ca, true);
    client_tls = test_tls_client(&ca, NULL);
    known_client_tls = test_tls_client(&ca, &client_cert);
    log_set_level(LOG_LEVEL_ERROR);
    return 0;
}

static int drop_certs(void **state)
{
    (void)state;
    tls_context_unref(server_tls);
    tls_context_unref(strict_tls);
    tls_context_unref(client_tls);
    tls_context_unref(known_client_tls);
    test_cert_free(&client_cert);
    test_cert_free(&leaf);
    test_cert_free(&ca);
    return 0;
}

/* What happened, in order of happening. */
static struct log_book {
    struct accepted open[CLIENTS_MAX];
    struct loop *open_on[CLIENTS_MAX];
    unsigned n_open, n_refused;
    enum err err;
    char why[256], peer[ADDRESS_TEXT_MAX], who[64];
    struct test_clock *slow; /* a refusal takes a millisecond of it; NULL: none */
} book;

static unsigned destroyed;

static void on_open(void *arg, struct loop *l, const struct accepted *a)
{
    struct log_book *b = arg;

    assert_true(b->n_open < CLIENTS_MAX);
    assert_ptr_equal(stream_loop(a->stream), l);
    b->open_on[b->n_open] = l;
    b->open[b->n_open++] = *a;
}

static void on_refused(void *arg, struct loop *l, const struct listener_settings *s,
                       const struct address *peer, enum err e, const char *why,
                       const sallyport_report *report)
{
    struct log_book *b = arg;

    (void)l;
    assert_string_equal(s->name, "edge");
    b->n_refused++;
    if (b->slow)
        b->slow->now_ms++;
    (void)snprintf(b->who, sizeof b->who, "%s",
                   report && sallyport_report_peer(report)
                       ? sallyport_peer_text(sallyport_report_peer(report))
                       : "");
    b->err = e;
    (void)snprintf(b->why, sizeof b->why, "%s", why);
    (void)address_host_text(peer, b->peer);
}

static const struct listener_events events = {on_open, on_refused};

static void destroy(struct listener_settings *s)
{
    tls_context_unref(s->tls);
    free(s);
    destroyed++;
}

static struct listener_settings *settings_new(struct tls_context *tls)
{
    struct listener_settings *s = calloc(1, sizeof *s);

    *s = (struct listener_settings){
        .refs = 1,
        .name = "edge",
        .tls = tls ? tls_context_ref(tls) : NULL,
        .handshake_ms = 10000,
        .plaintext_refusal = SPAN("ICAP/1.0 403 TLS required\r\n\r\n"),
        .destroy = destroy,
    };
    return s;
}

/* One loop by the test's clock, one listener. */
struct site {
    struct test_clock clock;
    struct loop *l;
    struct loop_group *g;
    struct listener *li;
    struct listener_settings *settings;
    int fd;
    struct address at;
};

static void site_open(struct site *site, struct listener_settings *settings)
{
    struct address any = test_loopback(0);
    int errnum;

    memset(&book, 0, sizeof book);
    destroyed = 0;
    test_clock_init(&site->clock, 5000);
    site->l = test_loop(&site->clock.clock);
    site->settings = settings;
    assert_int_equal(loop_group_new(&site->l, 1, &site->g), OK);
    assert_int_equal(listener_socket(&any, 128, &site->fd, &errnum), OK);
    site->at = test_local_address(site->fd);
    assert_int_equal(listener_new(site->l, site->g, site->fd, settings, &events, &book, &site->li),
                     OK);
}

static void end_all(struct loop_group *g)
{
    for (unsigned i = 0; i < book.n_open; i++) {
        if (!book.open[i].stream)
            continue;
        stream_close(book.open[i].stream, 0);
        listener_connection_ended(g, book.open_on[i], book.open[i].settings, book.open[i].source);
        listener_settings_unref(book.open[i].settings);
        book.open[i].stream = NULL;
    }
}

static void site_close(struct site *site)
{
    end_all(site->g);
    listener_free(site->li);
    assert_int_equal(loop_group_connections(site->g, 0), 0);
    listener_settings_unref(site->settings);
    loop_free(site->l);
    loop_group_free(site->g);
    (void)close(site->fd);
    assert_int_equal(destroyed, 1);
}

static inline const char *peer_text(const struct stream *s, char dst[ADDRESS_TEXT_MAX])
{
    struct address peer = stream_peer(s);

    return address_host_text(&peer, dst);
}

static inline void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* A client's handshake beside the listener's loop. */
static inline SSL *handshake(struct site *site, int fd, struct tls_context *tls)
{
    SSL *ssl = tls_context_open(tls, "localhost");
    unsigned had = book.n_open + book.n_refused;

    SSL_set_fd(ssl, fd);
    TURN_UNTIL(site->l, (ERR_clear_error(), SSL_do_handshake(ssl)) == 1 ||
                            book.n_open + book.n_refused > had);
    return ssl;
}

#endif
