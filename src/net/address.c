/* SPDX-License-Identifier: Apache-2.0 */
#include "net/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "base/map.h"
#include "base/reader.h"

static_assert(ADDRESS_TEXT_MAX >= sizeof "unix:" + sizeof(((struct sockaddr_un *)0)->sun_path),
              "a Unix path must fit");

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

/* sockaddr_storage is made to be read as one of these. */
static const struct sockaddr_in *in4(const struct address *a)
{
    return (const struct sockaddr_in *)(const void *)&a->ss;
}

static const struct sockaddr_in6 *in6(const struct address *a)
{
    return (const struct sockaddr_in6 *)(const void *)&a->ss;
}

static const struct sockaddr_un *un(const struct address *a)
{
    return (const struct sockaddr_un *)(const void *)&a->ss;
}

/* The four bytes of an IPv4 address, also of one that came in on an IPv6 socket. */
static const uint8_t *ipv4_bytes(const struct address *a)
{
    if (a->len == 0)
        return NULL;
    if (a->ss.ss_family == AF_INET)
        return (const uint8_t *)&in4(a)->sin_addr;
    if (a->ss.ss_family == AF_INET6 && memcmp(&in6(a)->sin6_addr, mapped_prefix, 12) == 0)
        return (const uint8_t *)&in6(a)->sin6_addr + 12;
    return NULL;
}

static struct span unix_path(const struct address *a)
{
    size_t head = offsetof(struct sockaddr_un, sun_path);
    size_t n = a->len > head ? a->len - head : 0;

    return (struct span){un(a)->sun_path, strnlen(un(a)->sun_path, n)};
}

static char *put_dec(char *p, unsigned v)
{
    char digits[10];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    while (at < sizeof digits)
        *p++ = digits[at++];
    return p;
}

/* inet_ntop(3) is a printf, and every record has such a text. Returns its end. */
static char *ipv4_text(const uint8_t v4[4], char *p)
{
    for (unsigned i = 0; i < 4; i++) {
        p = put_dec(p, v4[i]);
        *p++ = '.';
    }
    *--p = '\0';
    return p;
}

const char *address_host_text(const struct address *a, char dst[ADDRESS_TEXT_MAX])
{
    const uint8_t *v4 = ipv4_bytes(a);

    if (v4) {
        (void)ipv4_text(v4, dst);
    } else if (a->len > 0 && a->ss.ss_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &in6(a)->sin6_addr, dst, ADDRESS_TEXT_MAX);
    } else if (a->len > 0 && a->ss.ss_family == AF_UNIX) {
        size_t n = span_copy(SPAN("unix:"), dst, ADDRESS_TEXT_MAX);

        (void)span_copy(unix_path(a), dst + n, ADDRESS_TEXT_MAX - n);
    } else {
        (void)span_copy(SPAN("unknown"), dst, ADDRESS_TEXT_MAX);
    }
    return dst;
}

uint64_t address_hash(const struct address *a)
{
    const uint8_t *v4 = ipv4_bytes(a);

    if (v4)
        return map_hash(v4, 4);
    if (a->len && a->ss.ss_family == AF_INET6)
        return map_hash(&in6(a)->sin6_addr, 8);
    return 0;
}

unsigned address_port(const struct address *a)
{
    if (a->len == 0)
        return 0;
    if (a->ss.ss_family == AF_INET)
        return ntohs(in4(a)->sin_port);
    if (a->ss.ss_family == AF_INET6)
        return ntohs(in6(a)->sin6_port);
    return 0;
}

const char *address_text(const struct address *a, char dst[ADDRESS_TEXT_MAX])
{
    const uint8_t *v4 = ipv4_bytes(a);
    char *p = dst;

    if (v4) {
        p = ipv4_text(v4, p);
    } else if (a->len == 0 || a->ss.ss_family != AF_INET6) {
        return address_host_text(a, dst);
    } else {
        *p++ = '[';
        (void)inet_ntop(AF_INET6, &in6(a)->sin6_addr, p, INET6_ADDRSTRLEN);
        p += strlen(p);
        *p++ = ']';
    }
    *p++ = ':';
    p = put_dec(p, address_port(a));
    *p = '\0';
    return dst;
}

