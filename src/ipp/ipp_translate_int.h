/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_translate_int.h - names by length, for ipp_translate_answer.c and ipp_translate_request.c;
 * how a printer of the gateway is told of, for ipp_translate_answer.c and ipp_own_answer.c. Pure;
 * any thread. */
#ifndef IPP_TRANSLATE_INT_H
#define IPP_TRANSLATE_INT_H

#include "ipp/ipp_translate.h"

/* ---- tables of names, by length ---- */

/* An answer has hundreds of attributes, and few of them are in a table: names are told apart by
 * their lengths first. TABLE(X, n) has X(n, "name", ...) for each row, the shortest name first;
 * IPP_FIRSTS(TABLE) are, for each length, how many rows have shorter names: where its own begin. */
#define IPP_ROW_SHORTER(n, name, ...) +(sizeof(name) - 1 < (n))
#define IPP_FIRST(TABLE, n)           0 TABLE(IPP_ROW_SHORTER, n)
#define IPP_FIRSTS_8(TABLE, n)                                                           \
    IPP_FIRST(TABLE, n), IPP_FIRST(TABLE, (n) + 1), IPP_FIRST(TABLE, (n) + 2),           \
        IPP_FIRST(TABLE, (n) + 3), IPP_FIRST(TABLE, (n) + 4), IPP_FIRST(TABLE, (n) + 5), \
        IPP_FIRST(TABLE, (n) + 6), IPP_FIRST(TABLE, (n) + 7)
#define IPP_FIRSTS_MAX 47u /* longer names are in no table */
#define IPP_FIRSTS(TABLE)                                                             \
    {                                                                                 \
        IPP_FIRSTS_8(TABLE, 0), IPP_FIRSTS_8(TABLE, 8), IPP_FIRSTS_8(TABLE, 16),      \
            IPP_FIRSTS_8(TABLE, 24), IPP_FIRSTS_8(TABLE, 32), IPP_FIRSTS_8(TABLE, 40) \
    }
/* (0 <= 7) && (7 <= 8) && ... && (40 <= IPP_FIRSTS_MAX) */
#define IPP_ROW_ORDERED(n, name, ...) <= sizeof(name)) && (sizeof(name)
#define IPP_IS_ORDERED(TABLE) ((0 TABLE(IPP_ROW_ORDERED, 0) <= IPP_FIRSTS_MAX))

/* ---- printers ---- */

#define IPP_PUBLIC_URIS 2u

/* Keywords of RFC 8011 5.4.2 and 5.4.3. */
struct ipp_public_uri {
    struct span uri;
    const char *authentication, *security;
};

/* Points into itself: not to be copied. */
struct ipp_public_uris {
    struct ipp_public_uri v[IPP_PUBLIC_URIS];
    size_t n;
    char room[IPP_PUBLIC_URIS * IPP_URI_MAX];
};

/* How one proves who he is, of RFC 8011 5.4.2. |is_tls|: within TLS. */
const char *ipp_public_authentication(const struct ipp_public_printer *p, bool is_tls);
/* Does the port for clear text lead to the printer? Where that demands TLS, by Upgrade only. */
bool ipp_public_in_clear(const struct ipp_public_printer *p);
/* The printer's URIs, in the order of ipp_translate.h; none where no port leads to it. */
void ipp_public_uris_make(struct ipp_public_uris *ret, const struct ipp_public_printer *p);
/* Each writes its attribute (RFC 8011 5.4.1 to 5.4.3; the last one, RFC 3380); nothing without
 * URIs. */
void ipp_write_printer_uris(struct ipp_writer *w, const struct ipp_public_uris *uris);
void ipp_write_uri_security(struct ipp_writer *w, const struct ipp_public_uris *uris);
void ipp_write_uri_authentication(struct ipp_writer *w, const struct ipp_public_uris *uris);
void ipp_write_xri(struct ipp_writer *w, const struct ipp_public_uris *uris);
/* auth-info-required, as CUPS has it. */
void ipp_write_auth_info(struct ipp_writer *w, const struct ipp_public_printer *p);
/* One URI as |name|, of the printer of a job, without its AUTH list: clients of CUPS take what is
 * behind the last slash for the printer's name. Nothing without URIs. */
void ipp_write_printer_uri(struct ipp_writer *w, struct span name,
                           const struct ipp_public_uris *uris);
/* job-uri; nothing where no port leads to it as it was made. */
void ipp_write_job_uri(struct ipp_writer *w, const struct ipp_public_printer *p,
                       const struct ipp_job *job);

/* Does |uri|, of any scheme, lead to |backend_host|, localhost or a loopback address? Generous in
 * what it takes for a host: URIs of printers are not always well formed. */
bool ipp_uri_is_inside(struct span uri, struct span backend_host);

#endif
