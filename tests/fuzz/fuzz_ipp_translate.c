/* SPDX-License-Identifier: Apache-2.0 */
/* ipp/ipp_translate.h. Byte 0: request or answer, and what the translation knows; then a message.
 * Properties: what is translated parses; translated again it is the same; what no rule is about is
 * the same octets, in its order; an answer has no URI whose host is the printer's, a request names
 * the printer and nobody but the user, and says once, in its first group, what its document is. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "ipp/ipp_translate_int.h"

static const struct ipp_limits limits = {.size_max = 8192, .attributes_max = 256, .depth_max = 4};
/* What a gateway adds: URIs that are longer than the printer's, a group. */
static const struct ipp_limits larger = {
    .size_max = 1u << 20, .attributes_max = 512, .depth_max = 5};

#define FLAG_ANSWER   1u
#define FLAG_NAMED    2u /* answers: the request names a job */
#define FLAG_OPERATOR 4u
#define FLAG_CLEAR    8u /* the printer takes clear text */
#define FLAG_FORMATS  16u
#define FLAG_USER     2u /* requests */
#define FLAG_SECURE   4u
#define FLAG_HOLD     8u

/* ---- what no rule is about ---- */

static const char *const touched[] = {
    /* requests */
    "printer-uri", "job-uri", "job-id", "job-ids", "notify-job-id", "predecessor-job-id",
    "predecessor-job-uri", "first-job-id", "requesting-user-name", "job-originating-user-name",
    "job-originating-host-name", "original-requesting-user-name", "requesting-user-uri",
    "requesting-user-vcard", "document-uri", "document-access", "notify-recipient-uri", "auth-info",
    "job-password", "job-password-encryption", "document-password", "destination-accesses",
    "job-hold-until", "job-hold-until-time", "requested-attributes", "document-format",
    /* answers */
    "document-job-id", "parent-job-id", "job-printer-uri", "printer-uri-supported",
    "uri-security-supported", "uri-authentication-supported", "printer-xri-supported",
    "auth-info-required", "printer-uuid", "printer-name", "device-uri", "job-more-info",
    "printer-more-info", "printer-icons", "printer-strings-uri", "printer-supply-info-uri",
    "printer-privacy-policy-uri", "printer-static-resource-directory-uri", "member-uris",
    "document-job-uri", "document-printer-uri", "notify-printer-uri", "printer-dns-sd-name",
    "reference-uri-schemes-supported", "notify-schemes-supported", "operations-supported",
    "document-format-supported", "document-format-default", "document-format-preferred",
    "compression-supported", "compression-default"};

static bool has_uri(const struct ipp_attribute *a)
{
    struct ipp_record r;

    for (struct span rest = a->values; ipp_record_next(&rest, &r);)
        if (r.tag == IPP_VALUE_URI)
            return true;
    return false;
}

static bool is_untouched(enum ipp_kind kind, const struct ipp_attribute *a)
{
    for (size_t i = 0; i < ARRAY_LEN(touched); i++)
        if (span_ieq(a->name, span_of(touched[i])))
            return false;
    return kind == IPP_REQUEST || !has_uri(a);
}

/* Groups that may go as a whole. */
static bool may_go(enum ipp_kind kind, uint8_t tag)
{
    return tag == IPP_GROUP_SUBSCRIPTION ||
           (kind == IPP_RESPONSE &&
            (tag == IPP_GROUP_JOB || tag == IPP_GROUP_DOCUMENT || tag == IPP_GROUP_EVENT));
}

/* Walks over what is untouched, in groups of the one or the other kind. */
struct walk {
    enum ipp_kind kind;
    bool going;
    struct span groups, attributes;
};

static struct walk walk_of(const struct ipp_message *m, bool going)
{
    return (struct walk){.kind = m->kind, .going = going, .groups = m->groups};
}

static bool walk_next(struct walk *w, struct ipp_attribute *ret)
{
    struct ipp_group g;

    for (;;) {
        while (ipp_attribute_next(&w->attributes, ret))
            if (is_untouched(w->kind, ret))
                return true;
        do
            if (!ipp_group_next(&w->groups, &g))
                return false;
        while (may_go(w->kind, g.tag) != w->going);
        w->attributes = g.attributes;
    }
}

static void check_untouched(const struct ipp_message *in, const struct ipp_message *out)
{
    struct walk a = walk_of(in, false), b = walk_of(out, false);
    struct ipp_attribute x, y;

    while (walk_next(&a, &x))
        assert(walk_next(&b, &y) && span_eq(x.values, y.values));
    assert(!walk_next(&b, &y));
    a = walk_of(in, true);
    b = walk_of(out, true);
    while (walk_next(&b, &y)) {
        bool found = false;

        while (!found && walk_next(&a, &x))
            found = span_eq(x.values, y.values);
        assert(found);
    }
}

