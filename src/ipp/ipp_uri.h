/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_uri.h - IPP URIs that say how they want to be protected (the draft, 2.0; see ipp_level.h),
 * with today's schemes ipp (RFC 3510) and ipps (RFC 7472):
 *
 *     secure-ipp-uri = scheme "://" [ userinfo "@" ] host [ ":" port ] [ abs-path ] [ "?" query ]
 *     abs-path       = "/" [ *( segment "/" ) last-segment *( ";" other-param )
 *                      [ ";AUTH=" token *( "," token ) *( ";" other-param ) ] ]
 *
 * Names of schemes, hosts, AUTH and its tokens have no case. Pure: nothing is allocated or kept,
 * and any thread may call. */
#ifndef IPP_URI_H
#define IPP_URI_H

#include "base/reader.h"
#include "base/span.h"
#include "ipp/ipp_level.h"

#define IPP_URI_MAX 1023u /* octets of a value of the syntax uri (RFC 8011 5.1.6) */
#define IPP_PORT    631u

/* What a URI was refused for; ipp_uri_why.def has each one's code and sentence. */
#define IPP_URI_WHY_ROW(id, code, text) id,
enum ipp_uri_why {
#include "ipp/ipp_uri_why.def"
};
#undef IPP_URI_WHY_ROW
/* How many there are. */
#define IPP_URI_WHY_ROW(...) +1
enum {
    IPP_URI_WHYS = 0
#include "ipp/ipp_uri_why.def"
};
#undef IPP_URI_WHY_ROW

struct ipp_uri_fault {
    enum ipp_uri_why why;
    struct span at; /* what is wrong, within the text that was parsed: for IPP_URI_AUTH_UNKNOWN the
                       token. Empty where something is missing. Of anything but the list it may be
                       part of a password: not for logs */
};

/* The stable code of |why| ("auth-empty") and its sentence, without the text that it is about.
 * Static; never NULL. */
const char *ipp_uri_why_code(enum ipp_uri_why why);
const char *ipp_uri_why_text(enum ipp_uri_why why);

/* What is odd in a URI and was taken nevertheless, as a set of bits. */
#define IPP_URI_REDUNDANT  1u  /* TLS and SSL3, or TLS where the scheme says it (ipps) */
#define IPP_URI_DUPLICATE  2u  /* a token twice */
#define IPP_URI_IN_QUERY   4u  /* AUTH in the query, where it means nothing */
#define IPP_URI_NORMALISED 8u  /* http or https, taken for ipp or ipps */
#define IPP_URI_HAS_USER   16u /* user or password: a client warns, a gateway refuses */
#define IPP_URI_EARLIER    32u /* AUTH before the last segment, where it means nothing: likewise */
/* What a gateway refuses in URIs that it serves, and what it notes: lists that do not say what
 * somebody may have meant by them. */
#define IPP_URI_REFUSED (IPP_URI_HAS_USER | IPP_URI_EARLIER)
#define IPP_URI_NOTED   (IPP_URI_REDUNDANT | IPP_URI_DUPLICATE | IPP_URI_IN_QUERY)

/* The code of one bit, for logs ("auth-list-redundant"), and its sentence; static. "?" for what is
 * not one bit of the above. */
const char *ipp_uri_warning_code(unsigned warning);
const char *ipp_uri_warning_text(unsigned warning);

/* Views point into the text that was parsed, but for the path "/" where the text has none. They
 * live as long as that text. */
struct ipp_uri {
    bool secure;          /* ipps or https: TLS from the first byte */
    unsigned port;        /* 0: none given; see ipp_uri_port() */
    unsigned auth;        /* IPP_AUTH_ bits of the list; 0 without one */
    unsigned warnings;    /* IPP_URI_ bits */
    struct span userinfo; /* p == NULL without. A secret: not for logs, not to be sent on */
    struct span host;     /* as written, an IPv6 address without its brackets */
    struct span path;     /* as written, up to the AUTH parameter; begins with "/" */
    struct span params;   /* other parameters behind the list, with their ";"; mostly empty */
    struct span query;    /* without "?"; p == NULL without */
};

