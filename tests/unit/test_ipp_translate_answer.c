/* SPDX-License-Identifier: Apache-2.0 */
/* ipp/ipp_translate.h: what a client is told of an answer. Messages are lines of test_ipp_text.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "ipp/ipp_translate_int.h"
#include "test_ipp_text.h"
#include "test_ipp_translate_world.h"

/* ---- answers ---- */

struct answer_row {
    const char *name;
    const char *in, *out;
    const struct ipp_job *named;
};

#define IPPS "ipps://gw.example:443/ipp/acct"
#define LIST "ipp://gw.example:631/ipp/acct;AUTH=TLS,DAA"

/* clang-format off */
static const struct answer_row answer_rows[] = {
    {"nothing to do", "status-message=tFine @5 x=? @e y=x\1", "status-message=tFine @5 x=? @e y=x\1", NULL},

    {"where the printer is", "@4 printer-uri-supported=uipp://printer.lan/q uri-security-supported=knone "
     "uri-authentication-supported=knone printer-name=nq",
     "@4 printer-uri-supported=u" IPPS " +u" LIST " uri-security-supported=ktls +ktls "
     "uri-authentication-supported=kdigest +kdigest printer-name=nacct", NULL},
    {"one of the three only", "@4 uri-security-supported=knone", "@4 uri-security-supported=ktls +ktls", NULL},
    {"as PAPPL says it", "@4 printer-xri-supported={ xri-uri=uipp://printer.lan/q xri-authentication=knone xri-security=knone }",
     "@4 printer-xri-supported={ xri-uri=u" IPPS " xri-authentication=kdigest xri-security=ktls } "
     "+{ xri-uri=u" LIST " xri-authentication=kdigest xri-security=ktls }", NULL},
    {"in every printer's group, in any case", "@4 Printer-URI-Supported=uipp://printer.lan/q @4 printer-uri-supported=uipp://printer.lan/r",
     "@4 printer-uri-supported=u" IPPS " +u" LIST " @4 printer-uri-supported=u" IPPS " +u" LIST, NULL},
    {"out-of-band values are not filled in", "@5 printer-xri-supported=? printer-uuid=? job-uri=? job-id=? operations-supported=?",
     "@5 printer-xri-supported=? printer-uuid=? job-uri=? job-id=? operations-supported=?", NULL},
    {"uuids", "@4 printer-uuid=uurn:uuid:printer device-uuid=uurn:uuid:d", "@4 printer-uuid=uurn:uuid:gateway device-uuid=uurn:uuid:d", NULL},
    {"logins of CUPS", "@4 auth-info-required=knegotiate", "@4 auth-info-required=kusername +kpassword", NULL},

    {"what is left out", "@4 device-uri=uusb://x printer-more-info=uhttp://o printer-icons=uhttp://o +uhttp://p printer-strings-uri=uhttp://o "
     "printer-supply-info-uri=uhttp://o printer-privacy-policy-uri=uhttp://o printer-static-resource-directory-uri=uhttp://o "
     "member-uris=uipp://o notify-printer-uri=uipp://o notify-recipient-uri=urss:x Printer-DNS-SD-Name=nq "
     "reference-uri-schemes-supported=shttp notify-schemes-supported=smailto notify-pull-method-supported=kippget",
     "@4 notify-pull-method-supported=kippget", NULL},
    {"of jobs and documents", "@2 job-id=i7 job-more-info=uhttp://o @9 document-number=i1 document-uri=uhttp://o document-job-id=i7 "
     "document-job-uri=uipp://o document-printer-uri=uipp://o", "@2 job-id=i42 @9 document-number=i1 document-job-id=i42", NULL},

    {"operations", "@4 operations-supported=e2 +e3 +e4 +e16 +e45 +e16387 +e32767 +i-1 +kx", "@4 operations-supported=e2 +e4", NULL},
    {"none of them", "@4 operations-supported=e3 x=i1", "@4 x=i1", NULL},
    {"formats", "@4 document-format-supported=mimage/jpeg +mapplication/pdf document-format-default=mimage/jpeg document-format-preferred=mx/y",
     "@4 document-format-supported=mimage/jpeg +mapplication/pdf document-format-default=mimage/jpeg document-format-preferred=mx/y", NULL},
    {"compressions", "@4 compression-supported=kcompress +knone +kGZIP +kdeflate +kbr compression-default=kcompress",
     "@4 compression-supported=knone +kGZIP +kdeflate", NULL},

    {"a job", "@2 job-id=i7 job-uri=uipp://printer.lan/j/7 job-printer-uri=uipp://printer.lan/q Printer-URI=uipp://printer.lan/q job-state=e3",
     "@2 job-id=i42 job-uri=uipp://gw.example:631/jobs/42;AUTH=TLS,DAA job-printer-uri=u" IPPS " printer-uri=u" IPPS " job-state=e3", NULL},
    {"jobs", "@2 job-uri=uipp://printer.lan/j/7 job-id=i7 @2 job-id=i9 job-name=nsecret @2 job-id=i8 job-uri=uipp://printer.lan/j/8",
     "@2 job-uri=uipp://gw.example:631/jobs/42;AUTH=TLS,DAA job-id=i42 @2 job-id=i43 job-uri=uipps://gw.example:443/jobs/43", NULL},
    {"jobs without numbers", "@2 job-name=nsecret @2 job-uri=uipp://printer.lan/j/7 @2", "@2", NULL},
    {"but of a job that was named", "@2 job-state=e3 job-uri=uipp://printer.lan/j/7",
     "@2 job-state=e3 job-uri=uipp://gw.example:631/jobs/42;AUTH=TLS,DAA", &world_jobs[0]},
    {"the named one, and others", "@2 job-id=i7 @2 job-id=i8 @2 job-id=i9", "@2 job-id=i42 @2 job-id=i43", &world_jobs[0]},
    {"two numbers", "@2 job-id=i7 +i8 @2 job-id=i7 job-id=i8 @2 Job-ID=i7 notify-job-id=i8 @2 job-id=i7 notify-job-id=i7",
     "@2 job-id=i42 notify-job-id=i42", NULL},
    {"no numbers", "@2 job-id=e7 x=i1 @2 job-id=n7 x=i1 @2 job-id=i0 x=i1 @2 job-id=i-7 x=i1 @2 job-id=- x=i1", "", NULL},
    {"numbers elsewhere", "job-ids=i7 +i9 +i8 parent-job-id=i9 @5 job-ids=i9 +i7 job-id=i9 +kx",
     "job-ids=i42 +i43 @5 job-ids=i42", NULL},
    {"documents of nobody's job", "@9 document-number=i1 @9 document-job-id=i9", "", NULL},
    {"documents of the named job", "@9 document-number=i1 @9 document-job-id=i9", "@9 document-number=i1", &world_jobs[0]},

    {"events", "@7 notify-job-id=i7 job-name=na notify-printer-uri=uipp://printer.lan/q @7 notify-job-id=i9 job-name=nb "
     "@7 job-id=i9 @7 printer-state=e3 @7 job-state=e3 @7 Job-Name=nb @7 job-uri=uipp://o @7 job-state-reasons=knone",
     "@7 notify-job-id=i42 job-name=na @7 printer-state=e3", NULL},
    {"subscriptions", "@6 notify-subscription-id=i1 @6 notify-job-id=i7 @6 notify-job-id=i9 @6 notify-job-id=- x=i1",
     "@6 notify-subscription-id=i1 @6 notify-job-id=i42 @6 notify-job-id=- x=i1", NULL},

    {"what new attributes tell", "@4 a=uhttp://printer.lan/ b=uhttp://other/ c=uhttp://localhost c2=uhttp://127.9.9.9:631/x d=k127.0.0.1 "
     "e=uurn:uuid:x f=uhttp://other +uhttp://PRINTER.lan./x g={ h={ i=uipps://a:b@[::1]:631/ } j=i1 } k={ l=uhttp://other }",
     "@4 b=uhttp://other/ d=k127.0.0.1 e=uurn:uuid:x k={ l=uhttp://other }", NULL},
};
/* clang-format on */

