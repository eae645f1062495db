/* SPDX-License-Identifier: Apache-2.0 */
/* strength.h - how strong the parts of a protection are: one table with a version, data and nothing
 * else. The weakest part is the strength of the whole; a part that is not in the table is worth
 * nothing, never "probably fine". Pure; any thread. */
#ifndef PROTECT_STRENGTH_H
#define PROTECT_STRENGTH_H

#include <stdbool.h>

#include "base/span.h"
#include "sallyport/report.h"

/* Of the table; written in reports and named by policy files. */
#define STRENGTH_CLASSES "2026-1"

/* The kinds of parts. Ids are OpenSSL's: version numbers, NIDs. */
enum strength_part {
    STRENGTH_VERSION,
    STRENGTH_CIPHER, /* of the records, by algorithm and mode */
    STRENGTH_KEY_EXCHANGE,
    STRENGTH_AUTHENTICATION,
    STRENGTH_GROUP,     /* a NID, or TLSEXT_nid_unknown | the number on the wire */
    STRENGTH_HASH,      /* that was signed */
    STRENGTH_SIGNATURE, /* kind of a key that signs */
};
/* False: not in the table. */
bool strength_of(enum strength_part part, int id, sallyport_level *ret);

/* Numbers that count beside the names. */
#define STRENGTH_CIPHER_BITS_MIN 128
#define STRENGTH_RSA_BITS_MIN    2048
#define STRENGTH_DH_BITS_MIN     2048
#define STRENGTH_EC_BITS_MIN     250 /* Curve25519 counts 253 */

#endif
