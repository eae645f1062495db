/* SPDX-License-Identifier: Apache-2.0 */
/* part_head.h - the fields in front of a part of a multipart body (RFC 2046 5.1, RFC 7578 4), and
 * the parameters of a media type. Strict: what two recipients could read in two ways is refused. */
#ifndef WORKER_PART_HEAD_H
#define WORKER_PART_HEAD_H

#include "adapt/objects.h"

#define PART_HEAD_MAX   16384u /* bytes, with the empty line */
#define PART_FIELDS_MAX 64u
#define BOUNDARY_MAX    70u

/* Names: the bytes that were meant, NUL and control bytes as '?', the middle of a long one cut out.
 */
struct part_head {
    char field[OBJECT_NAME_MAX + 1];
    char file[OBJECT_NAME_MAX + 1];
    char type[OBJECT_TYPE_MAX + 1]; /* small letters, without parameters; "" if none */
    bool has_file;                  /* there is a filename, be it empty */
    bool is_multipart;              /* type is multipart/ something */
    bool has_boundary;
    char boundary[BOUNDARY_MAX + 1];
};

/* |head|: field lines, each with its CRLF. ERR_SYNTAX with |fault|; the names that were read by
 * then are in *ret. */
NODISCARD enum err part_head_parse(struct span head, struct part_head *ret, struct fault *fault);

/* "text/html" of "Text/HTML; charset=x", cut to fit. */
void media_type_of(struct span value, char ret[OBJECT_TYPE_MAX + 1]);
/* Parameter boundary of a media type. *ret_has is false when there is none; ERR_SYNTAX for one that
 * is none, for two, and for parameters that cannot be read. */
NODISCARD enum err media_type_boundary(struct span value, bool *ret_has, char ret[BOUNDARY_MAX + 1],
                                       struct fault *fault);

#endif
