/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/print_scan.h"

#include <string.h>

#include "worker/print_scan_int.h"

/* Bytes in which readers look for the head of a document, at most. */
#define SENSE_MAX (4096u + 32u)
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

struct document {
    struct span text;
    bool ps, pdf; /* one can be both */
};

/* Bytes before what printers take for the beginning: blanks, and how TBCP begins (SOH M). */
static size_t lead_of(struct span s)
{
    size_t n = 0;

    while (n < s.n && (print_is_blank(s.p[n]) || (s.p[n] == 'M' && n && s.p[n - 1] == '\x01')))
        n++;
    return n;
}

static bool is_line_start(struct span s, size_t at)
{
    return at == 0 || s.p[at - 1] == '\n' || s.p[at - 1] == '\r' || s.p[at - 1] == '\x04';
}

/* With a ^D before everything else, or a %! that begins a line. */
static bool is_ps(struct span s)
{
    struct span head = span_sub(s, 0, SENSE_MAX + 1);
    size_t lead = lead_of(head);

    if (lead && memchr(head.p, '\x04', lead))
        return true;
    for (size_t i = 0; i + 1 < head.n; i++)
        if (head.p[i] == '%' && head.p[i + 1] == '!' && (i == lead || is_line_start(head, i)))
            return true;
    return false;
}

/* Adobe Technical Note 5002: a head that says where PostScript is and where pictures of it are. */
#define EPS_HEAD   "\xc5\xd0\xd3\xc6"
#define EPS_OFFSET 4u /* little endian; of the PostScript, from the head */

static struct span eps_head(struct span s)
{
    s = span_sub(s, lead_of(s), SIZE_MAX);
    return span_starts(s, SPAN(EPS_HEAD)) && s.n >= EPS_OFFSET + 4 ? s : SPAN_NONE;
}

/* From where the head says to the end: its length may be any. p NULL: there is none. */
static struct span eps_section(struct span s)
{
    struct span head = eps_head(s);
    uint32_t off = 0;

    if (!head.p)
        return SPAN_NONE;
    for (size_t i = 4; i-- > 0;)
        off = off << 8 | (unsigned char)head.p[EPS_OFFSET + i];
    return span_sub(head, off, SIZE_MAX);
}

static bool is_pdf(struct span s)
{
    struct span head = span_sub(s, 0, SENSE_MAX + 4);

    return head.n && memmem(head.p, head.n, "%PDF-", 5);
}

/* Some printers believe the bytes, others what is said of them. */
static struct document sense(struct span text, enum print_language said,
                             enum print_declared declared)
{
    return (struct document){
        .text = text,
        .ps = said == PRINT_LANGUAGE_PS || declared == PRINT_POSTSCRIPT || is_ps(text) ||
              eps_head(text).p,
        .pdf = said == PRINT_LANGUAGE_PDF || declared == PRINT_PDF || is_pdf(text),
    };
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* What stands before the PostScript of an EPS may look like a string, and hide it: so it is read by
 * itself, too. */
static uint32_t read_document(struct print_scan *s, const struct document *d)
{
    struct span section = d->ps ? eps_section(d->text) : SPAN_NONE;
    uint32_t ps = d->ps ? print_postscript(s, d->text) : 0;
    uint32_t eps = section.n ? print_postscript(s, section) : 0;
    uint32_t pdf = d->pdf ? print_pdf(s, d->text) : 0;

    return larger(larger(ps, eps), pdf);
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
    struct document first; /* the first in a language that is read, in those of all */
    bool cut;              /* something stands behind it that a printer may take for a part of it */
    bool unknown;          /* pages */
};

static bool is_empty(struct span s)
{
    return lead_of(s) == s.n;
}

static bool is_read(const struct document *d)
{
    return d->ps || d->pdf;
}

/* Returns the pages. */
static uint32_t walk_text(struct walk *w, struct span text, enum print_language said)
{
    struct document d = sense(text, said, w->declared);
    uint32_t read = read_document(&w->scan, &d), picture = picture_pages(text);

    if (!is_read(&w->first))
        w->first = d;
    w->first.ps |= d.ps;
    w->first.pdf |= d.pdf;
    return larger(read, picture);
}

static void walk_segment(struct walk *w, struct span segment)
{
    struct print_report *r = w->scan.report;
    struct print_rest rest;
    uint32_t pages;

    w->cut |= is_read(&w->first) && !is_empty(segment);
    print_pjl(&w->scan, segment, &rest);
    if (is_empty(rest.payload))
        rest.payload = rest.also;
    else if (rest.also.n)
        (void)walk_text(w, rest.also, rest.language);
    if (is_empty(rest.payload))
        return;
    pages = walk_text(w, rest.payload, rest.language);
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

void print_scan(struct span body, enum print_declared declared, struct print_report *ret)
{
    struct walk w = {.scan.body = body.p, .scan.report = ret, .declared = declared};

    memset(ret, 0, sizeof *ret);
    walk_segments(&w, body);
    if (w.unknown)
        ret->pages = 0;
    if (w.cut) { /* to the end of the body, whatever UEL stands in it */
        w.first.text = span_sub(body, (size_t)(w.first.text.p - body.p), SIZE_MAX);
        (void)read_document(&w.scan, &w.first);
    }
}
