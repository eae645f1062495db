/* SPDX-License-Identifier: Apache-2.0 */
/*
 * icapload.c - closed-loop load for an ICAP server, which checks every answer to the last byte.
 *
 * N connections send one request after the other; each reads while it writes. Exit code: 0 every
 * answer was right, 1 something was wrong (named in the report), 2 usage or local trouble.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "load_conn.h"

#define EVENTS_MAX      256
#define TURN_MS         50 /* how often deadlines are looked at */
#define SETTLE_MS       40 /* how long bytes that nobody asked for are waited for */
#define CONNS_MAX       20000
#define HOLD_OPENING    16 /* connections with --hold that are not answered yet */
#define DURATION_MAX    600.0
#define TLS_READ_BUFFER ((size_t)66 * 1024)
#define NS              1e9
#define MS_NS           UINT64_C(1000000)

struct load_conf {
    struct plan plan;
    struct run run;
    const char *target;
    char host[256];
    const char *port;
    unsigned n_conns;
    bool json, has_size;
    double duration, warmup, timeout, drain; /* seconds; duration 0: as long as requests are left */
    double rate;                             /* requests a second of each connection; 0: no limit */
};

static const char usage_text[] =
    "usage: icapload [OPTIONS] HOST:PORT\n"
    "  -n, --connections N    in parallel (16)\n"
    "  -d, --duration S       measured seconds (2, or no limit with --requests)\n"
    "  -r, --requests N       stop after so many\n"
    "  -w, --warmup S         seconds before the measured ones (0)\n"
    "  -m, --method METHOD    OPTIONS, REQMOD or RESPMOD (OPTIONS)\n"
    "  -s, --size BYTES       of the body (RESPMOD: 1024; REQMOD: null-body)\n"
    "  -v, --preview BYTES    send Preview\n"
    "  -a, --allow-204        send Allow: 204\n"
    "      --allow-206        send Allow: 206; with --allow-204 both\n"
    "      --continue WHEN    100 Continue after a preview: allow, never, always (allow)\n"
    "      --expect STATUS    only this final status will do\n"
    "  -p, --path PATH        of the service (/echo)\n"
    "      --also PATH        every other request of a connection goes there\n"
    "      --field LINE       in the ICAP head of each request, such as 'Authorization: ...'\n"
    "      --field-once       only in that of the first request of each connection\n"
    "      --close            a new connection for each request\n"
    "      --tls              over TLS; the server's certificate is not checked\n"
    "      --resume           offer the last session to each new TLS connection\n"
    "      --hold             one request on each connection; then prints \"held\", keeps them\n"
    "                         open until standard input ends, and says how many still were\n"
    "      --unique           each body another one (size: 16 at least)\n"
    "      --form PARTS       the body is a form of so many fields of --size bytes (REQMOD)\n"
    "      --files            the form's parts are texts with file names\n"
    "      --blocked CAUSE    a block page with X-Response-Desc: CAUSE is right, too\n"
    "      --refused          503 is right, too, and counts as blocked\n"
    "      --rate N           requests a second of each connection at most\n"
    "      --from IP          connect from this IPv4 address\n"
    "      --fill             all body bytes are 'e', for servers with canned answers\n"
    "      --timeout S        for one answer (5)\n"
    "      --drain S          wait for answers under way at the end (0.25)\n"
    "      --max-errors N     stop after so many faults (100)\n"
    "      --json             report as JSON\n";

__attribute__((noreturn)) static void usage(const char *what, const char *value)
{
    if (what)
        (void)fprintf(stderr, "icapload: %s, got '%s'\n", what, value);
    (void)fputs(usage_text, stderr);
    exit(2);
}

__attribute__((noreturn)) static void die(const char *what)
{
    (void)fprintf(stderr, "icapload: %s: %s\n", what, strerror(errno));
    exit(2);
}

static int64_t number(const char *s, int64_t min, int64_t max, const char *what)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(s, &end, 10);
    if (errno != 0 || end == s || *end != '\0' || v < min || v > max)
        usage(what, s);
    return v;
}

