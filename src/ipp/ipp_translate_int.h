/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_translate_int.h - how a printer of the gateway is told of, for ipp_translate_answer.c and
 * ipp_own_answer.c. Pure; any thread. */
#ifndef IPP_TRANSLATE_INT_H
#define IPP_TRANSLATE_INT_H

#include "ipp/ipp_translate.h"

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
