/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/multipart.h"

#include <string.h>

static enum err refuse(struct multipart *m, size_t off, const char *why)
{
    m->depth = 0;
    return fault_set(&m->fault, ERR_SYNTAX, 0, off, why);
}

/* --- delimiter lines --- */

struct delimiter {
    size_t at;    /* of its first '-' */
    size_t after; /* of the next line, or of the end */
    bool closes;
};

static bool is_crlf(struct span body, size_t at, size_t end)
{
    return at + 2 <= end && body.p[at] == '\r' && body.p[at + 1] == '\n';
}

static NODISCARD enum err check_line_start(struct multipart *m, const struct multipart_level *l,
                                           size_t at)
{
    if (at == l->start || (at - l->start >= 2 && is_crlf(m->body, at - 2, at)))
        return OK;
    char before = m->body.p[at - 1];

    return refuse(m, at,
                  before == '\n' || before == '\r' ? "has its boundary after a bare CR or LF"
                                                   : "has its boundary within a line");
}

/* What stands behind the boundary: "--" closes, space is padding that a transport may add. */
static NODISCARD enum err read_line_end(struct multipart *m, const struct multipart_level *l,
                                        struct delimiter *d)
{
    size_t at = d->at + l->delimiter_n;

    d->closes = at + 2 <= l->end && m->body.p[at] == '-' && m->body.p[at + 1] == '-';
    if (d->closes)
        at += 2;
    while (at < l->end && (m->body.p[at] == ' ' || m->body.p[at] == '\t'))
        at++;
    d->after = at;
    if (at == l->end)
        return d->closes ? OK : refuse(m, at, "ends within a boundary line");
    if (!is_crlf(m->body, at, l->end))
        return refuse(m, at,
                      m->body.p[at] == '\n' || m->body.p[at] == '\r'
                          ? "has a boundary line that does not end in CRLF"
                          : "has something else in its boundary line");
    d->after = at + 2;
    return OK;
}

static NODISCARD enum err find_delimiter(struct multipart *m, const struct multipart_level *l,
                                         size_t from, struct delimiter *ret)
{
    const char *found = from < l->end
                            ? memmem(m->body.p + from, l->end - from, l->delimiter, l->delimiter_n)
                            : NULL;

    if (!found)
        return refuse(m, l->end, "is not closed by a boundary");
    ret->at = (size_t)(found - m->body.p);
    TRY(check_line_start(m, l, ret->at));
    return read_line_end(m, l, ret);
}

static bool is_blank(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != ' ' && s.p[i] != '\t' && s.p[i] != '\r' && s.p[i] != '\n')
            return false;
    return true;
}

/* After a delimiter: the next part begins, or the level is over and nothing may follow. */
static NODISCARD enum err pass_delimiter(struct multipart *m, struct multipart_level *l,
                                         const struct delimiter *d)
{
    l->at = d->after;
    l->closed = d->closes;
    if (d->closes && !is_blank(span_sub(m->body, d->after, l->end - d->after)))
        return refuse(m, d->after, "is followed by bytes behind the closing boundary");
    return OK;
}

/* --- levels --- */

static NODISCARD enum err push(struct multipart *m, size_t start, size_t end, const char *boundary)
{
    if (m->depth == ARRAY_LEN(m->levels))
        return refuse(m, start, "has multiparts nested too deep");
    struct multipart_level *l = &m->levels[m->depth++];
    struct delimiter d = {.at = 0};

    *l = (struct multipart_level){.start = start, .end = end};
    l->delimiter[0] = l->delimiter[1] = '-';
    l->delimiter_n = 2 + span_copy(span_of(boundary), l->delimiter + 2, sizeof l->delimiter - 2);
    TRY(find_delimiter(m, l, start, &d));
    if (!is_blank(span_sub(m->body, start, d.at - start)))
        return refuse(m, start, "has bytes before its first boundary");
    return pass_delimiter(m, l, &d);
}

bool multipart_is(struct span content_type)
{
    char type[OBJECT_TYPE_MAX + 1];

    media_type_of(content_type, type);
    return span_starts(span_of(type), SPAN("multipart/"));
}

enum err multipart_init(struct multipart *m, struct span body, struct span content_type,
                        uint32_t parts_max)
{
    char boundary[BOUNDARY_MAX + 1] = "";
    bool has = false;

    memset(m, 0, sizeof *m);
    m->body = body;
    m->parts_max = parts_max;
    TRY(media_type_boundary(content_type, &has, boundary, &m->fault));
    if (!has)
        return refuse(m, 0, "has no boundary in its Content-Type");
    return push(m, 0, body.n, boundary);
}

/* --- parts --- */

/* |*ret|: behind the empty line. A head may be empty. */
static NODISCARD enum err find_head_end(struct multipart *m, const struct multipart_level *l,
                                        size_t *ret)
{
    struct span rest = span_sub(m->body, l->at, l->end - l->at);
    struct span window = span_sub(rest, 0, PART_HEAD_MAX);

    if (is_crlf(window, 0, window.n)) {
        *ret = l->at + 2;
        return OK;
    }
    const char *found = window.n ? memmem(window.p, window.n, "\r\n\r\n", 4) : NULL;

    if (!found)
        return refuse(m, l->at,
                      rest.n > window.n ? "has a head of more than 16 KiB"
                                        : "has a head without an end");
    *ret = (size_t)(found - m->body.p) + 4;
    return OK;
}

/* A nested multipart is split when it says how. One that does not is a file of that type (web
 * archives) when it has a file name, and otherwise nothing that can be read. */
static NODISCARD enum err is_nested(struct multipart *m, bool *ret)
{
    *ret = m->head.is_multipart && m->head.has_boundary;
    if (m->head.is_multipart && !*ret && !m->head.has_file)
        return refuse(m, 0, "is a multipart without a boundary");
    return OK;
}

/* Reads one part. *ret_leaf: it is one, and not a level of its own. */
static NODISCARD enum err read_part(struct multipart *m, struct multipart_leaf *ret, bool *ret_leaf)
{
    struct multipart_level *l = &m->levels[m->depth - 1];
    size_t part_at = l->at, content = 0;
    struct delimiter d = {.at = 0};
    bool nested;

    memset(&m->head, 0, sizeof m->head);
    if (m->parts == m->parts_max)
        return refuse(m, l->at, "is the last one that may be: there are more");
    m->parts++;
    TRY(find_head_end(m, l, &content));
    size_t head_n = content - 2 - part_at;

    if (part_head_parse(span_sub(m->body, part_at, head_n), &m->head, &m->fault) != OK) {
        m->depth = 0;
        return ERR_SYNTAX;
    }
    TRY(find_delimiter(m, l, part_at, &d));
    if (d.at < content)
        return refuse(m, d.at, "has a head without an end");
    TRY(pass_delimiter(m, l, &d));
    /* The CRLF before a delimiter is the delimiter's, even when it is the head's empty line. */
    size_t end = d.at - 2 > content ? d.at - 2 : content;

    TRY(is_nested(m, &nested));
    *ret_leaf = !nested;
    *ret = (struct multipart_leaf){
        .off = content, .len = end - content, .part = m->parts, .head = &m->head};
    return nested ? push(m, content, end, m->head.boundary) : OK;
}

enum err multipart_next(struct multipart *m, struct multipart_leaf *ret)
{
    bool leaf = false;

    if (m->fault.err)
        return ERR_SYNTAX;
    while (!leaf) {
        while (m->depth && m->levels[m->depth - 1].closed)
            m->depth--;
        if (m->depth == 0)
            return ERR_EOF;
        TRY(read_part(m, ret, &leaf));
    }
    return OK;
}
