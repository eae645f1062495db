/* SPDX-License-Identifier: Apache-2.0 */
/* err.h - errors as values. One named enum; 0 is success; nothing that can fail may be ignored. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stddef.h>

#include "base/attr.h"

#define ERR_ROW(id, value, class, status, code, text) id = (value),
enum err {
#include "base/codes.def"
};
#undef ERR_ROW
/* How many there are. */
#define ERR_ROW(...) +1
enum {
    ERR_CODES = 0
#include "base/codes.def"
};
#undef ERR_ROW

/* The class, not the call site, decides what happens: PEER answers 4xx and closes, POLICY answers
 * and records, LOCAL answers 5xx or the configured action and logs, BUG logs loudly, BLOCKED is not
 * a failure. */
enum err_class {
    ERR_CLASS_NONE,
    ERR_CLASS_PEER,
    ERR_CLASS_POLICY,
    ERR_CLASS_LOCAL,
    ERR_CLASS_BUG,
    ERR_CLASS_BLOCKED,
};

/* What a parser refused: the error, a static sentence that says what was wrong, where (offset in
 * the bytes that the parser's header names) and the status to answer (0: the error's default). */
struct fault {
    enum err err;
    unsigned status;
    const char *why;
    size_t off;
};

enum err_class err_class(enum err e);
/* Stable code ("disk-full"), sentence, and default ICAP/HTTP status of |e|. Never NULL. */
const char *err_code(enum err e);
const char *err_text(enum err e);
unsigned err_status(enum err e);
/* The error that an errno value of a system call means: ENOSPC, EDQUOT -> ERR_FULL, ENOMEM ->
 * ERR_NOMEM, EPIPE, ECONNRESET -> ERR_RESET, EAGAIN -> ERR_AGAIN, everything else ERR_IO. */
enum err err_from_errno(int errnum);

/* Fills |f| and returns its error: `return fault_set(f, ERR_PROTO, 400, off, "bare LF in a head")`.
 * |f| may be NULL. */
enum err fault_set(struct fault *f, enum err e, unsigned status, size_t off, const char *why);

/* Returns from the calling function when |call| fails: the only control-flow macro of the tree. */
#define TRY(call)                     \
    do {                              \
        enum err try_err_ = (call);   \
        if (UNLIKELY(try_err_ != OK)) \
            return try_err_;          \
    } while (0)

#endif
