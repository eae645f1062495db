/* SPDX-License-Identifier: Apache-2.0 */
/* url_lists_int.h - one compiled list: made by url_lists_parse.c, asked by url_lists.c. */
#ifndef ADAPT_URL_LISTS_INT_H
#define ADAPT_URL_LISTS_INT_H

#define PCRE2_CODE_UNIT_WIDTH 8

#include <pcre2.h>

#include "adapt/url_lists.h"

/* A hostile URL may be tried against all of them. */
#define URL_LIST_REGEXES_MAX 1000u
#define URL_LIST_LINE_MAX    8192u
#define URL_LIST_FAULTS      5u /* shown of each file */

/* Millions of entries: one block of keys, and five bytes for each slot that points into it. A key
 * is a host, ".host" for it and all below, or host and path; a list needs no more to say yes. */
struct url_list {
    char *keys;      /* each: two bytes of length, and as many of text */
    uint8_t *tags;   /* open addressing by map_hash(): some of its bits, so that what is not there
                        is seldom looked for in |keys|; 0: empty */
    uint32_t *slots; /* offsets into |keys| */
    size_t mask;
    uint32_t *prefixes; /* of host and path with query, sorted, none begins with another */
    size_t n_prefixes;
    pcre2_code **regexes;
    size_t n_regexes;
};

struct span url_list_key(const struct url_list *l, uint32_t off);
/* The order of |prefixes|, by bytes: less, equal or more than 0. */
int url_list_compare(struct span a, struct span b);
/* Where |key| is or, with false, where it belongs, under which tag. */
struct url_list_place {
    size_t slot;
    uint8_t tag;
};
bool url_list_find(const struct url_list *l, struct span key, struct url_list_place *ret);

/* |text| is the file's, |file| its name in |errors|. ERR_CONFIG after faults; *ret is to be freed
 * with url_list_done() whatever the result. */
NODISCARD enum err url_list_parse(struct span text, const char *file, struct url_list *ret,
                                  struct buf *errors);
void url_list_done(struct url_list *l);

#endif
