/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client_tls.h"
#include "cli/login.h"
#include "cli/probe_int.h"
#include "cli/probe_ipp_int.h"

#define SECONDS_MAX   600u
#define TIMEOUT_S     10u
#define MS_PER_SECOND 1000u

enum {
    OPTION_CA = 256,
    OPTION_CERT,
    OPTION_KEY,
    OPTION_INSECURE,
    OPTION_PASSWORD,
    OPTION_PASSWORD_FILE,
    OPTION_INSECURE_LOGIN,
    OPTION_NO_EICAR,
    OPTION_SERVICE,
    OPTION_TIMEOUT,
    OPTION_JSON,
    OPTION_HELP
};

static const struct option options[] = {
    {"ca",               required_argument, NULL, OPTION_CA},
    {"cert",              required_argument, NULL, OPTION_CERT},
    {"key",                  required_argument, NULL, OPTION_KEY},
    {"insecure-no-verify",no_argument, NULL, OPTION_INSECURE},
    {"password",       required_argument, NULL, OPTION_PASSWORD},
    {"password-file",              required_argument, NULL, OPTION_PASSWORD_FILE},
    {"insecure-login",              no_argument, NULL, OPTION_INSECURE_LOGIN},
    {"no-eicar",                  no_argument, NULL, OPTION_NO_EICAR},
    {"service",                    required_argument, NULL, OPTION_SERVICE},
    {"timeout",   required_argument, NULL, OPTION_TIMEOUT},
    {"json",         no_argument, NULL, OPTION_JSON},
    {"help",              no_argument, NULL, OPTION_HELP},
    {0                 },
};

struct probe_options {
    const char *url; /* without a user */
    const char *ca, *cert, *key, *service, *password_file;
    struct login login;
    uint64_t seconds;
    bool insecure, insecure_login, no_eicar, json;
};

/* Texts that live as long as the probe. */
struct probe_texts {
    struct buf url, wrong_url, host, host_header;
};

/* ---- the URL ---- */

static int refuse_url(const char *url, const char *why)
{
    static const char *const later[] = {"http://", "https://"};

    for (unsigned i = 0; i < ARRAY_LEN(later); i++)
        if (span_istarts(span_of(url), span_of(later[i])))
            return command_wrong(&command_probe,
                                 "%s is not probed yet; icap(s):// and ipp(s):// are", later[i]);
    return command_wrong(&command_probe, "%s: %s", url,
                         why ? why : "not an icap(s):// or ipp(s):// URL");
}

/* "icap://host:port", "/path", Host and a wrong path, from the URL and --service. */
static void fill_texts(const struct probe_options *o, const struct icap_uri *uri,
                       struct probe_texts *t)
{
    const char *scheme = uri->secure ? "icaps" : "icap";
    bool literal = span_find(uri->host, ':') < uri->host.n;

    buf_add(&t->host, uri->host);
    buf_fmt(&t->host_header, literal ? "[" SPAN_FMT "]" : SPAN_FMT, SPAN_ARG(uri->host));
    if (uri->port)
        buf_fmt(&t->host_header, ":%u", uri->port);
    buf_fmt(&t->wrong_url, "%s://%s/sallyport-probe-no-such-service", scheme,
            buf_cstr(&t->host_header));
    if (o->service)
        buf_fmt(&t->url, "%s://%s%s%s", scheme, buf_cstr(&t->host_header),
                o->service[0] == '/' ? "" : "/", o->service);
    else
        buf_text(&t->url, o->url);
}

static int refuse_login(const char *why)
{
    (void)fprintf(stderr,
                  "sallyport probe: no password is sent, because %s; --insecure-login if everybody "
                  "may know it\n",
                  why);
    return EXIT_SECURITY;
}

static int make_tls(const struct probe_options *o, struct tls_context **ret)
{
    /* The handshake takes any certificate, for it is the probe that judges it. */
    const struct client_tls_options tls = {
        .ca = o->ca, .cert = o->cert, .key = o->key, .insecure = true};

    if (o->login.user[0] && o->insecure && !o->insecure_login)
        return refuse_login("with --insecure-no-verify anybody may be the server");
    return client_tls_open(command_probe.name, &tls, ret);
}

static int log_in(struct probe *p, struct probe_options *o)
{
    int code = EXIT_FINE;

    if (o->login.user[0])
        code = login_read(&o->login, command_probe.name, o->password_file, p->target.host);
    if (code == EXIT_FINE && o->login.user[0]) {
        p->user = o->login.user;
        p->authorization = o->login.value;
        p->target.prove = !o->insecure_login;
    }
    return code;
}

