/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/print_link.h"

#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"
#include "ipp/ipp_names.h"

#define SECONDS_MAX   86400u
#define MS_PER_SECOND 1000u

/* ---- the command line ---- */

static bool take_seconds(struct print_options *o, const char *name, uint64_t *ret, int *ret_code)
{
    if (span_u64(span_of(optarg), SECONDS_MAX, ret) == OK && *ret > 0)
        return true;
    *ret_code = command_wrong(o->command, "%s wants seconds from 1 to %u, not '%s'", name,
                              SECONDS_MAX, optarg);
    return false;
}

static bool take_version(struct print_options *o, int *ret_code)
{
    o->tls.only_1_3 = strcmp(optarg, "1.3") == 0;
    if (o->tls.only_1_3 || strcmp(optarg, "1.2") == 0)
        return true;
    *ret_code = command_wrong(o->command, "--tls-min wants 1.2 or 1.3, not '%s'", optarg);
    return false;
}

bool print_take_option(struct print_options *o, int c, int *ret_code)
{
    switch (c) {
    case 'u': o->user = optarg; return true;
    case 'p': o->proxy = optarg; return true;
    case PRINT_OPTION_PASSWORD:
        *ret_code = command_wrong(o->command, LOGIN_NO_OPTION);
        return false;
    case PRINT_OPTION_PASSWORD_FILE: o->password_file = optarg; return true;
    case PRINT_OPTION_PROXY_PASSWORD_FILE: o->proxy_password_file = optarg; return true;
    case PRINT_OPTION_CA: o->tls.ca = optarg; return true;
    case PRINT_OPTION_CERT: o->tls.cert = optarg; return true;
    case PRINT_OPTION_KEY: o->tls.key = optarg; return true;
    case PRINT_OPTION_INSECURE: o->tls.insecure = true; return true;
    case PRINT_OPTION_NO_INSIST: o->no_insist = true; return true;
    case PRINT_OPTION_ALLOW_BASIC: o->allow_basic = true; return true;
    case PRINT_OPTION_LENIENT: o->lenient = true; return true;
    case PRINT_OPTION_TLS_MIN: return take_version(o, ret_code);
    case PRINT_OPTION_NO_MD5: o->no_md5 = true; return true;
    case PRINT_OPTION_TIMEOUT: return take_seconds(o, "--timeout", &o->answer_s, ret_code);
    case PRINT_OPTION_CONNECT_TIMEOUT:
        return take_seconds(o, "--connect-timeout", &o->connect_s, ret_code);
    case PRINT_OPTION_JSON: o->json = true; return true;
    case 'h':
    case PRINT_OPTION_HELP: *ret_code = command_usage(o->command, false); return false;
    default: *ret_code = command_usage(o->command, true); return false;
    }
}

static const char *mistake(const struct print_options *o)
{
    if (o->tls.ca && o->tls.insecure)
        return "--ca and --insecure-no-verify do not go together";
    if (o->tls.key && !o->tls.cert)
        return "--key needs --cert";
    if (o->allow_basic && o->tls.insecure)
        return "with --insecure-no-verify anybody may be the printer, and would get the password: "
               "--allow-basic does not go with it";
    if (o->proxy_password_file && !o->proxy)
        return "--proxy-password-file needs -p";
    return NULL;
}

/* ---- who asks ---- */

/* RFC 3986 3.2.1: what may stand there as it is. Others end the host before anything else. */
static bool may_stand(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("-._~!$&'()*+,;=:", c));
}

/* RFC 3986 2.1. False: a byte that may not stand there, no percent-encoding, or too long. */
static bool decode(struct span s, char *dst, size_t cap)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n && n + 1 < cap; i++, n++) {
        int high = i + 2 < s.n ? char_hex(s.p[i + 1]) : -1;
        int low = i + 2 < s.n ? char_hex(s.p[i + 2]) : -1;

        dst[n] = s.p[i];
        if (may_stand(s.p[i]))
            continue;
        if (s.p[i] != '%' || high < 0 || low < 0 || (high | low) == 0)
            return false;
        dst[n] = (char)(high << 4 | low);
        i += 2;
    }
    dst[n] = '\0';
    return n + 1 < cap;
}

