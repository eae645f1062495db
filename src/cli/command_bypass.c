/* SPDX-License-Identifier: Apache-2.0 */
/* Lets everything pass a service for a while, in an emergency. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/ask.h"
#include "proc/supervisor.h"

enum { OPTION_STATE = 256, OPTION_JSON, OPTION_HELP, OPTION_FOR, OPTION_REASON, OPTION_END };

/* clang-format off */
static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"state", required_argument, NULL, OPTION_STATE},
    {"json", no_argument, NULL, OPTION_JSON},
    {"for", required_argument, NULL, OPTION_FOR},
    {"reason", required_argument, NULL, OPTION_REASON},
    {"end", no_argument, NULL, OPTION_END},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};
/* clang-format on */

struct arguments {
    struct ask ask;
    bool json, end;
    const char *duration, *reason;
};

static void describe(const struct arguments *a, const json_t *e)
{
    struct buf out;

    buf_init(&out, 0);
    if (a->end)
        buf_fmt(&out, "service %s is inspected again\n", ask_text(e, "service"));
    else
        buf_fmt(&out,
                "SERVICE %s IS BYPASSED until %s: nothing that passes it is inspected\n"
                "To end it at once: sallyport bypass %s --end\n",
                ask_text(e, "service"), ask_text(e, "expires"), ask_text(e, "service"));
    ask_print(&out);
    buf_done(&out);
}

static int ask_bypass(const struct arguments *a, json_t *question)
{
    json_t *answer;
    int code = ask_json(&a->ask, question, &answer);

    if (code != EXIT_FINE)
        return code;
    if (a->json) {
        (void)json_dumpf(answer, stdout, JSON_COMPACT);
        (void)putchar('\n');
    } else {
        describe(a, json_object_get(answer, "exception"));
    }
    json_decref(answer);
    return EXIT_FINE;
}

static int run_service(const struct arguments *a, const char *service)
{
    if (a->end && (a->duration || a->reason))
        return command_wrong(a->ask.command, "--end goes without --for and --reason");
    if (a->end)
        return ask_bypass(a, json_pack("{s:s,s:s}", "command", "bypass-end", "service", service));
    if (!a->duration)
        return command_wrong(a->ask.command, "say for how long: --for 10m; at most 24h");
    if (!a->reason)
        return command_wrong(a->ask.command,
                             "--reason is missing: it will be in the log, and asked "
                             "for");
    return ask_bypass(a, json_pack("{s:s,s:s,s:s,s:s}", "command", "bypass", "service", service,
                                   "expires_in", a->duration, "reason", a->reason));
}

static int run(int argc, char **argv)
{
    struct arguments a = {.ask.command = &command_bypass};
    int c;

    while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        switch (c) {
        case 'c': a.ask.config = optarg; break;
        case OPTION_STATE: a.ask.state = optarg; break;
        case OPTION_JSON: a.json = true; break;
        case OPTION_FOR: a.duration = optarg; break;
        case OPTION_REASON: a.reason = optarg; break;
        case OPTION_END: a.end = true; break;
        case 'h':
        case OPTION_HELP: return command_usage(&command_bypass, false);
        default: return command_usage(&command_bypass, true);
        }
    if (optind == argc)
        return command_wrong(&command_bypass, "which service?");
    if (optind + 1 < argc)
        return command_wrong(&command_bypass, "unexpected argument '%s'", argv[optind + 1]);
    return run_service(&a, argv[optind]);
}

const struct command command_bypass = {
    .name = "bypass",
    .summary = "let everything pass a service, in an emergency",
    .usage =
        "sallyport bypass SERVICE --for TIME --reason TEXT [-c FILE | --state DIR]\n"
        "       sallyport bypass SERVICE --end [-c FILE | --state DIR]\n\n"
        "Until then nothing that passes the service is inspected. The log says so when it\n"
        "begins, every minute, and when it ends; 'sallyport status' and the metrics do, too.\n\n"
        "  --for TIME          how long: 10m, 2h; at most 24h\n"
        "  --reason TEXT       why\n"
        "  --end               inspect again, at once\n"
        "  --json              as JSON\n" ASK_USAGE
        "\nExit code 0: done, 1: refused, 2: usage, 4: nobody answers.\n",
    .run = run,
};
