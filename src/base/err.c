/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>

struct err_row {
    enum err_class class;
    unsigned status;
    const char *code;
    const char *text;
};

#define ERR_ROW(id, value, class, status, code, text) \
    [value] = {ERR_CLASS_##class, status, code, text},
static const struct err_row rows[] = {
#include "base/codes.def"
};
#undef ERR_ROW

static const struct err_row *row(enum err e)
{
    return (size_t)e < ARRAY_LEN(rows) ? &rows[e] : &rows[ERR_BUG];
}

enum err_class err_class(enum err e)
{
    return row(e)->class;
}

const char *err_code(enum err e)
{
    return row(e)->code;
}

const char *err_text(enum err e)
{
    return row(e)->text;
}

unsigned err_status(enum err e)
{
    return row(e)->status;
}

enum err err_from_errno(int errnum)
{
    switch (errnum) {
    case 0: return OK;
    case EAGAIN:
    case EINTR: return ERR_AGAIN;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return ERR_FULL;
    case ENOMEM:
    case ENOBUFS: return ERR_NOMEM;
    case EPIPE:
    case ECONNRESET: return ERR_RESET;
    case ETIMEDOUT: return ERR_TIMEOUT;
    case EMFILE:
    case ENFILE: return ERR_BUSY;
    default: return ERR_IO;
    }
}

enum err fault_set(struct fault *f, enum err e, unsigned status, size_t off, const char *why)
{
    if (f)
        *f = (struct fault){
            .err = e, .status = status ? status : err_status(e), .why = why, .off = off};
    return e;
}
