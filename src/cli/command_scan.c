/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/cli.h"
#include "cli/scan_int.h"

#define RULES_MAX 64u

enum {
    OPTION_TO = 256,
    OPTION_LOCAL,
    OPTION_CA,
    OPTION_JSON,
    OPTION_REQMOD,
    OPTION_INSECURE,
    OPTION_RULES,
    OPTION_WORKER,
    OPTION_HELP
};

static const struct option options[] = {
    {"to",          required_argument, NULL, OPTION_TO},
    {"local",         no_argument, NULL, OPTION_LOCAL},
    {"ca",             required_argument, NULL, OPTION_CA},
    {"json",no_argument, NULL, OPTION_JSON},
    {"reqmod", no_argument, NULL, OPTION_REQMOD},
    {"insecure-no-verify",          no_argument, NULL, OPTION_INSECURE},
    {"rules",         required_argument, NULL, OPTION_RULES},
    {"worker",             required_argument, NULL, OPTION_WORKER},
    {"help",         no_argument, NULL, OPTION_HELP},
    {0 },
};

struct scan_options {
    struct scan_remote_options remote;
    struct scan_local_options local;
    const char *rules[RULES_MAX];
    bool json;
};

struct scan_totals {
    unsigned files, passed, changed, blocked, not_inspected, failed;
    int worst; /* exit code so far */
};

/* ---- printing ---- */

static const char *verdict_word(enum scan_verdict v)
{
    switch (v) {
    case SCAN_PASS: return "pass";
    case SCAN_CHANGED: return "changed";
    case SCAN_BLOCKED: return "blocked";
    case SCAN_NOT_INSPECTED: return "not-inspected";
    case SCAN_ERROR: return "error";
    }
    return "error";
}

static void print_json(const struct scanner *s, const char *path, const struct scan_outcome *o)
{
    struct buf line;
    struct json j = json_to(&line);

    buf_init(&line, 0);
    json_open(&j, NULL, '{');
    json_text(&j, "path", path);
    json_text(&j, "verdict", verdict_word(o->verdict));
    if (o->reason[0])
        json_text(&j, "reason", o->reason);
    if (o->id[0])
        json_text(&j, "id", o->id);
    if (o->status)
        json_u64(&j, "icap_status", o->status);
    if (o->http_status)
        json_u64(&j, "http_status", o->http_status);
    if (o->err)
        json_text(&j, "error", err_code(o->err));
    if (s->how[0])
        json_text(&j, "how", s->how);
    if (s->who[0])
        json_text(&j, "who", s->who);
    json_milli(&j, "ms", o->us);
    json_close(&j, '}');
    (void)puts(buf_cstr(&line));
    buf_done(&line);
}

