/* SPDX-License-Identifier: Apache-2.0 */
/* why_talk.c - from a name to a connection that was judged. Everything that is said is TLS: no byte
 * of the protocol above, but for the request for TLS where a printer's URI wants it to begin so. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/why_int.h"

/* How long a server that wants nothing of us may take to say so, or to refuse us. */
#define WORD_MS 1000u
/* The handshake over, one that lets nobody in whom it does not want closes in the same breath. */
#define BREATH_MS 100u

static int network(struct why *w, const char *why)
{
    (void)snprintf(w->failure, sizeof w->failure, "%s", why);
    return EXIT_NETWORK;
}

/* The reason that |e|, 0 or -errno, comes from decides: the policy of this machine, silence, or
 * that it is not secure. Others, such as what was tolerated, may stand before it. */
static int exit_code(struct why *w, const sallyport_report *r, int e)
{
    sallyport_why why = {.size = sizeof why};
    size_t i = 0;

    if (e == 0)
        return EXIT_FINE;
    while (sallyport_report_why(r, i, &why) == 0 && why.err != -e)
        i++;
    if (sallyport_report_why(r, i, &why) != 0)
        return network(w, e == -ENOMEM ? "no memory" : "the connection broke off");
    if (why.err == EPERM || span_eq(span_of(why.source), SPAN("policy")))
        return EXIT_REFUSED;
    return why.err == ETIMEDOUT ? EXIT_NETWORK : EXIT_SECURITY;
}

/* ---- the plan ---- */

/* The address that we have towards |remote|: a datagram socket is connected without a packet. */
static bool local_address(const struct address *remote, struct address *ret)
{
    int fd = socket(remote->ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr *to = (struct sockaddr *)&ret->ss;
    bool ok;

    *ret = (struct address){.len = sizeof ret->ss};
    ok = fd >= 0 && connect(fd, (const struct sockaddr *)&remote->ss, remote->len) == 0 &&
         getsockname(fd, to, &ret->len) == 0;
    if (fd >= 0)
        (void)close(fd);
    /* Its port is the datagram socket's. */
    if (ok && to->sa_family == AF_INET)
        ((struct sockaddr_in *)(void *)to)->sin_port = 0;
    else if (ok && to->sa_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)to)->sin6_port = 0;
    return ok;
}

/* False: no memory. */
static bool make_plan(struct why *w, const struct address *remote)
{
    struct address local;
    bool known = local_address(remote, &local);

    sallyport_report_free(w->plan);
    w->plan = NULL;
    return sallyport_plan(w->ctx, w->want, known ? (const struct sockaddr *)&local.ss : NULL,
                          (const struct sockaddr *)&remote->ss, IPPROTO_TCP, &w->plan) == 0;
}

/* 0, or the -errno of what no connection can ever meet. */
static int hopeless(const sallyport_report *plan)
{
    sallyport_why why = {.size = sizeof why};

    return sallyport_report_why(plan, 0, &why) == 0 ? -why.err : 0;
}

/* ---- TLS ---- */

/* False: |until| has come. */
static bool wait_for(int fd, short events, uint64_t until)
{
    struct pollfd p = {.fd = fd, .events = events};
    uint64_t now = clock_mono_ms(&clock_system);
    int left = now >= until ? 0 : until - now > 60000 ? 60000 : (int)(until - now);

    return poll(&p, 1, left) != 0;
}

static short wanted(const SSL *ssl)
{
    return SSL_want_write(ssl) ? POLLOUT : POLLIN;
}

/* 0, -errno, or -EAGAIN: the server does not go on. */
static int handshake(SSL *ssl, int fd, sallyport_conn *c, uint64_t until)
{
    for (;;) {
        ERR_clear_error();
        int e = sallyport_drive(c, SALLYPORT_DID_HANDSHAKE, SSL_do_handshake(ssl));

        if (e != -EAGAIN || !wait_for(fd, wanted(ssl), until))
            return e;
    }
}

static bool is_accepted(const sallyport_conn *c)
{
    sallyport_report *r = sallyport_conn_report(c);
    sallyport_how how = {.size = sizeof how};
    bool known = sallyport_report_how(r, &how) == 0 && how.accepted_by_peer != SALLYPORT_UNKNOWN;

    sallyport_report_free(r);
    return known;
}

/* RFC 8446 4.4.2: the handshake over, a server of TLS 1.3 may still refuse us. */
static int listen_for_a_word(SSL *ssl, int fd, sallyport_conn *c, uint64_t until)
{
    char byte;

    while (!is_accepted(c)) {
        ERR_clear_error();
        int ret = SSL_read(ssl, &byte, 1);
        int e = sallyport_drive(c, SALLYPORT_DID_READ, ret);

        if (e != 0 || ret > 0 || SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN ||
            !wait_for(fd, wanted(ssl), until))
            return e;
    }
    return 0;
}

