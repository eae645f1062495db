/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/gateway_remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "icap/icap_client.h"
#include "observe/record_upstream.h"

#define LANES      8u  /* files at once at one service */
#define QUEUE_MAX  64u /* files that wait for one */
#define CONNECT_MS 10000u
#define IDLE_MS    30000u /* connections, and pools that nobody asks any more */

/* A service, with clients that take one file each. */
struct pool {
    struct pool *next;
    struct gateway_remote *remote;
    struct arena mem;
    struct tls_context *tls;
    struct policy_file *policy; /* of the machine; NULL: none */
    sallyport_level require;
    const char **peers;
    size_t n_peers;
    sallyport_want *want; /* of |peers|; NULL: anybody */
    char *url, *host, *host_header;
    struct lane {
        struct pool *pool;
        struct icap_client *client;
        struct remote_scan *scan; /* NULL: free */
    } lanes[LANES];
    struct remote_scan *waiting; /* list */
    unsigned n_waiting, n_scans; /* n_scans: with those in lanes */
    struct timer idle;
};

struct remote_scan {
    struct remote_scan *prev, *next; /* while it waits */
    struct pool *pool;
    struct lane *lane; /* NULL: it waits */
    struct icap_client_file file;
    char name[256];
    struct timer timer;
    struct record_upstreams *upstreams;
    void (*done)(void *arg, const struct scan_result *r);
    void *arg;
    bool told; /* or cancelled: what the client says is for nobody */
};

struct gateway_remote {
    struct loop *loop;
    struct troubles *troubles;
    struct pool *pools;
    struct remote_scanner scanner;
};

static void serve(struct pool *p);

static void scan_free(struct remote_scan *s)
{
    struct pool *p = s->pool;
    struct loop *l = p->remote->loop;

    timer_clear(l, &s->timer);
    (void)close(s->file.fd);
    free(s);
    if (--p->n_scans == 0)
        timer_set(l, &p->idle, loop_now_ms(l) + IDLE_MS);
}

static void note(struct remote_scan *s)
{
    if (s->upstreams && s->lane)
        record_upstreams_add(s->upstreams, icap_client_upstream(s->lane->client));
}

static void tell(struct remote_scan *s, const struct scan_result *r)
{
    if (s->told)
        return;
    s->told = true;
    timer_clear(s->pool->remote->loop, &s->timer);
    note(s);
    s->done(s->arg, r);
}

/* ---- answers ---- */

/* X-Infection-Found: Type=0; Resolution=2; Threat=NAME; (draft-stecher-icap-subid-00 3.1). Others
 * write the name alone. */
static struct span threat_of(const char *text)
{
    struct span rest = span_of(text), part;

    while (rest.p) {
        part = span_trim(span_cut(&rest, ';'));
        if (span_istarts(part, SPAN("Threat=")))
            return span_sub(part, 7, SIZE_MAX);
    }
    return text[0] ? span_of(text) : SPAN("blocked");
}

static void add_finding(struct scan_result *r, const struct icap_client_result *from)
{
    struct finding f = {.engine = "icap"};

    (void)span_copy(threat_of(from->infection), f.name, sizeof f.name);
    scan_result_find(r, &f);
}

/* The document's record is one of many; that nobody can be asked is for status, too. */
static void judge_down(struct gateway_remote *remote, const struct icap_client_result *from,
                       struct scan_result *r)
{
    scan_result_judge(r, VERDICT_ERROR, CAUSE_ENGINE_DOWN, from->err ? from->err : ERR_UPSTREAM,
                      "the scanner %s: %s",
                      from->err == ERR_POLICY ? "was not asked" : "did not answer", from->why);
    if (remote->troubles)
        troubles_add(remote->troubles, SPAN("engine icap"), cause_name(CAUSE_ENGINE_DOWN),
                     from->why, "", clock_wall_ms(loop_clock(remote->loop)));
}

static void on_answer(void *arg, const struct icap_client_result *from)
{
    struct lane *lane = arg;
    struct remote_scan *s = lane->scan;
    struct scan_result r = {.verdict = VERDICT_PASS};

    lane->scan = NULL;
    switch (from->verdict) {
    case ICAP_CLIENT_PASS: break;
    case ICAP_CLIENT_CHANGED:
        scan_result_judge(&r, VERDICT_BLOCK, CAUSE_DENIED, ERR_POLICY,
                          "the scanner would change the document");
        break;
    case ICAP_CLIENT_BLOCKED:
        scan_result_judge(&r, VERDICT_BLOCK, CAUSE_INFECTED, OK, "the scanner blocked it");
        add_finding(&r, from);
        break;
    case ICAP_CLIENT_ERROR:
        if (!s->told) /* else we have ended it ourselves */
            judge_down(lane->pool->remote, from, &r);
        break;
    }
    tell(s, &r);
    scan_free(s);
    serve(lane->pool);
}

