/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/why_int.h"
#include "proc/generation_text.h"

#define SECONDS_MAX   600u
#define TIMEOUT_S     10u
#define MS_PER_SECOND 1000u
#define PEERS_MAX     16u
#define HOST_MAX      256u

enum {
    OPTION_CA = 256,
    OPTION_CERT,
    OPTION_KEY,
    OPTION_REQUIRE,
    OPTION_PEER,
    OPTION_POLICY,
    OPTION_SERVICE,
    OPTION_TIMEOUT,
    OPTION_JSON,
    OPTION_HELP
};

static const struct option options[] = {
    {"ca",               required_argument, NULL, OPTION_CA},
    {"cert",              required_argument, NULL, OPTION_CERT},
    {"key",                  required_argument, NULL, OPTION_KEY},
    {"require",required_argument, NULL, OPTION_REQUIRE},
    {"peer",       required_argument, NULL, OPTION_PEER},
    {"policy",              required_argument, NULL, OPTION_POLICY},
    {"service",              required_argument, NULL, OPTION_SERVICE},
    {"timeout",                  required_argument, NULL, OPTION_TIMEOUT},
    {"json",              no_argument, NULL, OPTION_JSON},
    {"help",    no_argument, NULL, OPTION_HELP},
    {0            },
};

struct why_options {
    const char *target, *ca, *cert, *key, *policy, *service;
    const char *peers[PEERS_MAX];
    unsigned n_peers;
    int require; /* sallyport_level; -1: what the target asks for */
    uint64_t seconds;
    bool json;
};

/* ---- where ---- */

struct scheme_row {
    const char *name;
    unsigned port;
    bool secure;
};

static const struct scheme_row schemes[] = {
    {"icap://",  1344,  false},
    {"icaps://", 11344, true },
    {"http://",  80,    false},
    {"https://", 443,   true },
};

static bool is_printer(struct span text)
{
    return span_istarts(text, SPAN("ipp://")) || span_istarts(text, SPAN("ipps://"));
}

/* Of "ADDR:PORT", or of something that has another scheme: NULL. */
static const struct scheme_row *find_scheme(struct span text)
{
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (span_istarts(text, span_of(schemes[i].name)))
            return &schemes[i];
    return NULL;
}

static bool has_scheme(struct span text)
{
    return is_printer(text) || find_scheme(text) != NULL;
}

/* "host", "host:port", "[::1]:port"; the host without brackets. */
static bool split_authority(struct span text, char host[HOST_MAX], unsigned *port)
{
    bool literal = text.n > 0 && text.p[0] == '[';
    size_t end = span_find(text, literal ? ']' : ':');
    struct span name = span_sub(text, literal ? 1 : 0, literal ? end - 1 : end);
    struct span rest = span_sub(text, literal ? end + 1 : end, SIZE_MAX);
    uint64_t n = *port;

    if (name.n == 0 || name.n >= HOST_MAX || (literal && end == text.n) ||
        !span_is_field_value(name) || span_find(name, '@') < name.n)
        return false;
    if (rest.n > 0 &&
        (rest.p[0] != ':' || span_u64(span_sub(rest, 1, SIZE_MAX), UINT16_MAX, &n) != OK))
        return false;
    (void)span_copy(name, host, HOST_MAX);
    *port = (unsigned)n;
    return n > 0;
}

/* A printer's URI may have a list that says more than its scheme. The first of the ways that it
 * leaves. */
static int find_printer(struct why *w, const char *target, char host[HOST_MAX], bool *secure)
{
    struct ipp_uri u;
    struct ipp_client_plan plan;
    char why[IPP_CLIENT_WHY_MAX];

    if (ipp_client_resolve(span_of(target), &u, &plan, why) != OK)
        return command_wrong(&command_why, "this is no URI of a printer: %s", why);
    if (u.userinfo.p || u.host.n >= HOST_MAX)
        return command_wrong(&command_why, "user and password have no place in it");
    (void)span_copy(u.host, host, HOST_MAX);
    w->place.port = plan.ways[0].port;
    w->upgrade = plan.ways[0].how == IPP_CLIENT_UPGRADE;
    w->digest = (plan.demand.auth & IPP_AUTH_DAA) != 0;
    *secure = plan.ways[0].how != IPP_CLIENT_CLEAR;
    return EXIT_FINE;
}

