/* SPDX-License-Identifier: Apache-2.0 */
/* login.h - in whose name a server is asked: the user stands in the URL, the password comes from a
 * file, the environment or a person. Never from the command line, which everybody on the machine
 * can read. */
#ifndef CLI_LOGIN_H
#define CLI_LOGIN_H

#include <stdbool.h>

#include "base/buf.h"

#define LOGIN_USER_MAX     128u
#define LOGIN_PASSWORD_MAX 1024u
#define LOGIN_VARIABLE     "SALLYPORT_PASSWORD"
/* "Basic " and base64 of user, colon and password. */
#define LOGIN_VALUE_MAX (8u + (LOGIN_USER_MAX + LOGIN_PASSWORD_MAX + 3u) / 3u * 4u)

struct login {
    char user[LOGIN_USER_MAX + 1]; /* "": nobody */
    const char *option;            /* that names the password's file; NULL: --password-file, or the
                                      environment.            Static */
    /* Secrets: */
    char password[LOGIN_PASSWORD_MAX + 2]; /* of the environment; one byte more than may be */
    char value[LOGIN_VALUE_MAX];           /* of Authorization (RFC 7617); "" until login_read() */
};

#define LOGIN_USAGE                                                           \
    "  --password-file FILE    the user's password, the first line of FILE\n" \
    "  --insecure-login        send it although others may get to know it\n"

/* To --password, which getopt_long(3) would take for --password-file. */
#define LOGIN_NO_OPTION                                                                       \
    "there is no --password, for everybody on this machine can read command lines: think of " \
    "another one, and give it by --password-file, in " LOGIN_VARIABLE ", or when you are asked"

/* Takes the password out of the environment, where children and other processes of the user would
 * find it. First thing in a command that may log in. */
void login_init(struct login *l);
void login_wipe(struct login *l);
/* Cuts "user@" off |url|, percent-decoded; ret_url gets the rest, all of |url| if there is no user.
 * False: *ret_why (static) is what is wrong; |url| may hold a password then and must not be shown.
 */
NODISCARD bool login_take_user(struct login *l, const char *url, struct buf *ret_url,
                               const char **ret_why);
/* Gets the password of l->user: out of |file|, if not NULL, else the environment, else asks on the
 * terminal; fills l->value. An exit code, after a sentence on stderr that begins with "sallyport
 * |command|". */
NODISCARD int login_read(struct login *l, const char *command, const char *file, const char *host);
/* The same, but it is l->password that is filled, for schemes that send something else than that;
 * login_wipe() it. */
NODISCARD int login_password(struct login *l, const char *command, const char *file,
                             const char *host);

/* The first line of a file that holds a secret, into |dst|, without its end; "" if there is none. A
 * file of one's own that others may read is refused. An exit code, after a sentence on stderr that
 * names |option|; |dst| is wiped unless EXIT_FINE. */
NODISCARD int login_read_file(const char *command, const char *option, const char *path, char *dst,
                              size_t cap);

#endif
