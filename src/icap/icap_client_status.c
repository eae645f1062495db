/* SPDX-License-Identifier: Apache-2.0 */
#include "icap/icap_client_status.h"

#include <stdio.h>

/* A client of RFC 3507 7.1 is asked by the first; servers of the draft may ask by the other. */
static const char *const challenges[] = {"Proxy-Authenticate", "WWW-Authenticate"};

/* "Negotiate, Basic realm=\"x, y\"": an element that is not a parameter begins with a scheme. */
static bool names_basic(struct span value)
{
    struct span item;

    while (span_list_next(&value, &item))
        if (span_ieq(span_trim(span_cut(&item, ' ')), SPAN("Basic")))
            return true;
    return false;
}

bool icap_client_takes_basic(const struct head *icap)
{
    bool asked = false;

    for (size_t i = 0; i < ARRAY_LEN(challenges); i++) {
        struct span name = span_of(challenges[i]);

        for (unsigned k = 0; (k = head_find(icap, name, k)) < icap->n_fields; k++) {
            if (names_basic(icap->fields[k].value))
                return true;
            asked = true;
        }
    }
    return !asked;
}

bool icap_client_retry_after(const struct head *icap, uint64_t *ret_s)
{
    struct span value = head_value(icap, SPAN("Retry-After"));

    return value.p && span_u64(value, UINT32_MAX, ret_s) == OK;
}

static void login_text(const struct head *icap, const char *user, char *dst, size_t cap)
{
    if (!icap_client_takes_basic(icap))
        (void)snprintf(dst, cap,
                       "the server wants a kind of login that is not spoken here (407); "
                       "only Basic is");
    else if (user)
        (void)snprintf(dst, cap,
                       "the server does not accept user '%.128s' with this password (407)", user);
    else
        (void)snprintf(dst, cap,
                       "the server wants to know who asks (407): name the user in the URL, as in "
                       "icaps://user@host/service");
}

void icap_client_status_text(const struct head *icap, const char *user, bool clear, char *dst,
                             size_t cap)
{
    uint64_t seconds;

    switch (icap->status) {
    case 202: /* some sandboxes' word for "still looking" */
        (void)snprintf(dst, cap, "the server has not finished its inspection (202)");
        break;
    case 403:
        (void)snprintf(dst, cap, "the server does not let us use it (403)%s",
                       clear ? "; it may want TLS: icaps://" : "");
        break;
    case 404: (void)snprintf(dst, cap, "the server has no such service (404)"); break;
    case 407: login_text(icap, user, dst, cap); break;
    case 503:
        if (icap_client_retry_after(icap, &seconds))
            (void)snprintf(dst, cap, "the server is overloaded (503), for about %llu seconds",
                           (unsigned long long)seconds);
        else
            (void)snprintf(dst, cap, "the server is overloaded (503)");
        break;
    default: (void)snprintf(dst, cap, "the server answered ICAP status %u", icap->status); break;
    }
}
