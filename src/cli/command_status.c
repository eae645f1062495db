/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/status_jobs.h"
#include "cli/status_text.h"
#include "proc/supervisor.h"

#define WATCH_S     2u
#define WATCH_MAX_S 86400u

enum {
    OPTION_STATE = 256,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_ID,
    OPTION_WATCH,
    OPTION_PRINTER,
    OPTION_MAX
};

/* clang-format off */
static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"state", required_argument, NULL, OPTION_STATE},
    {"json", no_argument, NULL, OPTION_JSON},
    {"id", required_argument, NULL, OPTION_ID},
    {"watch", optional_argument, NULL, OPTION_WATCH},
    {"printer", required_argument, NULL, OPTION_PRINTER},
    {"max", required_argument, NULL, OPTION_MAX},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};
/* clang-format on */

struct arguments {
    struct ask ask;
    bool json, watch, jobs;
    const char *id, *every, *printer, *max;
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

/* ---- jobs ---- */

static int run_jobs(const struct arguments *a)
{
    uint64_t max = 100;

    if (a->max && (span_u64(span_of(a->max), STATUS_JOBS_MAX, &max) != OK || max == 0))
        return command_wrong(a->ask.command, "--max takes 1..%u, not '%s'", STATUS_JOBS_MAX,
                             a->max);
    return status_jobs(&a->ask, a->printer, max, a->json);
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

/* A URI of a printer or of a job cannot be anything that is asked about the gateway. */
static bool has_printer(char **argv)
{
    for (unsigned i = 1; argv[i]; i++)
        if (span_istarts(span_of(argv[i]), SPAN("ipp://")) ||
            span_istarts(span_of(argv[i]), SPAN("ipps://")))
            return true;
    return false;
}

static int run(int argc, char **argv)
{
    struct arguments a = {.ask.command = &command_status};
    int c;

    if (has_printer(argv))
        return command_jobs.run(argc, argv);
    while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        switch (c) {
        case 'c': a.ask.config = optarg; break;
        case OPTION_STATE: a.ask.state = optarg; break;
        case OPTION_JSON: a.json = true; break;
        case OPTION_ID: a.id = optarg; break;
        case OPTION_WATCH: take_seconds(&a, argc, argv); break;
        case OPTION_PRINTER: a.printer = optarg; break;
        case OPTION_MAX: a.max = optarg; break;
        case 'h':
        case OPTION_HELP: return command_usage(&command_status, false);
        default: return command_usage(&command_status, true);
        }
    if (optind < argc && span_eq(span_of(argv[optind]), SPAN("jobs"))) {
        a.jobs = true;
        optind++;
    }
    if (optind < argc)
        return command_wrong(&command_status, "unexpected argument '%s'", argv[optind]);
    if ((a.printer || a.max) && !a.jobs)
        return command_wrong(&command_status, "--printer and --max are for 'status jobs'");
    if (a.jobs && (a.id || a.watch))
        return command_wrong(&command_status, "'jobs' goes without --id and --watch");
    if (a.id && a.watch)
        return command_wrong(&command_status, "--id and --watch do not go together");
    if (a.jobs)
        return run_jobs(&a);
    return a.id ? run_record(&a) : a.watch ? run_watch(&a) : run_once(&a);
}

const struct command command_status = {
    .name = "status",
    .summary = "show what the running gateway does",
    .usage =
        "sallyport status [--watch [SECONDS]] [--json] [-c FILE | --state DIR]\n"
        "       sallyport status --id RECORD [--json] [-c FILE | --state DIR]\n"
        "       sallyport status jobs [--printer NAME] [--max N] [--json]\n"
        "       sallyport status URI-OF-PRINTER-OR-JOB: as sallyport jobs\n\n"
        "  --watch [SECONDS]   again and again, every 2 s unless said otherwise\n"
        "  --id RECORD         show one record, and what to do about it\n"
        "  jobs                print jobs, the newest first: how each was made, and where it is\n"
        "  --printer NAME      only those of this printer\n"
        "  --max N             at most so many, 100 unless said otherwise\n"
        "  --json              as JSON\n" ASK_USAGE
        "\nExit code 0: ready, 1: running but not ready, or no such record, 4: nobody "
        "answers.\n",
    .run = run,
};