/* Where "user:password@" stands in |uri|; empty without one. */
static struct span userinfo_of(struct span uri)
{
    size_t scheme = 0;
    struct span authority;

    while (scheme + 2 < uri.n && !span_starts(span_sub(uri, scheme, 3), SPAN("://")))
        scheme++;
    authority = span_sub(uri, scheme + 3, SIZE_MAX);
    authority = span_sub(authority, 0, span_find(authority, '/'));
    authority = span_sub(authority, 0, span_find(authority, '?'));
    if (span_find(authority, '@') == authority.n)
        return SPAN_NONE;
    return span_sub(authority, 0, span_find(authority, '@'));
}

/* A password in a URI: taken, and gone from where others on this machine can read it. */
static const char *take_password(struct login *l, char *uri)
{
    struct span info = userinfo_of(span_of(uri)), password = info, user = span_cut(&password, ':');
    char *at;
    size_t rest;

    if (!info.p || !password.p)
        return NULL;
    at = uri + (info.p - uri);
    if (!decode(password, l->password, LOGIN_PASSWORD_MAX + 1))
        return "the password in the URI is longer than 1024 bytes, or has a byte that may not "
               "stand there; write it as % and two hexadecimal digits";
    /* The user stays, for the next one to read. */
    rest = strlen(at + info.n);
    memmove(at + user.n, at + info.n, rest);
    explicit_bzero(at + user.n + rest, info.n - user.n);
    return NULL;
}

static const char *set_user(struct login *l, const char *user)
{
    struct span s = span_of(user);

    if (l->user[0])
        return "one user stands in the URI, and another one behind -u";
    if (s.n == 0 || s.n > LOGIN_USER_MAX || !utf8_is_valid(s) || !span_is_field_value(s) ||
        span_find(s, ':') < s.n || span_find(s, '\t') < s.n)
        return "that is no user: it is empty, longer than 128 bytes, has a colon or control "
               "characters, or is not UTF-8";
    (void)span_copy(s, l->user, sizeof l->user);
    return NULL;
}

/* Who runs us: a claim, which no password stands behind. */
static const char *own_name(void)
{
    const struct passwd *p = getpwuid(getuid()); /* NOLINT(concurrency-mt-unsafe): one thread */

    return p ? p->pw_name : NULL;
}

static const char *give(struct print_link *l, struct login *login, const char *file,
                        const char *host)
{
    if (login_password(login, l->o->command->name, file, host) != EXIT_FINE)
        return NULL;
    return login->password;
}

static const char *on_password(void *arg)
{
    struct print_link *l = arg;
    char host[300];

    if (l->login.password[0])
        return l->login.password;
    (void)span_copy(l->uri.host, host, sizeof host);
    return give(l, &l->login, l->o->password_file, host);
}

static const char *on_proxy_password(void *arg)
{
    struct print_link *l = arg;

    if (l->proxy_login.password[0])
        return l->proxy_login.password;
    return give(l, &l->proxy_login, l->o->proxy_password_file, l->proxy_host);
}

/* What can be wrong with a password is told before anybody is connected to. */
static int read_passwords(struct print_link *l)
{
    const struct print_options *o = l->o;
    int code = EXIT_FINE;

    if (o->password_file && !l->login.user[0])
        return command_wrong(o->command, "--password-file needs a user: -u USER");
    if (o->password_file || (l->login.user[0] && l->login.password[0]))
        code = login_password(&l->login, o->command->name, o->password_file, "");
    if (code == EXIT_FINE && o->proxy_password_file && !l->proxy_login.user[0])
        return command_wrong(o->command,
                             "--proxy-password-file needs a user, as in -p http://user@proxy:3128");
    if (code == EXIT_FINE && o->proxy_password_file)
        code = login_password(&l->proxy_login, o->command->name, o->proxy_password_file, "");
    return code;
}

/* ---- where it is ---- */

static void on_warning(void *arg, const char *text)
{
    struct print_link *l = arg;

    (void)print_complain(l, EXIT_FINE, "warning: %s", text);
}

static void say_warnings(struct print_link *l)
{
    for (unsigned bit = 1; bit <= IPP_URI_EARLIER; bit <<= 1)
        if (l->uri.warnings & bit & ~IPP_URI_NORMALISED)
            on_warning(l, ipp_uri_warning_text(bit));
}