/* Nobody waits for |s| any more: nor does a lane, whose connection ends with it. */
static void drop(struct remote_scan *s)
{
    struct pool *p = s->pool;

    if (s->lane) {
        icap_client_give_up(s->lane->client, ERR_ABORTED, ""); /* on_answer() does the rest */
        return;
    }
    DL_DELETE(p->waiting, s);
    p->n_waiting--;
    scan_free(s);
}

static void on_deadline(struct timer *t)
{
    struct remote_scan *s = CONTAINER_OF(t, struct remote_scan, timer);
    struct scan_result r = {.verdict = VERDICT_PASS};

    scan_result_judge(&r, VERDICT_ERROR, CAUSE_TIMEOUT, ERR_TIMEOUT,
                      "the scanner did not answer in time");
    tell(s, &r);
    drop(s);
}

/* ---- files on their way ---- */

static struct lane *free_lane(struct pool *p)
{
    for (unsigned i = 0; i < LANES; i++)
        if (!p->lanes[i].scan)
            return &p->lanes[i];
    return NULL;
}

/* No memory to ask: it is told so by its deadline, which is now. */
static void give_up(struct remote_scan *s)
{
    s->lane = NULL;
    DL_APPEND(s->pool->waiting, s);
    s->pool->n_waiting++;
    timer_set(s->pool->remote->loop, &s->timer, loop_now_ms(s->pool->remote->loop));
}

static void serve(struct pool *p)
{
    struct lane *lane;

    while (p->waiting && (lane = free_lane(p)) != NULL) {
        struct remote_scan *s = p->waiting;

        DL_DELETE(p->waiting, s);
        p->n_waiting--;
        s->lane = lane;
        lane->scan = s;
        if (icap_client_scan(lane->client, &s->file, on_answer, lane) == OK)
            continue;
        lane->scan = NULL;
        give_up(s);
        return;
    }
}

/* ---- services ---- */

static void pool_free(struct pool *p)
{
    timer_clear(p->remote->loop, &p->idle);
    for (unsigned i = 0; i < LANES; i++)
        icap_client_free(p->lanes[i].client);
    tls_context_unref(p->tls);
    policy_unref(p->policy);
    sallyport_want_free(p->want);
    arena_done(&p->mem);
    free(p);
}

/* Each reload makes other TLS contexts, and another policy, and so other pools: those of before end
 * here, and with them the last reference to both. */
static void on_idle(struct timer *t)
{
    struct pool *p = CONTAINER_OF(t, struct pool, idle);

    LL_DELETE(p->remote->pools, p);
    pool_free(p);
}

static enum err make_names(struct pool *p, struct icap_uri *uri, const char *url)
{
    struct fault fault;

    p->url = arena_text(&p->mem, span_of(url));
    if (!p->url)
        return ERR_NOMEM;
    if (icap_uri_parse(span_of(p->url), &p->mem, uri, &fault) != OK)
        return ERR_CONFIG;
    p->host = arena_text(&p->mem, uri->host);
    p->host_header = arena_alloc(&p->mem, uri->host.n + 20);
    if (!p->host || !p->host_header)
        return ERR_NOMEM;
    bool literal = span_find(uri->host, ':') < uri->host.n;
    int n = snprintf(p->host_header, uri->host.n + 3, literal ? "[%s]" : "%s", p->host);

    if (uri->port)
        (void)snprintf(p->host_header + n, 12, ":%u", uri->port);
    return OK;
}

static enum err make_lanes(struct pool *p, const struct icap_uri *uri)
{
    const struct icap_client_settings s = {
        .upstream = {.host = p->host,
                     .port = uri->port     ? uri->port
                             : uri->secure ? ICAPS_PORT
                                           : ICAP_PORT,
                     .tls = uri->secure ? p->tls : NULL,
                     .policy = {.require = p->require, .want = p->want},
                     .system = {.file = p->policy, .service = "icap"},
                     .connect_ms = CONNECT_MS,
                     .idle_ms = IDLE_MS,
                     .idle_max = 1},
        .uri = p->url,
        .host_header = p->host_header,
        .method = ICAP_REQMOD,
    };

    for (unsigned i = 0; i < LANES; i++) {
        p->lanes[i].pool = p;
        TRY(icap_client_new(p->remote->loop, &s, &p->lanes[i].client));
    }
    return OK;
}