static void translate_answer(const char *name, const char *in, const char *want,
                             const struct ipp_answer_translation *t)
{
    struct ipp_message m, again;
    struct buf octets, out, text;

    buf_init(&octets, 0);
    buf_init(&out, 0);
    buf_init(&text, 0);
    text_message(&octets, IPP_SUCCESSFUL_OK, in);
    world_parse(IPP_RESPONSE, &octets, &m);
    assert_int_equal(ipp_translate_answer(&m, t, &out), OK);
    world_parse(IPP_RESPONSE, &out, &again);
    assert_int_equal(again.header.request_id, t->request_id);
    text_of_message(&again, &text);
    if (!span_eq(buf_span(&text), span_of(want)))
        fail_msg("%s:\n  %s\nand not\n  %s", name, buf_cstr(&text), want);
    buf_done(&octets);
    buf_done(&out);
    buf_done(&text);
}

static void answers_are_translated(void **state)
{
    struct ipp_printer_settings set = world_settings();
    struct ipp_public_printer p = world_printer(&set);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answer_rows); i++) {
        struct ipp_answer_translation t = {
            .printer = &p, .request_id = 99, .named = answer_rows[i].named, .job = world_job};

        translate_answer(answer_rows[i].name, answer_rows[i].in, answer_rows[i].out, &t);
    }
}