static double seconds(const char *s, const char *what)
{
    char *end;
    double v = strtod(s, &end);

    if (end == s || *end != '\0' || !isfinite(v) || v < 0 || v > DURATION_MAX)
        usage(what, s);
    return v;
}

static int choice(const char *s, const char *const *names, int n, const char *what)
{
    for (int i = 0; i < n; i++)
        if (strcmp(s, names[i]) == 0)
            return i;
    usage(what, s);
}

enum {
    OPT_CONTINUE = 256,
    OPT_ALLOW_206,
    OPT_ALSO,
    OPT_HOLD,
    OPT_EXPECT,
    OPT_FIELD,
    OPT_FIELD_ONCE,
    OPT_CLOSE,
    OPT_TLS,
    OPT_RESUME,
    OPT_FILL,
    OPT_UNIQUE,
    OPT_FORM,
    OPT_FILES,
    OPT_BLOCKED,
    OPT_REFUSED,
    OPT_RATE,
    OPT_FROM,
    OPT_TIMEOUT,
    OPT_DRAIN,
    OPT_MAX_ERRORS,
    OPT_JSON,
};

static const struct option long_options[] = {
    {"connections", required_argument, NULL, 'n'           },
    {"duration",    required_argument, NULL, 'd'           },
    {"requests",    required_argument, NULL, 'r'           },
    {"warmup",      required_argument, NULL, 'w'           },
    {"method",      required_argument, NULL, 'm'           },
    {"size",        required_argument, NULL, 's'           },
    {"preview",     required_argument, NULL, 'v'           },
    {"allow-204",   no_argument,       NULL, 'a'           },
    {"path",        required_argument, NULL, 'p'           },
    {"allow-206",   no_argument,       NULL, OPT_ALLOW_206 },
    {"also",        required_argument, NULL, OPT_ALSO      },
    {"hold",        no_argument,       NULL, OPT_HOLD      },
    {"continue",    required_argument, NULL, OPT_CONTINUE  },
    {"expect",      required_argument, NULL, OPT_EXPECT    },
    {"field",       required_argument, NULL, OPT_FIELD     },
    {"field-once",  no_argument,       NULL, OPT_FIELD_ONCE},
    {"close",       no_argument,       NULL, OPT_CLOSE     },
    {"tls",         no_argument,       NULL, OPT_TLS       },
    {"resume",      no_argument,       NULL, OPT_RESUME    },
    {"fill",        no_argument,       NULL, OPT_FILL      },
    {"unique",      no_argument,       NULL, OPT_UNIQUE    },
    {"form",        required_argument, NULL, OPT_FORM      },
    {"files",       no_argument,       NULL, OPT_FILES     },
    {"blocked",     required_argument, NULL, OPT_BLOCKED   },
    {"refused",     no_argument,       NULL, OPT_REFUSED   },
    {"rate",        required_argument, NULL, OPT_RATE      },
    {"from",        required_argument, NULL, OPT_FROM      },
    {"timeout",     required_argument, NULL, OPT_TIMEOUT   },
    {"drain",       required_argument, NULL, OPT_DRAIN     },
    {"max-errors",  required_argument, NULL, OPT_MAX_ERRORS},
    {"json",        no_argument,       NULL, OPT_JSON      },
    {NULL,          0,                 NULL, 0             },
};

