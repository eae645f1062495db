/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/scan_int.h"
#include "icap/icap_client.h"

#define CA_MAX (4u << 20)

struct remote {
    struct scanner base;
    struct loop *loop;
    struct arena mem;
    struct tls_context *tls;
    struct icap_client *client;
    char host[256], host_header[300];
    bool done;
    struct scan_outcome *out;
};

static enum scan_verdict verdict_of(const struct icap_client_result *r)
{
    switch (r->verdict) {
    case ICAP_CLIENT_PASS: return SCAN_PASS;
    case ICAP_CLIENT_CHANGED: return SCAN_CHANGED;
    case ICAP_CLIENT_BLOCKED: return SCAN_BLOCKED;
    case ICAP_CLIENT_ERROR: return SCAN_ERROR;
    }
    return SCAN_ERROR;
}

static void on_done(void *arg, const struct icap_client_result *r)
{
    struct remote *m = arg;
    struct scan_outcome *o = m->out;
    const char *reason = r->verdict == ICAP_CLIENT_ERROR ? r->why
                         : r->infection[0]               ? r->infection
                                                         : r->info;

    m->done = true;
    o->verdict = verdict_of(r);
    o->err = r->verdict == ICAP_CLIENT_ERROR ? (r->err ? r->err : ERR_UPSTREAM) : OK;
    o->status = r->status;
    o->http_status = r->http_status;
    o->us = r->us;
    (void)snprintf(o->reason, sizeof o->reason, "%s", reason);
    (void)snprintf(o->id, sizeof o->id, "%.60s", r->id);
    if (r->how[0])
        (void)snprintf(m->base.how, sizeof m->base.how, "%s", r->how);
    if (r->how[0])
        (void)snprintf(m->base.who, sizeof m->base.who, "%s", r->who);
}

static void remote_file(struct scanner *s, struct span name, int fd, uint64_t len,
                        struct scan_outcome *ret)
{
    struct remote *m = CONTAINER_OF(s, struct remote, base);
    struct icap_client_file f = {.name = name, .fd = fd, .len = len};

    *ret = (struct scan_outcome){.verdict = SCAN_ERROR, .err = ERR_NOMEM, .reason = "no memory"};
    m->done = false;
    m->out = ret;
    if (icap_client_scan(m->client, &f, on_done, m) != OK)
        return;
    while (!m->done)
        (void)loop_turn(m->loop, true);
}

static void remote_close(struct scanner *s)
{
    struct remote *m = CONTAINER_OF(s, struct remote, base);

    icap_client_free(m->client);
    for (unsigned i = 0; m->loop && i < 16; i++) /* what was deferred, handles that close */
        (void)loop_turn(m->loop, false);
    loop_free(m->loop);
    tls_context_unref(m->tls);
    arena_done(&m->mem);
    free(m);
}

static bool read_file(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;

    if (fd < 0)
        return false;
    for (;;) {
        char *room = buf_reserve(out, 65536);

        n = room ? read(fd, room, 65536) : -1;
        if (n <= 0)
            break;
        out->n += (size_t)n;
    }
    (void)close(fd);
    return n == 0;
}

static int fail(int code, const char *what, const char *why)
{
    (void)fprintf(stderr, "sallyport scan: %s: %s\n", what, why);
    return code;
}

static int make_tls(struct remote *m, const struct scan_remote_options *o)
{
    struct tls_settings s = {.role = TLS_CLIENT, .insecure_no_verify = o->insecure};
    struct buf ca, why;
    int code = EXIT_FINE;

    buf_init(&ca, CA_MAX);
    buf_init(&why, 0);
    if (o->ca && !read_file(o->ca, &ca))
        code = fail(EXIT_USAGE, o->ca, strerror(errno));
    s.trust = buf_span(&ca);
    if (code == EXIT_FINE && tls_context_new(&s, &m->tls, &why) != OK)
        code = fail(EXIT_USAGE, o->ca ? o->ca : "TLS", buf_cstr(&why));
    buf_done(&ca);
    buf_done(&why);
    return code;
}

static int make_client(struct remote *m, const struct scan_remote_options *o,
                       const struct icap_uri *uri)
{
    struct icap_client_settings s = {
        .upstream =
            {
                       .host = m->host,
                       .port = uri->port     ? uri->port
                        : uri->secure ? ICAPS_PORT
                                      : ICAP_PORT,
                       .policy = {.require =
                               uri->secure && !o->insecure ? SALLYPORT_STRONG : SALLYPORT_NONE},
                       .connect_ms = 10000,
                       .idle_ms = 30000,
                       .idle_max = 1,
                       },
        .uri = o->url,
        .host_header = m->host_header,
        .method = o->reqmod ? ICAP_REQMOD : ICAP_RESPMOD,
    };

    if (uri->secure) {
        int code = make_tls(m, o);

        if (code != EXIT_FINE)
            return code;
        s.upstream.tls = m->tls;
    }
    if (icap_client_new(m->loop, &s, &m->client) != OK)
        return fail(EXIT_NETWORK, o->url, "no memory");
    return EXIT_FINE;
}

static int remote_start(struct remote *m, const struct scan_remote_options *o)
{
    struct icap_uri uri;
    struct fault fault = {0};
    bool literal;

    if (icap_uri_parse(span_of(o->url), &m->mem, &uri, &fault) != OK ||
        uri.host.n >= sizeof m->host)
        return fail(EXIT_USAGE, o->url, fault.why ? fault.why : "not an icap:// or icaps:// URL");
    (void)span_copy(uri.host, m->host, sizeof m->host);
    literal = span_find(uri.host, ':') < uri.host.n;
    (void)snprintf(m->host_header, sizeof m->host_header, literal ? "[%s]" : "%s", m->host);
    if (uri.port) {
        size_t n = strlen(m->host_header);

        (void)snprintf(m->host_header + n, sizeof m->host_header - n, ":%u", uri.port);
    }
    if (loop_new(0, &clock_system, &m->loop) != OK)
        return fail(EXIT_NETWORK, o->url, "no memory");
    return make_client(m, o, &uri);
}

struct scanner *scan_remote_open(const struct scan_remote_options *o, int *ret_code)
{
    struct remote *m = calloc(1, sizeof *m);

    if (!m) {
        *ret_code = fail(EXIT_NETWORK, o->url, "no memory");
        return NULL;
    }
    m->base.file = remote_file;
    m->base.close = remote_close;
    arena_init(&m->mem, 1 << 20);
    *ret_code = remote_start(m, o);
    if (*ret_code == EXIT_FINE)
        return &m->base;
    if (m->loop)
        remote_close(&m->base);
    else
        free(m);
    return NULL;
}
