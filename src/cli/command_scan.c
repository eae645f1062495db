/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/scan_int.h"

#define RULES_MAX     64u
#define SECONDS_MAX   86400u
#define MS_PER_SECOND 1000u

enum {
    OPTION_TO = 256,
    OPTION_LOCAL,
    OPTION_CA,
    OPTION_CERT,
    OPTION_KEY,
    OPTION_REQUIRE,
    OPTION_PEER,
    OPTION_PASSWORD,
    OPTION_PASSWORD_FILE,
    OPTION_INSECURE_LOGIN,
    OPTION_JSON,
    OPTION_REQMOD,
    OPTION_INSECURE,
    OPTION_RULES,
    OPTION_WORKER,
    OPTION_JOBS,
    OPTION_NAME,
    OPTION_FILES_FROM,
    OPTION_RESUME,
    OPTION_QUIET,
    OPTION_FAIL_FAST,
    OPTION_NO_PROGRESS,
    OPTION_TIMEOUT,
    OPTION_CONNECT_TIMEOUT,
    OPTION_HELP
};

static const struct option options[] = {
    {"to",                   required_argument, NULL, OPTION_TO},
    {"local",                  no_argument, NULL, OPTION_LOCAL},
    {"ca",                      required_argument, NULL, OPTION_CA},
    {"cert",required_argument, NULL, OPTION_CERT},
    {"key",          required_argument, NULL, OPTION_KEY},
    {"require",                   required_argument, NULL, OPTION_REQUIRE},
    {"peer",                  required_argument, NULL, OPTION_PEER},
    {"password",                      required_argument, NULL, OPTION_PASSWORD},
    {"password-file",            required_argument, NULL, OPTION_PASSWORD_FILE},
    {"insecure-login",           no_argument, NULL, OPTION_INSECURE_LOGIN},
    {"json",                  no_argument, NULL, OPTION_JSON},
    {"reqmod",                  no_argument, NULL, OPTION_REQMOD},
    {"insecure-no-verify",                      no_argument, NULL, OPTION_INSECURE},
    {"rules",required_argument, NULL, OPTION_RULES},
    {"worker",        required_argument, NULL, OPTION_WORKER},
    {"jobs",                 required_argument, NULL, OPTION_JOBS},
    {"name",                  required_argument, NULL, OPTION_NAME},
    {"files-from",                      required_argument, NULL, OPTION_FILES_FROM},
    {"resume",required_argument, NULL, OPTION_RESUME},
    {"quiet",       no_argument, NULL, OPTION_QUIET},
    {"fail-fast",        no_argument, NULL, OPTION_FAIL_FAST},
    {"no-progress",                  no_argument, NULL, OPTION_NO_PROGRESS},
    {"timeout",                      required_argument, NULL, OPTION_TIMEOUT},
    {"connect-timeout", required_argument, NULL, OPTION_CONNECT_TIMEOUT},
    {"help", no_argument, NULL, OPTION_HELP},
    {0                },
};

struct scan_options {
    struct scan_remote_options remote;
    struct scan_local_options local;
    struct scan_source_options source;
    struct scan_run_options run;
    const char *rules[RULES_MAX];
    const char *to; /* as it was given, with the user */
    struct login login;
    struct buf url;
    bool is_local, is_json, is_quiet;
};

static int scan(struct scan_options *o)
{
    int code = EXIT_FINE;
    struct scan_source *source = scan_source_open(&o->source, &code);
    struct scan_state *state = NULL;
    struct scanner *s = NULL;

    if (source && o->run.resume)
        state = scan_state_open(o->run.resume, o->to ? o->to : "local", &code);
    if (source && code == EXIT_FINE)
        s = o->remote.url ? scan_remote_open(&o->remote, &code) : scan_local_open(&o->local, &code);
    if (s) {
        code = scan_run(&o->run, s, source, state);
        s->close(s);
    }
    scan_state_close(state);
    scan_source_close(source);
    return code;
}

/* False: *ret_code says how to end. */
static bool take_number(const char *option, uint64_t max, uint64_t *ret, int *ret_code)
{
    if (span_u64(span_of(optarg), max, ret) == OK && *ret > 0)
        return true;
    *ret_code = command_wrong(&command_scan, "%s wants a number from 1 to %llu, not '%s'", option,
                              (unsigned long long)max, optarg);
    return false;
}

static bool take_rules(struct scan_options *o, int *ret_code)
{
    if (o->local.n_rules < RULES_MAX) {
        o->rules[o->local.n_rules++] = optarg;
        return true;
    }
    *ret_code = command_wrong(&command_scan, "at most %u rule files", RULES_MAX);
    return false;
}

static bool take_jobs(struct scan_options *o, int *ret_code)
{
    uint64_t n;

    if (!take_number("--jobs", SCAN_JOBS_MAX, &n, ret_code))
        return false;
    o->remote.jobs = o->local.jobs = (unsigned)n;
    return true;
}

