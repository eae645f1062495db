/* SPDX-License-Identifier: Apache-2.0 */
/* policy_file.h - what the administrator of this machine demands of connections, whatever programs
 * ask for: the file of sallyport_policy(5). Every line that is about a connection holds, together
 * with what the program wants, so that lines can only tighten; but for `exempt`, which is for one
 * program that says so.
 *
 * Immutable once parsed, counted, any thread. Nothing here reads files or asks the system:
 * policy_load.h does. */
#ifndef PROTECT_POLICY_FILE_H
#define PROTECT_POLICY_FILE_H

#include <stdint.h>
#include <sys/socket.h>

#include "base/span.h"
#include "sallyport/want.h"

#define POLICY_TEXT_MAX  (256u << 10)
#define POLICY_RULES_MAX 256u
#define POLICY_ATTRS_MAX 256u
#define POLICY_WHY_MAX   160u

struct policy_file;

struct policy_fault {
    unsigned line; /* 0: all of it */
    char why[POLICY_WHY_MAX];
};

/* Starts with one reference. ERR_SYNTAX and *ret_fault; ERR_NOMEM. */
NODISCARD enum err policy_parse(struct span text, struct policy_file **ret,
                                struct policy_fault *ret_fault);
struct policy_file *policy_ref(const struct policy_file *p); /* NULL is fine */
void policy_unref(struct policy_file *p);                    /* NULL is fine */

/* What a connection is, as far as it is known. A line that tightens holds where it is not known
 * whether it is about this one; a line that exempts does not. */
struct policy_flow {
    const char *interface; /* NULL: not known */
    const struct sockaddr *local,
        *remote;         /* not IP: no line about addresses or ports; NULL: not known */
    int proto;           /* IPPROTO_*; 0: not known */
    const char *service; /* what the program is; NULL: nothing that it says */
    const char *user;    /* whom it runs as; NULL: not known */
    uint32_t uid;
};

struct report_cause;
/* Is |report| what |policy| and |want| demand together of |flow|? 0, or -errno and *ret_cause,
 * whose strings are static and whose |raw| is the line, if it was one. All but |flow| may be NULL.
 */
int policy_check(const struct policy_file *policy, const struct policy_flow *flow,
                 const sallyport_want *want, const sallyport_report *report,
                 struct report_cause *ret_cause);

/* One demand on a connection. */
struct policy_demand {
    const char *by; /* "want", "interface", "rule", "default", "exempt" */
    unsigned line;  /* 0: none */
    const sallyport_want *want;
};
/* Everything that is demanded of |flow|; what |fn| returns other than 0 ends it and is returned. A
 * want that may not be below the policy is -EPERM, without a call. */
int policy_demands(const struct policy_file *policy, const struct policy_flow *flow,
                   const sallyport_want *want, int (*fn)(void *arg, const struct policy_demand *d),
                   void *arg);

/* The |i|-th attribute that |policy| gives |peer|, "role=printer"; NULL past the last. Lives as
 * long as the policy. */
const char *policy_attr(const struct policy_file *policy, const sallyport_peer *peer, size_t i);
/* Does a line speak of interfaces? */
bool policy_names_interfaces(const struct policy_file *policy);

#endif
