/* SPDX-License-Identifier: Apache-2.0 */
/* exceptions.h - what an operator allows for a while although the inspection says no, and services
 * that are bypassed for a while in an emergency. Live: added and removed while Sallyport runs, kept
 * in a journal of JSON lines, one for each change. A set is immutable, counted, and shared by
 * loops.
 *
 * Journal lines:
 *   {"op":"add","id":"x7k2…","kind":"exception","created":"…Z","expires":"…Z","by":"root",
 *    "reason":"…", "service":"…","sha256":"…","signature":"…","host":"…","file":"…","client":"…",
 *    "tenant":"…"}
 *   {"op":"add","id":"…","kind":"bypass", … "service":"…"}
 *   {"op":"remove","id":"…","at":"…Z","by":"root"}
 *
 * Whatever a line cannot mean for sure, it does not allow: an addition with a member that is
 * unknown here (a newer version wrote it) does not count, and any other operation on an id takes
 * that one out of force. Whoever appends to a journal whose last byte is not LF writes a LF first.
 */
#ifndef ADAPT_EXCEPTIONS_H
#define ADAPT_EXCEPTIONS_H

#include "adapt/facts.h"
#include "base/json.h"

enum exception_kind { EXCEPTION_ALLOW, EXCEPTION_BYPASS };

#define EXCEPTION_ID_LEN   8 /* letters and digits of record_id()'s alphabet */
#define EXCEPTION_TEXT_MAX 256
#define EXCEPTIONS_MAX     10000u

struct exception {
    enum exception_kind kind;
    char id[EXCEPTION_ID_LEN + 1];
    uint64_t created_wall_ms, expires_wall_ms;
    char by[64];                     /* who added it */
    char reason[EXCEPTION_TEXT_MAX]; /* why; required */
    /* Conditions: all that are not empty must hold. An ALLOW has at least one besides |service| and
     * |tenant|. */
    char service[65];                 /* name of a service; "": every one (not for BYPASS) */
    char sha256[65];                  /* of the body, lower-case hex */
    char signature[FINDING_NAME_MAX]; /* glob: every finding that blocks has such a name */
    char host[EXCEPTION_TEXT_MAX]; /* "host.example" exactly, ".example" it and everything below */
    char file[EXCEPTION_TEXT_MAX]; /* glob over the plain file name, and over those of all files in
                                      a form; letters of any case */
    char client[64];               /* address or network of the user */
    char tenant[65];               /* whose login it is */
};

#define EXCEPTION_REQUEST_MAX 8192u /* bytes of a request, and of a journal line */

/* Checks and completes an exception that a person asked for (all but id, created, by): lengths,
 * known forms, at least one condition that holds for less than everything, a reason, an expiry in
 * the future and at most |max_ms| away. Digest and host get small letters. |why|: a sentence that
 * says what to do. ERR_CONFIG. */
NODISCARD enum err exception_check(struct exception *e, uint64_t now_wall_ms, uint64_t max_ms,
                                   struct buf *why);
/* From a JSON object {"kind","service","sha256",...,"expires_in":"8h","reason"}, as the control
 * socket gets it; "expires_in" is 90s, 30m, 8h or 7d, or there is "expires" with a time. Unknown
 * and empty members are errors. Fills everything but id, created, by. To be checked by
 * exception_check(). ERR_CONFIG, ERR_NOMEM. */
NODISCARD enum err exception_parse_request(struct span json, uint64_t now_wall_ms,
                                           struct exception *ret, struct buf *why);
/* Members of an open JSON object, as in the journal. */
void exception_json(const struct exception *e, struct json *j);
/* "exception", "bypass". */
const char *exception_kind_name(enum exception_kind kind);
/* Journal lines, with LF. Of an exception that was checked: fits EXCEPTION_REQUEST_MAX. */
void exception_format_add(const struct exception *e, struct buf *out);
void exception_format_remove(const char *id, const char *by, uint64_t now_wall_ms, struct buf *out);

struct exceptions;
/* An empty set. */
NODISCARD enum err exceptions_new(struct exceptions **ret);
/* Replays a journal; expired ones are left out; a line that cannot be read is counted, and skipped
 * (the last one may have been cut by a full disk). A second one with the id of one that is in force
 * is such a line. ERR_NOMEM. */
NODISCARD enum err exceptions_parse(struct span journal, uint64_t now_wall_ms,
                                    struct exceptions **ret, unsigned *ret_bad_lines);
struct exceptions *exceptions_ref(struct exceptions *s);
void exceptions_unref(struct exceptions *s); /* NULL is fine */
size_t exceptions_count(const struct exceptions *s);
const struct exception *exceptions_at(const struct exceptions *s, size_t i);
const struct exception *exceptions_find(const struct exceptions *s, const char *id);
/* New sets, without what has expired. ERR_LIMIT over EXCEPTIONS_MAX, ERR_MISSING for an unknown id;
 * ERR_BUG for an id that is no id or is taken, ERR_CONFIG for one that was not checked. */
NODISCARD enum err exceptions_with(const struct exceptions *s, const struct exception *e,
                                   uint64_t now_wall_ms, struct exceptions **ret);
NODISCARD enum err exceptions_without(const struct exceptions *s, const char *id,
                                      uint64_t now_wall_ms, struct exceptions **ret);

/* The first ALLOW that holds for |f| in |service| and has not expired (now < expires), or NULL. A
 * |signature| condition holds when there is a finding that blocks, every one of them matches, and
 * the list is not full: behind FINDINGS_MAX findings there may be others. A |file| condition needs
 * a name that is known, steps to be left (facts.steps), and holds when the message's (if it has
 * one) and each FILE's in it match.
 */
const struct exception *exceptions_match(const struct exceptions *s, const char *service,
                                         const struct facts *f, uint64_t now_wall_ms);
/* The same, of those that are in |still|, too: what was removed since does not count any more. */
const struct exception *exceptions_match_still(const struct exceptions *s,
                                               const struct exceptions *still, const char *service,
                                               const struct facts *f, uint64_t now_wall_ms);
/* The BYPASS of |service| that has not expired, or NULL. Cheap when there is none. */
const struct exception *exceptions_bypass(const struct exceptions *s, const char *service,
                                          uint64_t now_wall_ms);

#endif
