/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_http_target.h"

#include "ipp/ipp_uri_int.h"

/* RFC 9112 3.2.2: only a scheme and "//" begin an absolute-form; "h:631" asks for a tunnel. */
static bool is_absolute(struct span text)
{
    return span_starts(span_sub(text, span_find(text, ':'), SIZE_MAX), SPAN("://"));
}

static enum err parse_form(struct span text, struct ipp_http_target *ret,
                           struct ipp_uri_fault *reterr)
{
    if (text.p[0] == '/') {
        ret->form = IPP_HTTP_ORIGIN;
        return ipp_uri_parse_path(text, &ret->uri, reterr);
    }
    if (span_eq(text, SPAN("*"))) {
        ret->form = IPP_HTTP_ASTERISK;
        ret->uri.path = text;
        return OK;
    }
    if (!is_absolute(text))
        return ipp_uri_refuse(reterr, IPP_URI_TARGET, text);
    ret->form = IPP_HTTP_ABSOLUTE;
    return ipp_uri_parse(text, &ret->uri, reterr);
}

enum err ipp_http_target_parse(struct span text, struct ipp_http_target *ret,
                               struct ipp_uri_fault *reterr)
{
    struct ipp_http_target t = {0};

    TRY(ipp_uri_check_text(text, reterr));
    TRY(parse_form(text, &t, reterr));
    if (t.uri.warnings & IPP_URI_HAS_USER)
        return ipp_uri_refuse(reterr, IPP_URI_USERINFO, span_sub(t.uri.userinfo, 0, 0));
    if (t.uri.warnings & IPP_URI_EARLIER)
        return ipp_uri_refuse(reterr, IPP_URI_AUTH_PLACE, t.uri.path);
    *ret = t;
    return OK;
}
