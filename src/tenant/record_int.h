/* SPDX-License-Identifier: Apache-2.0 */
/* record_int.h - what the records of tenants and users share: strict JSON objects with texts, hex
 * and times. For the files of this room. */
#ifndef TENANT_RECORD_INT_H
#define TENANT_RECORD_INT_H

#include "base/json.h"

struct json_t; /* jansson's */

#define RECORD_TEXT_MAX 2048u

/* C0, DEL, or C1, which UTF-8 writes as C2 80..9F. */
bool record_has_control(struct span s);

void record_hex(struct json *j, const char *key, const uint8_t *p, size_t n);
void record_time(struct json *j, const char *key, uint64_t wall_ms);

/* An object of exactly |n_members| and, if it is there, |optional| (NULL: nothing may be), none
 * twice; json_decref() it. ERR_PROTO, ERR_NOMEM. */
NODISCARD enum err record_load(struct span text, size_t n_members, const char *optional,
                               struct json_t **ret);
/* ERR_PROTO: not there, of another kind, of another length. */
NODISCARD enum err record_read_text(const struct json_t *o, const char *key, struct span *ret);
NODISCARD enum err record_read_bool(const struct json_t *o, const char *key, bool *ret);
NODISCARD enum err record_read_hex(const struct json_t *o, const char *key, uint8_t *dst, size_t n);
NODISCARD enum err record_read_time(const struct json_t *o, const char *key, uint64_t *ret_wall_ms);

#endif