static enum err make_demand(struct pool *p, const struct remote_scan_request *r)
{
    p->require = r->require;
    p->policy = policy_ref(r->policy);
    p->peers = arena_array(&p->mem, r->peers.n + 1, sizeof *p->peers);
    if (!p->peers)
        return ERR_NOMEM;
    for (; p->n_peers < r->peers.n; p->n_peers++) {
        p->peers[p->n_peers] = arena_text(&p->mem, span_of(r->peers.v[p->n_peers]));
        if (!p->peers[p->n_peers])
            return ERR_NOMEM;
    }
    return protect_peers(p->peers, p->n_peers, &p->want);
}

static enum err pool_new(struct gateway_remote *remote, const struct remote_scan_request *r,
                         struct pool **ret)
{
    struct pool *p = calloc(1, sizeof *p);
    struct icap_uri uri;

    if (!p)
        return ERR_NOMEM;
    p->remote = remote;
    p->idle.fire = on_idle;
    p->idle.at_ms = UINT64_MAX;
    arena_init(&p->mem, 1 << 20); /* URLs and names of the configuration */
    p->tls = r->tls ? tls_context_ref(r->tls) : NULL;
    enum err e = make_names(p, &uri, r->url);

    if (e == OK)
        e = make_demand(p, r);
    if (e == OK && uri.secure && !p->tls)
        e = ERR_CONFIG;
    if (e == OK)
        e = make_lanes(p, &uri);
    if (e) {
        pool_free(p);
        return e;
    }
    LL_PREPEND(remote->pools, p);
    *ret = p;
    return OK;
}

static bool has_peers(const struct pool *p, const struct config_strings *peers)
{
    bool same = p->n_peers == peers->n;

    for (size_t i = 0; same && i < peers->n; i++)
        same = strcmp(p->peers[i], peers->v[i]) == 0;
    return same;
}

/* Another TLS context is another one's trust, and another policy asks for other things: connections
 * of the old ones are not for them. */
static bool is_for(const struct pool *p, const struct remote_scan_request *r)
{
    return p->tls == r->tls && p->policy == r->policy && p->require == r->require &&
           has_peers(p, &r->peers) && strcmp(p->url, r->url) == 0;
}

static enum err pool_get(struct gateway_remote *remote, const struct remote_scan_request *r,
                         struct pool **ret)
{
    struct pool *p;

    LL_FOREACH (remote->pools, p)
        if (is_for(p, r)) {
            *ret = p;
            return OK;
        }
    return pool_new(remote, r, ret);
}

/* ---- from outside ---- */

static enum err start(void *scanner, const struct remote_scan_request *r, struct remote_scan **ret)
{
    struct gateway_remote *remote = scanner;
    struct remote_scan *s = calloc(1, sizeof *s);
    struct pool *p = NULL;
    enum err e = s ? pool_get(remote, r, &p) : ERR_NOMEM;

    if (e == OK && p->n_waiting >= QUEUE_MAX)
        e = ERR_BUSY;
    if (e) {
        (void)close(r->fd);
        free(s);
        return e;
    }
    (void)span_copy(r->name, s->name, sizeof s->name);
    s->pool = p;
    s->file = (struct icap_client_file){.name = span_of(s->name), .fd = r->fd, .len = r->len};
    s->upstreams = r->upstreams;
    s->done = r->done;
    s->arg = r->arg;
    s->timer.fire = on_deadline;
    timer_set(remote->loop, &s->timer, r->deadline_ms);
    timer_clear(remote->loop, &p->idle);
    DL_APPEND(p->waiting, s);
    p->n_waiting++;
    p->n_scans++;
    *ret = s;
    serve(p);
    return OK;
}

static void cancel(struct remote_scan *s)
{
    s->told = true;
    timer_clear(s->pool->remote->loop, &s->timer);
    note(s);
    drop(s);
}

enum err gateway_remote_new(struct loop *l, struct troubles *troubles, struct gateway_remote **ret)
{
    struct gateway_remote *r = calloc(1, sizeof *r);

    if (!r)
        return ERR_NOMEM;
    r->loop = l;
    r->troubles = troubles;
    r->scanner = (struct remote_scanner){.start = start, .cancel = cancel, .scanner = r};
    *ret = r;
    return OK;
}

void gateway_remote_free(struct gateway_remote *r)
{
    struct pool *p, *tmp;

    if (!r)
        return;
    LL_FOREACH_SAFE(r->pools, p, tmp)
    {
        for (unsigned i = 0; i < LANES; i++)
            if (p->lanes[i].scan)
                scan_free(p->lanes[i].scan);
        pool_free(p);
    }
    free(r);
}

const struct remote_scanner *gateway_remote_scanner(struct gateway_remote *r)
{
    return &r->scanner;
}
