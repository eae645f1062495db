/* SPDX-License-Identifier: Apache-2.0 */
/* icap_message.h - the parts of ICAP messages that have a grammar of their own (RFC
 * 3507 4.2, 4.3, 4.4.1): URIs, Encapsulated, Allow, Preview. Pure functions. */
#ifndef ICAP_MESSAGE_H
#define ICAP_MESSAGE_H

#include "base/arena.h"
#include "http/head.h"

#define ICAP_PORT      1344
#define ICAPS_PORT     11344
#define ICAP_ISTAG_MAX 32

enum icap_method { ICAP_OPTIONS, ICAP_REQMOD, ICAP_RESPMOD };
#define ICAP_METHODS 3
const char *icap_method_name(enum icap_method m);

enum icap_entity {
    ICAP_REQ_HDR,
    ICAP_RES_HDR,
    ICAP_REQ_BODY,
    ICAP_RES_BODY,
    ICAP_OPT_BODY,
    ICAP_NULL_BODY
};

#define ICAP_ENCAPSULATED_MAX 3
struct icap_encapsulated {
    struct {
        enum icap_entity entity;
        uint64_t off;
    } part[ICAP_ENCAPSULATED_MAX];
    unsigned n; /* 0: no such header */
};

/* Parses an Encapsulated value (RFC 3507 4.4.1): offsets do not decrease, start at 0, exactly one
 * body entity and it is last, heads at most once each and req-hdr before res-hdr. Anything else
 * ERR_PROTO with |reterr->off| the byte. Is not told the method: icap_encapsulated_fits() is. */
NODISCARD enum err icap_encapsulated_parse(struct span value, struct icap_encapsulated *ret,
                                           struct fault *reterr);
/* Is the list legal in a request of that method (digest of RFC 3507 4.4.1 and errata E1, E4)? */
bool icap_encapsulated_fits(const struct icap_encapsulated *e, enum icap_method m);
/* Legal in a 200 or 206 answer to that method? */
bool icap_encapsulated_fits_reply(const struct icap_encapsulated *e, enum icap_method m);
bool icap_entity_is_body(enum icap_entity e);
const char *icap_entity_name(enum icap_entity e);

struct icap_uri {
    bool secure;      /* icaps */
    struct span host; /* without brackets */
    unsigned port;    /* 0: none given */
    struct span
        path; /* percent-decoded once, begins with "/", no trailing "/" (but for "/" itself) */
    struct span query; /* raw, without "?" */
};
/* Absolute icap/icaps URI of at most 4096 bytes; userinfo is accepted and dropped. ERR_PROTO for
 * anything else, for NUL and control bytes after decoding, and for bad percent-escapes. Decoded
 * text comes from |mem|; what needs no decoding points into |text|. */
NODISCARD enum err icap_uri_parse(struct span text, struct arena *mem, struct icap_uri *ret,
                                  struct fault *reterr);

struct icap_allow {
    bool s204, s206, trailers;
};
/* Union of all Allow fields; unknown tokens ignored. */
struct icap_allow icap_allow_parse(const struct head *h);

#endif
