/* SPDX-License-Identifier: Apache-2.0 */
/* password.h - a password from whoever runs the command: never from its arguments, which every
 * process may see. */
#ifndef CLI_PASSWORD_H
#define CLI_PASSWORD_H

#include "base/buf.h"
#include "cli/cli.h"

/* Where it comes from; neither: $SALLYPORT_PASSWORD, or else the terminal, twice. */
struct password_source {
    const char *file; /* its first line; "-": standard input */
    bool generate;
};

/* |out| gets it, wiped by password_done(). EXIT_FINE, or the exit code after a complaint. */
int password_read(const struct command *c, const struct password_source *from, struct buf *out);
void password_done(struct buf *password);
/* Asks |question| on the terminal. *ret_yes: "y" or "yes". EXIT_FINE; EXIT_USAGE: no terminal. */
int password_confirm(const struct command *c, const char *question, bool *ret_yes);

#endif
