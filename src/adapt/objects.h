/* SPDX-License-Identifier: Apache-2.0 */
/* objects.h - what a body consists of, as the worker found it: the body itself once its
 * Content-Encodings are undone, and the leaves of a multipart/form-data. A table of their names,
 * types and places, in the tail of a sealed memfd whose front holds decoded bytes:
 *
 *   decoded bytes | table | u64 offset of the table | u32 objects | u32 'SOBJ'
 *
 * Big-endian. Written by a worker that may be in an enemy's hands: the reader believes nothing.
 * Pure codec, the same for both sides; docs/guide/worker-protocol.md is the specification. */
#ifndef ADAPT_OBJECTS_H
#define ADAPT_OBJECTS_H

#include "base/buf.h"
#include "base/reader.h"

#define OBJECT_NAME_MAX  255u
#define OBJECT_TYPE_MAX  127u
#define OBJECTS_MAX      65536u
#define OBJECTS_TAIL     16u
#define OBJECT_ENTRY_MIN 20u /* bytes of an entry with empty texts */
/* Largest table: every object with texts of full length would be more, and is refused. */
#define OBJECTS_TABLE_MAX (8u << 20)

enum object_source {
    OBJECT_ORIGINAL = 1, /* a range of the file that the worker was given */
    OBJECT_DERIVED = 2,  /* a range of the memfd */
};

enum object_role {
    OBJECT_BODY = 1,  /* the whole message body, decoded */
    OBJECT_FILE = 2,  /* a part with a file name */
    OBJECT_FIELD = 3, /* a part without: a form's field */
};

/* One object. Texts hold any bytes but NUL (a NUL in the original shows as '?'). */
struct object {
    enum object_source source;
    enum object_role role;
    uint64_t off, len;
    struct span name;     /* declared file name; of a FIELD the field's name */
    struct span declared; /* declared media type, without parameters, in small letters */
    struct span sniffed;  /* as the bytes look; empty if not asked */
};

#define OBJECT_TYPED_MAX 1024u /* bytes of a field that somebody may have typed */

/* May it be a file without a name? A FIELD that is no text, or that nobody looked at and is long.
 */
bool object_is_nameless_file(const struct object *o);

/* Appends one entry; ERR_LIMIT for texts that are too long, ERR_BUG for values out of range. */
NODISCARD enum err object_format(const struct object *o, struct buf *table);
/* Appends the tail. |table_off|: bytes in front of the table. */
void objects_format_tail(uint64_t table_off, uint32_t n, struct buf *out);
/* The last OBJECTS_TAIL bytes of a memfd of |file_len| bytes: where the table is. ERR_SYNTAX for
 * anything that does not fit: a table that is no table, too long, or too many objects. */
NODISCARD enum err objects_parse_tail(struct span tail, uint64_t file_len, uint64_t *ret_off,
                                      uint64_t *ret_len, uint32_t *ret_n);

/* Walks a table. |original_len|, |derived_len| (bytes in front of the table) bound the ranges. */
struct objects_reader {
    struct reader r;
    uint64_t original_len, derived_len;
    uint32_t left;
};
void objects_reader_init(struct objects_reader *o, struct span table, uint32_t n,
                         uint64_t original_len, uint64_t derived_len);
/* ERR_EOF after the last one (and the table is used up), ERR_SYNTAX for an entry that is none; *ret
 * only on OK, its spans point into the table. */
NODISCARD enum err objects_next(struct objects_reader *o, struct object *ret);

#endif