/* ---- requests ---- */

static bool has(const struct ipp_message *m, const char *name)
{
    struct ipp_attribute a;
    struct ipp_group g;

    for (struct span gs = m->groups; ipp_group_next(&gs, &g);)
        if (ipp_attribute_find(g.attributes, span_of(name), &a) != ERR_MISSING)
            return true;
    return false;
}

static void check_user(const struct ipp_message *m)
{
    struct ipp_attribute a;
    struct ipp_value v;

    assert(ipp_message_find(m, SPAN("requesting-user-name"), &a) == OK);
    assert(ipp_attribute_single(&a, IPP_VALUE_NAME, &v) && span_eq(v.value, SPAN("ann")));
}

/* Printers take the first one that they find, in whatever group. */
static void check_once(const struct ipp_message *m, const char *name)
{
    struct ipp_attribute a;
    struct ipp_group g;
    unsigned n = 0;

    for (struct span gs = m->groups; ipp_group_next(&gs, &g);)
        for (struct span as = g.attributes; ipp_attribute_next(&as, &a);)
            if (span_ieq(a.name, span_of(name))) {
                n++;
                assert(g.tag == IPP_GROUP_OPERATION);
            }
    assert(n <= 1);
}

static void check_request(const struct ipp_message *in, const struct ipp_message *m,
                          const struct ipp_request_translation *t)
{
    assert(m->header.code == in->header.code && m->header.request_id == in->header.request_id);
    check_untouched(in, m);
    assert((m->target.kind == IPP_TARGET_NONE) == (in->target.kind == IPP_TARGET_NONE));
    if (m->target.kind != IPP_TARGET_NONE)
        assert(span_eq(m->target.uri, t->printer_uri));
    if (in->target.kind == IPP_TARGET_JOB || in->target.kind == IPP_TARGET_PRINTER_JOB)
        assert(m->target.kind == IPP_TARGET_PRINTER_JOB && m->target.job_id == t->job_id);
    assert(!has(m, "job-uri") && !has(m, "document-uri") && !has(m, "notify-recipient-uri"));
    assert(!has(m, "requesting-user-vcard") && !has(m, "job-originating-user-name"));
    check_once(m, "compression");
    check_once(m, "document-format");
    if (!t->secure)
        assert(!has(m, "auth-info") && !has(m, "job-password") && !has(m, "document-password"));
    if (t->hold)
        assert(has(m, "job-hold-until") && !has(m, "job-hold-until-time"));
    if (t->user.n)
        check_user(m);
}

/* Cancel-Jobs may say job-id 0, which is none. */
static bool names_job(const struct ipp_message *m)
{
    return m->target.kind == IPP_TARGET_JOB || m->target.kind == IPP_TARGET_PRINTER_JOB;
}

static void fuzz_request(const struct ipp_message *m, unsigned flags)
{
    static const struct ipp_job_numbers jobs[] = {
        {1,          1         },
        {7,          7         },
        {0x01010101, 0x01010101}
    };
    struct ipp_request_translation t = {
        .printer_uri = SPAN("ipp://printer.lan/q"),
        .job_id = names_job(m) ? 7 : 0,
        .user = flags & FLAG_USER ? SPAN("ann") : SPAN_NONE,
        .secure = flags & FLAG_SECURE,
        .hold = flags & FLAG_HOLD,
        .jobs = jobs,
        .n_jobs = ARRAY_LEN(jobs),
    };
    struct ipp_message out;
    struct buf first, second;
    int32_t v[4];
    enum err e;

    buf_init(&first, 0);
    buf_init(&second, 0);
    e = ipp_translate_request(m, &t, &first);
    assert((e == ERR_BUG) == (m->target.kind == IPP_TARGET_SYSTEM));
    assert(e == OK || e == ERR_BUG || e == ERR_MISSING);
    if (e == ERR_MISSING)
        assert(ipp_request_jobs(m, v, 4) > 0 || has(m, "predecessor-job-uri"));
    if (e == OK) {
        assert(ipp_message_parse(IPP_REQUEST, buf_span(&first), &larger, &out, NULL) == OK);
        check_request(m, &out, &t);
        assert(ipp_translate_request(&out, &t, &second) == OK);
        assert(span_eq(buf_span(&first), buf_span(&second)));
    }
    buf_done(&first);
    buf_done(&second);
}

/* ---- answers ---- */

/* Jobs that may be told; their numbers are the same here. */
static const struct ipp_job told[] = {
    {.id = 1,          .printer_id = 1,          .made = {IPP_CHANNEL_UPGRADED, IPP_USER_DIGEST}     },
    {.id = 7,          .printer_id = 7,          .made = {IPP_CHANNEL_IMPLICIT, IPP_USER_CERTIFICATE}},
    {.id = 0x01010101, .printer_id = 0x01010101, .made = {IPP_CHANNEL_CLEAR, IPP_USER_CLAIMED}       },
};
static const struct ipp_job named = {
    .id = 2, .printer_id = 2, .made = {IPP_CHANNEL_CLEAR, IPP_USER_CLAIMED}
};

