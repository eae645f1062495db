/* SPDX-License-Identifier: Apache-2.0 */
/* Who sends what: the facts in a message's heads that rules, exceptions, engines and records speak
 * of, made plain. */
#include <arpa/inet.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "icap/icap_server_int.h"

/* ---- who ---- */

static bool is_believed(const struct listener_settings *set, const struct address *peer)
{

    for (unsigned i = 0; i < set->n_client_ip_from; i++)
        if (cidr_contains(&set->client_ip_from[i], peer))
            return true;
    return false;
}

/* An address without port. Squid says "-" for none, Nextcloud nothing. */
static bool parse_ip(const char *text, struct address *ret)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&ret->ss;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ret->ss;

    memset(ret, 0, sizeof *ret);
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        ret->len = sizeof *v4;
    } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        ret->len = sizeof *v6;
    }
    return ret->len > 0;
}

static bool is_printable(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    return true;
}

/* X-Authenticated-User is base64 of "scheme://path" (draft-stecher-icap-subid 3.4), but many
 * clients send plain text, so that only what decodes to a "scheme://" counts as encoded. The name
 * alone stays: "bob" of "Local://bob". */
static void plain_user(struct span user, char *dst, size_t cap)
{
    char in[256], out[256];
    const char *path;

    (void)span_copy(user, dst, cap);
    if (user.n == 0 || user.n >= sizeof in || user.n % 4 != 0)
        return;
    (void)span_copy(user, in, sizeof in);
    int n = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)in, (int)user.n);

    if (n <= 0 || (size_t)n >= sizeof out)
        return;
    out[n] = '\0';
    path = strstr(out, "://");
    if (path && is_printable(out))
        (void)span_copy(span_of(path + 3), dst, cap);
}

static void find_user(struct icap_transaction *tx, struct icap_subject *s)
{
    const struct head *icap = tx->req->icap;
    struct span user = head_value(icap, SPAN("X-Authenticated-User"));

    s->client = stream_peer(tx->conn->stream);
    (void)span_copy(head_value(icap, SPAN("X-Client-IP")), s->client_ip, sizeof s->client_ip);
    if (!user.p)
        user = head_value(icap, SPAN("X-Client-Username"));
    plain_user(user, s->user, sizeof s->user);
    s->believed = is_believed(tx->conn->accepted.settings, &s->client);
    struct address stated;

    if (s->believed && s->client_ip[0] && parse_ip(s->client_ip, &stated))
        s->client = stated;
}

/* ---- what ---- */

/* Authority and the rest of an absolute-form target (RFC 9112 3.2.2); it is empty for other forms.
 */
static struct span target_authority(struct span target, struct span *ret_path)
{
    struct span rest = target, scheme = span_cut(&rest, ':');
    size_t end = 0;

    *ret_path = target;
    if (!rest.p || !span_starts(rest, SPAN("//")) || !span_is_token(scheme))
        return SPAN_NONE;
    rest = span_sub(rest, 2, SIZE_MAX);
    while (end < rest.n && rest.p[end] != '/' && rest.p[end] != '?' && rest.p[end] != '#')
        end++;
    *ret_path = span_sub(rest, end, SIZE_MAX);
    return span_sub(rest, 0, end);
}

static struct span without_user(struct span authority)
{
    if (span_find(authority, '@') < authority.n)
        (void)span_cut(&authority, '@');
    return authority;
}

static struct span without_port(struct span host)
{
    if (span_starts(host, SPAN("[")))
        return span_sub(host, 0, span_find(host, ']') + 1);
    return span_sub(host, 0, span_find(host, ':'));
}

/* A port has digits alone; else somebody may take for the host what stands behind the ':'. */
static bool is_port(struct span s)
{
    size_t n = span_starts(s, SPAN(":"));

    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return n == s.n && (s.n == 0 || s.p[0] == ':');
}

const char *icap_target_conflict(const struct head *request)
{
    struct span path = SPAN_NONE, authority = request->target, host = authority;

    if (!span_eq(request->method, SPAN("CONNECT"))) {
        authority = target_authority(request->target, &path);
        host = without_user(authority);
    }
    /* Where a backslash is a slash the host ends before it, and where a fragment is none behind it.
     */
    if (span_find(authority, '\\') < authority.n || (host.n && span_starts(path, SPAN("#"))))
        return "malformed host in the request's target";
    for (size_t i = 0; i < host.n; i++)
        if (host.p[i] == ',' || host.p[i] == '@')
            return "malformed host in the request's target";
    return is_port(span_sub(host, without_port(host).n, SIZE_MAX))
               ? NULL
               : "malformed port in the request's target";
}