/* In order; an alert that refuses us is |e|. */
static bool is_closed(const SSL *ssl, int e)
{
    return e == 0 && (SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
}

/* A server may shake hands with everybody and look at whom it has there afterwards: TLS has no
 * alert for that any more. What it says before it closes is of the protocol above. */
static int listen_for_the_end(struct why *w, SSL *ssl, int fd, sallyport_conn *c, uint64_t until)
{
    char words[1024];

    for (;;) {
        ERR_clear_error();
        int ret = SSL_read(ssl, words, sizeof words);
        int e = sallyport_drive(c, SALLYPORT_DID_READ, ret);

        w->closed = is_closed(ssl, e);
        if (e != 0 || w->closed || clock_mono_ms(&clock_system) >= until)
            return e;
        /* After words there may be more of them, or the end, in OpenSSL's own buffer. */
        if (ret <= 0 && !wait_for(fd, wanted(ssl), until))
            return 0;
    }
}

static int listen_for_words(struct why *w, SSL *ssl, int fd, sallyport_conn *c)
{
    uint64_t now = clock_mono_ms(&clock_system);
    int e = listen_for_a_word(ssl, fd, c, now + (w->ms < WORD_MS ? w->ms : WORD_MS));

    w->closed = is_closed(ssl, e);
    if (e != 0 || w->closed || !is_accepted(c))
        return e;
    return listen_for_the_end(w, ssl, fd, c, clock_mono_ms(&clock_system) + BREATH_MS);
}

static int talk_tls(struct why *w, int fd, SSL *ssl)
{
    uint64_t now = clock_mono_ms(&clock_system);
    sallyport_conn *c = NULL;
    int e = sallyport_adopt(w->ctx, w->want, fd, ssl, &c);

    if (!c)
        return network(w, "no memory");
    if (e == -EAGAIN)
        e = handshake(ssl, fd, c, now + w->ms);
    if (e == 0)
        e = listen_for_words(w, ssl, fd, c);
    if (e != -EAGAIN)
        w->report = sallyport_conn_report(c);
    if (e == 0)
        (void)SSL_shutdown(ssl);
    sallyport_conn_free(c);
    if (e == -EAGAIN)
        return network(w, "the server does not go on with the TLS handshake");
    return e == 0 && w->closed ? EXIT_REFUSED : exit_code(w, w->report, e);
}

static int talk_clear(struct why *w, int fd)
{
    sallyport_conn *c = NULL;
    int e = sallyport_adopt(w->ctx, w->want, fd, NULL, &c);

    if (!c)
        return network(w, "no memory");
    w->report = sallyport_conn_report(c);
    sallyport_conn_free(c);
    return exit_code(w, w->report, e);
}

static int talk(struct why *w, int fd)
{
    SSL *ssl;
    int code;

    if (!w->place.tls)
        return talk_clear(w, fd);
    ssl = tls_context_open(w->place.tls, w->place.host);
    if (!ssl || SSL_set_fd(ssl, fd) != 1)
        code = network(w, "TLS cannot be spoken to a server of that name");
    else
        code = talk_tls(w, fd, ssl);
    SSL_free(ssl);
    ERR_clear_error();
    return code;
}

/* ---- all of it ---- */

static int connect_and_talk(struct why *w)
{
    struct probe_talk k;
    int code;

    if (probe_talk_open_clear(&k, &w->place) != OK) {
        code = network(w, k.why);
    } else {
        (void)address_text(&k.address, w->address);
        /* It may be another one than the first; now it is known. */
        code = make_plan(w, &k.address) ? talk(w, k.fd) : network(w, "no memory");
    }
    probe_talk_close(&k);
    return code;
}

/* Without TLS the report is of what there is: clear text. */
static int upgrade_and_talk(struct why *w, struct ipp_talk *t)
{
    enum err e;

    (void)address_text(&t->k.address, w->address);
    if (!make_plan(w, &t->k.address))
        return network(w, "no memory");
    e = why_upgrade(w, t);
    if (e == OK)
        return talk(w, t->k.fd);
    if (e != ERR_PROTO || !w->no_upgrade[0])
        return network(w, t->why[0] ? t->why : err_text(e));
    (void)talk_clear(w, t->k.fd);
    return EXIT_SECURITY;
}

static int connect_and_upgrade(struct why *w)
{
    struct ipp_talk t;
    int code = ipp_talk_open(&t, &w->place) == OK ? upgrade_and_talk(w, &t) : network(w, t.why);

    ipp_talk_done(&t);
    return code;
}

int why_find_out(struct why *w)
{
    const char *why = "";
    int code;

    if (probe_target_resolve(&w->place, &why) != OK)
        return network(w, why);
    if (!make_plan(w, &w->place.addresses[0]))
        return network(w, "no memory");
    code = exit_code(w, w->plan, hopeless(w->plan));
    if (code != EXIT_FINE)
        return code;
    return w->upgrade ? connect_and_upgrade(w) : connect_and_talk(w);
}
