/* SPDX-License-Identifier: Apache-2.0 */
#include "icap/icap_progress_page.h"

#include "base/html.h"

/* ---- HTML ---- */

static void add_fact(struct buf *b, const char *term, struct span value)
{
    if (value.n == 0)
        return;
    buf_fmt(b, "<dt>%s</dt><dd>", term);
    html_text(b, value);
    buf_text(b, "</dd>\n");
}

static void add_time(struct buf *b, uint64_t s)
{
    if (s >= 60)
        buf_fmt(b, "%llu min ", (unsigned long long)(s / 60));
    buf_fmt(b, "%llu s", (unsigned long long)(s % 60));
}

static void add_size(struct buf *b, uint64_t n)
{
    static const char units[] = "kMGT";
    unsigned unit = 0;

    if (n < 1000) {
        buf_fmt(b, "%llu bytes", (unsigned long long)n);
        return;
    }
    for (; n >= 1000000 && unit + 2 < sizeof units; unit++)
        n /= 1000;
    buf_fmt(b, "%llu.%llu %cB", (unsigned long long)(n / 1000), (unsigned long long)(n / 100 % 10),
            units[unit]);
}

static uint64_t elapsed_ms(const struct progress_entry *e, uint64_t now_ms)
{
    return now_ms > e->about.since_ms ? now_ms - e->about.since_ms : 0;
}

/* Nobody knows how far a scan is, so the bar shows how much of its time is over. */
static void add_bar(const struct progress_entry *e, uint64_t now_ms, struct buf *b)
{
    uint64_t s = elapsed_ms(e, now_ms) / 1000, max = (e->about.deadline_ms + 999) / 1000;

    buf_fmt(b, "<p><progress value=\"%llu\" max=\"%llu\"></progress></p>\n",
            (unsigned long long)(s < max ? s : max), (unsigned long long)max);
    buf_text(b, "<p>It has taken ");
    add_time(b, s);
    buf_text(b, " so far, and takes at most ");
    add_time(b, max);
    buf_text(b, ".</p>\n");
}

static void add_facts(const struct progress_entry *e, struct buf *b)
{
    buf_text(b, "<dl>\n");
    add_fact(b, "File", e->about.name);
    add_fact(b, "Site", e->about.site);
    buf_text(b, "<dt>Size</dt><dd>");
    add_size(b, e->about.len);
    buf_text(b, "</dd>\n<dt>Number of this check</dt><dd><code>");
    html_text(b, e->about.id);
    buf_text(b, "</code></dd>\n</dl>\n");
}

static void add_refresh(const struct progress_entry *e, struct buf *b)
{
    buf_fmt(b, "<meta http-equiv=\"refresh\" content=\"%llu;url=http://",
            (unsigned long long)(e->about.every_ms + 999) / 1000);
    html_text(b, e->about.host);
    buf_fmt(b, "/%s\">\n", e->token);
}

static const char *title_of(enum progress_state state)
{
    switch (state) {
    case PROGRESS_SCANNING: return "This file is being checked";
    case PROGRESS_FAILED: return "This file could not be checked";
    case PROGRESS_EXPIRED: return "This file is no longer here";
    case PROGRESS_READY:
    case PROGRESS_BLOCKED:
    case PROGRESS_UNKNOWN: break;
    }
    return "There is no such file here";
}

static const char *advice_of(enum progress_state state)
{
    switch (state) {
    case PROGRESS_SCANNING:
        return "Leave this page open: it looks again by itself. When the check ends well your "
               "browser saves the file, and this page may stay as it is; you can close it then. "
               "Otherwise it says why you do not get the file.";
    case PROGRESS_FAILED:
        return "The check did not come to its end, so the file was not handed over. Try the "
               "download again.";
    case PROGRESS_EXPIRED:
        return "It was kept for a while and not fetched in time. Start the download again.";
    case PROGRESS_READY:
    case PROGRESS_BLOCKED:
    case PROGRESS_UNKNOWN: break;
    }
    return "The address is wrong, or the file belongs to somebody else, or it has been gone for "
           "long. Start the download again.";
}

