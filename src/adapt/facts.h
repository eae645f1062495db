/* SPDX-License-Identifier: Apache-2.0 */
/* facts.h - what is known about a message when something is to be decided about it: the subject of
 * rules and exceptions. Plain values; spans are borrowed for the call. */
#ifndef ADAPT_FACTS_H
#define ADAPT_FACTS_H

#include "adapt/objects.h"
#include "adapt/steps.h"
#include "adapt/verdict.h"
#include "net/address.h"

/* A table of objects, counted: shared by a result and the cache. */
struct object_table {
    _Atomic unsigned refs;
    uint32_t n;
    size_t len;
    uint64_t original_len, derived_len;
    char bytes[];
};
struct object_table *object_table_ref(struct object_table *t);
void object_table_unref(struct object_table *t); /* NULL is fine */

struct facts {
    /* From the heads. */
    struct address client; /* the user's: X-Client-IP where the peer may state it, else the peer */
    struct span tenant;    /* whose login it is; empty: nobody's */
    struct span user;      /* as the peer states it, decoded; empty if not */
    struct span method;    /* "REQMOD" or "RESPMOD" */
    struct span host;      /* of the URL, in small letters, without port and closing dot */
    struct span path;      /* of the URL, with '?' and query; begins with '/' */
    struct span name;      /* declared file name, made plain (file_name.h) */
    bool name_unknown;     /* it is not what others will call it: file_name_is_unknown() */
    struct span declared;  /* declared media type, without parameters, in small letters */
    /* From the body: only when |has_body_facts|. */
    bool has_body_facts;
    uint64_t len;                       /* bytes, as they came */
    const char *sha256;                 /* lower-case hex of the body as it came, or "" */
    const struct scan_result *result;   /* sniffed type, findings; NULL if nothing was run */
    const struct object_table *objects; /* NULL: one object, the body itself */
    struct steps *steps;                /* for deciding about it; NULL: as many as it takes */
};

#endif