static int fill_probe(struct probe *p, struct probe_options *o, struct probe_texts *t)
{
    struct icap_uri uri;
    struct fault fault = {0};
    struct arena mem;
    int code = EXIT_FINE;
    bool ok;

    arena_init(&mem, 1 << 20);
    ok = icap_uri_parse(span_of(o->url), &mem, &uri, &fault) == OK;
    if (!ok) {
        code = refuse_url(o->url, fault.why);
    } else {
        fill_texts(o, &uri, t);
        p->target.port = uri.port ? uri.port : uri.secure ? ICAPS_PORT : ICAP_PORT;
        if (uri.secure)
            code = make_tls(o, &p->target.tls);
        else if (o->login.user[0] && !o->insecure_login)
            code = refuse_login("icap:// is clear text");
        else if (o->ca || o->cert || o->insecure)
            code = command_wrong(&command_probe,
                                 "--ca, --cert and --insecure-no-verify are for icaps://");
    }
    arena_done(&mem);
    if (code != EXIT_FINE)
        return code;
    p->url = buf_cstr(&t->url);
    p->wrong_url = buf_cstr(&t->wrong_url);
    p->host_header = buf_cstr(&t->host_header);
    p->target.host = buf_cstr(&t->host);
    p->target.connect_ms = p->target.answer_ms = o->seconds * MS_PER_SECOND;
    p->eicar = !o->no_eicar;
    p->insecure = o->insecure;
    return log_in(p, o);
}

/* ---- the probe ---- */

bool probe_connection(struct probe *p)
{
    struct probe_talk k;
    const char *why = "";
    char text[ADDRESS_TEXT_MAX];
    enum err e;

    if (probe_target_resolve(&p->target, &why) != OK) {
        probe_bad(p->report, PROBE_HOST_NAME, "%s: %s", p->target.host, why);
        return false;
    }
    probe_ok(p->report, PROBE_HOST_NAME, "%s has %u address%s", p->target.host,
             p->target.n_addresses, p->target.n_addresses == 1 ? "" : "es");
    e = probe_talk_open_clear(&k, &p->target);
    if (e == OK)
        probe_ok(p->report, PROBE_CONNECT, "connected to %s within %.1f ms",
                 address_text(&k.address, text), (double)k.connect_us / 1000.0);
    else
        probe_bad(p->report, PROBE_CONNECT, "port %u: %s", p->target.port, k.why);
    probe_talk_close(&k);
    return e == OK;
}

static int probe_all(struct probe *p)
{
    struct probe_report *r = p->report;
    bool go_on = probe_connection(p);

    probe_report_section(r, PROBE_SECTION_CONNECTION);
    if (!go_on)
        return EXIT_NETWORK;
    go_on = probe_tls(p);
    probe_report_section(r, PROBE_SECTION_TLS);
    if (!go_on)
        return EXIT_SECURITY;
    go_on = probe_options(p);
    probe_report_section(r, PROBE_SECTION_OPTIONS);
    if (!go_on)
        return probe_section_failed(r, PROBE_SECTION_TLS) ? EXIT_SECURITY : EXIT_NETWORK;
    if (p->denied) /* what else there is would be 407, too */
        return EXIT_REFUSED;
    probe_errors(p);
    probe_report_section(r, PROBE_SECTION_ERRORS);
    probe_adapt(p);
    probe_report_section(r, PROBE_SECTION_ADAPT);
    probe_keep(p);
    probe_report_section(r, PROBE_SECTION_KEEP);
    probe_report_section(r, PROBE_SECTION_ANSWERS);
    if (probe_section_failed(r, PROBE_SECTION_TLS))
        return EXIT_SECURITY;
    return probe_count(r, PROBE_FAIL) ? EXIT_REFUSED : EXIT_FINE;
}

static int probe(struct probe_options *o)
{
    struct probe p = {0};
    struct probe_texts t;
    int code;

    buf_init(&t.url, 0);
    buf_init(&t.wrong_url, 0);
    buf_init(&t.host, 0);
    buf_init(&t.host_header, 0);
    code = fill_probe(&p, o, &t);
    if (code == EXIT_FINE) {
        p.report = probe_report_new(PROBE_ICAP, p.url, o->json);
        code = p.report ? probe_all(&p) : EXIT_NETWORK;
        if (p.report)
            probe_report_end(p.report);
    }
    probe_report_free(p.report);
    tls_context_unref(p.target.tls);
    buf_done(&t.url);
    buf_done(&t.wrong_url);
    buf_done(&t.host);
    buf_done(&t.host_header);
    return code;
}

/* ---- printers ---- */

static bool is_printer(const char *url)
{
    return span_istarts(span_of(url), SPAN("ipp://")) ||
           span_istarts(span_of(url), SPAN("ipps://"));
}