static int find_place(const char *target, char host[HOST_MAX], unsigned *port, bool *secure)
{
    struct span text = span_of(target), authority;
    const struct scheme_row *scheme = find_scheme(text);

    *port = scheme ? scheme->port : 0;
    *secure = !scheme || scheme->secure;
    if (scheme)
        text = span_sub(text, strlen(scheme->name), SIZE_MAX);
    authority = scheme ? span_cut(&text, '/') : text;
    if (split_authority(authority, host, port))
        return EXIT_FINE;
    return command_wrong(&command_why,
                         "'%s' is neither a URL (icap, icaps, http, https, ipp, ipps) "
                         "nor HOST:PORT",
                         target);
}

/* ---- TLS ---- */

static bool load(const char *path, struct span *ret)
{
    int errnum = 0;

    if (!path || text_load(path, TEXT_SECRET, ret, NULL, &errnum) == OK)
        return true;
    (void)fprintf(stderr, "sallyport why: %s: %s\n", path,
                  errnum ? strerror(errnum) : "cannot be read");
    return false;
}

static int make_tls(const struct why_options *o, struct tls_context **ret)
{
    struct span ca = SPAN_NONE, cert = SPAN_NONE, key = SPAN_NONE;
    int code = EXIT_USAGE;
    struct buf why;

    buf_init(&why, 0);
    if (load(o->ca, &ca) && load(o->cert, &cert) && load(o->key, &key)) {
        const struct tls_settings s = {
            .role = TLS_CLIENT, .trust = ca, .certificate = cert, .key = key};

        if (tls_context_new(&s, ret, &why) == OK)
            code = EXIT_FINE;
        else
            (void)fprintf(stderr, "sallyport why: TLS: %s\n", buf_cstr(&why));
    }
    text_free(&ca);
    text_free(&cert);
    text_free(&key);
    buf_done(&why);
    return code;
}

/* ---- what is asked for ---- */

/* A URL that means TLS asks for as much as our own clients do; one that does not, for nothing. */
static int fill_want(struct why *w, const struct why_options *o, bool secure)
{
    sallyport_level level = o->require >= 0 ? (sallyport_level)o->require
                            : secure        ? SALLYPORT_STRONG
                                            : SALLYPORT_NONE;

    w->demanded_by = o->require >= 0 || o->n_peers    ? "the command line"
                     : has_scheme(span_of(o->target)) ? "the URL"
                                                      : "no scheme was given, so TLS is meant";
    if (sallyport_want_protect(w->want, level, secure ? SALLYPORT_VIA_TLS : 0) != 0)
        return EXIT_USAGE;
    if (secure)
        sallyport_want_known_peer(w->want);
    for (unsigned i = 0; i < o->n_peers; i++)
        if (sallyport_want_peer_text(w->want, o->peers[i]) != 0)
            return command_wrong(&command_why,
                                 "--peer '%s' names nobody: dns:NAME, uri:URI, email:ADDRESS, "
                                 "ip:ADDRESS, dn:NAME or key:DIGEST",
                                 o->peers[i]);
    return EXIT_FINE;
}

static int open_policy(struct why *w, const struct why_options *o)
{
    const sallyport_options p = {.size = sizeof p, .policy = o->policy, .service = o->service};
    char why[512];

    w->policy_path = o->policy ? o->policy : SALLYPORT_POLICY_PATH;
    if (sallyport_open(&p, &w->ctx, why, sizeof why) == 0 && sallyport_want_new(&w->want) == 0)
        return EXIT_FINE;
    (void)fprintf(stderr, "sallyport why: %s\n", why[0] ? why : "the policy cannot be used");
    return EXIT_USAGE;
}

static int prepare(struct why *w, const struct why_options *o, char host[HOST_MAX])
{
    bool secure = false;
    int code = is_printer(span_of(o->target))
                   ? find_printer(w, o->target, host, &secure)
                   : find_place(o->target, host, &w->place.port, &secure);

    w->target = o->target;
    w->place.host = host;
    w->ms = w->place.connect_ms = w->place.answer_ms = o->seconds * MS_PER_SECOND;
    if (code == EXIT_FINE && !secure && (o->ca || o->cert))
        code = command_wrong(&command_why, "--ca and --cert are for TLS");
    if (code == EXIT_FINE)
        code = open_policy(w, o);
    if (code == EXIT_FINE)
        code = fill_want(w, o, secure);
    if (code == EXIT_FINE && secure)
        code = make_tls(o, &w->place.tls);
    return code;
}

