/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/status_text.h"
#include "proc/supervisor.h"

#define WATCH_S     2u
#define WATCH_MAX_S 86400u

enum { OPTION_STATE = 256, OPTION_JSON, OPTION_HELP, OPTION_ID, OPTION_WATCH };

/* clang-format off */
static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"state", required_argument, NULL, OPTION_STATE},
    {"json", no_argument, NULL, OPTION_JSON},
    {"id", required_argument, NULL, OPTION_ID},
    {"watch", optional_argument, NULL, OPTION_WATCH},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};
/* clang-format on */

struct arguments {
    struct ask ask;
    bool json, watch;
    const char *id, *every;
};

/* ---- the gateway ---- */

static int show(const struct arguments *a, const char *answer)
{
    json_t *root = json_loads(answer, 0, NULL);
    struct buf out;
    int code;

    if (a->json)
        (void)puts(answer);
    if (!root || json_object_get(root, "error")) {
        if (!a->json)
            (void)ask_complain(&a->ask, EXIT_REFUSED, "%s",
                               root ? ask_text(root, "error") : "an answer that is no JSON");
        json_decref(root);
        return EXIT_REFUSED;
    }
    if (!a->json) {
        buf_init(&out, 0);
        status_text(root, &out);
        ask_print(&out);
        buf_done(&out);
    }
    code = json_is_true(json_object_get(root, "ready")) ? EXIT_FINE : EXIT_REFUSED;
    json_decref(root);
    return code;
}

static int run_once(const struct arguments *a)
{
    struct buf answer;
    int code;

    buf_init(&answer, 0);
    code = ask_line(&a->ask, "{\"command\":\"status\"}", &answer);
    if (code == EXIT_FINE)
        code = show(a, buf_cstr(&answer));
    buf_done(&answer);
    return code;
}

/* Until Ctrl-C, also while nobody answers: the gateway may be on its way back. */
static int run_watch(const struct arguments *a)
{
    uint64_t every = WATCH_S;

    if (a->every && (span_u64(span_of(a->every), WATCH_MAX_S, &every) != OK || every == 0))
        return command_wrong(a->ask.command, "--watch takes seconds, not '%s'", a->every);
    for (;;) {
        if (!a->json && isatty(STDOUT_FILENO))
            (void)fputs("\033[H\033[2J", stdout);
        int code = run_once(a);

        if (code == EXIT_USAGE || fflush(stdout) != 0)
            return code;
        (void)sleep((unsigned)every);
    }
}

/* ---- one record ---- */

static int run_record(const struct arguments *a)
{
    json_t *record;
    struct buf out;
    int code = ask_record(&a->ask, a->id, &record);

    if (code != EXIT_FINE)
        return code;
    if (a->json) {
        (void)json_dumpf(record, stdout, JSON_COMPACT);
        (void)putchar('\n');
    } else {
        buf_init(&out, 0);
        status_record_text(record, &a->ask, &out);
        ask_print(&out);
        buf_done(&out);
    }
    json_decref(record);
    return EXIT_FINE;
}

/* ---- command line ---- */

/* "--watch 5" as well as "--watch=5". */
static void take_seconds(struct arguments *a, int argc, char **argv)
{
    a->watch = true;
    a->every = optarg;
    if (!optarg && optind < argc && isdigit((unsigned char)argv[optind][0]))
        a->every = argv[optind++];
}

static int run(int argc, char **argv)
{
    struct arguments a = {.ask.command = &command_status};
    int c;

    while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        switch (c) {
        case 'c': a.ask.config = optarg; break;
        case OPTION_STATE: a.ask.state = optarg; break;
        case OPTION_JSON: a.json = true; break;
        case OPTION_ID: a.id = optarg; break;
        case OPTION_WATCH: take_seconds(&a, argc, argv); break;
        case 'h':
        case OPTION_HELP: return command_usage(&command_status, false);
        default: return command_usage(&command_status, true);
        }
    if (optind < argc)
        return command_wrong(&command_status, "unexpected argument '%s'", argv[optind]);
    if (a.id && a.watch)
        return command_wrong(&command_status, "--id and --watch do not go together");
    return a.id ? run_record(&a) : a.watch ? run_watch(&a) : run_once(&a);
}

const struct command command_status = {
    .name = "status",
    .summary = "show what the running gateway does",
    .usage = "sallyport status [--watch [SECONDS]] [--json] [-c FILE | --state DIR]\n"
             "       sallyport status --id RECORD [--json] [-c FILE | --state DIR]\n\n"
             "  --watch [SECONDS]   again and again, every 2 s unless said otherwise\n"
             "  --id RECORD         show one record, and what to do about it\n"
             "  --json              as JSON\n" ASK_USAGE
             "\nExit code 0: ready, 1: running but not ready, or no such record, 4: nobody "
             "answers.\n",
    .run = run,
};