static bool is_odd(void *arg, int32_t id)
{
    (void)arg;
    return id % 2 == 1;
}

/* Of subscriptions those that may be told, where somebody says which; other groups are not asked
 * about. */
static void subscriptions_are_asked_about(void **state)
{
    struct ipp_printer_settings set = world_settings();
    struct ipp_public_printer p = world_printer(&set);
    const struct ipp_answer_translation t = {
        .printer = &p, .request_id = 99, .job = world_job, .subscription = is_odd};

    (void)state;
    translate_answer("subscriptions",
                     "@6 notify-subscription-id=i1 x=i1 @6 notify-subscription-id=i2 x=i2 @6 x=i3 "
                     "@6 notify-subscription-id=k3 @6 notify-subscription-id=i3 +i5 "
                     "@6 notify-subscription-id=i3 notify-job-id=i7 "
                     "@6 notify-subscription-id=i5 notify-job-id=i9 "
                     "@6 notify-subscription-id=i4 notify-job-id=i7 @7 notify-subscription-id=i2",
                     "@6 notify-subscription-id=i1 x=i1 "
                     "@6 notify-subscription-id=i3 notify-job-id=i42 @7 notify-subscription-id=i2",
                     &t);
}

/* Without a way to ask about jobs, only the named one is told. */
static void only_the_named_job_is_told(void **state)
{
    struct ipp_printer_settings set = world_settings();
    struct ipp_public_printer p = world_printer(&set);
    struct ipp_job new = {
        .id = 50, .made = {IPP_CHANNEL_CLEAR, IPP_USER_CLAIMED}
    };
    struct ipp_answer_translation t = {.printer = &p, .request_id = 1, .named = &world_jobs[1]};

    (void)state;
    translate_answer("one", "@2 job-id=i7 @2 job-id=i8", "@2 job-id=i43", &t);
    /* One that the printer has not got is not the job 0. */
    t.named = &new;
    translate_answer("none", "@2 job-id=i0 @2 x=i1", "@2 x=i1", &t);
    t.named = NULL;
    translate_answer("nobody", "@2 job-id=i7 @2 x=i1", "", &t);
}

