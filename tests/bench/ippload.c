/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ippload.c - closed-loop load for an IPP server, which checks every answer to the last byte.
 *
 * N connections, each a thread of its own, send one request after the other. Exit code: 0 every
 * answer was right, 1 something was wrong (named in the report), 2 usage or local trouble. The
 * report is icapload's.
 */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ipp_conn.h"

#define CONNS_MAX    256
#define DURATION_MAX 600.0
#define NS           1e9

struct ippload {
    struct ipp_plan plan;
    struct ipp_run run;
    const char *target;
    unsigned n_conns;
    bool json;
    double duration, warmup, timeout; /* seconds; duration 0: as long as requests are left */
};

static const char usage_text[] =
    "usage: ippload [OPTIONS] HOST:PORT\n"
    "  -n, --connections N    in parallel (1)\n"
    "  -d, --duration S       measured seconds (2, or no limit with --requests)\n"
    "  -r, --requests N       stop after so many\n"
    "  -w, --warmup S         seconds before the measured ones (0)\n"
    "  -o, --operation NAME   attributes: Get-Printer-Attributes for all of them;\n"
    "                         attributes-small: for three; print-job (attributes)\n"
    "  -s, --size BYTES       of the document, which is another one each time (1048576)\n"
    "  -p, --path PATH        of the printer (/printers/bench)\n"
    "      --close            a new connection for each request\n"
    "      --tls              over TLS; the server's certificate is not checked\n"
    "      --timeout S        for one answer (5)\n"
    "      --max-errors N     stop after so many faults (100)\n"
    "      --json             report as JSON\n";

__attribute__((noreturn)) static void usage(const char *what, const char *value)
{
    if (what)
        (void)fprintf(stderr, "ippload: %s, got '%s'\n", what, value);
    (void)fputs(usage_text, stderr);
    exit(2);
}

__attribute__((noreturn)) static void die(const char *what)
{
    (void)fprintf(stderr, "ippload: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* --- options --- */

static uint64_t number(const char *s, long long min, long long max, const char *what)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(s, &end, 10);
    if (errno != 0 || end == s || *end != '\0' || v < min || v > max)
        usage(what, s);
    return (uint64_t)v;
}

static double seconds(const char *s)
{
    char *end;
    double v = strtod(s, &end);

    if (end == s || *end != '\0' || !isfinite(v) || v < 0 || v > DURATION_MAX)
        usage("expected seconds", s);
    return v;
}

static enum ipp_plan_operation operation(const char *s)
{
    static const char *const names[] = {"attributes", "attributes-small", "print-job"};

    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(s, names[i]) == 0)
            return (enum ipp_plan_operation)i;
    usage("expected an operation", s);
}

enum { OPT_CLOSE = 256, OPT_TLS, OPT_TIMEOUT, OPT_MAX_ERRORS, OPT_JSON };

static const struct option long_options[] = {
    {"connections", required_argument, NULL, 'n'           },
    {"duration",    required_argument, NULL, 'd'           },
    {"requests",    required_argument, NULL, 'r'           },
    {"warmup",      required_argument, NULL, 'w'           },
    {"operation",   required_argument, NULL, 'o'           },
    {"size",        required_argument, NULL, 's'           },
    {"path",        required_argument, NULL, 'p'           },
    {"close",       no_argument,       NULL, OPT_CLOSE     },
    {"tls",         no_argument,       NULL, OPT_TLS       },
    {"timeout",     required_argument, NULL, OPT_TIMEOUT   },
    {"max-errors",  required_argument, NULL, OPT_MAX_ERRORS},
    {"json",        no_argument,       NULL, OPT_JSON      },
    {NULL,          0,                 NULL, 0             },
};

static void option(struct ippload *c, int ch, const char *arg)
{
    switch (ch) {
    case 'n':
        c->n_conns = (unsigned)number(arg, 1, CONNS_MAX, "expected a number of connections");
        break;
    case 'd': c->duration = seconds(arg); break;
    case 'r': c->run.requests_left = number(arg, 1, INT64_MAX, "expected a number"); break;
    case 'w': c->warmup = seconds(arg); break;
    case 'o': c->plan.operation = operation(arg); break;
    case 's':
        c->plan.size =
            number(arg, IPP_PLAN_SIZE_MIN, 1 << 30, "expected a size of 128 bytes at least");
        break;
    case 'p': c->plan.path = arg; break;
    case OPT_CLOSE: c->plan.close = true; break;
    case OPT_TLS: c->plan.tls = true; break;
    case OPT_TIMEOUT: c->timeout = seconds(arg); break;
    case OPT_MAX_ERRORS: c->run.faults_max = number(arg, 1, INT64_MAX, "expected a number"); break;
    case OPT_JSON: c->json = true; break;
    default: usage(NULL, NULL);
    }
}

