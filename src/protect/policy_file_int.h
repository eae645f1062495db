/* SPDX-License-Identifier: Apache-2.0 */
/* policy_file_int.h - the body of a policy: policy_parse.c makes it, policy_file.c holds it against
 * connections. */
#ifndef PROTECT_POLICY_FILE_INT_H
#define PROTECT_POLICY_FILE_INT_H

#include <stdatomic.h>

#include "base/arena.h"
#include "protect/policy_file.h"
#include "protect/want_int.h"

enum policy_kind { POLICY_RULE, POLICY_INTERFACE, POLICY_EXEMPT, POLICY_DEFAULT };

/* A network, or one address. */
struct policy_net {
    int family; /* 0: none given */
    uint8_t bytes[16];
    unsigned prefix;
};

/* What it is about; what is not given is not asked for. */
struct policy_scope {
    const char *interface, *service, *uid; /* NULL: any */
    struct policy_net to;
    int proto;     /* 0: any */
    unsigned port; /* 0: any */
};

struct policy_rule {
    enum policy_kind kind;
    unsigned line;
    struct policy_scope scope;
    sallyport_want *want;
};

struct policy_attr_rule {
    const char *text; /* "role=printer" */
    int kind;
    const char *pattern;
};

struct policy_file {
    _Atomic unsigned refs;
    struct arena mem; /* all strings */
    struct policy_rule rules[POLICY_RULES_MAX];
    unsigned n_rules;
    struct policy_attr_rule attrs[POLICY_ATTRS_MAX];
    unsigned n_attrs;
    uint32_t mark_bits; /* of packet marks that are ours; 0: none */
};

/* 4 or 16 bytes, of IPv4 inside IPv6 those of IPv4; NULL for another family. */
const uint8_t *policy_address_bytes(const struct sockaddr *a, int *ret_family);
/* "10.9.0.0/16", "2001:db8::1". False for anything else, also for bits behind the prefix. */
bool policy_net_parse(const char *text, struct policy_net *ret);
bool policy_net_contains(const struct policy_net *net, const struct sockaddr *a);

#endif