static void formats_are_told_as_configured(void **state)
{
    static const char *const globs[] = {"application/pdf", "IMAGE/*"};
    struct ipp_printer_settings set = world_settings();
    struct ipp_public_printer p = world_printer(&set);
    struct ipp_answer_translation t = {.printer = &p, .request_id = 1};

    (void)state;
    translate_answer("all", "@4 document-format-supported=mx/y +uhttp://o", /* whatever it is */
                     "@4 document-format-supported=mx/y +uhttp://o", &t);
    translate_answer("but no host", "@4 document-format-supported=mx/y +uhttp://localhost", "@4",
                     &t);
    set.formats = (struct config_strings){globs, ARRAY_LEN(globs)};
    translate_answer("some",
                     "@4 document-format-supported=mtext/plain +mapplication/pdf +mimage/urf;x=1 "
                     "document-format-default=mtext/plain document-format-preferred=mimage/urf",
                     "@4 document-format-supported=mapplication/pdf +mimage/urf;x=1 "
                     "document-format-preferred=mimage/urf",
                     &t);
    translate_answer("none", "@4 document-format-supported=mtext/plain +kimage/urf x=i1", "@4 x=i1",
                     &t);
    assert_true(ipp_printer_takes_format(&set, SPAN(" Application/PDF ; a=b")));
    assert_false(ipp_printer_takes_format(&set, SPAN("application/pdfx")));
    assert_false(ipp_printer_takes_format(&set, SPAN("")));
    set.formats.n = 0;
    assert_true(ipp_printer_takes_format(&set, SPAN("")));
}

/* ---- where the gateway's printer is, and how one proves oneself ---- */

struct front_row {
    const char *name;
    unsigned require, port, secure_port;
    bool upgrades, digest, basic, allow, nothing;
    const char *out;
};

#define URIS(u, s, a)                                                                             \
    "@4 printer-uri-supported=u" u " uri-security-supported=k" s " uri-authentication-supported=" \
    "k" a
#define NOBODY "requesting-user-name"

/* clang-format off */
static const struct front_row front_rows[] = {
    {"the usual ports", WORLD_TLS, 631, 631, true, true, false, false, false,
     URIS("ipps://gw.example/ipp/acct +uipp://gw.example:631/ipp/acct;AUTH=TLS", "tls +ktls", NOBODY " +k" NOBODY) " auth-info-required=knone"},
    {"without upgrades", WORLD_TLS, 631, 631, false, true, false, false, false,
     URIS("ipps://gw.example/ipp/acct", "tls", NOBODY) " auth-info-required=knone"},
    {"without a secure port", WORLD_TLS, 8631, 0, true, true, false, false, false,
     URIS("ipp://gw.example:8631/ipp/acct;AUTH=TLS", "tls", NOBODY) " auth-info-required=knone"},
    {"nothing demanded", 0, 631, 443, true, true, false, false, false,
     URIS("ipps://gw.example:443/ipp/acct +uipp://gw.example:631/ipp/acct", "tls +knone", NOBODY " +k" NOBODY) " auth-info-required=knone"},
    {"Digest in the clear", WORLD_DIGEST, 631, 0, true, true, false, false, false,
     URIS("ipp://gw.example:631/ipp/acct", "none", "digest") " auth-info-required=kusername +kpassword"},
    {"certificates", WORLD_CERTIFICATE, 631, 443, true, true, true, false, false,
     URIS("ipps://gw.example:443/ipp/acct +uipp://gw.example:631/ipp/acct;AUTH=TLS", "tls +ktls", "certificate +kcertificate") " auth-info-required=knone"},
    {"only some users", WORLD_TLS, 0, 443, true, true, false, true, false,
     URIS("ipps://gw.example:443/ipp/acct", "tls", "digest") " auth-info-required=kusername +kpassword"},
    {"also with Basic, in TLS only", 0, 631, 443, true, true, true, true, false,
     URIS("ipps://gw.example:443/ipp/acct +uipp://gw.example:631/ipp/acct", "tls +knone", "basic +kdigest") " auth-info-required=kusername +kpassword"},
    {"Basic is not enough", WORLD_DIGEST, 0, 443, true, true, true, true, false,
     URIS("ipps://gw.example:443/ipp/acct", "tls", "digest") " auth-info-required=kusername +kpassword"},
    {"Basic, and nobody is asked", WORLD_TLS, 0, 443, true, true, true, false, false,
     URIS("ipps://gw.example:443/ipp/acct", "tls", NOBODY) " auth-info-required=knone"},
    {"nothing is told before", WORLD_TLS, 0, 443, true, true, false, false, true,
     URIS("ipps://gw.example:443/ipp/acct", "tls", "digest") " auth-info-required=kusername +kpassword"},
    {"some users, and no passwords", 0, 631, 443, true, false, false, true, false,
     URIS("ipps://gw.example:443/ipp/acct +uipp://gw.example:631/ipp/acct", "tls +knone", "certificate +k" NOBODY) " auth-info-required=knone"},
    {"nowhere", WORLD_TLS, 631, 0, false, true, false, false, false, "@4 auth-info-required=knone"},
};
/* clang-format on */

