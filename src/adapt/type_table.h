/* SPDX-License-Identifier: Apache-2.0 */
/* type_table.h - media types, the extensions that files of them have, and what opens them. */
#ifndef ADAPT_TYPE_TABLE_H
#define ADAPT_TYPE_TABLE_H

#include "base/span.h"

enum type_family {
    TYPE_TEXT, /* harmless: nothing runs, whatever the bytes are */
    TYPE_FONT,
    TYPE_IMAGE,
    TYPE_AUDIO,
    TYPE_VIDEO,
    TYPE_OFFICE,     /* documents that cannot hold macros */
    TYPE_OFFICE_OLD, /* documents that can, and do not show it */
    TYPE_MACROS,     /* documents that are made to */
    TYPE_PDF,
    TYPE_HTML,
    TYPE_SVG,
    TYPE_SCRIPT,
    TYPE_ARCHIVE,
    TYPE_EXECUTABLE,
};

/* What the bytes of such a file may also look like to somebody who does not look closely. */
enum type_shell { TYPE_BARE, TYPE_IN_ZIP, TYPE_IN_OLE, TYPE_IN_GZIP };

struct type_row {
    const char *type;
    enum type_family family;
    const char *extensions; /* ".doc .dot", or "" */
    const char *aliases;    /* other names of the type, or "" */
    enum type_shell shell;
};

/* The row of a media type or an alias of it, in letters of any case; NULL for one that is not in
 * the table. "image/..." and the like of which nothing else is known have a row in common. */
const struct type_row *type_find(struct span type);
/* Of ".doc"; NULL for none and for one that is not known. */
const struct type_row *type_of_extension(struct span extension);
/* The last answers of the two, for the parts of a form, which are of few types. Zero it to start.
 */
#define TYPE_MEMO 6
struct type_memo {
    struct {
        char name[128]; /* "": none yet */
        const struct type_row *row;
    } v[TYPE_MEMO];
    unsigned next;
    unsigned n_lookups; /* that it could not answer by itself */
};
/* type_find(), or of a name that begins with '.' type_of_extension(). */
const struct type_row *type_recall(struct type_memo *m, struct span name);
/* |pattern| matches the type, or is one of its other names. */
bool type_has_name(const struct type_row *row, struct span pattern);
/* "executable", "macros": for names of findings. */
const char *type_family_word(enum type_family f);

#endif