void progress_page(enum progress_state state, const struct progress_entry *entry, uint64_t now_ms,
                   struct buf *b)
{
    buf_text(b, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta name=\"viewport\" content=\"width=device-width\">\n");
    if (entry && state == PROGRESS_SCANNING)
        add_refresh(entry, b);
    buf_fmt(b, "<title>%s</title>\n", title_of(state));
    buf_text(b, "<style>body{font:1rem/1.5 sans-serif;max-width:40rem;margin:4rem auto;"
                "padding:0 1rem}dt{font-weight:bold}dd{word-break:break-all}"
                "progress{width:100%}</style>\n</head>\n<body>\n");
    buf_fmt(b, "<h1>%s</h1>\n", title_of(state));
    if (entry && state == PROGRESS_SCANNING)
        add_bar(entry, now_ms, b);
    buf_fmt(b, "<p>%s</p>\n", advice_of(state));
    if (entry)
        add_facts(entry, b);
    if (entry && entry->about.contact.n) {
        buf_text(b, "<p>If you have questions, give the number to: ");
        html_text(b, entry->about.contact);
        buf_text(b, "</p>\n");
    }
    buf_text(b, "</body>\n</html>\n");
}

/* ---- heads ---- */

static const char *reason_of(unsigned status)
{
    switch (status) {
    case 200: return "OK";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 410: return "Gone";
    default: return "Error";
    }
}

static void end_head(const char *via, struct buf *b)
{
    if (via)
        buf_fmt(b, "Via: ICAP/1.0 %s (sallyport)\r\n", via);
    buf_text(b, "\r\n");
}

void progress_page_head(unsigned status, size_t len, const char *via, struct buf *b)
{
    buf_fmt(b,
            "HTTP/1.1 %u %s\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %zu\r\n"
            "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
            "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n"
            "Referrer-Policy: no-referrer\r\n",
            status, reason_of(status), len);
    if (status == 405)
        buf_text(b, "Allow: GET, HEAD\r\n");
    end_head(via, b);
}

/* Fields of the original that would be wrong now: of its connection and its framing (RFC
 * 9110 7.6.1), of caches and ranges, which the new address has not, and what its site says about
 * itself. */
static bool is_left_out(const struct head *h, struct span name)
{
    static const char *const names[] = {
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authenticate",
        "TE",
        "Trailer",
        "Upgrade",
        "Transfer-Encoding",
        "Content-Length",
        "Content-Disposition",
        "Cache-Control",
        "Expires",
        "Pragma",
        "Age",
        "Vary",
        "ETag",
        "Accept-Ranges",
        "Set-Cookie",
        "Set-Cookie2",
        "Strict-Transport-Security",
        "Public-Key-Pins",
        "Alt-Svc",
        "Clear-Site-Data",
        "Refresh",
        "Location",
        "Content-Location",
        "Link",
        "Service-Worker-Allowed",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (span_ieq(name, span_of(names[i])))
            return true;
    return head_has_token(h, SPAN("Connection"), name);
}

/* RFC 8187 3.2.1 attr-char. */
static bool is_attr_char(unsigned char c)
{
    return char_is_token(c) && c != '*' && c != '\'' && c != '%';
}

/* RFC 6266, for old readers and new ones. */
static void add_disposition(struct span name, struct buf *b)
{
    buf_text(b, "Content-Disposition: attachment");
    if (name.n) {
        buf_text(b, "; filename=\"");
        for (size_t i = 0; i < name.n; i++) {
            unsigned char c = (unsigned char)name.p[i];

            buf_char(b, c < 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '%' ? '_' : (char)c);
        }
        buf_text(b, "\"; filename*=UTF-8''");
        for (size_t i = 0; i < name.n; i++) {
            unsigned char c = (unsigned char)name.p[i];

            if (is_attr_char(c))
                buf_char(b, (char)c);
            else
                buf_fmt(b, "%%%02X", c);
        }
    }
    buf_text(b, "\r\n");
}

static bool is_attachment(struct span value)
{
    struct span rest = value;

    return value.p && span_ieq(span_trim(span_cut(&rest, ';')), SPAN("attachment"));
}

void progress_file_head(const struct head *original, struct span name, uint64_t len,
                        const char *via, struct buf *b)
{
    struct span disposition = head_value(original, SPAN("Content-Disposition"));

    buf_text(b, "HTTP/1.1 200 OK\r\n");
    for (unsigned i = 0; i < original->n_fields; i++) {
        const struct field *f = &original->fields[i];

        if (f->odd || is_left_out(original, f->name))
            continue;
        buf_add(b, f->name);
        buf_text(b, ": ");
        buf_add(b, f->value);
        buf_text(b, "\r\n");
    }
    /* What is shown in place would be shown as a page of our own site. */
    if (is_attachment(disposition)) {
        buf_text(b, "Content-Disposition: ");
        buf_add(b, disposition);
        buf_text(b, "\r\n");
    } else {
        add_disposition(name, b);
    }
    buf_fmt(b, "Content-Length: %llu\r\nCache-Control: no-store\r\n", (unsigned long long)len);
    end_head(via, b);
}