static const struct ipp_job *find_job(void *arg, int32_t printer_id)
{
    (void)arg;
    assert(printer_id > 0);
    for (size_t i = 0; i < ARRAY_LEN(told); i++)
        if (told[i].printer_id == printer_id)
            return &told[i];
    return NULL;
}

static void check_uri(struct span text)
{
    struct ipp_uri uri;

    assert(!ipp_uri_is_inside(text, SPAN("printer.lan")));
    if (ipp_uri_parse(text, &uri, NULL) != OK)
        return;
    assert(!span_ieq(uri.host, SPAN("printer.lan")) && !span_ieq(uri.host, SPAN("localhost")));
    assert(!span_eq(uri.host, SPAN("127.0.0.1")) && !span_eq(uri.host, SPAN("::1")));
}

static void check_uris(const struct ipp_message *m)
{
    struct ipp_record r;

    for (struct span rest = m->groups; ipp_record_next(&rest, &r);)
        if (r.tag == IPP_VALUE_URI)
            check_uri(r.value);
}

/* Who does not name a job is told of none but by its number. */
static void check_jobs(const struct ipp_message *m, bool has_name)
{
    struct ipp_attribute a;
    struct ipp_group g;

    for (struct span gs = m->groups; ipp_group_next(&gs, &g);)
        if (!has_name && g.tag == IPP_GROUP_JOB)
            assert(g.attributes.n == 0 ||
                   ipp_attribute_find(g.attributes, SPAN("job-id"), &a) != ERR_MISSING ||
                   ipp_attribute_find(g.attributes, SPAN("notify-job-id"), &a) != ERR_MISSING ||
                   ipp_attribute_find(g.attributes, SPAN("document-job-id"), &a) != ERR_MISSING);
}

static void check_numbers(const struct ipp_message *m, bool has_name)
{
    int32_t v[64];
    size_t n = ipp_answer_jobs(m, v, ARRAY_LEN(v));

    for (size_t i = 0; i < n && i < ARRAY_LEN(v); i++)
        assert(find_job(NULL, v[i]) || (has_name && v[i] == 2));
    assert(ipp_answer_job(m) >= 0);
}

static void translate_twice(const struct ipp_message *m, const struct ipp_answer_translation *t)
{
    struct ipp_message out;
    struct buf first, second;

    buf_init(&first, 0);
    buf_init(&second, 0);
    assert(ipp_translate_answer(m, t, &first) == OK);
    assert(ipp_message_parse(IPP_RESPONSE, buf_span(&first), &larger, &out, NULL) == OK);
    assert(out.header.code == m->header.code && out.header.request_id == t->request_id);
    check_untouched(m, &out);
    check_uris(&out);
    check_jobs(&out, t->named != NULL);
    check_numbers(&out, t->named != NULL);
    assert(ipp_translate_answer(&out, t, &second) == OK);
    assert(span_eq(buf_span(&first), buf_span(&second)));
    buf_done(&first);
    buf_done(&second);
}

static void fuzz_answer(const struct ipp_message *m, unsigned flags)
{
    static const char *const globs[] = {"application/*"};
    const struct ipp_printer_settings set = {
        .path = "/ipp/q",
        .require = flags & FLAG_CLEAR ? 0 : 1u << IPP_REQUIRE_TLS | 1u << IPP_REQUIRE_DIGEST,
        .formats = {globs, flags & FLAG_FORMATS ? 1 : 0},
    };
    const struct ipp_public_printer printer = {
        .set = &set,
        .front = {.host = SPAN("gw.example"), .port = 631, .secure_port = 443},
        .upgrades = true,
        .backend_host = SPAN("printer.lan"),
        .uuid = "urn:uuid:gateway",
        .digest = true,
    };
    struct ipp_answer_translation t = {
        .printer = &printer,
        .request_id = 99,
        .is_operator = flags & FLAG_OPERATOR,
        .named = flags & FLAG_NAMED ? &named : NULL,
        .job = find_job,
    };

    translate_twice(m, &t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ipp_message m;
    struct span in;

    if (size < 2)
        return 0;
    in = (struct span){(const char *)data + 1, size - 1};
    if (data[0] & FLAG_ANSWER) {
        if (ipp_message_parse(IPP_RESPONSE, in, &limits, &m, NULL) == OK)
            fuzz_answer(&m, data[0]);
    } else if (ipp_message_parse(IPP_REQUEST, in, &limits, &m, NULL) == OK) {
        fuzz_request(&m, data[0]);
    }
    return 0;
}
