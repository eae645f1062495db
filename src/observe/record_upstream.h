/* SPDX-License-Identifier: Apache-2.0 */
/* record_upstream.h - what records say of a connection that carried a request on: to a printer, to
 * a scanner elsewhere, to clamd. It is made once for each connection, as text, and shared by the
 * records of all that went over it.
 *
 * Threads: belongs to the thread of its loop. */
#ifndef OBSERVE_RECORD_UPSTREAM_H
#define OBSERVE_RECORD_UPSTREAM_H

#include "base/err.h"
#include "net/upstream.h"

struct record_upstream;

/* To whom. Strings are borrowed for each call. */
struct record_upstream_name {
    const char *to;      /* "backend", "icap", "clamd" */
    const char *address; /* or name, as it was configured */
};
struct record_upstream_facts {
    struct record_upstream_name name;
    const sallyport_report *report; /* HOW, WHO, WHY; NULL: there is none, and was no connection */
    const sallyport_why *why;       /* what a policy refused it for; NULL: what |report| has */
    enum err err;                   /* OK: it was used */
    const char *error_text;         /* with |err| */
};

/* With one reference; NULL: out of memory. */
struct record_upstream *record_upstream_new(const struct record_upstream_facts *f);
struct record_upstream *record_upstream_ref(struct record_upstream *u); /* NULL is fine */
void record_upstream_unref(struct record_upstream *u);                  /* NULL is fine */
/* The JSON object. */
struct span record_upstream_text(const struct record_upstream *u);

/* Of a connection that a pool gave: made with the first call, and again when its report has become
 * another one. |why|: as above. Borrowed, as long as the connection is; NULL: out of memory. */
struct record_upstream *record_upstream_of(struct stream *s,
                                           const struct record_upstream_name *name,
                                           const sallyport_why *why);
/* Inside the call-back in which |pool| says that it has no connection. With one reference; NULL:
 * out of memory, or it has tried none. */
struct record_upstream *record_upstream_refused(const struct upstream *pool,
                                                const struct record_upstream_name *name,
                                                enum err err, const char *error_text);

#define RECORD_UPSTREAMS_MAX 4

/* Those of one record, each once. */
struct record_upstreams {
    struct record_upstream *v[RECORD_UPSTREAMS_MAX];
    unsigned n;
};
/* With a reference of its own. NULL is fine; past the last place it is dropped. */
void record_upstreams_add(struct record_upstreams *list, struct record_upstream *u);
void record_upstreams_done(struct record_upstreams *list);

#endif
