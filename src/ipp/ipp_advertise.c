/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_advertise.h"

#include "base/utf8.h"
#include "ipp/ipp_translate_int.h"

#define LINE_MAX 255u /* RFC 6763 6.1 */

const char *const ipp_advertise_attributes[] = {
    "printer-make-and-model", "printer-location", "document-format-supported",
    "urf-supported",          "color-supported",  "sides-supported",
    "printer-kind",           "media-supported",  "mopria-certified",
};
const size_t ipp_advertise_n_attributes = ARRAY_LEN(ipp_advertise_attributes);

/* ---- what the printer says ---- */

static bool find(const struct ipp_advertisement *a, const char *name, struct ipp_attribute *ret)
{
    struct ipp_group g;

    if (!a->attributes)
        return false;
    for (struct span gs = a->attributes->groups; ipp_group_next(&gs, &g);)
        if (g.tag == IPP_GROUP_PRINTER)
            return ipp_attribute_find(g.attributes, span_of(name), ret) == OK;
    return false;
}

static struct span text_of(const struct ipp_advertisement *a, const char *name)
{
    struct ipp_attribute found;
    struct ipp_value v;
    struct span rest, text = SPAN_NONE;

    if (!find(a, name, &found))
        return SPAN_NONE;
    rest = found.values;
    return ipp_value_next(&rest, &v) && ipp_value_text(&v, &text) ? text : SPAN_NONE;
}

static bool has_keyword(const struct ipp_attribute *a, struct span prefix)
{
    struct ipp_value v;
    struct span text;

    for (struct span rest = a->values; ipp_value_next(&rest, &v);)
        if (ipp_value_text(&v, &text) && span_starts(text, prefix))
            return true;
    return false;
}

/* ---- lines ---- */

/* Control characters would end a line here, or in whatever reads it. */
static void add_line(struct buf *out, const char *key, struct span value)
{
    value = utf8_whole(value, LINE_MAX - span_of(key).n - 1);
    if (value.n == 0 || out->err)
        return;
    buf_fmt(out, "%s=", key);
    for (size_t i = 0; i < value.n; i++)
        buf_char(out, (unsigned char)value.p[i] < 0x20 || value.p[i] == 0x7f ? ' ' : value.p[i]);
    buf_char(out, '\n');
}

/* As many values as a line holds, with commas. */
static void add_list(struct buf *out, const char *key, const struct ipp_attribute *a,
                     const struct ipp_printer_settings *formats)
{
    struct ipp_value v;
    struct span text;
    struct buf line;

    buf_init(&line, 0);
    for (struct span rest = a->values; ipp_value_next(&rest, &v);) {
        if (!ipp_value_text(&v, &text) || text.n == 0 ||
            (formats && (!ipp_printer_takes_format(formats, text) ||
                         span_ieq(text, SPAN("application/octet-stream")))))
            continue;
        if (line.n + text.n + 1 + span_of(key).n + 1 > LINE_MAX)
            break;
        if (line.n)
            buf_char(&line, ',');
        buf_add(&line, text);
    }
    add_line(out, key, buf_span(&line));
    buf_done(&line);
}

static void add_bool(const struct ipp_advertisement *a, struct buf *out, const char *key,
                     const char *name)
{
    struct ipp_attribute found;
    struct ipp_value v;
    bool is;

    if (find(a, name, &found) && ipp_attribute_single(&found, IPP_VALUE_BOOLEAN, &v) &&
        ipp_value_boolean(&v, &is))
        add_line(out, key, is ? SPAN("T") : SPAN("F"));
}

/* ---- paper ---- */

/* "8.5" of units of |unit| hundredths of a millimetre each; false: no such number. */
static bool read_length(struct span text, uint64_t unit, uint64_t *ret)
{
    struct span whole = span_cut(&text, '.');
    uint64_t n = 0, part = 0, scale = 1;

    if (span_u64(whole, 100000, &n) != OK)
        return false;
    for (size_t i = 0; i < text.n && i < 6; i++)
        scale *= 10;
    if (text.n && span_u64(span_sub(text, 0, 6), scale - 1, &part) != OK)
        return false;
    *ret = n * unit + part * unit / scale;
    return true;
}

struct paper {
    uint64_t width, length; /* hundredths of a millimetre; the shorter side first */
};

