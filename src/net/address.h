/* SPDX-License-Identifier: Apache-2.0 */
/* address.h - where a peer is: IPv4, IPv6 or a Unix path, as a value. */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/span.h"

struct address {
    struct sockaddr_storage ss;
    socklen_t len; /* 0: unknown */
};

#define ADDRESS_TEXT_MAX 128

/* "192.0.2.7:1344", "[2001:db8::7]:1344", "unix:/path"; "unknown" when len is 0. Always closed by
 * NUL. */
const char *address_text(const struct address *a, char dst[ADDRESS_TEXT_MAX]);
/* Without the port. An IPv4-mapped IPv6 address prints as IPv4. */
const char *address_host_text(const struct address *a, char dst[ADDRESS_TEXT_MAX]);
/* Who that is, for fair shares: a keyed hash of the host, of its /64 for IPv6, since a user has
 * one of those at least; 0 when it has none. */
uint64_t address_hash(const struct address *a);
unsigned address_port(const struct address *a);
/* "ADDR:PORT", "[ADDR]:PORT", "*:PORT" (all, IPv6 socket that takes both), "unix:/path"; literals
 * only, no look-up. */
NODISCARD enum err address_parse(struct span text, struct address *ret);
bool address_is_loopback(const struct address *a);

/* A network; IPv4 ones also match IPv4-mapped addresses. */
struct cidr {
    int family; /* AF_INET, AF_INET6 */
    uint8_t bytes[16];
    unsigned prefix;
};
/* "10.0.0.0/8", "2001:db8::/32", or one address. ERR_SYNTAX, also for bits behind the prefix. */
NODISCARD enum err cidr_parse(struct span text, struct cidr *ret);
bool cidr_contains(const struct cidr *c, const struct address *a);

#endif