static void options_parse(struct ippload *c, int argc, char **argv)
{
    int ch;

    while ((ch = getopt_long(argc, argv, "n:d:r:w:o:s:p:", long_options, NULL)) != -1)
        option(c, ch, optarg);
    if (optind + 1 != argc)
        usage(NULL, NULL);
    c->target = argv[optind];
    if (c->plan.path[0] != '/' || strpbrk(c->plan.path, " \r\n"))
        usage("expected a path that begins with '/'", c->plan.path);
    if (c->timeout <= 0)
        usage("expected some time for an answer", "--timeout 0");
    if (c->run.requests_left == 0) {
        c->run.requests_left = UINT64_MAX;
        c->duration = c->duration > 0 ? c->duration : 2;
    }
}

/* --- the run --- */

static void address_resolve(struct ippload *c)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(c->target, ':');
    struct addrinfo *found;
    char host[256];
    int err;

    if (!colon || colon == c->target || (size_t)(colon - c->target) >= sizeof host)
        usage("expected HOST:PORT", c->target);
    memcpy(host, c->target, (size_t)(colon - c->target));
    host[colon - c->target] = '\0';
    err = getaddrinfo(host, colon + 1, &hints, &found);
    if (err != 0) {
        (void)fprintf(stderr, "ippload: %s: %s\n", c->target, gai_strerror(err));
        exit(2);
    }
    memcpy(&c->run.addr, found->ai_addr, found->ai_addrlen);
    c->run.addr_len = found->ai_addrlen;
    freeaddrinfo(found);
}

static void tls_init(struct ipp_run *r)
{
    r->tls = SSL_CTX_new(TLS_client_method());
    if (!r->tls)
        die("TLS");
    /* one cipher suite, so that all servers do the same work */
    (void)SSL_CTX_set_ciphersuites(r->tls, "TLS_AES_128_GCM_SHA256");
    /* an answer's own framing is checked */
    (void)SSL_CTX_set_options(r->tls, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_verify(r->tls, SSL_VERIFY_NONE, NULL);
}

static void run_init(struct ippload *c)
{
    struct ipp_run *r = &c->run;

    address_resolve(c);
    c->plan.host = c->target;
    if (!ipp_plan_init(&c->plan))
        usage("the request's head is too long", c->plan.path);
    if (c->plan.tls)
        tls_init(r);
    if (pthread_mutex_init(&r->lock, NULL) != 0)
        die("memory");
    r->plan = &c->plan;
    r->serial = ipp_now_ns() << 20; /* no other run has these */
    r->timeout_ns = (uint64_t)(c->timeout * NS);
    r->from_ns = ipp_now_ns() + (uint64_t)(c->warmup * NS);
    r->to_ns = c->duration > 0 ? r->from_ns + (uint64_t)(c->duration * NS) : UINT64_MAX;
    r->last_ns = r->from_ns;
}

static void run(struct ippload *c)
{
    struct ipp_conn *conns = calloc(c->n_conns, sizeof *conns);
    pthread_t *threads = calloc(c->n_conns, sizeof *threads);

    if (!conns || !threads)
        die("memory");
    for (unsigned i = 0; i < c->n_conns; i++) {
        conns[i].run = &c->run;
        conns[i].fd = -1;
        errno = pthread_create(&threads[i], NULL, ipp_conn_main, &conns[i]);
        if (errno != 0)
            die("thread");
    }
    for (unsigned i = 0; i < c->n_conns; i++)
        (void)pthread_join(threads[i], NULL);
    free(threads);
    free(conns);
}

int main(int argc, char **argv)
{
    static struct ippload c = {
        .plan = {.operation = IPP_PLAN_ATTRIBUTES, .size = 1048576, .path = "/printers/bench"},
        .run = {.faults_max = 100      },
        .target = "",
        .n_conns = 1,
        .timeout = 5,
    };
    struct tally *t = &c.run.tally;

    options_parse(&c, argc, argv);
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        die("signal");
    run_init(&c);
    run(&c);
    t->seconds = c.duration > 0 && ipp_now_ns() >= c.run.to_ns
                     ? c.duration
                     : (double)(c.run.last_ns - c.run.from_ns) / NS;
    tally_print(t, c.n_conns, c.json);
    (void)pthread_mutex_destroy(&c.run.lock);
    SSL_CTX_free(c.run.tls);
    ipp_plan_done(&c.plan);
    return t->faults_total > 0 ? 1 : 0;
}