static bool take_seconds(struct scan_options *o, int c, int *ret_code)
{
    uint64_t n;

    if (!take_number(c == OPTION_TIMEOUT ? "--timeout" : "--connect-timeout", SECONDS_MAX, &n,
                     ret_code))
        return false;
    n *= MS_PER_SECOND;
    if (c == OPTION_TIMEOUT)
        o->remote.file_ms = o->local.file_ms = n;
    else
        o->remote.connect_ms = n;
    return true;
}

static bool take_level(struct scan_options *o, int *ret_code)
{
    static const sallyport_level levels[] = {SALLYPORT_NONE, SALLYPORT_WEAK, SALLYPORT_STRONG};

    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        if (strcmp(optarg, sallyport_level_name(levels[i])) == 0) {
            o->remote.require = (int)levels[i];
            return true;
        }
    *ret_code =
        command_wrong(&command_scan, "--require wants strong, weak or none, not '%s'", optarg);
    return false;
}

static bool take_peer(struct scan_options *o, int *ret_code)
{
    int e = o->remote.want ? 0 : sallyport_want_new(&o->remote.want);

    if (e == 0)
        e = sallyport_want_peer_text(o->remote.want, optarg);
    if (e == 0)
        return true;
    *ret_code = command_wrong(&command_scan,
                              e == -EINVAL ? "--peer wants a pattern such as dns:*.example.org, "
                                             "dn:..., key:..., uri:..., email:... or ip:..., not "
                                             "'%s'"
                                           : "--peer %s: too many of them",
                              optarg);
    return false;
}

/* Who is asked, and in whose name. */
static bool take_remote_option(struct scan_options *o, int c, int *ret_code)
{
    struct scan_remote_options *r = &o->remote;

    switch (c) {
    case OPTION_TO: o->to = optarg; return true;
    case OPTION_CA: r->tls.ca = optarg; return true;
    case OPTION_CERT: r->tls.cert = optarg; return true;
    case OPTION_KEY: r->tls.key = optarg; return true;
    case OPTION_INSECURE: r->tls.insecure = true; return true;
    case OPTION_REQUIRE: return take_level(o, ret_code);
    case OPTION_PEER: return take_peer(o, ret_code);
    case OPTION_PASSWORD: *ret_code = command_wrong(&command_scan, LOGIN_NO_OPTION); return false;
    case OPTION_PASSWORD_FILE: r->password_file = optarg; return true;
    case OPTION_INSECURE_LOGIN: r->insecure_login = true; return true;
    case OPTION_REQMOD: r->reqmod = true; return true;
    default: *ret_code = command_usage(&command_scan, true); return false;
    }
}

/* False: *ret_code says how to end. */
static bool take_option(struct scan_options *o, int c, int *ret_code)
{
    switch (c) {
    case OPTION_LOCAL: o->is_local = true; return true;
    case OPTION_JSON: o->is_json = true; return true;
    case OPTION_WORKER: o->local.worker = optarg; return true;
    case OPTION_RULES: return take_rules(o, ret_code);
    case OPTION_JOBS: return take_jobs(o, ret_code);
    case OPTION_NAME: o->source.name = optarg; return true;
    case OPTION_FILES_FROM: o->source.files_from = optarg; return true;
    case OPTION_RESUME: o->run.resume = optarg; return true;
    case OPTION_QUIET: o->is_quiet = true; return true;
    case OPTION_FAIL_FAST: o->run.fail_fast = true; return true;
    case OPTION_NO_PROGRESS: o->run.progress = false; return true;
    case OPTION_TIMEOUT:
    case OPTION_CONNECT_TIMEOUT: return take_seconds(o, c, ret_code);
    case 'h':
    case OPTION_HELP: *ret_code = command_usage(&command_scan, false); return false;
    default: return take_remote_option(o, c, ret_code);
    }
}

static unsigned count_stdin(char **paths)
{
    unsigned n = 0;

    for (unsigned i = 0; paths[i]; i++)
        n += strcmp(paths[i], "-") == 0;
    return n;
}

/* What does not go together at a server; NULL: all is well. */
static const char *remote_mistake(const struct scan_options *o)
{
    const struct scan_remote_options *r = &o->remote;
    const struct client_tls_options *tls = &r->tls;

    if (!o->to && (tls->ca || tls->insecure || r->reqmod || r->connect_ms))
        return "--ca, --reqmod, --connect-timeout and --insecure-no-verify need --to";
    if (!o->to && (tls->cert || tls->key || r->require >= 0 || r->want))
        return "--cert, --key, --require and --peer need --to";
    if (tls->ca && tls->insecure)
        return "--ca and --insecure-no-verify do not go together";
    if (tls->insecure && (r->want || r->require > 0))
        return "--insecure-no-verify takes anybody, so it does not go together with --require or "
               "--peer";
    if (tls->key && !tls->cert)
        return "--key needs --cert";
    if ((r->password_file || r->insecure_login) && o->login.user[0] == '\0')
        return "--password-file and --insecure-login need a user, as in --to "
               "icaps://user@host/service";
    return NULL;
}

