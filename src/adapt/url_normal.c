/* SPDX-License-Identifier: Apache-2.0 */
#include "adapt/url_normal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

/* RFC 3986 2.3 */
static bool is_unreserved(char c)
{
    char l = char_lower(c);

    return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
           c == '~';
}

/* The byte that the three characters at |i| encode, or -1. */
static int percent_at(struct span s, size_t i)
{
    int high, low;

    if (s.p[i] != '%' || s.n - i < 3)
        return -1;
    high = char_hex(s.p[i + 1]);
    low = char_hex(s.p[i + 2]);
    return high >= 0 && low >= 0 ? high * 16 + low : -1;
}

static bool percent_is_unreserved(struct span s, size_t i)
{
    int c = percent_at(s, i);

    return c >= 0 && is_unreserved((char)c);
}

/* ---- host ---- */

/* Blanks, control characters and what separates a host from the rest of a URL. */
static bool is_foreign(char c)
{
    return (unsigned char)c <= 0x20 || c == 0x7f || c == '/' || c == '?' || c == '#' || c == '@' ||
           c == '\\';
}

static enum err host_text(struct span host, struct url_host *ret)
{
    size_t n = 0;

    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];

        if (percent_is_unreserved(host, i)) {
            c = (char)percent_at(host, i);
            i += 2;
        }
        if (is_foreign(c))
            return ERR_SYNTAX;
        if (n == URL_HOST_MAX)
            return ERR_LIMIT;
        ret->text[n++] = char_lower(c);
    }
    if (n > 0 && ret->text[n - 1] == '.')
        n--;
    ret->text[n] = '\0';
    ret->n = n;
    return OK;
}

static void host_ipv4(struct url_host *h, const struct in_addr *a)
{
    (void)inet_ntop(AF_INET, a, h->text, INET_ADDRSTRLEN);
    h->n = strnlen(h->text, INET_ADDRSTRLEN);
    h->address = true;
}

/* inet_aton() reads octal, hexadecimal and short forms, and so do the resolvers of proxies. */
static void host_try_ipv4(struct url_host *h)
{
    struct in_addr a;

    if (h->n == 0 || h->text[0] < '0' || h->text[0] > '9')
        return;
    for (size_t i = 0; i < h->n; i++)
        if (char_hex(h->text[i]) < 0 && h->text[i] != '.' && h->text[i] != 'x')
            return;
    if (inet_aton(h->text, &a))
        host_ipv4(h, &a);
}

static void host_try_ipv6(struct url_host *h)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr a;
    struct span inner = {h->text, h->n};

    if (inner.n > 2 && inner.p[0] == '[' && inner.p[inner.n - 1] == ']')
        inner = span_sub(inner, 1, inner.n - 2);
    if (inner.n >= sizeof text || span_find(inner, ':') == inner.n)
        return;
    (void)span_copy(inner, text, sizeof text);
    if (inet_pton(AF_INET6, text, &a) != 1)
        return;
    if (IN6_IS_ADDR_V4MAPPED(&a)) {
        struct in_addr v4;

        memcpy(&v4, &a.s6_addr[12], sizeof v4);
        host_ipv4(h, &v4);
        return;
    }
    h->text[0] = '[';
    (void)inet_ntop(AF_INET6, &a, h->text + 1, INET6_ADDRSTRLEN);
    h->n = strnlen(h->text, sizeof h->text - 2);
    h->text[h->n++] = ']';
    h->text[h->n] = '\0';
    h->address = true;
}

enum err url_host_normal(struct span host, struct url_host *ret)
{
    struct url_host h;

    h.address = false;
    TRY(host_text(host, &h));
    host_try_ipv4(&h);
    if (!h.address)
        host_try_ipv6(&h);
    *ret = h;
    return OK;
}

/* ---- path ---- */

static size_t put_percent(char *p, unsigned char c)
{
    static const char digits[] = "0123456789ABCDEF";

    p[0] = '%';
    p[1] = digits[c >> 4];
    p[2] = digits[c & 15];
    return 3;
}

static void add_plain(struct span s, struct buf *out)
{
    char *p = s.n <= SIZE_MAX / 3 ? buf_reserve(out, 3 * s.n) : NULL;
    size_t n = 0;

    if (!p)
        return;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        int encoded = percent_at(s, i);

        if (encoded >= 0) {
            c = (unsigned char)encoded;
            i += 2;
        }
        if ((encoded >= 0 && !is_unreserved((char)c)) || c <= 0x20 || c >= 0x7f)
            n += put_percent(p + n, c);
        else
            p[n++] = (char)c;
    }
    out->n += n;
}

/* RFC 3986 5.2.4, in place: |p| begins with '/'. Returns the new length. A segment is taken with
 * the '/' before it; what is written never overtakes what is read. */
static size_t remove_dot_segments(char *p, size_t n, bool open)
{
    size_t w = 0, end;

    for (size_t i = 0; i < n; i = end) {
        struct span segment;
        bool last;

        end = i + 1 + span_find((struct span){p + i + 1, n - i - 1}, '/');
        last = end == n;
        segment = (struct span){p + i + 1, end - i - 1};
        if ((last && open) || !(span_eq(segment, SPAN(".")) || span_eq(segment, SPAN("..")))) {
            memmove(p + w, p + i, end - i);
            w += end - i;
            continue;
        }
        if (segment.n == 2)
            while (w > 0 && p[--w] != '/')
                ;
        if (last)
            p[w++] = '/';
    }
    return w;
}

void url_path_normal(struct span path, bool open, struct buf *out)
{
    size_t at = out->n, cut = span_find(path, '?');
    bool query = cut < path.n;

    if (cut == 0)
        buf_char(out, '/');
    add_plain(span_sub(path, 0, cut), out);
    if (out->err == OK && out->p[at] == '/')
        out->n = at + remove_dot_segments(out->p + at, out->n - at, open && !query);
    if (query)
        add_plain(span_sub(path, cut, path.n - cut), out);
}

/* ---- doubts ---- */

bool url_host_is_doubtful(struct span host)
{
    for (size_t i = 0; i < host.n; i++)
        if ((unsigned char)host.p[i] >= 0x80 || host.p[i] == '%')
            return true;
    return false;
}

/* Bytes of what separates segments for somebody at the front of |s|, or 0. */
static size_t separator_at(struct span s)
{
    if (span_starts(s, SPAN("%2F")) || span_starts(s, SPAN("%5C")))
        return 3;
    return span_starts(s, SPAN("/")) || span_starts(s, SPAN("\\"));
}

/* Does |s|, which begins a segment for somebody, go up for somebody? */
static bool goes_up(struct span s)
{
    struct span rest = span_sub(s, 2, SIZE_MAX);

    return span_starts(s, SPAN("..")) && (rest.n == 0 || rest.p[0] == ';' ||
                                          span_starts(rest, SPAN("%3B")) || separator_at(rest) > 0);
}

bool url_path_is_doubtful(struct span path)
{
    struct span plain = span_sub(path, 0, span_find(path, '?'));

    if (span_find(path, '#') < path.n)
        return true;
    for (size_t i = 0; i < plain.n; i++) {
        size_t n = separator_at(span_sub(plain, i, SIZE_MAX));

        if (n > 0 && goes_up(span_sub(plain, i + n, SIZE_MAX)))
            return true;
    }
    return false;
}
