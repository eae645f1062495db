/* SPDX-License-Identifier: Apache-2.0 */
/* magic_text.h - what libmagic makes of the bytes of a file before it tries tests for text on them:
 * the UTF-8 that these get, or that there are none to try. Pure. */
#ifndef WORKER_MAGIC_TEXT_H
#define WORKER_MAGIC_TEXT_H

#include "worker/magic_file.h"

enum magic_text_kind {
    MAGIC_TEXT_NONE,    /* it takes the file for no text: no test for text is tried */
    MAGIC_TEXT_IS,      /* the tests see |text|, or the beginning of it */
    MAGIC_TEXT_UNKNOWN, /* UTF-16, EBCDIC, and what is hard to tell */
};

/* Of a Latin or an unknown eight-bit character set the text is made in |room|, which has
 * 2 * MAGIC_ENCODING_MAX bytes; otherwise *ret_text is in |file|. Written for TEXT_IS only. */
enum magic_text_kind magic_text_of(struct span file, char *room, struct span *ret_text);

#endif