static void option_request(struct load_conf *c, int ch, const char *arg)
{
    static const char *const methods[] = {"OPTIONS", "REQMOD", "RESPMOD"};
    static const char *const whens[] = {"allow", "never", "always"};
    struct plan *p = &c->plan;

    switch (ch) {
    case 'm': p->method = (enum plan_method)choice(arg, methods, 3, "expected a method"); break;
    case 's':
        p->size = number(arg, 0, INT64_C(1) << 40, "expected a size in bytes");
        c->has_size = true;
        break;
    case 'v': p->preview = number(arg, 0, 1 << 30, "expected a preview in bytes"); break;
    case 'a': p->allow_204 = true; break;
    case 'p': p->path = arg; break;
    case OPT_ALLOW_206: p->allow_206 = true; break;
    case OPT_ALSO: p->also = arg; break;
    case OPT_CONTINUE:
        p->on_continue =
            (enum plan_continue)choice(arg, whens, 3, "expected allow, never or always");
        break;
    case OPT_EXPECT: p->expect = (unsigned)number(arg, 200, 599, "expected a status"); break;
    case OPT_FIELD:
        if (!strchr(arg, ':') || strpbrk(arg, "\r\n"))
            usage("expected a line of the form NAME: VALUE", arg);
        p->field = arg;
        break;
    case OPT_FIELD_ONCE: p->field_once = true; break;
    case OPT_CLOSE: p->close = true; break;
    case OPT_TLS: p->tls = true; break;
    case OPT_FILL: p->fill = true; break;
    case OPT_UNIQUE: p->unique = true; break;
    case OPT_FILES: p->files = true; break;
    case OPT_FORM: p->parts = (unsigned)number(arg, 1, 100000, "expected a number"); break;
    case OPT_BLOCKED: p->blocked = arg; break;
    case OPT_REFUSED: p->refused = true; break;
    default: usage(NULL, NULL);
    }
}

static void option(struct load_conf *c, int ch, const char *arg)
{
    switch (ch) {
    case 'n':
        c->n_conns = (unsigned)number(arg, 1, CONNS_MAX, "expected a number of connections");
        break;
    case 'd': c->duration = seconds(arg, "expected seconds"); break;
    case 'r':
        c->run.requests_left = (uint64_t)number(arg, 1, INT64_MAX, "expected a number");
        break;
    case 'w': c->warmup = seconds(arg, "expected seconds"); break;
    case OPT_RESUME: c->run.resume = true; break;
    case OPT_HOLD: c->run.hold = true; break;
    case OPT_FROM:
        c->run.from.sin_family = AF_INET;
        if (inet_pton(AF_INET, arg, &c->run.from.sin_addr) != 1)
            usage("expected an IPv4 address", arg);
        break;
    case OPT_RATE: c->rate = (double)number(arg, 1, 100000, "expected a number"); break;
    case OPT_TIMEOUT: c->timeout = seconds(arg, "expected seconds"); break;
    case OPT_DRAIN: c->drain = seconds(arg, "expected seconds"); break;
    case OPT_MAX_ERRORS:
        c->run.faults_max = (uint64_t)number(arg, 1, INT64_MAX, "expected a number");
        break;
    case OPT_JSON: c->json = true; break;
    default: option_request(c, ch, arg);
    }
}

/* HOST:PORT, also [::1]:PORT. */
static void target_parse(struct load_conf *c)
{
    const char *colon = strrchr(c->target, ':');
    const char *p = c->target;
    size_t n;

    if (!colon || colon == p)
        usage("expected HOST:PORT", c->target);
    n = (size_t)(colon - p);
    if (p[0] == '[' && n > 2 && p[n - 1] == ']') {
        p++;
        n -= 2;
    }
    if (n >= sizeof c->host)
        usage("expected HOST:PORT", c->target);
    memcpy(c->host, p, n);
    c->host[n] = '\0';
    c->port = colon + 1;
}

static void options_check(const struct load_conf *c)
{
    const struct plan *p = &c->plan;

    if (p->method == METHOD_OPTIONS && (c->has_size || p->preview >= 0))
        usage("OPTIONS has no body and no preview", "--size or --preview");
    if (p->parts > 0 &&
        (p->method != METHOD_REQMOD || p->fill || !c->has_size || p->size > 1 << 20))
        usage("a form needs REQMOD and --size of its fields, up to 1 MiB", "--form");
    if (p->files && p->parts == 0)
        usage("only a form has files", "--files");
    if (p->unique && (p->size < PLAN_STAMP_LEN || p->fill))
        usage("unique bodies have 16 bytes at least, and not all are 'e'", "--unique");
    if (p->field_once && !p->field)
        usage("what is sent once is --field", "--field-once");
    if (c->rate > 0 && p->close)
        usage("connections that close have no pace", "--rate");
    if (c->run.hold && (p->close || c->rate > 0 || c->run.requests_left != UINT64_MAX))
        usage("connections that are held have one request each, and no pace", "--hold");
}

