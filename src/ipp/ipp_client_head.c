/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_client_head.c - what the heads of answers tell a client. */
#include "http/head.h"
#include "ipp/ipp_client.h"

static bool is_digits(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n > 0;
}

/* RFC 2817 3.3; the version is the handshake's to say. */
static bool is_tls_token(struct span token)
{
    struct span version = token, name = span_cut(&version, '/');

    if (!span_ieq(name, SPAN("TLS")))
        return false;
    if (!version.p)
        return true;
    struct span minor = version, major = span_cut(&minor, '.');

    return is_digits(major) && (!minor.p || is_digits(minor));
}

bool ipp_head_names_tls(const struct head *h, struct span *ret_token)
{
    struct span token;

    for (unsigned i = head_find(h, SPAN("Upgrade"), 0); i < h->n_fields;
         i = head_find(h, SPAN("Upgrade"), i + 1))
        for (struct span rest = h->fields[i].value; span_list_next(&rest, &token);)
            if (is_tls_token(token)) {
                if (ret_token)
                    *ret_token = token;
                return true;
            }
    return false;
}

bool ipp_head_is_sallyport(const struct head *h)
{
    struct span server = head_value(h, SPAN("Server")), after;

    if (!span_istarts(server, SPAN("sallyport")))
        return false;
    after = span_sub(server, sizeof "sallyport" - 1, 1);
    return after.n == 0 || after.p[0] == '/' || after.p[0] == ' ';
}

bool ipp_head_is_ipp(const struct head *h)
{
    struct span type = head_value(h, SPAN("Content-Type"));

    type = span_trim(span_cut(&type, ';'));
    return head_count(h, SPAN("Content-Type")) == 1 && span_ieq(type, SPAN("application/ipp"));
}