static void fronts_are_told(void **state)
{
    static const char *const who[] = {"user:ann"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(front_rows); i++) {
        const struct front_row *row = &front_rows[i];
        struct ipp_printer_settings set = world_settings();
        struct ipp_public_printer p = world_printer(&set);
        struct ipp_answer_translation t = {.printer = &p, .request_id = 1};

        set.require = row->require;
        set.basic = row->basic;
        set.allow = (struct config_strings){who, row->allow};
        set.anonymous = row->nothing ? IPP_ANONYMOUS_NOTHING : IPP_ANONYMOUS_ATTRIBUTES;
        p.front.port = row->port;
        p.front.secure_port = row->secure_port;
        p.upgrades = row->upgrades;
        p.digest = row->digest;
        translate_answer(row->name,
                         "@4 printer-uri-supported=ux uri-security-supported=kx "
                         "uri-authentication-supported=kx auth-info-required=kx",
                         row->out, &t);
    }
}

/* What cannot be said is left out, and the rest stays whole. */
static void fronts_without_words(void **state)
{
    struct ipp_printer_settings set = world_settings();
    struct ipp_public_printer p = world_printer(&set);
    struct ipp_answer_translation t = {.printer = &p, .request_id = 1, .named = &world_jobs[0]};

    (void)state;
    p.front.host = SPAN("no host");
    p.uuid = NULL;
    translate_answer("no host",
                     "@4 printer-uri-supported=ux uri-security-supported=kx printer-uuid=ux "
                     "printer-xri-supported=ux uri-authentication-supported=kx x=i1 @2 job-id=i7 "
                     "job-uri=ux job-printer-uri=ux printer-uri=ux",
                     "@4 x=i1 @2 job-id=i42", &t);
    p = world_printer(&set);
    p.single = true;
    translate_answer("one that is not secure",
                     "@4 printer-uri-supported=ux uri-security-supported=kx",
                     "@4 printer-uri-supported=u" LIST " uri-security-supported=ktls", &t);
    p.secure = true;
    translate_answer("one that is secure", "@4 printer-uri-supported=ux +uy",
                     "@4 printer-uri-supported=u" IPPS, &t);
    p = world_printer(&set);
    p.front.port = 0;
    translate_answer("the port is gone", "@2 job-id=i7 job-uri=ux", "@2 job-id=i42", &t);
    p.job_style = IPP_JOB_IPPS;
    translate_answer("another style", "@2 job-uri=ux",
                     "@2 job-uri=uipps://gw.example:443/jobs/42;AUTH=DAA", &t);
    p.front.host = SPAN("2001:db8::1");
    translate_answer("IPv6", "@4 printer-uri-supported=ux",
                     "@4 printer-uri-supported=uipps://[2001:db8::1]:443/ipp/acct", &t);
}

/* ---- hosts ---- */

