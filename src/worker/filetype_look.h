/* SPDX-License-Identifier: Apache-2.0 */
/* filetype_look.h - a second look at bytes whose type libmagic does not tell well enough. Pure. */
#ifndef WORKER_FILETYPE_LOOK_H
#define WORKER_FILETYPE_LOOK_H

#include "base/span.h"

/* |type|: what libmagic says, in small letters. Returns |type|, or a better one that is static. */
const char *filetype_look(struct span bytes, const char *type);

#endif
