/* SPDX-License-Identifier: Apache-2.0 */
/* url_normal.h - hosts and paths of URLs in one spelling each, so that lists and rules can compare
 * bytes (RFC 3986 6.2.2). Takes what comes from the net. */
#ifndef ADAPT_URL_NORMAL_H
#define ADAPT_URL_NORMAL_H

#include "base/buf.h"

#define URL_HOST_MAX 255u

struct url_host {
    char text[URL_HOST_MAX + 1];
    size_t n;
    bool address; /* an IP address: there is nothing below it */
};

/* Small letters, percent-encoded unreserved characters plain, no closing dot. Addresses as
 * inet_ntop() writes them: IPv4 from every spelling that resolvers take ("0xc0000207"), IPv6 in
 * brackets, IPv4-mapped ones as IPv4. |host| has no port. ERR_LIMIT for one that is too long,
 * ERR_SYNTAX for control characters, blanks and delimiters that no host has; *ret only on OK. */
NODISCARD enum err url_host_normal(struct span host, struct url_host *ret);
/* Appends |path|, which may have a query: percent-encoded unreserved characters plain, hexadecimal
 * digits of others large, blanks, control and 8-bit characters percent-encoded, dot segments
 * removed (not from the query), "/" for the empty path. A '%' that begins no encoding stays.
 * |open|: the last segment goes on, so it is no dot segment. Errors are |out|'s. */
void url_path_normal(struct span path, bool open, struct buf *out);
/* Of what these made: would some servers read another host or path? An international name that is
 * not in its xn-- form; a fragment, which no request has; ".." behind "%2F", "\" or with a
 * parameter
 * (";"), which some take for a dot segment. */
bool url_host_is_doubtful(struct span host);
bool url_path_is_doubtful(struct span path);

#endif
