/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/filetype_look.h"

#include <string.h>

#define PE       "application/vnd.microsoft.portable-executable"
#define SHORTCUT "application/x-ms-shortcut"
#define HTML     "text/html"
#define HTA      "application/hta"
#define SVG      "image/svg+xml"
#define ZIP      "application/zip"
#define JAR      "application/java-archive"
#define APK      "application/vnd.android.package-archive"

#define OOXML "application/vnd.openxmlformats-officedocument."
#define DOCX  OOXML "wordprocessingml.document"
#define XLSX  OOXML "spreadsheetml.sheet"
#define PPTX  OOXML "presentationml.presentation"
#define DOCM  "application/vnd.ms-word.document.macroenabled.12"
#define XLSM  "application/vnd.ms-excel.sheet.macroenabled.12"
#define PPTM  "application/vnd.ms-powerpoint.presentation.macroenabled.12"

#define TEXT_LOOK_MAX 4096u      /* bytes at the front of a text */
#define ZIP_LOOK_MAX  (1u << 20) /* bytes at the front of a ZIP whose directory is of no use */
#define ZIP_ENTRIES   16384u
#define ZIP_TAIL      (22u + 65535u) /* end of central directory record with its comment */

static bool is_one_of(const char *type, const char *const *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(type, v[i]) == 0)
            return true;
    return false;
}

/* ---- programs ---- */

static uint32_t little(struct span s, size_t at, unsigned bytes)
{
    uint32_t v = 0;

    for (unsigned i = bytes; i > 0; i--)
        v = v << 8 | (unsigned char)s.p[at + i - 1];
    return v;
}

static bool has_pe_header(struct span s)
{
    return span_starts(s, SPAN("MZ")) && s.n >= 0x40 &&
           span_starts(span_sub(s, little(s, 0x3c, 4), 4), SPAN("PE\0\0"));
}

static const char *look_program(struct span s)
{
    if (has_pe_header(s))
        return PE;
    return span_starts(s, SPAN("\x4c\0\0\0\x01\x14\x02\0")) ? SHORTCUT : NULL;
}

/* ---- ZIP: what the names in it say ---- */

struct zip {
    unsigned n; /* entries seen */
    bool content_types, word, xl, ppt, macros, android, manifest;
};

static bool has_part(struct span s, struct span part)
{
    for (size_t i = 0; i + part.n <= s.n; i++)
        if (span_istarts(span_sub(s, i, SIZE_MAX), part))
            return true;
    return false;
}

static void zip_name(struct zip *z, struct span name)
{
    z->n++;
    z->content_types |= span_ieq(name, SPAN("[Content_Types].xml"));
    z->word |= span_istarts(name, SPAN("word/"));
    z->xl |= span_istarts(name, SPAN("xl/"));
    z->ppt |= span_istarts(name, SPAN("ppt/"));
    z->macros |= has_part(name, SPAN("vbaproject")) || has_part(name, SPAN("xl/macrosheets/"));
    z->android |= span_eq(name, SPAN("AndroidManifest.xml"));
    z->manifest |= span_ieq(name, SPAN("META-INF/MANIFEST.MF"));
}

/* Offset of the first entry of the central directory, or s.n. Counted back from its end record, so
 * that bytes in front of the archive do not matter. */
static size_t zip_directory(struct span s)
{
    size_t least = s.n > ZIP_TAIL ? s.n - ZIP_TAIL : 0;

    for (size_t at = s.n < 22 ? 0 : s.n - 22; at > least; at--) {
        size_t size;

        if (!span_starts(span_sub(s, at, 4), SPAN("PK\5\6")))
            continue;
        size = little(s, at + 12, 4);
        return size <= at ? at - size : s.n;
    }
    return s.n;
}

static void zip_walk_directory(struct zip *z, struct span s)
{
    size_t at = zip_directory(s);

    while (z->n < ZIP_ENTRIES && at < s.n && s.n - at >= 46 &&
           span_starts(span_sub(s, at, 4), SPAN("PK\1\2"))) {
        size_t name = little(s, at + 28, 2);

        zip_name(z, span_sub(s, at + 46, name));
        at += 46 + name + little(s, at + 30, 2) + little(s, at + 32, 2);
    }
}

/* Without a directory: from entry to entry. One that does not say how long it is (flag 3, or
 * ZIP64's 0xffffffff) is passed by searching for the next. */
static void zip_walk_entries(struct zip *z, struct span s)
{
    const char *next = s.p;

    s = span_sub(s, 0, ZIP_LOOK_MAX);
    while (next && z->n < ZIP_ENTRIES && s.n - (size_t)(next - s.p) >= 30) {
        size_t at = (size_t)(next - s.p);
        size_t name = little(s, at + 26, 2), size = little(s, at + 18, 4);

        zip_name(z, span_sub(s, at + 30, name));
        at += 30 + name + little(s, at + 28, 2);
        if (!(little(s, (size_t)(next - s.p) + 6, 2) & 8) && size != UINT32_MAX)
            at += size;
        next = at < s.n ? memmem(s.p + at, s.n - at, "PK\3\4", 4) : NULL;
    }
}