static int take_uri(struct print_link *l, char *uri, struct ipp_client_plan *ret_plan)
{
    const struct command *c = l->o->command;
    char why[IPP_CLIENT_WHY_MAX];
    const char *wrong = take_password(&l->login, uri);
    bool has_user = userinfo_of(span_of(uri)).p != NULL;

    if (!wrong && !login_take_user(&l->login, uri, &l->url, &wrong))
        return command_wrong(c, "%s", wrong);
    if (!wrong && l->o->user)
        wrong = set_user(&l->login, l->o->user);
    if (wrong)
        return command_wrong(c, "%s", wrong);
    enum err e = ipp_client_resolve(span_of(buf_cstr(&l->url)), &l->uri, ret_plan, why);

    if (e == ERR_POLICY)
        return print_complain(l, EXIT_SECURITY, "%s; nothing was sent", why);
    if (e)
        return command_wrong(c, "the URI: %s", why); /* without it: a password may be in there */
    if (has_user)
        l->uri.warnings |= IPP_URI_HAS_USER;
    say_warnings(l);
    if (l->uri.auth & IPP_AUTH_DAA && !l->login.user[0])
        return command_wrong(c, "the URI demands Digest (DAA), which needs a user: -u USER");
    return EXIT_FINE;
}

/* "http://" is what proxies are called by; any other scheme is none of ours. */
static bool cut_scheme(const char *proxy, struct span *ret)
{
    static const struct span http = {"http://", 7};
    struct span s = span_of(proxy);

    *ret = span_istarts(s, http) ? span_sub(s, http.n, SIZE_MAX) : s;
    return !strstr(proxy, "://") || ret->n < s.n;
}

/* [http://][user@]host:port, read as the authority of a printer. */
static bool read_proxy(struct print_link *l, const char *url)
{
    struct ipp_uri u = {0};

    if (ipp_uri_parse(span_of(url), &u, NULL) != OK || u.port == 0 || u.path.n > 1 || u.query.p ||
        u.host.n >= sizeof l->proxy_host)
        return false;
    (void)span_copy(u.host, l->proxy_host, sizeof l->proxy_host);
    l->proxy_port = u.port;
    return true;
}

static int take_proxy(struct print_link *l)
{
    const char *wrong = "a proxy is host:port, as in proxy.example:3128 or "
                        "http://user@proxy.example:3128";
    struct buf text, url;
    struct span rest;
    bool ok;

    if (!l->o->proxy)
        return EXIT_FINE;
    l->proxy_login.option = "--proxy-password-file";
    buf_init(&text, 0);
    buf_init(&url, 0);
    ok = cut_scheme(l->o->proxy, &rest);
    buf_text(&text, "ipp://");
    buf_add(&text, rest);
    ok = ok && login_take_user(&l->proxy_login, buf_cstr(&text), &url, &wrong) &&
         read_proxy(l, buf_cstr(&url));
    buf_done(&text);
    buf_done(&url);
    return ok ? EXIT_FINE : command_wrong(l->o->command, "-p: %s", wrong);
}

static bool has_way(const struct ipp_client_plan *p, enum ipp_client_how how)
{
    for (unsigned i = 0; i < p->n_ways; i++)
        if (p->ways[i].how == how)
            return true;
    return false;
}

/* What the plan has no way for is not loaded; a printer may ask for an upgrade where it was not
 * planned. */
static int open_tls(struct print_link *l, const struct ipp_client_plan *p)
{
    struct client_tls_options tls = l->o->tls;
    int code = EXIT_FINE;

    if (has_way(p, IPP_CLIENT_UPGRADE) || has_way(p, IPP_CLIENT_CLEAR)) {
        tls.alpn = IPP_ALPN_UPGRADED;
        code = client_tls_open(l->o->command->name, &tls, &l->tls_upgraded);
    }
    if (code == EXIT_FINE && has_way(p, IPP_CLIENT_IMPLICIT)) {
        tls.alpn = IPP_ALPN_IMPLICIT;
        code = client_tls_open(l->o->command->name, &tls, &l->tls_implicit);
    }
    return code;
}

