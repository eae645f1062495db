/* SPDX-License-Identifier: Apache-2.0 */
/* digest_params_int.h - lists of auth-params (RFC 7235 2.1), between the files that read them. */
#ifndef HTTP_DIGEST_PARAMS_INT_H
#define HTTP_DIGEST_PARAMS_INT_H

#include "http/digest_params.h"

struct digest_list {
    struct {
        struct span name, value;
    } params[DIGEST_PARAMS_MAX];
    unsigned n;
    enum digest_err flaw; /* EDOUBLE, EMANY: the list is well-formed, and no good */
};

void digest_skip_space(struct span *s);
/* The token at the start of |*s|, taken off it; empty when there is none. */
struct span digest_take_token(struct span *s);
/* Reads parameters and the commas around them until the end, or until something follows a comma
 * that is no parameter: |*rest| begins there. ESYNTAX, ELONG. */
NODISCARD enum digest_err digest_list_read(struct span *rest, struct writer *scratch,
                                           struct digest_list *ret);
/* The value of |name|, without case; p == NULL: none. */
struct span digest_list_find(const struct digest_list *l, struct span name);

/* RFC 8187 3.2.1: UTF-8'language'text, decoded into |scratch|; control characters are refused.
 * EUSER, ELONG. */
NODISCARD enum digest_err digest_ext_read(struct span value, struct writer *scratch,
                                          struct span *ret);
void digest_ext_format(struct span text, struct buf *out);

#endif
