/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_translate_printer.c - what is told of a printer of the gateway: where it is, how one proves
 * oneself to it; and which URIs of the printer behind it lead past the gateway. */
#include "ipp/ipp_translate_int.h"

#include <arpa/inet.h>

/* ---- how users prove themselves ---- */

static bool asks_for_user(const struct ipp_printer_settings *set)
{
    return set->require & 1u << IPP_REQUIRE_DIGEST || set->allow.n > 0 ||
           set->anonymous == IPP_ANONYMOUS_NOTHING;
}

static bool asks_for_password(const struct ipp_public_printer *p)
{
    return asks_for_user(p->set) && p->digest && !(p->set->require & 1u << IPP_REQUIRE_CERTIFICATE);
}

/* RFC 8011 5.4.2 has one keyword for each URI: of several ways the one that most clients can go. */
const char *ipp_public_authentication(const struct ipp_public_printer *p, bool is_tls)
{
    bool needs_digest = p->set->require & 1u << IPP_REQUIRE_DIGEST;

    if (p->set->require & 1u << IPP_REQUIRE_CERTIFICATE)
        return "certificate";
    if (asks_for_password(p))
        return p->set->basic && is_tls && !needs_digest ? "basic" : "digest";
    return asks_for_user(p->set) && is_tls ? "certificate" : "requesting-user-name";
}

/* ---- where it is ---- */

static bool needs_tls(const struct ipp_demand *demand)
{
    return demand->auth & IPP_AUTH_CHANNEL || demand->level.channel != IPP_CHANNEL_CLEAR;
}

bool ipp_public_in_clear(const struct ipp_public_printer *p)
{
    struct ipp_demand demand = ipp_printer_demand(p->set);

    return p->front.port && (p->upgrades || !needs_tls(&demand));
}

static void add_uri(struct ipp_public_uris *uris, const struct ipp_public_printer *p,
                    const struct ipp_uri *uri)
{
    struct writer w = writer_of(uris->room + uris->n * IPP_URI_MAX, IPP_URI_MAX);
    bool is_tls = uri->secure || uri->auth & IPP_AUTH_CHANNEL;

    if (ipp_uri_format(uri, &w) != OK)
        return;
    uris->v[uris->n++] = (struct ipp_public_uri){
        .uri = writer_span(&w),
        .authentication = ipp_public_authentication(p, is_tls),
        .security = is_tls ? "tls" : "none",
    };
}

void ipp_public_uris_make(struct ipp_public_uris *ret, const struct ipp_public_printer *p)
{
    struct ipp_demand demand = ipp_printer_demand(p->set);
    struct ipp_uri uri = {.host = p->front.host, .path = span_of(p->set->path)};

    ret->n = 0;
    if (p->front.secure_port) {
        uri.secure = true;
        uri.port = p->front.secure_port == IPP_PORT ? 0 : p->front.secure_port;
        add_uri(ret, p, &uri);
    }
    uri.secure = false;
    uri.port = p->front.port;
    if (needs_tls(&demand))
        uri.auth = demand.auth | IPP_AUTH_TLS;
    if (ipp_public_in_clear(p))
        add_uri(ret, p, &uri);
    if (p->single && ret->n > 1) {
        ret->v[0] = ret->v[p->secure ? 0 : ret->n - 1];
        ret->n = 1;
    }
}

/* ---- attributes ---- */

/* The name belongs to the first value only. */
static struct span name_at(struct span name, size_t i)
{
    return i == 0 ? name : SPAN_NONE;
}

void ipp_write_printer_uris(struct ipp_writer *w, const struct ipp_public_uris *uris)
{
    for (size_t i = 0; i < uris->n; i++)
        ipp_write_string(w, IPP_VALUE_URI, name_at(SPAN("printer-uri-supported"), i),
                         uris->v[i].uri);
}

void ipp_write_uri_security(struct ipp_writer *w, const struct ipp_public_uris *uris)
{
    for (size_t i = 0; i < uris->n; i++)
        ipp_write_string(w, IPP_VALUE_KEYWORD, name_at(SPAN("uri-security-supported"), i),
                         span_of(uris->v[i].security));
}

void ipp_write_uri_authentication(struct ipp_writer *w, const struct ipp_public_uris *uris)
{
    for (size_t i = 0; i < uris->n; i++)
        ipp_write_string(w, IPP_VALUE_KEYWORD, name_at(SPAN("uri-authentication-supported"), i),
                         span_of(uris->v[i].authentication));
}

void ipp_write_xri(struct ipp_writer *w, const struct ipp_public_uris *uris)
{
    for (size_t i = 0; i < uris->n; i++) {
        const struct ipp_public_uri *u = &uris->v[i];

        ipp_write_collection(w, name_at(SPAN("printer-xri-supported"), i));
        ipp_write_string(w, IPP_VALUE_URI, SPAN("xri-uri"), u->uri);
        ipp_write_string(w, IPP_VALUE_KEYWORD, SPAN("xri-authentication"),
                         span_of(u->authentication));
        ipp_write_string(w, IPP_VALUE_KEYWORD, SPAN("xri-security"), span_of(u->security));
        ipp_write_collection_end(w);
    }
}