static void options_parse(struct load_conf *c, int argc, char **argv)
{
    int ch;

    while ((ch = getopt_long(argc, argv, "n:d:r:w:m:s:v:ap:", long_options, NULL)) != -1)
        option(c, ch, optarg);
    if (optind + 1 != argc)
        usage(NULL, NULL);
    c->target = argv[optind];
    target_parse(c);
    if (c->run.requests_left == 0) {
        c->run.requests_left = UINT64_MAX;
        c->duration = c->run.hold ? 0 : c->duration > 0 ? c->duration : 2;
    }
    if (c->plan.method == METHOD_RESPMOD && !c->has_size)
        c->plan.size = 1024;
    options_check(c);
}

static void tls_init(struct run *r)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    if (!ctx)
        die("TLS");
    (void)SSL_CTX_set_mode(ctx,
                           SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* one cipher suite, so that all servers do the same work */
    (void)SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256");
    /* a missing close_notify must not spoil the session; the answer's own framing is checked */
    (void)SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, TLS_READ_BUFFER);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, conn_session_new);
    r->tls = ctx;
}

static void address_resolve(struct load_conf *c)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int err = getaddrinfo(c->host, c->port, &hints, &found);

    if (err != 0 || found->ai_addrlen > sizeof c->run.addr) {
        (void)fprintf(stderr, "icapload: %s: %s\n", c->target, gai_strerror(err));
        exit(2);
    }
    memcpy(&c->run.addr, found->ai_addr, found->ai_addrlen);
    c->run.addr_len = found->ai_addrlen;
    freeaddrinfo(found);
}

static void files_raise(void)
{
    struct rlimit rl;

    if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
        rl.rlim_cur = rl.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &rl);
    }
}

static void run_init(struct load_conf *c)
{
    struct run *r = &c->run;

    files_raise();
    address_resolve(c);
    c->plan.host = c->target;
    if (!plan_init(&c->plan))
        usage("the request head is too long", c->plan.path);
    r->plan = &c->plan;
    r->serial = now_ns() << 20; /* no other run has these */
    if (c->rate > 0) {
        r->pace_ns = (uint64_t)(NS / c->rate);
        r->stagger_ns = r->pace_ns / c->n_conns;
    }
    r->buf = malloc(CONN_READ_MAX);
    r->record = malloc(CONN_TLS_MAX);
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!r->buf || !r->record || r->epoll < 0)
        die("memory");
    if (c->plan.tls)
        tls_init(r);
}

static struct conn *conns_new(struct load_conf *c)
{
    struct conn *conns = calloc(c->n_conns, sizeof *conns);

    if (!conns)
        die("memory");
    for (unsigned i = 0; i < c->n_conns; i++) {
        conns[i].fd = -1;
        conns[i].index = i;
        conns[i].answer.plan = &c->plan;
        conns[i].answer.memo = &c->run.memo;
    }
    return conns;
}

static void turn(struct run *r, uint64_t wait_ns)
{
    struct epoll_event evs[EVENTS_MAX];
    struct timespec wait = {.tv_nsec =
                                (long)(wait_ns < MS_NS * TURN_MS ? wait_ns : MS_NS * TURN_MS)};
    int n = epoll_pwait2(r->epoll, evs, EVENTS_MAX, &wait, NULL);

    for (int i = 0; i < n; i++)
        conn_ready(r, evs[i].data.ptr, evs[i].events);
}

static void expire(struct load_conf *c, struct conn *conns, uint64_t now)
{
    uint64_t timeout = (uint64_t)(c->timeout * NS);

    for (unsigned i = 0; i < c->n_conns; i++) {
        struct conn *x = &conns[i];

        if (x->state != CONN_DOWN && x->state != CONN_IDLE && x->state != CONN_PAUSED &&
            now > x->since_ns + timeout)
            conn_expire(&c->run, x);
    }
}

/* Until the first paused connection's request is due. */
static uint64_t pace_wait(const struct load_conf *c, const struct conn *conns, uint64_t now)
{
    uint64_t first = UINT64_MAX;

    for (unsigned i = 0; i < c->n_conns; i++)
        if (conns[i].state == CONN_PAUSED && conns[i].due_ns < first)
            first = conns[i].due_ns;
    return first > now ? first - now : 0;
}