/* What does not go together; NULL: all is well. */
static const char *mistake(const struct scan_options *o)
{
    unsigned n_stdin = count_stdin(o->source.paths);
    bool list_is_stdin = o->source.files_from && strcmp(o->source.files_from, "-") == 0;

    if (!o->source.paths[0] && !o->source.files_from)
        return "name at least one file or folder";
    if (o->is_local && o->to)
        return "--local and --to do not go together";
    if (o->to && (o->local.n_rules || o->local.worker))
        return "--rules and --worker are for --local";
    if (n_stdin + list_is_stdin > 1)
        return "standard input can be read only once";
    if (o->source.name && n_stdin == 0)
        return "--name is for standard input (-)";
    if (o->is_json && o->is_quiet)
        return "--json and --quiet do not go together";
    return remote_mistake(o);
}

static int run_with(struct scan_options *o, int argc, char **argv)
{
    const char *wrong = NULL;
    int c, code = EXIT_FINE;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1)
        if (!take_option(o, c, &code))
            return code;
    o->source.paths = argv + optind;
    if (o->to && !login_take_user(&o->login, o->to, &o->url, &wrong))
        return command_wrong(&command_scan, "--to: %s", wrong);
    if (o->to)
        o->remote.url = buf_cstr(&o->url);
    wrong = mistake(o);
    if (wrong)
        return command_wrong(&command_scan, "%s", wrong);
    o->run.style = o->is_json ? SCAN_STYLE_JSON : o->is_quiet ? SCAN_STYLE_QUIET : SCAN_STYLE_TEXT;
    o->run.progress = o->run.progress && o->run.style == SCAN_STYLE_TEXT;
    return scan(o);
}

static int run(int argc, char **argv)
{
    struct scan_options o = {.run = {.progress = true}, .remote = {.require = -1}};
    int code;

    login_init(&o.login);
    buf_init(&o.url, 0);
    o.remote.login = &o.login;
    o.local.rules = o.rules;
    code = run_with(&o, argc, argv);
    login_wipe(&o.login);
    buf_done(&o.url);
    sallyport_want_free(o.remote.want);
    return code;
}

const struct command command_scan = {
    .name = "scan",
    .summary = "have files inspected, by a server or here",
    .usage =
        "sallyport scan PATH... [--local] [--rules FILE]... [OPTIONS]\n"
        "       sallyport scan PATH... --to icap(s)://[USER@]HOST[:PORT]/SERVICE [OPTIONS]\n\n"
        "  --local                 inspect here, in jailed workers (default)\n"
        "  --rules FILE            YARA rules, in place of those that come with Sallyport\n"
        "  --worker FILE           the worker program\n"
        "  --to URL                have a server inspect, over ICAP\n"
        "  --ca FILE               certificates (PEM) to trust, in place of the system's\n"
        "  --cert FILE             our certificate (PEM), if the server wants one\n"
        "  --key FILE              its key (PEM), if it is not in the same file\n"
        "  --require LEVEL         strong, weak or none: how well the connection must be "
        "protected\n"
        "  --peer PATTERN          whom the server must prove to be, such as dns:*.example.org\n"
        "  --insecure-no-verify    take any certificate: then anybody may answer\n" LOGIN_USAGE
        "  --reqmod                wrap files as uploads instead of downloads\n"
        "  --connect-timeout S     seconds until a connection stands (10)\n\n"
        "  --files-from FILE       the paths in FILE, too, separated by NUL or LF; -: stdin\n"
        "  --name NAME             what standard input (PATH -) is called\n"
        "  --jobs N                files at a time, 1 to 64 (4 at a server; here, one a CPU)\n"
        "  --resume FILE           keep in FILE what is done; started again, do the rest\n"
        "  --timeout S             seconds for one file\n"
        "  --fail-fast             begin no further file after the first that does not pass\n"
        "  --quiet                 only lines for what does not pass\n"
        "  --no-progress           no progress line on a terminal\n"
        "  --json                  one JSON object a line for each file\n\n"
        "The password of USER comes from --password-file, from the environment "
        "(SALLYPORT_PASSWORD), or "
        "is asked\n"
        "for on the terminal; there is no option for it, because everybody on this machine can "
        "read "
        "command lines.\n"
        "Folders are walked; links in them are not followed. Lines come as files are done. Ctrl-C "
        "lets what\n"
        "is under way finish. Exit code 0: everything passed, 1: something was blocked, changed or "
        "not\n"
        "inspected, or the server does not want us, 2: usage, or a file that is unreadable or "
        "changed "
        "meanwhile,\n"
        "3: the security that was asked for is not there, 4: network or protocol, 130: "
        "interrupted.\n",
    .run = run,
};