static const char *look_zip(struct span s, const char *type)
{
    struct zip z = {.n = 0};

    zip_walk_directory(&z, s);
    if (z.n == 0)
        zip_walk_entries(&z, s);
    if (z.content_types && z.word)
        return z.macros ? DOCM : DOCX;
    if (z.content_types && z.xl)
        return z.macros ? XLSM : XLSX;
    if (z.content_types && z.ppt)
        return z.macros ? PPTM : PPTX;
    if (z.android)
        return APK;
    if (z.manifest)
        return JAR;
    /* libmagic goes by the first names: a folder called "word" is enough for it. */
    return strncmp(type, OOXML, sizeof OOXML - 1) == 0 ? ZIP : NULL;
}

/* ---- text ---- */

/* The front of a text in one byte for each character; of UTF-16 the low halves. */
static struct span narrow(struct span s, char room[TEXT_LOOK_MAX])
{
    size_t low = span_starts(s, SPAN("\xff\xfe")) ? 0 : 1, n = 0;

    if (span_starts(s, SPAN("\xef\xbb\xbf")))
        s = span_sub(s, 3, SIZE_MAX);
    if (!span_starts(s, SPAN("\xff\xfe")) && !span_starts(s, SPAN("\xfe\xff")))
        return span_sub(s, 0, TEXT_LOOK_MAX);
    for (size_t at = 2; at + 1 < s.n && n < TEXT_LOOK_MAX; at += 2)
        room[n++] = s.p[at + low];
    return (struct span){room, n};
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r' && c != '\v');
}

static struct span skip_space(struct span s)
{
    while (s.n && is_space(s.p[0]))
        s = span_sub(s, 1, SIZE_MAX);
    return s;
}

/* Behind |close|; empty when it does not come. */
static struct span skip_past(struct span s, struct span close)
{
    const char *at = s.n ? memmem(s.p, s.n, close.p, close.n) : NULL;

    return span_sub(s, at ? (size_t)(at - s.p) + close.n : s.n, SIZE_MAX);
}

/* |s| begins with the tag |name|, and it ends there. */
static bool is_tag(struct span s, const char *name)
{
    struct span tag = span_of(name);

    return span_istarts(s, tag) &&
           (s.n == tag.n || is_space(s.p[tag.n]) || s.p[tag.n] == '>' || s.p[tag.n] == '/');
}

/* What the MIME Sniffing Standard (7.1) takes for HTML, and some more that come alone in mails. */
static const char *const html_tags[] = {
    "<html", "<head",  "<body",   "<script", "<iframe", "<h1",   "<div",   "<font",     "<table",
    "<a",    "<style", "<title",  "<b",      "<br",     "<p",    "<form",  "<meta",     "<img",
    "<base", "<link",  "<object", "<embed",  "<center", "<span", "<input", "<frameset",
};

static const char *look_markup(struct span s)
{
    bool comment = false;

    for (s = skip_space(s); span_starts(s, SPAN("<!--")) || span_starts(s, SPAN("<?"));
         s = skip_space(s)) {
        bool is_comment = span_starts(s, SPAN("<!--"));

        comment |= is_comment;
        s = is_comment ? skip_past(s, SPAN("-->")) : skip_past(s, SPAN("?>"));
    }
    if (is_tag(s, "<svg") || is_tag(s, "<svg:svg") || is_tag(s, "<!doctype svg"))
        return SVG;
    if (is_tag(s, "<!doctype html"))
        return HTML;
    for (size_t i = 0; i < ARRAY_LEN(html_tags); i++)
        if (is_tag(s, html_tags[i]))
            return HTML;
    return comment ? HTML : NULL;
}

static const char *look_text(struct span bytes, const char *type)
{
    char room[TEXT_LOOK_MAX];
    struct span s = narrow(bytes, room);
    const char *found = look_markup(s);

    /* A comment in front of other XML does not make it HTML. */
    if (strcmp(type, "text/xml") == 0 && found && strcmp(found, HTML) == 0)
        found = has_part(s, SPAN("<html")) ? HTML : NULL;
    if (strcmp(type, HTML) == 0 && !found)
        found = HTML;
    if (found && strcmp(found, HTML) == 0 && has_part(s, SPAN("<hta:application")))
        found = HTA;
    return found;
}

static bool is_text(const char *type)
{
    static const char *const others[] = {"application/octet-stream", "application/javascript"};

    return strncmp(type, "text/", 5) == 0 || is_one_of(type, others, ARRAY_LEN(others));
}

const char *filetype_look(struct span bytes, const char *type)
{
    static const char *const dos[] = {"application/x-dosexec", "application/x-msdownload",
                                      "application/x-ms-dos-executable"};
    const char *found = look_program(bytes);

    /* ODF and EPUB name themselves in their first entry: libmagic reads that. */
    if (!found && span_starts(bytes, SPAN("PK\3\4")) && !strstr(type, "oasis") &&
        !strstr(type, "epub"))
        found = look_zip(bytes, type);
    if (!found && is_one_of(type, dos, ARRAY_LEN(dos)))
        found = PE;
    if (!found && is_text(type))
        found = look_text(bytes, type);
    return found ? found : type;
}