static enum err parse_unix(struct span path, struct address *ret)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    if (path.n == 0 || path.n >= sizeof sa.sun_path || span_find(path, '\0') != path.n)
        return ERR_SYNTAX;
    (void)span_copy(path, sa.sun_path, sizeof sa.sun_path);
    *ret = (struct address){.len = sizeof sa};
    memcpy(&ret->ss, &sa, sizeof sa);
    return OK;
}

static enum err parse_ip(struct span host, uint16_t port, bool v6, struct address *ret)
{
    struct sockaddr_in sa4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 sa6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    char text[INET6_ADDRSTRLEN];

    if (host.n >= sizeof text || span_find(host, '\0') != host.n)
        return ERR_SYNTAX;
    (void)span_copy(host, text, sizeof text);
    if (inet_pton(v6 ? AF_INET6 : AF_INET, text,
                  v6 ? (void *)&sa6.sin6_addr : (void *)&sa4.sin_addr) != 1)
        return ERR_SYNTAX;
    *ret = (struct address){.len = v6 ? sizeof sa6 : sizeof sa4};
    memcpy(&ret->ss, v6 ? (const void *)&sa6 : (const void *)&sa4, ret->len);
    return OK;
}

enum err address_parse(struct span text, struct address *ret)
{
    struct span host, port;
    uint64_t number;
    size_t colon = text.n;

    if (span_starts(text, SPAN("unix:")))
        return parse_unix(span_sub(text, 5, SIZE_MAX), ret);
    while (colon > 0 && text.p[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return ERR_SYNTAX;
    host = span_sub(text, 0, colon - 1);
    port = span_sub(text, colon, SIZE_MAX);
    TRY(span_u64(port, UINT16_MAX, &number));
    if (span_eq(host, SPAN("*")))
        return parse_ip(SPAN("::"), (uint16_t)number, true, ret);
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        return parse_ip(span_sub(host, 1, host.n - 2), (uint16_t)number, true, ret);
    return parse_ip(host, (uint16_t)number, false, ret);
}

bool address_is_loopback(const struct address *a)
{
    const uint8_t *v4 = ipv4_bytes(a);

    if (v4)
        return v4[0] == 127;
    if (a->len == 0)
        return false;
    if (a->ss.ss_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&in6(a)->sin6_addr);
    return a->ss.ss_family == AF_UNIX;
}

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;

    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

bool cidr_contains(const struct cidr *c, const struct address *a)
{
    const uint8_t *v4 = ipv4_bytes(a);

    if (c->family == AF_INET)
        return v4 && c->prefix <= 32 && bits_equal(c->bytes, v4, c->prefix);
    if (c->family != AF_INET6 || a->len == 0 || a->ss.ss_family != AF_INET6 || c->prefix > 128)
        return false;
    return bits_equal(c->bytes, (const uint8_t *)&in6(a)->sin6_addr, c->prefix);
}

enum err cidr_parse(struct span text, struct cidr *ret)
{
    struct cidr c = {.family = span_find(text, ':') < text.n ? AF_INET6 : AF_INET};
    unsigned bits = c.family == AF_INET6 ? 128 : 32;
    struct span rest = text, host = span_cut(&rest, '/');
    char literal[INET6_ADDRSTRLEN];
    uint64_t prefix = bits;

    if (host.n >= sizeof literal || span_find(host, '\0') != host.n)
        return ERR_SYNTAX;
    (void)span_copy(host, literal, sizeof literal);
    if (inet_pton(c.family, literal, c.bytes) != 1)
        return ERR_SYNTAX;
    if (rest.p)
        TRY(span_u64(rest, bits, &prefix));
    c.prefix = (unsigned)prefix;
    for (unsigned i = c.prefix; i < bits; i++)
        if (c.bytes[i / 8] & (0x80u >> (i % 8)))
            return ERR_SYNTAX;
    *ret = c;
    return OK;
}