/* PWG 5101.1: "iso_a4_210x297mm", "na_letter_8.5x11in", also for what is custom. */
static bool read_paper(struct span name, struct paper *ret)
{
    uint64_t unit = span_ends(name, SPAN("mm")) ? 100 : span_ends(name, SPAN("in")) ? 2540 : 0;
    struct span sides = SPAN_NONE;
    uint64_t x, y;

    if (!unit)
        return false;
    for (struct span rest = span_sub(name, 0, name.n - 2); rest.n;)
        sides = span_cut(&rest, '_');
    struct span first = span_cut(&sides, 'x');

    if (!read_length(first, unit, &x) || !read_length(sides, unit, &y))
        return false;
    *ret = x < y ? (struct paper){x, y} : (struct paper){y, x};
    return true;
}

/* Bonjour Printing 9.2.17 has five words for the largest paper. */
static struct span paper_max(const struct ipp_attribute *media)
{
    static const struct {
        struct paper at_least;
        const char *word;
    } words[] = {
        {{0, 0},         "<legal-A4" },
        {{21000, 29700}, "legal-A4"  },
        {{27940, 42000}, "tabloid-A3"},
        {{42000, 55880}, "isoC-A2"   },
        {{43181, 59401}, ">isoC-A2"  },
    };
    size_t most = 0;
    bool any = false;
    struct ipp_value v;
    struct span name;
    struct paper p;

    for (struct span rest = media->values; ipp_value_next(&rest, &v);) {
        if (!ipp_value_text(&v, &name) || !read_paper(name, &p))
            continue;
        any = true;
        for (size_t i = most + 1; i < ARRAY_LEN(words); i++)
            if (p.width >= words[i].at_least.width && p.length >= words[i].at_least.length)
                most = i;
    }
    return any ? span_of(words[most].word) : SPAN_NONE;
}

/* ---- how one comes in ---- */

void ipp_advertise_ports(const struct ipp_advertisement *a, unsigned *ret_port,
                         unsigned *ret_secure_port)
{
    *ret_port = ipp_public_in_clear(a->printer) ? a->printer->front.port : 0;
    *ret_secure_port = a->printer->front.secure_port;
}

static bool begins_tls(const struct ipp_advertisement *a)
{
    unsigned port, secure_port;

    ipp_advertise_ports(a, &port, &secure_port);
    return secure_port || (port && a->printer->upgrades);
}

/* Who-are-you: what a client will be asked for. */
static struct span air_of(const struct ipp_advertisement *a)
{
    struct span asked = span_of(ipp_public_authentication(a->printer, begins_tls(a)));

    if (span_eq(asked, SPAN("digest")) || span_eq(asked, SPAN("basic")))
        return SPAN("username,password");
    return span_eq(asked, SPAN("certificate")) ? asked : SPAN("none");
}

static struct span name_of(const struct ipp_advertisement *a)
{
    struct span name = text_of(a, "printer-make-and-model");

    return name.n ? name : span_of(a->printer->set->name);
}

/* In parentheses, as in the PPD files for which the key was made. */
static void add_product(struct buf *out, struct span name)
{
    struct buf product;

    buf_init(&product, 0);
    buf_char(&product, '(');
    buf_add(&product, utf8_whole(name, LINE_MAX - (sizeof "product=()" - 1)));
    buf_char(&product, ')');
    add_line(out, "product", buf_span(&product));
    buf_done(&product);
}

void ipp_advertise_txt(const struct ipp_advertisement *a, struct buf *out)
{
    const struct ipp_printer_settings *set = a->printer->set;
    struct ipp_attribute found;

    add_line(out, "txtvers", SPAN("1"));
    add_line(out, "qtotal", SPAN("1"));
    add_line(out, "rp", span_sub(span_of(set->path), 1, SIZE_MAX));
    add_line(out, "ty", name_of(a));
    add_product(out, name_of(a));
    add_line(out, "note", text_of(a, "printer-location"));
    add_line(out, "priority", SPAN("0"));
    if (find(a, "document-format-supported", &found))
        add_list(out, "pdl", &found, set);
    if (find(a, "urf-supported", &found))
        add_list(out, "URF", &found, NULL);
    add_bool(a, out, "Color", "color-supported");
    if (find(a, "sides-supported", &found))
        add_line(out, "Duplex", has_keyword(&found, SPAN("two-sided")) ? SPAN("T") : SPAN("F"));
    if (find(a, "printer-kind", &found))
        add_list(out, "kind", &found, NULL);
    if (find(a, "media-supported", &found))
        add_line(out, "PaperMax", paper_max(&found));
    add_line(out, "mopria-certified", text_of(a, "mopria-certified"));
    if (span_starts(span_of(a->printer->uuid), SPAN("urn:uuid:")))
        add_line(out, "UUID", span_sub(span_of(a->printer->uuid), 9, SIZE_MAX));
    add_line(out, "air", air_of(a));
    if (begins_tls(a))
        add_line(out, "TLS", SPAN("1.3"));
}
