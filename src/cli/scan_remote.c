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

#define CA_MAX       (4u << 20)
#define JOBS_DEFAULT 4u
#define CONNECT_MS   10000u

/* A connection, and the file that is on it. */
struct remote_lane {
    struct remote *remote;
    struct icap_client *client;
    struct scan_file *file;
};

struct remote {
    struct scanner base;
    struct arena mem;
    struct tls_context *tls;
    struct remote_lane lanes[SCAN_JOBS_MAX];
    char host[256], host_header[300];
    bool asked;
    char tag[ICAP_CLIENT_TEXT_MAX];
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

/* Servers do not agree on the quotes (RFC 3507 4.7 wants them). */
static void copy_tag(const char *istag, char *dst, size_t cap)
{
    struct span tag = span_of(istag);

    if (tag.n >= 2 && tag.p[0] == '"' && tag.p[tag.n - 1] == '"')
        tag = span_sub(tag, 1, tag.n - 2);
    (void)span_copy(tag, dst, cap);
}

static void on_done(void *arg, const struct icap_client_result *r)
{
    struct remote_lane *lane = arg;
    struct remote *m = lane->remote;
    struct scan_file *f = lane->file;
    struct scan_outcome *o = f->out;
    const char *reason = r->verdict == ICAP_CLIENT_ERROR ? r->why
                         : r->infection[0]               ? r->infection
                                                         : r->info;

    lane->file = NULL;
    o->verdict = verdict_of(r);
    o->err = r->verdict == ICAP_CLIENT_ERROR ? (r->err ? r->err : ERR_UPSTREAM) : OK;
    o->status = r->status;
    o->http_status = r->http_status;
    o->us = r->us;
    (void)snprintf(o->reason, sizeof o->reason, "%s", reason);
    (void)snprintf(o->id, sizeof o->id, "%.60s", r->id);
    copy_tag(r->istag, o->tag, sizeof o->tag);
    if (r->how[0]) {
        (void)snprintf(m->base.how, sizeof m->base.how, "%s", r->how);
        (void)snprintf(m->base.who, sizeof m->base.who, "%s", r->who);
    }
    f->done(f);
}

static bool remote_start_file(struct scanner *s, unsigned n, struct scan_file *f)
{
    struct remote *m = CONTAINER_OF(s, struct remote, base);
    struct remote_lane *lane = &m->lanes[n];
    struct icap_client_file file = {.name = f->name, .fd = f->fd, .len = f->len};

    lane->file = f;
    return icap_client_scan(lane->client, &file, on_done, lane) == OK;
}

static void on_asked(void *arg, const struct icap_client_result *r)
{
    struct remote *m = arg;

    m->asked = true;
    if (r->verdict != ICAP_CLIENT_ERROR)
        copy_tag(r->istag, m->tag, sizeof m->tag);
}

static const char *remote_tag(struct scanner *s)
{
    struct remote *m = CONTAINER_OF(s, struct remote, base);

    m->asked = false;
    m->tag[0] = '\0';
    if (icap_client_ask(m->lanes[0].client, on_asked, m) != OK)
        return "";
    while (!m->asked)
        (void)loop_turn(s->loop, true);
    return m->tag;
}

static void remote_close(struct scanner *s)
{
    struct remote *m = CONTAINER_OF(s, struct remote, base);

    for (unsigned i = 0; i < s->jobs; i++)
        icap_client_free(m->lanes[i].client);
    for (unsigned i = 0; s->loop && i < 16; i++) /* what was deferred, handles that close */
        (void)loop_turn(s->loop, false);
    loop_free(s->loop);
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

static int make_clients(struct remote *m, const struct scan_remote_options *o,
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
                       .connect_ms = o->connect_ms ? o->connect_ms : CONNECT_MS,
                       .idle_ms = 30000,
                       .idle_max = 1,
                       },
        .uri = o->url,
        .host_header = m->host_header,
        .method = o->reqmod ? ICAP_REQMOD : ICAP_RESPMOD,
        .file_ms = o->file_ms,
    };

    if (uri->secure) {
        int code = make_tls(m, o);

        if (code != EXIT_FINE)
            return code;
        s.upstream.tls = m->tls;
    }
    for (unsigned i = 0; i < m->base.jobs; i++) {
        m->lanes[i].remote = m;
        if (icap_client_new(m->base.loop, &s, &m->lanes[i].client) != OK)
            return fail(EXIT_NETWORK, o->url, "no memory");
    }
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
    if (loop_new(0, &clock_system, &m->base.loop) != OK)
        return fail(EXIT_NETWORK, o->url, "no memory");
    return make_clients(m, o, &uri);
}

struct scanner *scan_remote_open(const struct scan_remote_options *o, int *ret_code)
{
    struct remote *m = calloc(1, sizeof *m);

    if (!m) {
        *ret_code = fail(EXIT_NETWORK, o->url, "no memory");
        return NULL;
    }
    m->base.start = remote_start_file;
    m->base.tag = remote_tag;
    m->base.close = remote_close;
    m->base.jobs = o->jobs ? o->jobs : JOBS_DEFAULT;
    arena_init(&m->mem, 1 << 20);
    *ret_code = remote_start(m, o);
    if (*ret_code == EXIT_FINE)
        return &m->base;
    remote_close(&m->base);
    return NULL;
}
