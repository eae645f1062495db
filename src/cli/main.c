/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

const struct command *const commands[] = {
    &command_serve,   &command_check,    &command_scan,
    &command_probe,   &command_why,      &command_status,
    &command_records, &command_printers, &command_exception,
    &command_bypass,  &command_cache,    &command_tenant,
    &command_print,   &command_cancel,   &command_jobs,
    &command_help,    &command_version,  NULL,
};

int command_usage(const struct command *c, bool failed)
{
    FILE *to = failed ? stderr : stdout;

    (void)fprintf(to, "usage: %s", c->usage);
    return failed ? EXIT_USAGE : EXIT_FINE;
}

int command_wrong(const struct command *c, const char *fmt, ...)
{
    va_list ap;

    (void)fprintf(stderr, "sallyport %s: ", c->name);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fprintf(stderr, "\nSee 'sallyport help %s'.\n", c->name);
    return EXIT_USAGE;
}

static const struct command *find(const char *name)
{
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
        name = "version";
    for (size_t i = 0; commands[i]; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static int general_help(FILE *to)
{
    (void)fputs("Sallyport: a gateway for what must pass through a middlebox without trusting it "
                "blindly.\n\n"
                "usage: sallyport COMMAND [ARGUMENTS]\n\n",
                to);
    for (size_t i = 0; commands[i]; i++)
        (void)fprintf(to, "  %-9s  %s\n", commands[i]->name, commands[i]->summary);
    (void)fputs(
        "\n'sallyport help COMMAND' explains one. To see it work: sallyport serve --demo\n"
        "Exit codes: 0 fine, 1 refused or infected, 2 usage, 3 missing security, 4 network, 5 "
        "login.\n",
        to);
    return to == stdout ? EXIT_FINE : EXIT_USAGE;
}

static int run_help(int argc, char **argv)
{
    const struct command *c;

    if (argc < 2)
        return general_help(stdout);
    c = find(argv[1]);
    if (!c)
        return command_wrong(&command_help, "there is no command '%s'", argv[1]);
    return command_usage(c, false);
}

const struct command command_help = {
    .name = "help",
    .summary = "explain a command",
    .usage = "sallyport help [COMMAND]\n",
    .run = run_help,
};

static int run_version(int argc, char **argv)
{
    if (argc > 1)
        return command_wrong(&command_version, "unexpected argument '%s'", argv[1]);
    (void)puts("sallyport " SALLYPORT_VERSION);
    return EXIT_FINE;
}

const struct command command_version = {
    .name = "version",
    .summary = "print the version",
    .usage = "sallyport version\n",
    .run = run_version,
};

int main(int argc, char **argv)
{
    const struct command *c;

    if (argc < 2)
        return general_help(stderr);
    c = find(argv[1]);
    if (!c) {
        (void)fprintf(stderr, "sallyport: there is no command '%s'\n\n", argv[1]);
        return general_help(stderr);
    }
    return c->run(argc - 1, argv + 1);
}
