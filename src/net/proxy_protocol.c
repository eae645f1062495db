/* SPDX-License-Identifier: Apache-2.0 */
#include "net/proxy_protocol.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/reader.h"

#define V1_MAX     107u /* proxy-protocol.txt 2.1, with CRLF */
#define V2_HEAD    16u
#define V2_LEN_MAX (PROXY_HEADER_MAX - V2_HEAD)

#define V2_SIGNATURE SPAN("\r\n\r\n\0\r\nQUIT\n")
#define V1_SIGNATURE SPAN("PROXY ")

static struct address address_of(int family, const void *ip, uint16_t port)
{
    struct sockaddr_in sa4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 sa6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct address a = {.len = family == AF_INET ? sizeof sa4 : sizeof sa6};

    if (family == AF_INET) {
        memcpy(&sa4.sin_addr, ip, 4);
        memcpy(&a.ss, &sa4, sizeof sa4);
    } else {
        memcpy(&sa6.sin6_addr, ip, 16);
        memcpy(&a.ss, &sa6, sizeof sa6);
    }
    return a;
}

/* Version 1: a line of text (2.1). */

static bool parse_ip(int family, struct span text, uint8_t ip[16])
{
    char z[INET6_ADDRSTRLEN];

    if (text.n == 0 || text.n >= sizeof z || span_find(text, '\0') != text.n)
        return false;
    (void)span_copy(text, z, sizeof z);
    return inet_pton(family, z, ip) == 1;
}

/* "a decimal integer in range 0..65535"; the text shows it without leading zeros. */
static bool parse_port(struct span text, uint16_t *ret)
{
    uint64_t v;

    if ((text.n > 1 && text.p[0] == '0') || text.n > 5 || span_u64(text, UINT16_MAX, &v) != OK)
        return false;
    *ret = (uint16_t)v;
    return true;
}

static enum err parse_v1_line(struct span line, bool *ret_has_peer, struct address *ret_peer,
                              struct fault *reterr)
{
    struct span rest = span_sub(line, V1_SIGNATURE.n, SIZE_MAX);
    struct span protocol = span_cut(&rest, ' ');
    struct span source = span_cut(&rest, ' ');
    struct span destination = span_cut(&rest, ' ');
    struct span source_port = span_cut(&rest, ' ');
    uint8_t ip[16], other_ip[16];
    uint16_t port, other_port;
    int family = AF_INET;

    *ret_has_peer = false;
    if (span_eq(protocol, SPAN("UNKNOWN"))) /* the rest of the line is to be ignored */
        return OK;
    if (span_eq(protocol, SPAN("TCP6")))
        family = AF_INET6;
    else if (!span_eq(protocol, SPAN("TCP4")))
        return fault_set(reterr, ERR_PROTO, 0, V1_SIGNATURE.n,
                         "PROXY v1 header with an unknown protocol");
    if (!parse_ip(family, source, ip) || !parse_ip(family, destination, other_ip))
        return fault_set(reterr, ERR_PROTO, 0, V1_SIGNATURE.n, "PROXY v1 header without addresses");
    if (!parse_port(source_port, &port) || !parse_port(rest, &other_port))
        return fault_set(reterr, ERR_PROTO, 0, V1_SIGNATURE.n, "PROXY v1 header without ports");
    *ret_peer = address_of(family, ip, port);
    *ret_has_peer = true;
    return OK;
}

static enum err parse_v1(struct span in, size_t *ret_used, bool *ret_has_peer,
                         struct address *ret_peer, struct fault *reterr)
{
    struct span head = span_sub(in, 0, V1_MAX);
    size_t lf = span_find(head, '\n');

