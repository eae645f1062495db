/* SPDX-License-Identifier: Apache-2.0 */
/* Has the running gateway forget the verdicts that it keeps. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/ask.h"
#include "proc/supervisor.h"

enum { OPTION_STATE = 256, OPTION_JSON, OPTION_HELP };

/* clang-format off */
static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"state", required_argument, NULL, OPTION_STATE},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};
/* clang-format on */

static int clear(const struct ask *ask, bool json)
{
    json_t *answer;
    int code = ask_json(ask, json_pack("{s:s}", "command", "cache-clear"), &answer);

    if (code != EXIT_FINE)
        return code;
    if (json) {
        (void)json_dumpf(answer, stdout, JSON_COMPACT);
        (void)putchar('\n');
    } else {
        (void)printf("%lld kept verdicts are forgotten; files are inspected again\n",
                     (long long)json_integer_value(json_object_get(answer, "forgotten")));
    }
    json_decref(answer);
    return EXIT_FINE;
}

static int run(int argc, char **argv)
{
    struct ask ask = {.command = &command_cache};
    bool json = false;
    int c;

    while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        switch (c) {
        case 'c': ask.config = optarg; break;
        case OPTION_STATE: ask.state = optarg; break;
        case OPTION_JSON: json = true; break;
        case 'h':
        case OPTION_HELP: return command_usage(&command_cache, false);
        default: return command_usage(&command_cache, true);
        }
    if (optind + 1 != argc || strcmp(argv[optind], "clear") != 0)
        return command_wrong(&command_cache, "say 'sallyport cache clear'");
    return clear(&ask, json);
}

const struct command command_cache = {
    .name = "cache",
    .summary = "forget the verdicts that are kept",
    .usage =
        "sallyport cache clear [-c FILE | --state DIR]\n\n"
        "New rules, lists, settings and database versions make kept verdicts unused by\n"
        "themselves. What ClamAV's version does not tell does not: after a change of\n"
        "signatures of your own, let clamd reload them first and then say this. Services that\n"
        "ask clamd get another ISTag, so that clients forget as well.\n\n"
        "  --json              as JSON\n" ASK_USAGE
        "\nExit code 0: done, 1: refused, 2: usage, 4: nobody answers.\n",
    .run = run,
};