static void find_url(const struct head *http, struct icap_subject *s)
{
    struct span path = SPAN("/"), host;

    /* RFC 9110 9.3.6: a CONNECT goes where its target says, whatever stands in Host. */
    if (span_eq(http->method, SPAN("CONNECT")))
        host = http->target;
    else
        host = without_user(target_authority(http->target, &path));
    host = without_port(host.n ? host : head_value(http, SPAN("Host")));
    while (span_ends(host, SPAN(".")))
        host.n--;
    (void)span_copy(host, s->host, sizeof s->host);
    for (char *c = s->host; *c; c++)
        *c = char_lower(*c);
    s->path = path.n && strchr("/?#", path.p[0]) ? path : SPAN("/");
}

/* Content-Disposition names the file better than the URL does (RFC 6266); an upload's names its own
 * parts, which the worker looks at. */
static void find_file(const struct icap_request *req, struct icap_subject *s)
{
    const struct head *http = icap_message_head(req);
    struct span disposition = http ? head_value(http, SPAN("Content-Disposition")) : SPAN_NONE;

    if (!(disposition.p && file_name_disposition(disposition, &s->name)) && req->http_request)
        file_name_url(s->path, &s->name);
    s->type = http ? span_trim(head_value(http, SPAN("Content-Type"))) : SPAN_NONE;
    struct span rest = s->type;
    struct span declared = span_trim(span_cut(&rest, ';'));

    (void)span_copy(declared, s->declared, sizeof s->declared);
    for (char *c = s->declared; *c; c++)
        *c = char_lower(*c);
}

const struct head *icap_message_head(const struct icap_request *req)
{
    return req->method == ICAP_RESPMOD ? req->http_response : req->http_request;
}

/* RFC 9110 5.3: several fields are one list. Without memory it is a list that nobody can undo, so
 * that the body is not inspected. */
struct span icap_content_encoding(struct icap_transaction *tx, const struct head *http)
{
    const struct span name = SPAN("Content-Encoding");
    unsigned first = head_find(http, name, 0);
    struct buf list;
    struct span all;

    if (first >= http->n_fields)
        return SPAN_NONE;
    if (head_find(http, name, first + 1) >= http->n_fields)
        return span_trim(http->fields[first].value);
    buf_init(&list, 4096);
    for (unsigned i = first; i < http->n_fields; i = head_find(http, name, i + 1)) {
        if (list.n)
            buf_text(&list, ", ");
        buf_add(&list, span_trim(http->fields[i].value));
    }
    all = list.err ? SPAN_NONE : arena_dup(icap_arena(tx->conn->engine), buf_span(&list));
    buf_done(&list);
    return all.p ? all : SPAN("unknown");
}

void icap_subject_find(struct icap_transaction *tx)
{
    struct icap_subject *s = arena_alloc(icap_arena(tx->conn->engine), sizeof *s);

    tx->subject = s;
    if (!s)
        return;
    memset(s, 0, sizeof *s);
    s->path = SPAN("/");
    find_user(tx, s);
    if (tx->req->http_request)
        find_url(tx->req->http_request, s);
    find_file(tx->req, s);
}

void icap_subject_facts(struct icap_transaction *tx, struct facts *ret)
{
    const struct icap_subject *s = tx->subject;

    *ret = (struct facts){
        .client = s->client,
        .tenant = tx->tenant ? span_of(tx->tenant->name) : SPAN_NONE,
        .user = s->believed ? span_of(s->user) : SPAN_NONE,
        .method = span_of(icap_method_name(tx->method)),
        .host = span_of(s->host),
        .path = s->path,
        .name = span_of(s->name.text),
        .name_unknown = file_name_is_unknown(s->name.tricks),
        .declared = span_of(s->declared),
        .has_body_facts = tx->body_complete,
        .len = tx->body_len,
        .sha256 = tx->sha256,
        .result = tx->result,
        .objects = tx->objects,
        .steps = &tx->steps,
    };
}
