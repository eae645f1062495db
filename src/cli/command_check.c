/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "proc/settings_load.h"
#include "proc/supervisor.h"
#include "proc/worker_files.h"

enum { OPTION_STATE = 256, OPTION_HELP };

static const struct option options[] = {
    {"config",     required_argument, NULL, 'c'},
    {"print",        no_argument, NULL, 'p'},
    {"state",            required_argument, NULL, OPTION_STATE},
    {"help",no_argument, NULL, OPTION_HELP},
    {0        },
};

static bool rules_wrong(const char *what, int errnum)
{
    (void)fprintf(stderr, "sallyport check: cannot compile the rules: %s: %s\n", what,
                  strerror(errnum));
    return false;
}

/* Its complaints go to our stderr; what it says when all is well, nowhere. */
static bool worker_agrees(char *const *args)
{
    posix_spawn_file_actions_t actions;
    pid_t pid = -1;
    int status, errnum = posix_spawn_file_actions_init(&actions);

    if (errnum)
        return rules_wrong(args[0], errnum);
    errnum = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (!errnum)
        errnum = posix_spawn(&pid, args[0], &actions, NULL, args, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (errnum)
        return rules_wrong(args[0], errnum);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return rules_wrong(args[0], errno);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* By the worker, which is the program that has the compiler. The rules that come with Sallyport
 * need no check. */
static bool rules_compile(const struct config_strings *rules)
{
    char exe[PATH_MAX], program[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
    const char **args;
    bool fine;

    if (rules->n == 0)
        return true;
    args = calloc(rules->n + 3, sizeof *args);
    if (!args)
        return rules_wrong("memory", ENOMEM);
    exe[len > 0 ? len : 0] = '\0';
    args[0] = worker_files_program(NULL, exe, program, sizeof program);
    args[1] = "--check";
    for (size_t i = 0; i < rules->n; i++)
        args[i + 2] = rules->v[i];
    fine = worker_agrees((char *const *)(uintptr_t)args);
    free(args);
    return fine;
}

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
    if (e == OK && !rules_compile(&loaded->settings.engines.yara.rules))
        e = ERR_CONFIG;
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
        "Every complaint names file, line and column. Rule files are compiled, too. Exit code 0: "
        "fine,\n"
        "2: not.\n",
    .run = run,
};