static int why(const struct why_options *o)
{
    struct why w = {0};
    char host[HOST_MAX];
    int code = prepare(&w, o, host);

    if (code == EXIT_FINE) {
        code = why_find_out(&w);
        if (o->json)
            why_print_json(&w, code);
        else
            why_print_text(&w);
    }
    sallyport_report_free(w.report);
    sallyport_report_free(w.plan);
    sallyport_want_free(w.want);
    sallyport_close(w.ctx);
    tls_context_unref(w.place.tls);
    return code;
}

/* ---- the command line ---- */

static bool take_level(struct why_options *o)
{
    for (int level = SALLYPORT_NONE; level <= SALLYPORT_STRONG; level++)
        if (strcmp(optarg, sallyport_level_name((sallyport_level)level)) == 0)
            o->require = level;
    return o->require >= 0;
}

/* NULL, or what is wrong with the option. */
static const char *take_value(struct why_options *o, int c)
{
    switch (c) {
    case OPTION_CA: o->ca = optarg; return NULL;
    case OPTION_CERT: o->cert = optarg; return NULL;
    case OPTION_KEY: o->key = optarg; return NULL;
    case OPTION_POLICY: o->policy = optarg; return NULL;
    case OPTION_SERVICE: o->service = optarg; return NULL;
    case OPTION_JSON: o->json = true; return NULL;
    case OPTION_REQUIRE:
        return take_level(o) ? NULL : "--require wants none, integrity, weak or strong";
    case OPTION_PEER:
        if (o->n_peers == PEERS_MAX)
            return "--peer: at most 16";
        o->peers[o->n_peers++] = optarg;
        return NULL;
    default:
        return span_u64(span_of(optarg), SECONDS_MAX, &o->seconds) == OK && o->seconds > 0
                   ? NULL
                   : "--timeout wants seconds from 1 to 600";
    }
}

static int run(int argc, char **argv)
{
    struct why_options o = {.seconds = TIMEOUT_S, .require = -1};
    int c;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h' || c == OPTION_HELP)
            return command_usage(&command_why, false);
        if (c == '?')
            return command_usage(&command_why, true);
        const char *wrong = take_value(&o, c);

        if (wrong)
            return command_wrong(&command_why, "%s", wrong);
    }
    if (optind + 1 != argc)
        return command_wrong(&command_why, "name one URL or HOST:PORT");
    if (!o.cert != !o.key)
        return command_wrong(&command_why, "--cert and --key go together");
    o.target = argv[optind];
    (void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to sockets with write(2) */
    return why(&o);
}

const struct command command_why = {
    .name = "why",
    .summary = "say how a connection would be protected, who is there, and why not",
    .usage =
        "sallyport why URL | HOST:PORT [--require LEVEL] [--peer KIND:PATTERN] [--json]\n\n"
        "  --require LEVEL         at least: none, integrity, weak or strong\n"
        "  --peer KIND:PATTERN     who must be there, as dns:*.example.org; several: any of them\n"
        "  --ca FILE               certificates (PEM) to trust, in place of the system's\n"
        "  --cert FILE --key FILE  our own certificate and key (PEM), if the server wants one\n"
        "  --policy FILE           in place of /etc/sallyport/policy\n"
        "  --service NAME          speak as that service, for policies that name it\n"
        "  --timeout S             seconds to wait for each step (10)\n"
        "  --json                  one JSON object in place of text\n\n"
        "Prints what will be demanded and by which line of the policy, connects, and says what "
        "came "
        "of it.\n"
        "icaps, https, ipps and HOST:PORT mean TLS; icap, http and ipp mean clear text, but for "
        "ipp\n"
        "with ;AUTH=TLS, which means TLS by Upgrade.\n"
        "Exit code 0: as it must be, 1: refused by the policy, 2: usage, 3: the security that was "
        "asked for\nis not there, 4: no connection.\n",
    .run = run,
};