static int make_client(struct print_link *l, const struct ipp_client_plan *p)
{
    const struct ipp_client_settings s = {
        .uri = l->uri,
        .plan = *p,
        .proxy_host = l->o->proxy ? l->proxy_host : NULL,
        .proxy_port = l->proxy_port,
        .tls_upgraded = l->tls_upgraded,
        .tls_implicit = l->tls_implicit,
        .insecure = l->o->tls.insecure,
        .login = {l->login.user[0] ? l->login.user : NULL,             on_password,       l},
        .proxy_login = {l->proxy_login.user[0] ? l->proxy_login.user : NULL, on_proxy_password, l},
        .no_insist = l->o->no_insist,
        .allow_basic = l->o->allow_basic,
        .lenient = l->o->lenient,
        .no_md5 = l->o->no_md5,
        .connect_ms = l->o->connect_s * MS_PER_SECOND,
        .answer_ms = l->o->answer_s * MS_PER_SECOND,
        .warn = on_warning,
        .warn_arg = l,
    };

    enum err e = loop_new(0, &clock_system, &l->loop);

    if (!e)
        e = ipp_client_new(l->loop, &s, &l->client);
    return e ? print_complain(l, EXIT_NETWORK, "%s", err_text(e)) : EXIT_FINE;
}

int print_link_open(struct print_link *l, const struct print_options *o, char *uri)
{
    struct ipp_client_plan plan = {0};
    const char *wrong = mistake(o);
    int code;

    *l = (struct print_link){.o = o};
    buf_init(&l->url, 0);
    buf_init(&l->text, 0);
    login_init(&l->login);
    if (wrong)
        return command_wrong(o->command, "%s", wrong);
    code = take_uri(l, uri, &plan);
    if (code == EXIT_FINE)
        code = take_proxy(l);
    if (code == EXIT_FINE)
        code = read_passwords(l);
    if (code == EXIT_FINE)
        code = open_tls(l, &plan);
    if (code == EXIT_FINE)
        code = make_client(l, &plan);
    if (code == EXIT_FINE)
        l->user = l->login.user[0] ? l->login.user : own_name();
    return code;
}

void print_link_close(struct print_link *l)
{
    ipp_client_free(l->client);
    for (unsigned i = 0; l->loop && i < 16; i++) /* what was deferred, handles that close */
        (void)loop_turn(l->loop, false);
    loop_free(l->loop);
    tls_context_unref(l->tls_upgraded);
    tls_context_unref(l->tls_implicit);
    login_wipe(&l->login);
    login_wipe(&l->proxy_login);
    buf_done(&l->url);
    buf_done(&l->text);
}

/* ---- questions ---- */

static void on_done(void *arg, const struct ipp_client_result *r)
{
    const struct ipp_limits lim = IPP_LIMITS_DEFAULT;
    struct print_link *l = arg;

    l->done = true;
    l->answer.result = *r;
    l->answer.result.message = NULL;
    if (!r->message)
        return;
    buf_reset(&l->text);
    buf_add(&l->text, r->message->octets);
    if (l->text.err ||
        ipp_message_parse(IPP_RESPONSE, buf_span(&l->text), &lim, &l->answer.message, NULL) != OK)
        l->answer.result.end = IPP_CLIENT_LOCAL;
}

int print_ask(struct print_link *l, const struct ipp_client_message *m,
              const struct print_document *d, bool harmless, void (*turn)(void *arg), void *arg)
{
    const struct ipp_client_request r = {
        .write = ipp_client_message_write,
        .write_arg = m,
        .fd = d ? d->fd : -1,
        .len = d ? d->len : 0,
        .harmless = harmless,
        .done = on_done,
        .arg = l,
    };

    l->done = false;
    l->answer.result = (struct ipp_client_result){.end = IPP_CLIENT_LOCAL, .why = "no memory"};
    if (ipp_client_ask(l->client, &r) != OK)
        return EXIT_NETWORK;
    while (!l->done) {
        (void)loop_turn(l->loop, true);
        if (turn)
            turn(arg);
    }
    l->document_sent |= l->answer.result.document_sent;
    return print_exit_code(l->answer.result.end);
}

bool print_is_success(const struct print_link *l)
{
    return l->answer.message.header.code < IPP_CLIENT_ERROR_BAD_REQUEST;
}
