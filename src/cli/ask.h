/* SPDX-License-Identifier: Apache-2.0 */
/* ask.h - what the commands share that talk to a running gateway: where its control socket is, one
 * question, one answer, and text that a terminal may be shown. */
#ifndef CLI_ASK_H
#define CLI_ASK_H

#include <jansson.h>

#include "base/buf.h"
#include "cli/cli.h"

/* The options -c and --state, NULL where they were not given. */
struct ask {
    const struct command *command;
    const char *config, *state;
};

#define ASK_USAGE                                                                                \
    "  -c, --config FILE   the gateway's configuration; default " SUPERVISOR_CONFIG_DEFAULT "\n" \
    "  --state DIR         or its state directory\n"

/* Sends |question|, a line of JSON; |answer| gets the answer's line. EXIT_FINE, or the exit code
 * after a complaint on stderr. */
int ask_line(const struct ask *a, const char *question, struct buf *answer);
/* The same with JSON on both ends; takes |question|. An {"error":...} is a complaint, too. *ret
 * only with EXIT_FINE; json_decref() it. */
int ask_json(const struct ask *a, json_t *question, json_t **ret);
/* "sallyport NAME: ..." on stderr; returns |code|. */
__attribute__((format(printf, 3, 4))) int ask_complain(const struct ask *a, int code,
                                                       const char *fmt, ...);

/* Members of objects: "" or 0 when there is none of that kind. */
const char *ask_text(const json_t *o, const char *key);
json_int_t ask_number(const json_t *o, const char *key);
/* Lines to stdout. The gateway may be in the wrong hands, names in records come from strangers, and
 * this terminal may be root's: nothing that it would obey. What may hold LF itself must be plain
 * before it comes into a line (base/plain_text.h). */
void ask_print(const struct buf *text);
/* |text| as one word of a shell. */
void ask_quote(const char *text, struct buf *out);
/* " -c FILE" or " --state DIR", as it was given, for commands that people may copy. */
void ask_where(const struct ask *a, struct buf *out);

/* Where the records of |a| are when their gateway need not run: as configured, or below the state
 * directory. EXIT_FINE, or the exit code after a complaint. */
int ask_records_path(const struct ask *a, struct buf *path);
/* The record |id| of the running gateway; json_decref() it. As ask_json(). */
int ask_record(const struct ask *a, const char *id, json_t **ret);

#endif
