/* SPDX-License-Identifier: Apache-2.0 */
/* json.h - append-only JSON writer for records, metrics pages and --json output (reading is
 * jansson's). Keeps the commas itself; every string is escaped, and bytes that are not UTF-8 become
 * U+FFFD, so that a record is always valid. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/buf.h"

struct json {
    struct buf *out;
    bool comma; /* the next value needs one before it */
};

struct json json_to(struct buf *out);
/* |key| NULL: an element of an array, or the root. Keys are ours: plain ASCII. */
void json_open(struct json *j, const char *key, char bracket); /* '{' or '[' */
void json_close(struct json *j, char bracket);                 /* '}' or ']' */
void json_span(struct json *j, const char *key, struct span v);
void json_text(struct json *j, const char *key, const char *v); /* NULL: null */
void json_u64(struct json *j, const char *key, uint64_t v);
void json_i64(struct json *j, const char *key, int64_t v);
void json_bool(struct json *j, const char *key, bool v);
/* |v| / 1000 with three decimals: milliseconds from microseconds. */
void json_milli(struct json *j, const char *key, uint64_t v);
/* |v| with two decimals; never NaN or infinity (0 then). */
void json_float(struct json *j, const char *key, double v);

#endif