    if (lf == head.n)
        return head.n < V1_MAX ? ERR_AGAIN
                               : fault_set(reterr, ERR_PROTO, 0, V1_MAX,
                                           "PROXY v1 header longer than 107 bytes");
    if (lf < V1_SIGNATURE.n || head.p[lf - 1] != '\r')
        return fault_set(reterr, ERR_PROTO, 0, lf, "PROXY v1 header does not end in CR LF");
    TRY(parse_v1_line(span_sub(head, 0, lf - 1), ret_has_peer, ret_peer, reterr));
    *ret_used = lf + 1;
    return OK;
}

/* Version 2: binary (2.2). */

enum { V2_LOCAL = 0x20, V2_PROXY = 0x21 };
enum { V2_UNSPEC = 0x00, V2_TCP4 = 0x11, V2_TCP6 = 0x21, V2_UNIX_STREAM = 0x31 };

static enum err parse_v2_addresses(uint8_t family, struct span body, bool *ret_has_peer,
                                   struct address *ret_peer, struct fault *reterr)
{
    struct reader r = reader_of(body.p, body.n);
    size_t ip_len = family == V2_TCP4 ? 4 : 16;

    *ret_has_peer = false;
    if (family == V2_UNSPEC)
        return OK;
    if (family == V2_UNIX_STREAM) { /* a peer, but none that an access list could name */
        (void)read_span(&r, 216);
        return r.err ? fault_set(reterr, ERR_PROTO, 0, V2_HEAD, "PROXY v2 addresses are cut short")
                     : OK;
    }
    if (family != V2_TCP4 && family != V2_TCP6)
        return fault_set(reterr, ERR_PROTO, 0, 13, "PROXY v2 header with an unknown family");
    struct span source = read_span(&r, ip_len);

    (void)read_span(&r, ip_len);
    uint16_t port = read_u16(&r);

    (void)read_u16(&r);
    if (r.err)
        return fault_set(reterr, ERR_PROTO, 0, V2_HEAD, "PROXY v2 addresses are cut short");
    *ret_peer = address_of(family == V2_TCP4 ? AF_INET : AF_INET6, source.p, port);
    *ret_has_peer = true;
    return OK;
}

static enum err parse_v2(struct span in, size_t *ret_used, bool *ret_has_peer,
                         struct address *ret_peer, struct fault *reterr)
{
    struct reader r = reader_of(in.p, in.n);

    (void)read_span(&r, V2_SIGNATURE.n);
    uint8_t command = read_u8(&r);
    uint8_t family = read_u8(&r);
    uint16_t len = read_u16(&r);

    /* As early as it can be told. */
    if (in.n > V2_SIGNATURE.n && command != V2_LOCAL && command != V2_PROXY)
        return fault_set(reterr, ERR_PROTO, 0, V2_SIGNATURE.n,
                         "PROXY v2 header with an unknown version or command");
    if (r.err)
        return ERR_AGAIN;
    if (len > V2_LEN_MAX)
        return fault_set(reterr, ERR_PROTO, 0, 14, "PROXY v2 header longer than 536 bytes");
    struct span body = read_span(&r, len);

    if (r.err)
        return ERR_AGAIN;
    if (command == V2_LOCAL) /* the proxy itself, checking on us */
        *ret_has_peer = false;
    else
        TRY(parse_v2_addresses(family, body, ret_has_peer, ret_peer, reterr));
    *ret_used = V2_HEAD + len;
    return OK;
}

enum err proxy_header_parse(struct span in, size_t *ret_used, bool *ret_has_peer,
                            struct address *ret_peer, struct fault *reterr)
{
    if (span_starts(in, V2_SIGNATURE))
        return parse_v2(in, ret_used, ret_has_peer, ret_peer, reterr);
    if (span_starts(in, V1_SIGNATURE))
        return parse_v1(in, ret_used, ret_has_peer, ret_peer, reterr);
    if (span_starts(V2_SIGNATURE, in) || span_starts(V1_SIGNATURE, in))
        return ERR_AGAIN;
    return fault_set(reterr, ERR_PROTO, 0, 0, "no PROXY header where one is required");
}
