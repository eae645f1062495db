/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "proc/control.h"
#include "proc/settings_load.h"
#include "proc/supervisor.h"

#define ASK_MS 5000u

enum { OPTION_STATE = 256, OPTION_JSON, OPTION_HELP };

static const struct option options[] = {
    {"config",           required_argument, NULL, 'c'},
    {"state",              required_argument, NULL, OPTION_STATE},
    {"json",                  no_argument, NULL, OPTION_JSON},
    {"help",no_argument, NULL, OPTION_HELP},
    {0     },
};

/* ---- the answer, for people ---- */

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static json_int_t number_of(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

static void print_listeners(const json_t *root, struct buf *out)
{
    size_t i;
    const json_t *l;

    json_array_foreach(json_object_get(root, "listeners"), i, l)
    {
        buf_fmt(out, "listener  %-12s %-28s %s\n", text_of(l, "name"), text_of(l, "address"),
                json_is_true(json_object_get(l, "tls")) ? "TLS" : "clear");
    }
}

static void print_services(const json_t *root, struct buf *out)
{
    size_t i;
    const json_t *s;

    json_array_foreach(json_object_get(root, "services"), i, s)
    {
        const json_t *a = json_object_get(s, "actions");

        buf_fmt(out, "service   %-12s %-28s passed %lld, blocked %lld, errors %lld; ISTag %s\n",
                text_of(s, "name"), text_of(s, "path"), (long long)number_of(a, "pass"),
                (long long)number_of(a, "block"), (long long)number_of(a, "error"),
                text_of(s, "istag"));
    }
}

static void print_loops(const json_t *root, struct buf *out)
{
    size_t i;
    const json_t *l;

    json_array_foreach(json_object_get(root, "loops"), i, l)
    {
        buf_fmt(
            out,
            "thread    %-12zu connections %lld, open transactions %lld, done %lld; workers %lld "
            "(%lld busy), "
            "files waiting %lld, workers lost %lld\n",
            i, (long long)number_of(l, "connections"), (long long)number_of(l, "open_transactions"),
            (long long)number_of(l, "transactions"), (long long)number_of(l, "workers"),
            (long long)number_of(l, "workers_busy"), (long long)number_of(l, "files_waiting"),
            (long long)(number_of(l, "workers_crashed") + number_of(l, "workers_killed")));
    }
}

static void print_budgets(const json_t *root, struct buf *out)
{
    const char *name;
    json_t *b;

    json_object_foreach(json_object_get(root, "budgets"), name, b)
    {
        buf_fmt(out, "budget    %-12s used %lld of %lld, peak %lld, refused %lld\n", name,
                (long long)number_of(b, "used"), (long long)number_of(b, "max"),
                (long long)number_of(b, "peak"), (long long)number_of(b, "refused"));
    }
}

static void print_status(const json_t *root, struct buf *out)
{
    const json_t *records = json_object_get(root, "records");

    buf_fmt(out, "sallyport %s, gateway pid %lld, generation %lld, since %s\n",
            text_of(root, "version"), (long long)number_of(root, "pid"),
            (long long)number_of(root, "generation"), text_of(root, "started"));
    if (json_is_true(json_object_get(root, "ready")))
        buf_text(out, "ready\n");
    else
        buf_fmt(out, "NOT READY: %s\n", text_of(root, "not_ready_because"));
    if (number_of(root, "supervisor_pid") == 0)
        buf_text(out, "WITHOUT SUPERVISOR: start Sallyport again with the same configuration, it "
                      "takes over\n");
    buf_fmt(out, "sandbox   %s\nengines   %s\n", text_of(root, "sandbox"),
            text_of(root, "engines"));
    print_listeners(root, out);
    print_services(root, out);
    print_loops(root, out);
    print_budgets(root, out);
    buf_fmt(out, "records   written %lld, lost %lld, write errors %lld%s\n",
            (long long)number_of(records, "written"), (long long)number_of(records, "lost"),
            (long long)number_of(records, "write_errors"),
            json_is_true(json_object_get(records, "refusing"))
                ? "; REFUSING transactions until they can be written"
                : "");
}

/* The gateway may be in the wrong hands, and this terminal be root's: nothing that it would obey.
 */
static void print_text(const json_t *root)
{
    struct buf out;

    buf_init(&out, 0);
    print_status(root, &out);
    for (size_t i = 0; i < out.n; i++)
        (void)putchar((unsigned char)out.p[i] >= 0x20 && out.p[i] != 0x7f ? out.p[i]
                      : out.p[i] == '\n'                                  ? '\n'
                                                                          : '?');
    buf_done(&out);
}

/* ---- asking ---- */

static int show(const char *answer, bool json)
{
    json_t *root;
    bool ready;

    if (json)
        (void)puts(answer);
    root = json_loads(answer, 0, NULL);
    if (!root || json_object_get(root, "error")) {
        if (!json)
            (void)fprintf(stderr, "sallyport status: %s\n",
                          root ? text_of(root, "error") : "an answer that is no JSON");
        json_decref(root);
        return EXIT_REFUSED;
    }
    if (!json)
        print_text(root);
    ready = json_is_true(json_object_get(root, "ready"));
    json_decref(root);
    return ready ? EXIT_FINE : EXIT_REFUSED;
}

static int ask(const char *path, bool json)
{
    struct buf answer, why;
    int code;

    buf_init(&answer, 0);
    buf_init(&why, 0);
    if (control_ask(path, "{\"command\":\"status\"}", ASK_MS, &answer, &why) == OK) {
        code = show(buf_cstr(&answer), json);
    } else {
        (void)fprintf(stderr, "sallyport status: %s\n", buf_cstr(&why));
        code = EXIT_NETWORK;
    }
    buf_done(&answer);
    buf_done(&why);
    return code;
}

static int ask_configured(const char *config, bool json)
{
    struct settings settings;
    struct config_report report;
    struct arena mem;
    struct buf text;
    int code = EXIT_USAGE;

    arena_init(&mem, 0);
    buf_init(&text, 0);
    config_report_init(&report);
    if (config_load_file(config, &settings_block, &mem, &report, &settings) == OK) {
        code = ask(settings.control_path, json);
    } else {
        config_report_print(&report, &text);
        (void)fputs(buf_cstr(&text), stderr);
    }
    config_report_done(&report);
    buf_done(&text);
    arena_done(&mem);
    return code;
}

static int run(int argc, char **argv)
{
    const char *config = NULL, *state = NULL;
    bool json = false;
    int c;

    while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        switch (c) {
        case 'c': config = optarg; break;
        case OPTION_STATE: state = optarg; break;
        case OPTION_JSON: json = true; break;
        case 'h':
        case OPTION_HELP: return command_usage(&command_status, false);
        default: return command_usage(&command_status, true);
        }
    if (optind < argc)
        return command_wrong(&command_status, "unexpected argument '%s'", argv[optind]);
    if (state && config)
        return command_wrong(&command_status, "-c and --state do not go together");
    if (state) {
        char path[4096];
        int n = snprintf(path, sizeof path, "%s/control.sock", state);

        if (n < 0 || (size_t)n >= sizeof path)
            return command_wrong(&command_status, "--state is too long");
        return ask(path, json);
    }
    return ask_configured(config ? config : SUPERVISOR_CONFIG_DEFAULT, json);
}

const struct command command_status = {
    .name = "status",
    .summary = "show what the running gateway does",
    .usage = "sallyport status [-c FILE | --state DIR] [--json]\n\n"
             "  -c, --config FILE   its configuration; default " SUPERVISOR_CONFIG_DEFAULT "\n"
             "  --state DIR         its state directory\n"
             "  --json              as JSON\n\n"
             "Exit code 0: ready, 1: running but not ready, 4: nobody answers.\n",
    .run = run,
};