/* Parses the absolute URI |text|. No percent-encoding is undone. Refused besides what the grammar
 * refuses: paths with %2F, %5C, %3B or control characters, or that are not UTF-8 once decoded, and
 * dot segments, also encoded (RFC 3986 3.3): two parsers must not see two resources. Zone ids, too
 * (RFC 6874). http and https become ipp and ipps with their port; one without a port gets 80 or 443
 * (RFC 9110 4.2), unless its list sends it to the secure port.
 * ERR_LIMIT: IPP_URI_LONG; ERR_SYNTAX: everything else. *ret is written only on OK, *reterr, which
 * may be NULL, only otherwise. */
NODISCARD enum err ipp_uri_parse(struct span text, struct ipp_uri *ret,
                                 struct ipp_uri_fault *reterr);

/* The port to connect to: as given; else 631; but where the list has SSL3 and not TLS, and the
 * scheme does not say it all, |secure_port|, which is the configured one. */
unsigned ipp_uri_port(const struct ipp_uri *u, unsigned secure_port);
/* What the URI demands of a request: its list and, for ipps, TLS. */
struct ipp_demand ipp_uri_demand(const struct ipp_uri *u);
/* Do both name the same resource under the same demands? Hosts without case, ports as they take
 * effect, paths and other parameters decoded, queries as written, lists as they would be printed;
 * userinfo and warnings do not count. */
bool ipp_uri_same(const struct ipp_uri *a, const struct ipp_uri *b);

/* ---- printing: ipp_uri_format.c ---- */

/* |auth| as it is printed with ipps (|secure|) or ipp: one channel token at most, TLS rather than
 * SSL3, and none with ipps, whose name says it. */
unsigned ipp_auth_canonical(unsigned auth, bool secure);

/* Appends |u|: scheme and host in small letters, the list in the order TLS, SSL3, DAA at its place
 * before |params|, no userinfo. What is printed parses to something that is ipp_uri_same().
 * ERR_LIMIT: longer than IPP_URI_MAX, or than |w| has room for; ERR_SYNTAX: the parts, where the
 * caller made them, are none of a URI. On errors nothing is appended; only want of room is noted in
 * w->err. */
NODISCARD enum err ipp_uri_format(const struct ipp_uri *u, struct writer *w);
/* Appends the request-target of |u| in origin-form (RFC 9112 3.2.1): path, other parameters and
 * query, without the list, which header fields speak for (the draft, 3.0). Errors as above;
 * ERR_SYNTAX also for what ipp_http_target_parse() would refuse. */
NODISCARD enum err ipp_uri_format_target(const struct ipp_uri *u, struct writer *w);

/* How URIs of jobs say what they demand. */
enum ipp_job_style {
    IPP_JOB_AUTO,  /* as IPPS for implicit TLS, as DRAFT for everything else */
    IPP_JOB_DRAFT, /* ipp: and an AUTH list */
    IPP_JOB_IPPS,  /* ipps: for every job that came within TLS (RFC 7472) */
};

/* Where a gateway is reached, as it tells others. */
struct ipp_front {
    struct span host;     /* an IPv6 address without brackets */
    unsigned port;        /* clear, and TLS by upgrade; 0: none */
    unsigned secure_port; /* TLS from the first byte; 0: none */
};

/* Appends the URI of a job at |path| ("/jobs/42") that was made by a request at |made| (the draft,
 * 3.3): a list that matches |made|, or ipps, with DAA for Digest. Nothing is promised that did not
 * happen: a job that came in the clear gets ipp: in every style, and IPP_JOB_IPPS is as
 * IPP_JOB_DRAFT where no port has TLS from the first byte. ipp: is followed by its port, ipps: only
 * if it is not 631.
 * ERR_MISSING: |at| lacks the port for that; ERR_LIMIT and ERR_SYNTAX as above. */
NODISCARD enum err ipp_uri_format_job(const struct ipp_front *at, struct span path,
                                      struct ipp_level made, enum ipp_job_style style,
                                      struct writer *w);

#endif