static int probe_printer(const struct probe_options *o)
{
    const struct probe_ipp_options to = {
        .url = o->url,
        .tls = {.ca = o->ca, .cert = o->cert, .key = o->key, .insecure = o->insecure},
        .ms = o->seconds * MS_PER_SECOND,
        .json = o->json,
    };

    if (o->login.user[0])
        return command_wrong(&command_probe, "a printer is probed without a user, and gets no "
                                             "password; leave out what stands before @");
    if (o->service || o->no_eicar)
        return command_wrong(&command_probe, "--service and --no-eicar are for icap(s)://");
    return probe_ipp(&to);
}

/* ---- the command line ---- */

/* False: *ret_code says how to end. */
static bool take_option(struct probe_options *o, int c, int *ret_code)
{
    switch (c) {
    case OPTION_CA: o->ca = optarg; return true;
    case OPTION_CERT: o->cert = optarg; return true;
    case OPTION_KEY: o->key = optarg; return true;
    case OPTION_INSECURE: o->insecure = true; return true;
    case OPTION_PASSWORD: *ret_code = command_wrong(&command_probe, LOGIN_NO_OPTION); return false;
    case OPTION_PASSWORD_FILE: o->password_file = optarg; return true;
    case OPTION_INSECURE_LOGIN: o->insecure_login = true; return true;
    case OPTION_NO_EICAR: o->no_eicar = true; return true;
    case OPTION_SERVICE: o->service = optarg; return true;
    case OPTION_JSON: o->json = true; return true;
    case OPTION_TIMEOUT:
        if (span_u64(span_of(optarg), SECONDS_MAX, &o->seconds) == OK && o->seconds > 0)
            return true;
        *ret_code = command_wrong(&command_probe, "--timeout wants seconds from 1 to %u, not '%s'",
                                  SECONDS_MAX, optarg);
        return false;
    case 'h':
    case OPTION_HELP: *ret_code = command_usage(&command_probe, false); return false;
    default: *ret_code = command_usage(&command_probe, true); return false;
    }
}

static const char *mistake(const struct probe_options *o)
{
    if (o->key && !o->cert)
        return "--key needs --cert";
    if (o->service && !span_is_field_value(span_of(o->service)))
        return "--service is no path";
    if ((o->password_file || o->insecure_login) && o->login.user[0] == '\0')
        return "--password-file and --insecure-login need a user, as in icaps://user@host/service";
    return NULL;
}

static int run_with(struct probe_options *o, struct buf *url, int argc, char **argv)
{
    const char *wrong = NULL;
    int c, code = EXIT_FINE;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1)
        if (!take_option(o, c, &code))
            return code;
    if (optind + 1 != argc)
        return command_wrong(&command_probe, "name one URL, such as icap://server.example/service");
    if (login_take_user(&o->login, argv[optind], url, &wrong))
        wrong = mistake(o);
    if (wrong)
        return command_wrong(&command_probe, "%s", wrong);
    o->url = buf_cstr(url);
    return is_printer(o->url) ? probe_printer(o) : probe(o);
}

static int run(int argc, char **argv)
{
    struct probe_options o = {.seconds = TIMEOUT_S};
    struct buf url;
    int code;

    (void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to sockets with write(2) */
    login_init(&o.login);
    buf_init(&url, 0);
    code = run_with(&o, &url, argc, argv);
    login_wipe(&o.login);
    buf_done(&url);
    return code;
}

const struct command command_probe = {
    .name = "probe",
    .summary = "say what is wrong with an ICAP server or a printer, anybody's",
    .usage =
        "sallyport probe icap(s)://[USER@]HOST[:PORT]/SERVICE [--ca FILE] [--json]\n"
        "       sallyport probe ipp(s)://HOST[:PORT]/PATH [--ca FILE] [--json]\n\n"
        "  --service PATH          the service, in place of the one in the URL\n"
        "  --ca FILE               certificates (PEM) to trust, in place of the system's\n"
        "  --cert FILE             our own certificate (PEM), if the server wants one\n"
        "  --key FILE              its key (PEM), if it is not in the same file\n"
        "  --insecure-no-verify    go on with a server that cannot prove who it is\n" LOGIN_USAGE
        "  --no-eicar              do not send the EICAR test file\n"
        "  --timeout S             seconds to wait for each connection and answer (10)\n"
        "  --json                  one JSON object in place of text\n\n"
        "Connects some twenty times and sends harmless requests, right ones and wrong ones. Each "
        "check has a\n"
        "name that stays. A printer is asked what it is and how it protects itself; it gets no "
        "job, and no\n"
        "credentials. The password of USER comes from --password-file, from the environment "
        "(SALLYPORT_PASSWORD),\n"
        "or is asked for. Exit code 0: nothing failed (there may be warnings), 1: a check failed, "
        "2: usage,\n"
        "3: TLS is not as it should be, 4: nobody answers, or not in ICAP or IPP.\n",
    .run = run,
};