void ipp_write_auth_info(struct ipp_writer *w, const struct ipp_public_printer *p)
{
    struct span name = SPAN("auth-info-required");
    bool password = asks_for_password(p);

    ipp_write_string(w, IPP_VALUE_KEYWORD, name, password ? SPAN("username") : SPAN("none"));
    if (password)
        ipp_write_string(w, IPP_VALUE_KEYWORD, SPAN_NONE, SPAN("password"));
}

void ipp_write_printer_uri(struct ipp_writer *w, struct span name,
                           const struct ipp_public_uris *uris)
{
    if (uris->n)
        ipp_write_string(w, IPP_VALUE_URI, name,
                         span_sub(uris->v[0].uri, 0, span_find(uris->v[0].uri, ';')));
}

void ipp_write_job_uri(struct ipp_writer *w, const struct ipp_public_printer *p,
                       const struct ipp_job *job)
{
    char path_room[sizeof "/jobs/2147483647"], room[IPP_URI_MAX];
    struct writer path = writer_of(path_room, sizeof path_room);
    struct writer uri = writer_of(room, sizeof room);

    write_fmt(&path, "/jobs/%d", (int)job->id);
    if (ipp_uri_format_job(&p->front, writer_span(&path), job->made, p->job_style, &uri) == OK)
        ipp_write_string(w, IPP_VALUE_URI, SPAN("job-uri"), writer_span(&uri));
}

/* ---- hosts ---- */

/* An address in the form of IPv6, IPv4 mapped into it. */
struct ip {
    char bytes[16];
};

static bool parse_ip(struct span host, struct ip *ret)
{
    static const char mapped[12] = "\0\0\0\0\0\0\0\0\0\0\xff\xff";
    char text[INET6_ADDRSTRLEN];

    if (span_copy(host, text, sizeof text) < host.n)
        return false;
    if (inet_pton(AF_INET6, text, ret->bytes) == 1)
        return true;
    memcpy(ret->bytes, mapped, sizeof mapped);
    return inet_pton(AF_INET, text, ret->bytes + sizeof mapped) == 1;
}

static struct span ip_part(const struct ip *a, size_t from, size_t n)
{
    return (struct span){a->bytes + from, n};
}

/* 127.0.0.0/8 and ::1 (RFC 6890), and 0.0.0.0 and ::, which lead to the same place. */
static bool is_loopback(const struct ip *a)
{
    static const char zeros[15];
    struct span v4 = SPAN("\0\0\0\0\0\0\0\0\0\0\xff\xff");

    if (span_eq(ip_part(a, 0, 12), v4))
        return a->bytes[12] == 127 || span_eq(ip_part(a, 12, 4), (struct span){zeros, 4});
    return span_eq(ip_part(a, 0, 15), (struct span){zeros, 15}) &&
           (a->bytes[15] == 0 || a->bytes[15] == 1);
}

/* The authority (RFC 3986 3.2) without user and port; empty where there is none. */
static struct span host_of(struct span uri)
{
    size_t at = 0, end = 0, user;
    struct span host;

    while (at + 1 < uri.n && (uri.p[at] != '/' || uri.p[at + 1] != '/'))
        at++;
    host = span_sub(uri, at + 2, SIZE_MAX);
    while (end < host.n && host.p[end] != '/' && host.p[end] != '?' && host.p[end] != '#')
        end++;
    host = span_sub(host, 0, end);
    for (user = span_find(host, '@'); user < host.n; user = span_find(host, '@'))
        host = span_sub(host, user + 1, SIZE_MAX);
    if (host.n && host.p[0] == '[')
        host = span_sub(host, 1, span_find(host, ']') - 1);
    else
        host = span_sub(host, 0, span_find(host, ':'));
    return span_sub(host, 0, span_find(host, '%')); /* a zone: RFC 6874 */
}

/* A name may end with the root's dot. */
static struct span without_dot(struct span host)
{
    return span_ends(host, SPAN(".")) ? span_sub(host, 0, host.n - 1) : host;
}

static bool is_localhost(struct span host)
{
    struct span name = SPAN("localhost"), below = SPAN(".localhost");
    struct span end = span_sub(host, host.n > below.n ? host.n - below.n : host.n, SIZE_MAX);

    return span_ieq(host, name) || span_ieq(end, below) || /* RFC 6761 6.3 */
           span_ieq(host, SPAN("localhost.localdomain"));
}

bool ipp_uri_is_inside(struct span uri, struct span backend_host)
{
    struct span host = without_dot(host_of(uri)), backend = without_dot(backend_host);
    struct ip a, b;

    if (host.n == 0)
        return false;
    if (span_ieq(host, backend) || is_localhost(host))
        return true;
    if (!parse_ip(host, &a))
        return false;
    return is_loopback(&a) ||
           (parse_ip(backend, &b) && span_eq(ip_part(&a, 0, 16), ip_part(&b, 0, 16)));
}
