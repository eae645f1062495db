/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/scan_int.h"
#include "icap/icap_client.h"

#define JOBS_DEFAULT 4u
#define CONNECT_MS   10000u

/* A connection, and the file that is on it. */
struct remote_lane {
    struct remote *remote;
    struct icap_client *client;
    struct scan_file *file;
    bool waits; /* for the lane that knocks */
    struct task tell;
};

/* A wrong password must not be tried by every lane with every file: servers count, and lock users
 * out. So one lane knocks, the others wait for what becomes of it. */
enum remote_door { DOOR_UNKNOWN, DOOR_KNOCKED, DOOR_OPEN, DOOR_SHUT };

struct remote {
    struct scanner base;
    struct arena mem;
    struct tls_context *tls;
    struct remote_lane lanes[SCAN_JOBS_MAX];
    enum remote_door door;
    struct remote_lane *knocks;
    struct scan_outcome refused; /* with DOOR_SHUT: for every further file */
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

/* What the server said without a verdict, as one of our errors. */
static enum err error_of(const struct icap_client_result *r)
{
    if (r->verdict != ICAP_CLIENT_ERROR)
        return OK;
    if (r->err)
        return r->err;
    switch (r->status) {
    case 403:
    case 407: return ERR_POLICY;
    case 503: return ERR_BUSY;
    default: return ERR_UPSTREAM;
    }
}

static void fill(struct scan_outcome *o, const struct icap_client_result *r)
{
    const char *reason = r->verdict == ICAP_CLIENT_ERROR ? r->why
                         : r->infection[0]               ? r->infection
                                                         : r->info;

    o->verdict = verdict_of(r);
    o->err = error_of(r);
    o->status = r->status;
    o->http_status = r->http_status;
    o->us = r->us;
    (void)snprintf(o->reason, sizeof o->reason, "%s", reason);
    (void)snprintf(o->id, sizeof o->id, "%.60s", r->id);
    copy_tag(r->istag, o->tag, sizeof o->tag);
}

/* ---- the door ---- */

static void on_done(void *arg, const struct icap_client_result *r);

static void run_tell(struct task *t)
{
    struct remote_lane *lane = CONTAINER_OF(t, struct remote_lane, tell);
    struct scan_file *f = lane->file;

    lane->file = NULL;
    f->done(f);
}

/* Ends the lane's file without the server, with |o|. */
static void lane_end(struct remote_lane *lane, const struct scan_outcome *o)
{
    *lane->file->out = *o;
    lane->tell.run = run_tell;
    loop_defer(lane->remote->base.loop, &lane->tell);
}

static bool lane_begin(struct remote_lane *lane)
{
    const struct scan_file *f = lane->file;
    const struct icap_client_file file = {.name = f->name, .fd = f->fd, .len = f->len};

    return icap_client_scan(lane->client, &file, on_done, lane) == OK;
}

/* A lane that has waited goes on as the door is now. */
static void lane_go_on(struct remote_lane *lane)
{
    static const struct scan_outcome no_memory = {
        .verdict = SCAN_ERROR, .err = ERR_NOMEM, .reason = "no memory"};
    struct remote *m = lane->remote;

    if (m->door == DOOR_KNOCKED)
        return;
    lane->waits = false;
    if (m->door == DOOR_SHUT) {
        lane_end(lane, &m->refused);
    } else if (!lane_begin(lane)) {
        lane_end(lane, &no_memory);
    } else if (m->door == DOOR_UNKNOWN) {
        m->door = DOOR_KNOCKED;
        m->knocks = lane;
    }
}

static void look_at_door(struct remote *m, const struct remote_lane *lane,
                         const struct icap_client_result *r)
{
    if (r->verdict == ICAP_CLIENT_ERROR && r->status == 407) {
        m->door = DOOR_SHUT;
        fill(&m->refused, r);
        m->refused.id[0] = '\0';
        m->refused.us = 0;
    } else if (m->door == DOOR_KNOCKED && lane == m->knocks) {
        /* Trouble on the way to the server says nothing about the door. */
        m->door = r->status ? DOOR_OPEN : DOOR_UNKNOWN;
    }
    for (unsigned i = 0; i < m->base.jobs; i++)
        if (m->lanes[i].waits)
            lane_go_on(&m->lanes[i]);
}

/* ---- a file ---- */

static void on_done(void *arg, const struct icap_client_result *r)
{
    struct remote_lane *lane = arg;
    struct remote *m = lane->remote;
    struct scan_file *f = lane->file;

    lane->file = NULL;
    fill(f->out, r);
    look_at_door(m, lane, r);
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

    lane->file = f;
    switch (m->door) {
    case DOOR_OPEN: return lane_begin(lane);
    case DOOR_SHUT: lane_end(lane, &m->refused); return true;
    case DOOR_KNOCKED: lane->waits = true; return true;
    case DOOR_UNKNOWN: break;
    }
    if (!lane_begin(lane))
        return false;
    m->door = DOOR_KNOCKED;
    m->knocks = lane;
    return true;
}

static void on_asked(void *arg, const struct icap_client_result *r)
{
    struct remote *m = arg;

    m->asked = true;
    look_at_door(m, NULL, r);
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

static int fail(int code, const char *what, const char *why)
{
    (void)fprintf(stderr, "sallyport scan: %s: %s\n", what, why);
    return code;
}

/* Where a password would go: NULL, or why it does not. */
static const char *login_unsafe(const struct scan_remote_options *o, bool secure)
{
    if (o->insecure_login)
        return NULL;
    if (!secure)
        return "icap:// is clear text, in which a password does not go over the net; use icaps://, "
               "or --insecure-login if everybody may know it";
    if (o->tls.insecure)
        return "with --insecure-no-verify anybody may be the server, and would get the password; "
               "use --ca, or --insecure-login if everybody may know it";
    return NULL;
}

static int log_in(const struct remote *m, const struct scan_remote_options *o, bool secure)
{
    const char *unsafe = login_unsafe(o, secure);

    if (o->login->user[0] == '\0')
        return EXIT_FINE;
    if (unsafe)
        return fail(EXIT_SECURITY, o->url, unsafe);
    return login_read(o->login, command_scan.name, o->password_file, m->host);
}

static sallyport_level level_of(const struct scan_remote_options *o, bool secure)
{
    if (o->require >= 0)
        return (sallyport_level)o->require;
    return secure && !o->tls.insecure ? SALLYPORT_STRONG : SALLYPORT_NONE;
}

static unsigned port_of(const struct icap_uri *uri)
{
    if (uri->port)
        return uri->port;
    return uri->secure ? ICAPS_PORT : ICAP_PORT;
}

static int make_clients(struct remote *m, const struct scan_remote_options *o,
                        const struct icap_uri *uri)
{
    const struct icap_client_settings s = {
        .upstream = {.host = m->host,
                     .port = port_of(uri),
                     .tls = m->tls,
                     .policy = {.require = level_of(o, uri->secure), .want = o->want},
                     .connect_ms = o->connect_ms ? o->connect_ms : CONNECT_MS,
                     .idle_ms = 30000,
                     .idle_max = 1},
        .uri = o->url,
        .host_header = m->host_header,
        .method = o->reqmod ? ICAP_REQMOD : ICAP_RESPMOD,
        .login = {.user = o->login->user,
                     .authorization = o->login->value[0] ? o->login->value : NULL,
                     .insecure = o->insecure_login},
        .file_ms = o->file_ms,
    };

    m->door = s.login.authorization ? DOOR_UNKNOWN : DOOR_OPEN;
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
    int code;

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
    code = log_in(m, o, uri.secure);
    if (code == EXIT_FINE && uri.secure)
        code = client_tls_open(command_scan.name, &o->tls, &m->tls);
    if (code != EXIT_FINE)
        return code;
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
