/* SPDX-License-Identifier: Apache-2.0 */
/* url_lists.h - lists of hosts and URLs, from files that an operator or a feed keeps up to date.
 * One entry a line; '#' begins a comment at the start of a line or after a blank:
 *
 *   host.example            this host, every path
 *   .example                example and every host below it
 *   host.example/path       exactly this path (without query)
 *   host.example/path*      every path (and query) that begins so
 *   192.0.2.7               an address in the URL; [2001:db8::7] likewise
 *   ~^cdn[0-9]+\.example/x  a regular expression (PCRE2, any case) over host and path with query
 *
 * A scheme ("https://") and a port before the path are left out. Both entries and URLs are compared
 * in the spelling of url_normal.h: hosts without case and closing dot, addresses in one form, dot
 * segments removed, what need not be percent-encoded plain. Paths keep their case and their double
 * slashes. Compiled once, immutable, any thread. */
#ifndef ADAPT_URL_LISTS_H
#define ADAPT_URL_LISTS_H

#include "base/buf.h"
#include "config/config.h"

enum url_list_action { URL_LIST_MATCH, URL_LIST_DENY, URL_LIST_ALLOW, URL_LIST_NOTE };

struct url_list_settings {
    const char *name;
    const char *file;
    enum url_list_action action; /* what the engine url does; MATCH: only rules ask for it */
};
extern const struct config_block url_list_block;

struct url_lists;
/* Compiles; |text|(arg, path) gives each file's contents (p == NULL: not there). |errors|:
 * "FILE:LINE: text\n" for the first few faults of every file. ERR_CONFIG for a line that is no
 * entry, a regular expression that does not compile, a name that is there twice. The digest is of
 * all contents. */
struct url_lists_source {
    const struct url_list_settings *lists;
    size_t n;
    struct span (*text)(void *arg, const char *path);
    void *arg;
};
NODISCARD enum err url_lists_new(const struct url_lists_source *src, struct url_lists **ret,
                                 struct buf *errors);
void url_lists_free(struct url_lists *u); /* NULL is fine */

/* Index of the list |name|, or -1. */
int url_lists_find(const struct url_lists *u, struct span name);
/* Is |host| |path| on list |i|? |host| has no port, and may have the brackets of an IPv6 address;
 * an empty one is on no list. |path| may have a query; "" is "/". Regular expressions that hit
 * their limits, a host that is none and a URL over 256 KiB count as a match, but not for ALLOW
 * lists (fail closed); *ret_limit (may be NULL) says so: who allows because of a match must look at
 * it. */
bool url_lists_match(const struct url_lists *u, unsigned i, struct span host, struct span path,
                     bool *ret_limit);
/* What the engine url says: the first list with ALLOW that matches, else the first with DENY, else
 * the first NOTE. NULL: none. */
const struct url_list_settings *url_lists_verdict(const struct url_lists *u, struct span host,
                                                  struct span path);
/* "url 0123456789abcdef": into ISTags. */
const char *url_lists_text(const struct url_lists *u);

#endif
