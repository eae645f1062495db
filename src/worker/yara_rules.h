/* SPDX-License-Identifier: Apache-2.0 */
/* yara_rules.h - YARA rule files, compiled: what the zygote loads once and `--check` reports on. */
#ifndef WORKER_YARA_RULES_H
#define WORKER_YARA_RULES_H

#include "base/buf.h"

#define YARA_DIGEST_TEXT 16 /* hexadecimal digits */

struct yara_rules {
    struct YR_RULES *compiled;       /* NULL before yara_rules_load succeeded */
    struct YR_SCAN_CONTEXT *scanner; /* of engine_yara; NULL before its first scan */
    size_t n_rules;
    char digest[YARA_DIGEST_TEXT + 1]; /* of the contents, in order: changes when the rules do */
};

/* Compiles |n| files; each is a namespace of its own, so that two files may use one rule name.
 * ERR_CONFIG when a file cannot be read or compiled, when a rule's meta `action` is neither "block"
 * nor "note", or when there is no rule at all; |errors| then holds "FILE:LINE: text\n" for the
 * first few faults of every file. Warnings (slow strings) go to |warnings|. Starts libyara. */
NODISCARD enum err yara_rules_load(const char *const *files, size_t n, struct yara_rules *ret,
                                   struct buf *errors, struct buf *warnings);
void yara_rules_done(struct yara_rules *r);
void yara_rules_drop_scanner(struct yara_rules *r);

/* The external variables of rules: texts, empty while compiling. Those beyond the first two are
 * what published rule sets expect to find. */
enum {
    YARA_FILENAME,
    YARA_DECLARED_TYPE,
    YARA_FILEPATH,
    YARA_EXTENSION, /* ".pdf": small letters, with its dot */
    YARA_FILETYPE,
    YARA_OWNER,
    YARA_VARIABLES,
};
extern const char *const yara_variables[YARA_VARIABLES];

#endif