static void hosts_inside_are_found(void **state)
{
    static const struct {
        const char *uri, *host;
        bool inside;
    } rows[] = {
        {"ipp://printer.lan/q",                                                                  "printer.lan",  true },
        {"IPP://Printer.LAN:631",                                                                "printer.lan",  true },
        {"http://printer.lan.?x",                                                                "printer.lan",  true },
        {"http://printer.lan#x",                                                                 "printer.lan.", true },
        {"http://a:b@c@printer.lan/",                                                            "printer.lan",  true },
        {"lpd://printer.lan",                                                                    "printer.lan",  true },
        {"//printer.lan/x",                                                                      "printer.lan",  true },
        {"http://printer.lan.example/",                                                          "printer.lan",  false},
        {"http://xprinter.lan/",                                                                 "printer.lan",  false},
        {"http://other/?u=http://printer.lan/",                                                  "printer.lan",  false},
        {"urn:uuid:printer.lan",                                                                 "printer.lan",  false},
        {"mailto:a@printer.lan",                                                                 "printer.lan",  false},
        {"geo:1,2",                                                                              "",             false},
        {"",                                                                                     "",             false},
        {"/",                                                                                    "",             false},
        {"file:///tmp/x",                                                                        "",             false},
        {"http://LocalHost/",                                                                    "printer.lan",  true },
        {"http://localhost.:1/",                                                                 "printer.lan",  true },
        {"http://a.localhost/",                                                                  "printer.lan",  true },
        {"http://localhost.localdomain/",                                                        "printer.lan",  true },
        {"http://notlocalhost/",                                                                 "printer.lan",  false},
        {"http://127.0.0.1:631/",                                                                "printer.lan",  true },
        {"http://127.255.1.2/",                                                                  "printer.lan",  true },
        {"http://0.0.0.0/",                                                                      "printer.lan",  true },
        {"http://128.0.0.1/",                                                                    "printer.lan",  false},
        {"http://127.0.0.1.example/",                                                            "printer.lan",  false},
        {"http://[::1]/",                                                                        "printer.lan",  true },
        {"http://[0:0:0::0:1]:80/",                                                              "printer.lan",  true },
        {"http://[::]/",                                                                         "printer.lan",  true },
        {"http://[::ffff:127.0.0.1]/",                                                           "printer.lan",  true },
        {"http://[::2]/",                                                                        "printer.lan",  false},
        {"http://[1::1]/",                                                                       "printer.lan",  false},
        {"http://[::1",                                                                          "printer.lan",  true },
        {"http://[",                                                                             "printer.lan",  false},
        {"http://192.0.2.7/",                                                                    "192.0.2.7",    true },
        {"http://[::ffff:192.0.2.7]/",                                                           "192.0.2.7",    true },
        {"http://192.0.2.70/",                                                                   "192.0.2.7",    false},
        {"http://[2001:DB8:0::7]/",                                                              "2001:db8::7",  true },
        {"http://[fe80::7%25eth0]/",                                                             "fe80::7",      true },
        {"http://[2001:db8::8]/",                                                                "2001:db8::7",  false},
        {"http://"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/", "printer.lan",  false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (ipp_uri_is_inside(span_of(rows[i].uri), span_of(rows[i].host)) != rows[i].inside)
            fail_msg("%s", rows[i].uri);
}

/* ---- who asks ---- */

static void operators_are_told_more(void **state)
{
    static const char *const more[] = {"Pause-Printer"};
    struct ipp_printer_settings set = world_settings();
    struct ipp_public_printer p = world_printer(&set);
    struct ipp_answer_translation t = {.printer = &p, .request_id = 1};

    (void)state;
    set.operations = (struct config_strings){more, ARRAY_LEN(more)};
    translate_answer("others", "@4 operations-supported=e2 +e16 +e17 +e56",
                     "@4 operations-supported=e2", &t);
    t.is_operator = true;
    translate_answer("operators", "@4 operations-supported=e2 +e16 +e17 +e56",
                     "@4 operations-supported=e2 +e16 +e56", &t);
}

static void state_is_told(void **state)
{
    struct ipp_printer_settings set = world_settings();
    struct ipp_public_printer p = world_printer(&set);
    struct ipp_answer_translation t = {.printer = &p, .request_id = 1};

    (void)state;
    translate_answer("its own", "@4 printer-state-message=tidle x=i1",
                     "@4 printer-state-message=tidle x=i1", &t);
    translate_answer("none", "@4 printer-state-message=?", "@4 printer-state-message=?", &t);
    t.state_message = SPAN("infected");
    translate_answer("another one", "@4 Printer-State-Message=tidle +tx x=i1",
                     "@4 printer-state-message=tinfected x=i1", &t);
    t.state_message = SPAN("a\x1b[2Jb\xc2\x9b"
                           "c\xc3");
    translate_answer("nothing for a terminal", "@4 printer-state-message=tidle",
                     "@4 printer-state-message=ta?[2Jb?c?", &t);
    t.state_message = SPAN("infected");
    translate_answer("for none", "@4 printer-state-message=?", "@4 printer-state-message=tinfected",
                     &t);
    translate_answer("not there", "@4 x=i1", "@4 x=i1", &t);
}

/* ---- the jobs of answers ---- */

static void jobs_of_answers_are_found(void **state)
{
    struct ipp_message m;
    int32_t v[4] = {0};
    struct buf in;

    (void)state;
    buf_init(&in, 0);
    text_message(&in, IPP_SUCCESSFUL_OK,
                 "job-ids=i1 @4 x=i9 @2 JOB-ID=i2 +e8 +i0 @7 notify-job-id=i3 +kx @9 "
                 "document-job-id=i2 @2 job-id=- parent-job-id=i5");
    world_parse(IPP_RESPONSE, &in, &m);
    assert_int_equal(ipp_answer_jobs(&m, v, 4), 5);
    assert_int_equal(v[0], 1);
    assert_int_equal(v[1], 2);
    assert_int_equal(v[2], 3);
    assert_int_equal(v[3], 2);
    assert_int_equal(ipp_answer_jobs(&m, NULL, 0), 5);
    buf_done(&in);
}

static void the_job_of_an_answer_is_found(void **state)
{
    static const struct {
        const char *text;
        int32_t id;
    } rows[] = {
        {"",                          0},
        {"job-id=i4",                 0},
        {"@5 job-id=i4",              0},
        {"@2 job-id=i4 @2 job-id=i5", 4},
        {"@5 x=? @2 Job-ID=i4",       4},
        {"@2 x=i1 @2 job-id=i5",      0},
        {"@2 job-id=i4 job-id=i5",    0},
        {"@2 job-id=i4 +i5",          0},
        {"@2 job-id=i-4",             0},
        {"@2 job-id=e4",              0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ipp_message m;
        struct buf in;

        buf_init(&in, 0);
        text_message(&in, IPP_SUCCESSFUL_OK, rows[i].text);
        world_parse(IPP_RESPONSE, &in, &m);
        assert_int_equal(ipp_answer_job(&m), rows[i].id);
        buf_done(&in);
    }
}

static void answers_fail_whole(void **state)
{
    struct ipp_printer_settings set = world_settings();
    struct ipp_public_printer p = world_printer(&set);
    struct ipp_answer_translation t = {.printer = &p, .request_id = 1};
    char uuid[IPP_URI_MAX + 2];
    struct ipp_message m, request;
    struct buf in, out;

    (void)state;
    memset(uuid, 'u', sizeof uuid);
    uuid[sizeof uuid - 1] = '\0';
    buf_init(&in, 0);
    text_message(&in, IPP_SUCCESSFUL_OK, "@4 printer-uri-supported=ux printer-uuid=ux");
    world_parse(IPP_RESPONSE, &in, &m);
    buf_init(&out, 100);
    buf_text(&out, "before");
    assert_int_equal(ipp_translate_answer(&m, &t, &out), ERR_LIMIT);
    assert_true(span_eq(buf_span(&out), SPAN("before")));
    buf_done(&out);
    buf_init(&out, 0);
    mem_fail_after(1);
    assert_int_equal(ipp_translate_answer(&m, &t, &out), ERR_NOMEM);
    mem_fail_after(0);
    buf_reset(&out);
    p.uuid = uuid;
    assert_int_equal(ipp_translate_answer(&m, &t, &out), ERR_LIMIT);
    world_parse(IPP_REQUEST, &in, &request);
    p.uuid = NULL;
    assert_int_equal(ipp_translate_answer(&request, &t, &out), ERR_BUG);
    assert_int_equal(out.n, 0);
    buf_done(&out);
    buf_done(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_translated),
        cmocka_unit_test(subscriptions_are_asked_about),
        cmocka_unit_test(only_the_named_job_is_told),
        cmocka_unit_test(formats_are_told_as_configured),
        cmocka_unit_test(fronts_are_told),
        cmocka_unit_test(fronts_without_words),
        cmocka_unit_test(hosts_inside_are_found),
        cmocka_unit_test(operators_are_told_more),
        cmocka_unit_test(state_is_told),
        cmocka_unit_test(jobs_of_answers_are_found),
        cmocka_unit_test(the_job_of_an_answer_is_found),
        cmocka_unit_test(answers_fail_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