static void paced_turn(struct load_conf *c, struct conn *conns, uint64_t now)
{
    for (unsigned i = 0; i < c->n_conns; i++)
        conn_resume(&c->run, &conns[i], now);
    turn(&c->run, pace_wait(c, conns, now));
}

/* Bytes that come although everything is answered are a fault, too. */
static void settle(struct run *r)
{
    uint64_t until = now_ns() + SETTLE_MS * MS_NS;

    while (now_ns() < until)
        turn(r, SETTLE_MS * MS_NS / 4);
}

/* All connections at once; those that are to be held a few at a time, since memory that a server
 * needs for a thousand handshakes under way is no cost of a thousand idle connections. Returns how
 * many of them are begun. */
static unsigned conns_open(struct load_conf *c, struct conn *conns, unsigned begun)
{
    struct run *r = &c->run;

    while (begun < c->n_conns && (!r->hold || r->n_active < HOLD_OPENING) && !r->stopping)
        conn_open(r, &conns[begun++]);
    return begun;
}

/* SIGTERM: the run is over now, and is reported as far as it came. */
static volatile sig_atomic_t told_to_stop;

static void on_term(int number)
{
    (void)number;
    told_to_stop = 1;
}

static void loop(struct load_conf *c, struct conn *conns)
{
    struct run *r = &c->run;
    uint64_t start = now_ns(), look = start, over = UINT64_MAX, now;
    unsigned begun;

    r->from_ns = start + (uint64_t)(c->warmup * NS);
    r->to_ns = c->duration > 0 ? r->from_ns + (uint64_t)(c->duration * NS) : UINT64_MAX;
    r->last_ns = r->from_ns;
    begun = conns_open(c, conns, 0);
    while (r->n_active > 0 && (now = now_ns()) < over) {
        if (now >= r->to_ns || told_to_stop)
            r->stopping = true;
        if (r->stopping && over == UINT64_MAX)
            over = now + (uint64_t)(c->drain * NS);
        if (now >= look) {
            expire(c, conns, now);
            look = now + TURN_MS * MS_NS;
        }
        if (r->pace_ns > 0)
            paced_turn(c, conns, now);
        else
            turn(r, TURN_MS * MS_NS);
        begun = conns_open(c, conns, begun);
    }
    r->stopping = true;
    now = now_ns();
    r->tally.seconds = (double)((now < r->to_ns ? r->last_ns : r->to_ns) - r->from_ns) / NS;
}

/* Until whoever started us ends our standard input. A server that hangs up meanwhile is no fault
 * (it may have its reasons), but shows in the count. */
static void hold(struct load_conf *c, const struct conn *conns)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    char byte;

    (void)printf("held\n");
    (void)fflush(stdout);
    while (poll(&in, 1, 0) == 0 || read(STDIN_FILENO, &byte, 1) > 0)
        turn(&c->run, TURN_MS * MS_NS);
    for (unsigned i = 0; i < c->n_conns; i++)
        c->run.tally.held += conn_is_held(&conns[i]);
}

int main(int argc, char **argv)
{
    static struct load_conf conf = {
        .plan = {.size = PLAN_NO_BODY, .preview = PLAN_NO_PREVIEW, .path = "/echo"},
        .run = {.faults_max = 100    },
        .n_conns = 16,
        .timeout = 5,
        .drain = 0.25,
    };
    struct conn *conns;

    options_parse(&conf, argc, argv);
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGTERM, on_term) == SIG_ERR)
        die("signal");
    run_init(&conf);
    conns = conns_new(&conf);
    loop(&conf, conns);
    settle(&conf.run);
    if (conf.run.hold)
        hold(&conf, conns);
    for (unsigned i = 0; i < conf.n_conns; i++)
        conn_finish(&conf.run, &conns[i]);
    tally_print(&conf.run.tally, conf.n_conns, conf.json);
    free(conns);
    free(conf.run.buf);
    free(conf.run.record);
    SSL_CTX_free(conf.run.tls);
    plan_done(&conf.plan);
    (void)close(conf.run.epoll);
    return conf.run.tally.faults_total > 0 ? 1 : 0;
}