/* Names and reasons may come from hostile files: nothing that a terminal would obey. */
static void put_safe(const char *text)
{
    for (; *text; text++)
        (void)putchar((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
}

static void print_text(const char *path, const struct scan_outcome *o)
{
    put_safe(path);
    (void)printf(": %s", verdict_word(o->verdict));
    if (o->reason[0]) {
        (void)fputs(" - ", stdout);
        put_safe(o->reason);
    }
    (void)printf(" (%.1f ms", (double)o->us / 1000.0);
    if (o->id[0]) {
        (void)fputs(", id ", stdout);
        put_safe(o->id);
    }
    (void)puts(")");
}

static void print_summary(const struct scanner *s, const struct scan_totals *t)
{
    (void)printf("%u %s: %u passed, %u changed, %u blocked, %u not inspected, %u failed\n",
                 t->files, t->files == 1 ? "file" : "files", t->passed, t->changed, t->blocked,
                 t->not_inspected, t->failed);
    if (s->how[0])
        (void)printf("how: %s\nwho: %s\n", s->how,
                     s->who[0] ? s->who : "nobody that is authenticated");
}

/* ---- one file ---- */

static int exit_code_of(const struct scan_outcome *o)
{
    switch (o->verdict) {
    case SCAN_PASS: return EXIT_FINE;
    case SCAN_CHANGED:
    case SCAN_BLOCKED:
    case SCAN_NOT_INSPECTED: return EXIT_REFUSED;
    case SCAN_ERROR: break;
    }
    return o->err == ERR_TLS || o->err == ERR_POLICY ? EXIT_SECURITY : EXIT_NETWORK;
}

static void count(struct scan_totals *t, const struct scan_outcome *o)
{
    int code = exit_code_of(o);

    t->files++;
    t->passed += o->verdict == SCAN_PASS;
    t->changed += o->verdict == SCAN_CHANGED;
    t->blocked += o->verdict == SCAN_BLOCKED;
    t->not_inspected += o->verdict == SCAN_NOT_INSPECTED;
    t->failed += o->verdict == SCAN_ERROR;
    /* Something that could not be asked is worse than something that was found. */
    if (code > t->worst)
        t->worst = code;
}

static void unreadable(const char *path, int errnum, struct scan_totals *t)
{
    (void)fprintf(stderr, "sallyport scan: %s: %s\n", path, strerror(errnum));
    t->files++;
    t->failed++;
    if (t->worst < EXIT_USAGE)
        t->worst = EXIT_USAGE;
}

static void scan_file(struct scanner *s, const char *path, const char *name, bool json,
                      struct scan_totals *t)
{
    struct scan_outcome o;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        unreadable(path, fd < 0 ? errno : EINVAL, t);
        if (fd >= 0)
            (void)close(fd);
        return;
    }
    s->file(s, span_of(name), fd, (uint64_t)st.st_size, &o);
    (void)close(fd);
    count(t, &o);
    if (json)
        print_json(s, path, &o);
    else
        print_text(path, &o);
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void scan_paths(struct scanner *s, char **paths, bool json, struct scan_totals *t)
{
    FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW, by_name);
    FTSENT *f;

    if (!tree) {
        unreadable(paths[0], errno, t);
        return;
    }
    while ((f = fts_read(tree)) != NULL) {
        if (f->fts_info == FTS_F)
            scan_file(s, f->fts_path, f->fts_name, json, t);
        else if (f->fts_info == FTS_DNR || f->fts_info == FTS_ERR || f->fts_info == FTS_NS)
            unreadable(f->fts_path, f->fts_errno, t);
        else if (f->fts_info == FTS_DEFAULT && f->fts_level == 0)
            unreadable(f->fts_path, EINVAL, t);
    }
    (void)fts_close(tree);
}

static int scan(struct scan_options *o, char **paths)
{
    struct scan_totals t = {0};
    int code = EXIT_FINE;
    struct scanner *s =
        o->remote.url ? scan_remote_open(&o->remote, &code) : scan_local_open(&o->local, &code);

    if (!s)
        return code;
    scan_paths(s, paths, o->json, &t);
    if (!o->json)
        print_summary(s, &t);
    s->close(s);
    return t.worst;
}

/* False: *ret_code says how to end. */
static bool take_option(struct scan_options *o, int c, bool *local, int *ret_code)
{
    switch (c) {
    case OPTION_TO: o->remote.url = optarg; return true;
    case OPTION_LOCAL: *local = true; return true;
    case OPTION_CA: o->remote.ca = optarg; return true;
    case OPTION_JSON: o->json = true; return true;
    case OPTION_REQMOD: o->remote.reqmod = true; return true;
    case OPTION_INSECURE: o->remote.insecure = true; return true;
    case OPTION_WORKER: o->local.worker = optarg; return true;
    case OPTION_RULES:
        if (o->local.n_rules < RULES_MAX) {
            o->rules[o->local.n_rules++] = optarg;
            return true;
        }
        *ret_code = command_wrong(&command_scan, "at most %u rule files", RULES_MAX);
        return false;
    case 'h':
    case OPTION_HELP: *ret_code = command_usage(&command_scan, false); return false;
    default: *ret_code = command_usage(&command_scan, true); return false;
    }
}

static int run(int argc, char **argv)
{
    struct scan_options o = {0};
    bool local = false;
    int c, code = EXIT_FINE;

    o.local.rules = o.rules;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1)
        if (!take_option(&o, c, &local, &code))
            return code;
    if (optind == argc)
        return command_wrong(&command_scan, "name at least one file or folder");
    if (local && o.remote.url)
        return command_wrong(&command_scan, "--local and --to do not go together");
    if (!o.remote.url && (o.remote.ca || o.remote.insecure || o.remote.reqmod))
        return command_wrong(&command_scan, "--ca, --reqmod and --insecure-no-verify need --to");
    if (o.remote.ca && o.remote.insecure)
        return command_wrong(&command_scan, "--ca and --insecure-no-verify do not go together");
    if (o.remote.url && (o.local.n_rules || o.local.worker))
        return command_wrong(&command_scan, "--rules and --worker are for --local");
    return scan(&o, argv + optind);
}

const struct command command_scan = {
    .name = "scan",
    .summary = "have files inspected, by a server or here",
    .usage =
        "sallyport scan PATH... [--local] [--rules FILE]... [--json]\n"
        "       sallyport scan PATH... --to icap(s)://HOST[:PORT]/SERVICE [--ca FILE] [--json]\n\n"
        "  --local                 inspect here, in a jailed worker (default)\n"
        "  --rules FILE            YARA rules, in place of those that come with Sallyport\n"
        "  --worker FILE           the worker program\n"
        "  --to URL                have a server inspect, over ICAP\n"
        "  --ca FILE               certificates (PEM) to trust, in place of the system's\n"
        "  --insecure-no-verify    take any certificate: then anybody may answer\n"
        "  --reqmod                wrap files as uploads instead of downloads\n"
        "  --json                  one JSON object a line for each file\n\n"
        "Folders are walked; links in them are not followed. Exit code 0: everything passed, 1: "
        "something\n"
        "was blocked, changed or not inspected, 2: usage or an unreadable file, 3: TLS is not as "
        "asked for,\n"
        "4: network or protocol.\n",
    .run = run,
};
