/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/print_scan.h"

#include <string.h>

#include "worker/print_scan_int.h"

#define SENSE_MAX 1024u /* bytes in which readers look for the head of a document */
#define UEL       "\x1b%-12345X"

#define PRINT_FIND_ROW(id, name, blocks) {name, blocks},
static const struct {
    const char *name;
    bool blocks;
} finds[] = {
#include "worker/print_finds.def"
};
#undef PRINT_FIND_ROW

const char *print_find_name(enum print_find f)
{
    return (size_t)f < ARRAY_LEN(finds) ? finds[f].name : "unknown";
}

bool print_find_blocks(enum print_find f)
{
    return (size_t)f >= ARRAY_LEN(finds) || finds[f].blocks;
}

void print_found(struct print_scan *s, enum print_find f, const char *at)
{
    size_t off = (size_t)(at - s->body);

    if (s->report->find[f].there && s->report->find[f].at <= off)
        return;
    s->report->find[f].there = true;
    s->report->find[f].at = off;
}

uint32_t print_add(uint32_t a, uint32_t b)
{
    return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

/* ---- what a document is ---- */

struct sensed {
    struct span ps, pdf; /* from its head on; p NULL: it is not that */
};

static bool is_line_start(struct span s, size_t at)
{
    return at == 0 || s.p[at - 1] == '\n' || s.p[at - 1] == '\r' || s.p[at - 1] == '\x04';
}

/* From the first %! that begins a line. */
static struct span find_ps(struct span s)
{
    struct span head = span_sub(s, 0, SENSE_MAX + 1);

    if (s.n && s.p[0] == '\x04')
        return s;
    for (size_t i = 0; i + 1 < head.n; i++)
        if (head.p[i] == '%' && head.p[i + 1] == '!' && is_line_start(head, i))
            return span_sub(s, i, SIZE_MAX);
    return SPAN_NONE;
}

static struct span find_pdf(struct span s)
{
    struct span head = span_sub(s, 0, SENSE_MAX + 4);
    const char *at = head.n ? memmem(head.p, head.n, "%PDF-", 5) : NULL;

    return at ? span_sub(s, (size_t)(at - s.p), SIZE_MAX) : SPAN_NONE;
}

/* One file can be both. */
static struct sensed sense(struct span payload, enum print_language entered,
                           enum print_declared declared)
{
    struct sensed found = {find_ps(payload), find_pdf(payload)};
    bool unknown = !found.ps.p && !found.pdf.p && entered == PRINT_LANGUAGE_NONE;

    if (entered == PRINT_LANGUAGE_PS || (unknown && declared == PRINT_POSTSCRIPT))
        found.ps = payload;
    if ((entered == PRINT_LANGUAGE_PDF && !found.pdf.p) || (unknown && declared == PRINT_PDF))
        found.pdf = payload;
    return found;
}

static uint32_t read_sensed(struct print_scan *s, const struct sensed *d)
{
    uint32_t ps = d->ps.p ? print_postscript(s, d->ps) : 0;
    uint32_t pdf = d->pdf.p ? print_pdf(s, d->pdf) : 0;

    return ps > pdf ? ps : pdf;
}

/* ---- pictures ---- */

static uint32_t big_endian(struct span s, size_t at)
{
    uint32_t v = 0;

    for (size_t i = 0; i < 4; i++)
        v = v << 8 | (unsigned char)s.p[at + i];
    return v;
}

/* PWG 5102.4 4.3: behind the synchronisation word, page header by page header, 1796 bytes each. */
#define PWG_TOTAL_PAGES (4u + 452u)
#define URF_PAGES       8u

static uint32_t picture_pages(struct span s)
{
    uint32_t n = 0;

    if (span_starts(s, SPAN("\xff\xd8\xff")) || span_starts(s, SPAN("\x89PNG\r\n\x1a\n")))
        return 1;
    if (span_starts(s, SPAN("RaS2PwgRaster\0")) && s.n >= PWG_TOTAL_PAGES + 4)
        n = big_endian(s, PWG_TOTAL_PAGES);
    if (span_starts(s, SPAN("UNIRAST\0")) && s.n >= URF_PAGES + 4)
        n = big_endian(s, URF_PAGES);
    return n == UINT32_MAX ? 0 : n;
}

/* ---- the body ---- */

struct walk {
    struct print_scan scan;
    enum print_declared declared;
    struct sensed first; /* the first document in a language that is read */
    bool cut;            /* something stands behind it that a printer may take for a part of it */
    bool unknown;        /* pages */
};

static bool is_empty(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] > ' ' || s.p[i] == '\x1b')
            return false;
    return true;
}

static void walk_segment(struct walk *w, struct span segment)
{
    enum print_language entered = PRINT_LANGUAGE_NONE;
    size_t pjl = print_pjl(&w->scan, segment, &entered);
    struct span payload = span_sub(segment, pjl, SIZE_MAX);
    struct print_report *r = w->scan.report;
    struct sensed d;
    uint32_t pages;

    w->cut |= (w->first.ps.p || w->first.pdf.p) && !is_empty(segment);
    if (is_empty(payload))
        return;
    pages = picture_pages(payload);
    d = sense(payload, entered, pages ? PRINT_OTHER : w->declared);
    if (d.ps.p || d.pdf.p)
        pages = read_sensed(&w->scan, &d);
    if (!w->first.ps.p && !w->first.pdf.p)
        w->first = d;
    w->unknown |= pages == 0;
    r->pages = print_add(r->pages, pages);
}

/* Bytes before the first UEL, or all. */
static size_t find_uel(struct span s)
{
    size_t at = 0;

    for (;;) {
        at += span_find(span_sub(s, at, SIZE_MAX), UEL[0]);
        if (at == s.n || span_starts(span_sub(s, at, SIZE_MAX), SPAN(UEL)))
            return at;
        at++;
    }
}

static void walk_segments(struct walk *w, struct span body)
{
    while (body.n) {
        size_t n = find_uel(body);

        walk_segment(w, span_sub(body, 0, n));
        body = span_sub(body, n, SIZE_MAX);
        body = span_sub(body, SPAN(UEL).n, SIZE_MAX);
    }
}

/* To the end of the body, whatever UEL stands in it. */
static struct span all_of(struct span document, struct span body)
{
    return document.p ? span_sub(body, (size_t)(document.p - body.p), SIZE_MAX) : SPAN_NONE;
}

void print_scan(struct span body, enum print_declared declared, struct print_report *ret)
{
    struct walk w = {.scan.body = body.p, .scan.report = ret, .declared = declared};

    memset(ret, 0, sizeof *ret);
    walk_segments(&w, body);
    if (w.unknown)
        ret->pages = 0;
    if (w.cut) {
        const struct sensed whole = {all_of(w.first.ps, body), all_of(w.first.pdf, body)};

        (void)read_sensed(&w.scan, &whole);
    }
}
