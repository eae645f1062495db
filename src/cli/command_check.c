/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <stdio.h>

#include "cli/cli.h"
#include "proc/settings_load.h"
#include "proc/supervisor.h"

enum { OPTION_STATE = 256, OPTION_HELP };

static const struct option options[] = {
    {"config",     required_argument, NULL, 'c'},
    {"print",        no_argument, NULL, 'p'},
    {"state",            required_argument, NULL, OPTION_STATE},
    {"help",no_argument, NULL, OPTION_HELP},
    {0        },
};

static int check(const char *path, const char *state, bool print)
{
    struct settings_loaded *loaded = NULL;
    struct config_report report;
    struct buf text;
    enum err e;

    config_report_init(&report);
    buf_init(&text, 0);
    e = settings_load(path, state, &report, &loaded);
    config_report_print(&report, &text);
    if (text.n)
        (void)fputs(buf_cstr(&text), stderr);
    buf_reset(&text);
    if (e == OK && print) {
        config_print(&settings_block, &loaded->settings, CONFIG_PRINT_COMMENTS, &text);
        (void)fputs(buf_cstr(&text), stdout);
    } else if (e == OK) {
        (void)printf("%s is fine: %zu listeners, %zu services\n", path,
                     loaded->settings.n_listeners, loaded->settings.n_services);
    } else if (e != ERR_CONFIG) {
        (void)fprintf(stderr, "sallyport check: %s: %s\n", path, err_text(e));
    }
    settings_loaded_free(loaded);
    config_report_done(&report);
    buf_done(&text);
    return e ? EXIT_USAGE : EXIT_FINE;
}

static int run(int argc, char **argv)
{
    const char *path = SUPERVISOR_CONFIG_DEFAULT, *state = NULL;
    bool print = false;
    int c;

    while ((c = getopt_long(argc, argv, "c:ph", options, NULL)) != -1)
        switch (c) {
        case 'c': path = optarg; break;
        case 'p': print = true; break;
        case OPTION_STATE: state = optarg; break;
        case 'h':
        case OPTION_HELP: return command_usage(&command_check, false);
        default: return command_usage(&command_check, true);
        }
    if (optind < argc)
        return command_wrong(&command_check,
                             "unexpected argument '%s'; the configuration is named with -c",
                             argv[optind]);
    return check(path, state, print);
}

const struct command command_check = {
    .name = "check",
    .summary = "check a configuration and the files that it names",
    .usage =
        "sallyport check [-c FILE] [-p]\n\n"
        "  -c, --config FILE   default " SUPERVISOR_CONFIG_DEFAULT "\n"
        "  -p, --print         print the configuration as it takes effect, with every default\n"
        "  --state DIR         state directory, in place of the configured one\n\n"
        "Every complaint names file, line and column. Exit code 0: fine, 2: not.\n",
    .run = run,
};
