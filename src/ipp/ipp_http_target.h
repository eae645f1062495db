/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_http_target.h - the request-target of a POST that carries IPP (RFC 9112 3.2), by the rules of
 * ipp_uri.h, as a gateway reads it. Pure: nothing is allocated or kept, and any thread may call. */
#ifndef IPP_HTTP_TARGET_H
#define IPP_HTTP_TARGET_H

#include "ipp/ipp_uri.h"

enum ipp_http_form {
    IPP_HTTP_ORIGIN,   /* /path */
    IPP_HTTP_ABSOLUTE, /* http://host/path, as clients send it to proxies */
    IPP_HTTP_ASTERISK, /* *, of OPTIONS */
};

struct ipp_http_target {
    enum ipp_http_form form;
    struct ipp_uri uri; /* only ABSOLUTE has a scheme, a host and a port; the path of ASTERISK
                           is "*" */
};

/* Parses |text|. As ipp_uri_parse(), and stricter: what IPP_URI_REFUSED warns of in URIs is an
 * error (RFC 9110 4.2.4: userinfo), since this is a server's side. The authority-form, which asks
 * for a tunnel, is none of these. Views point into |text|, but for an absolute-form's missing
 * path. ERR_LIMIT, ERR_SYNTAX; *ret is written only on OK, *reterr, which may be NULL, only
 * otherwise. */
NODISCARD enum err ipp_http_target_parse(struct span text, struct ipp_http_target *ret,
                                         struct ipp_uri_fault *reterr);

#endif
