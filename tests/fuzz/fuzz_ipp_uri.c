/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_ipp_uri.c - URIs and request-targets: what is printed is what was meant, every view lies in
 * the input, and decoding does not make another target of one. */
#include <stdlib.h>
#include <string.h>

#include "ipp/ipp_http_target.h"
#include "ipp/ipp_uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stay when a URI is printed; everything else is gone. */
#define LASTING (IPP_URI_IN_QUERY | IPP_URI_EARLIER)

static void check(bool holds)
{
    if (!holds)
        abort();
}

static bool lies_within(struct span s, struct span whole)
{
    return s.p == NULL || (s.p >= whole.p && s.p + s.n <= whole.p + whole.n);
}

static void check_fault(struct ipp_uri_fault fault, struct span text)
{
    check(fault.why != IPP_URI_FINE && lies_within(fault.at, text));
    check(ipp_uri_why_text(fault.why)[0] != '?' && ipp_uri_why_code(fault.why)[0] != '?');
    check(fault.why != IPP_URI_AUTH_UNKNOWN || fault.at.n > 0);
}

static void check_parts(const struct ipp_uri *u, struct span text)
{
    check(lies_within(u->host, text) && lies_within(u->userinfo, text));
    check(lies_within(u->path, text) || span_eq(u->path, SPAN("/")));
    check(lies_within(u->params, text) && lies_within(u->query, text));
    check(u->port <= UINT16_MAX && (u->auth & ~IPP_AUTH_ALL) == 0);
    check((u->auth == 0) || u->path.n < text.n);
    check(u->userinfo.p == NULL || u->warnings & IPP_URI_HAS_USER);
}

static void check_printed(const struct ipp_uri *u)
{
    char room[IPP_URI_MAX], room2[IPP_URI_MAX];
    struct writer w = writer_of(room, sizeof room), w2 = writer_of(room2, sizeof room2);
    struct ipp_uri again;
    enum err e = ipp_uri_format(u, &w);

    check(e == OK || (e == ERR_LIMIT && w.n == 0)); /* a port may make it too long */
    if (e != OK)
        return;
    check(ipp_uri_parse(writer_span(&w), &again, NULL) == OK);
    check(ipp_uri_same(u, &again) && ipp_uri_same(&again, u));
    check(again.warnings == (u->warnings & LASTING));
    check(again.auth == ipp_auth_canonical(u->auth, u->secure));
    check(ipp_uri_format(&again, &w2) == OK);
    check(span_eq(writer_span(&w), writer_span(&w2)));
}

static void check_target(struct span text, const struct ipp_http_target *t)
{
    char room[IPP_URI_MAX];
    struct writer w = writer_of(room, sizeof room);
    struct ipp_http_target again;

    check_parts(&t->uri, text);
    check((t->uri.warnings & IPP_URI_REFUSED) == 0);
    if (t->form == IPP_HTTP_ASTERISK)
        return;
    check(ipp_uri_format_target(&t->uri, &w) == OK);
    check(ipp_http_target_parse(writer_span(&w), &again, NULL) == OK);
    check(again.form == IPP_HTTP_ORIGIN && again.uri.auth == 0);
    check(span_eq(again.uri.query, t->uri.query));
}

/* An origin-form means what the URI means that has it for a path. */
static void check_as_uri(struct span text, bool is_target, const struct ipp_http_target *t)
{
    char room[IPP_URI_MAX];
    struct writer w = writer_of(room, sizeof room);
    struct ipp_uri u;

    write_text(&w, "ipp://h");
    write_span(&w, text);
    if (w.err || !span_starts(text, SPAN("/")))
        return;
    if (ipp_uri_parse(writer_span(&w), &u, NULL) != OK) {
        check(!is_target);
        return;
    }
    check(is_target == !(u.warnings & IPP_URI_REFUSED));
    if (is_target) {
        check(u.auth == t->uri.auth && u.warnings == t->uri.warnings);
        check(span_eq(u.path, t->uri.path) && span_eq(u.params, t->uri.params));
        check(span_eq(u.query, t->uri.query));
    }
}

/* |seed| picks how the job came, and the style. */
static void check_job(struct span path, unsigned seed)
{
    static const struct ipp_front gw = {
        {"gw", 2},
        8631, 443
    };
    struct ipp_level made = {(enum ipp_channel)(seed % 3), (enum ipp_user)(seed / 9 % 5)};
    char room[IPP_URI_MAX];
    struct writer w = writer_of(room, sizeof room);
    struct ipp_uri u;

    if (ipp_uri_format_job(&gw, path, made, (enum ipp_job_style)(seed / 3 % 3), &w) != OK)
        return;
    check(ipp_uri_parse(writer_span(&w), &u, NULL) == OK);
    check((u.warnings & ~LASTING) == 0 && span_eq(u.host, gw.host));
    struct ipp_demand d = ipp_uri_demand(&u);

    check(ipp_demand_check(&d, made) == IPP_NEED_NOTHING);
    check((d.auth || u.secure) || made.channel == IPP_CHANNEL_CLEAR);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size};
    struct ipp_uri_fault fault = {0};
    struct ipp_uri u;
    struct ipp_http_target t = {0};
    bool is_target;
    unsigned seed = size ? data[size - 1] + (unsigned)size : 0;

    if (ipp_uri_parse(text, &u, &fault) == OK) {
        check_parts(&u, text);
        check(u.host.n > 0 && u.path.n > 0 && u.path.p[0] == '/');
        check(ipp_uri_same(&u, &u));
        check_printed(&u);
        check_job(u.path, seed);
    } else {
        check_fault(fault, text);
        check_job(text, seed);
    }
    is_target = ipp_http_target_parse(text, &t, &fault) == OK;
    if (is_target)
        check_target(text, &t);
    else
        check_fault(fault, text);
    check_as_uri(text, is_target, &t);
    return 0;
}
