/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_uri_int.h - what the files of ipp_uri and ipp_http_target share. */
#ifndef IPP_URI_INT_H
#define IPP_URI_INT_H

#include "ipp/ipp_uri.h"

/* ---- ipp_uri.c ---- */

/* Fills |reterr| and returns the error for |why|. |reterr| may be NULL. */
enum err ipp_uri_refuse(struct ipp_uri_fault *reterr, enum ipp_uri_why why, struct span at);
/* What every text must be: not empty, not too long, without characters that no URI has. */
NODISCARD enum err ipp_uri_check_text(struct span text, struct ipp_uri_fault *reterr);

/* ---- ipp_uri_path.c ---- */

/* RFC 3986 2.3 and 3.3. */
bool ipp_char_is_unreserved(char c);
bool ipp_char_is_pchar(char c); /* but '%' */
bool ipp_char_is_uri(char c);   /* all but "#", behind which there is a fragment */
/* Only characters for which |may| holds, and whole percent-encodings. */
NODISCARD enum err ipp_uri_check_chars(struct span s, bool (*may)(char c),
                                       struct ipp_uri_fault *reterr);

/* Takes the next octet off |*s|, decoded if it is percent-encoded; -1 at the end. */
int ipp_octet_next(struct span *s);
/* Are |a| and |b|, each in two pieces, the same once decoded? */
bool ipp_octets_eq(const struct span a[2], const struct span b[2]);
/* Does parameter |s| (without its ";") have the name AUTH? Looks through percent-encoding. */
bool ipp_param_is_auth(struct span s);

/* Parses |text|, the rest of a URI from its path on, into path, params, query, auth and their
 * warnings. u->secure is known. */
NODISCARD enum err ipp_uri_parse_path(struct span text, struct ipp_uri *u,
                                      struct ipp_uri_fault *reterr);

#endif
