/* SPDX-License-Identifier: Apache-2.0 */
/* cli.h - the subcommands of `sallyport`: one table, one file each. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>

/* Exit codes of every subcommand. */
enum {
    EXIT_FINE = 0,
    EXIT_REFUSED = 1,  /* refused, infected, policy; also: could not be started */
    EXIT_USAGE = 2,    /* wrong arguments or configuration */
    EXIT_SECURITY = 3, /* the security that was asked for is not there */
    EXIT_NETWORK = 4,  /* no connection, or a peer that breaks its protocol */
    EXIT_LOGIN = 5     /* who asks could not be proved, where that is not part of a refusal */
};

struct command {
    const char *name;
    const char *summary;
    const char *usage; /* for --help: lines, each closed by LF */
    int (*run)(int argc, char **argv);
};

extern const struct command command_serve, command_check, command_scan, command_probe, command_why,
    command_status, command_records, command_printers, command_exception, command_bypass,
    command_cache, command_tenant, command_print, command_cancel, command_jobs, command_help,
    command_version;
/* Closed by NULL. */
extern const struct command *const commands[];

/* Prints |c|'s usage to stdout (|failed| false) or stderr, and returns the exit code that fits. */
int command_usage(const struct command *c, bool failed);
/* "sallyport scan: ..." on stderr, then a hint at --help. Returns EXIT_USAGE. */
__attribute__((format(printf, 2, 3))) int command_wrong(const struct command *c, const char *fmt,
                                                        ...);

#endif
