/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/probe_int.h"

struct error_case {
    enum probe_check check;
    const char *what;
    const char *request; /* NULL: the method, URL and version below */
    const char *method, *version;
    bool wrong_service;
    unsigned want, or_want;
};

static const struct error_case cases[] = {
    {PROBE_UNKNOWN_SERVICE, "OPTIONS for a service that does not exist", NULL,                      "OPTIONS",
     "ICAP/1.0",                                                                                                            true,  404, 404},
    {PROBE_UNKNOWN_METHOD,  "a method that does not exist",              NULL,                      "PROBEMOD", "ICAP/1.0", false, 501,
     405                                                                                                                                   },
    {PROBE_BAD_REQUEST,     "a request-line without sense",              "this is no ICAP\r\n\r\n", NULL,       NULL,
     false,                                                                                                                        400, 400},
    {PROBE_BAD_VERSION,     "a request of ICAP/2.0",                     NULL,                      "OPTIONS",  "ICAP/2.0", false, 505, 505},
};

static void judge(struct probe *p, const struct error_case *c, const struct probe_answer *a)
{
    if (a->status == c->want || a->status == c->or_want)
        probe_ok(p->report, c->check, "%s: status %u", c->what, a->status);
    else
        probe_bad(p->report, c->check, "%s: status %u instead of %u", c->what, a->status, c->want);
    if (a->status / 100 == 2)
        return;
    if (probe_answer_field(a, SPAN("ISTag")).n == 0)
        probe_bad(p->report, PROBE_ERROR_ISTAG, "%s: the answer has no ISTag", c->what);
    else
        probe_ok(p->report, PROBE_ERROR_ISTAG, "errors have an ISTag, too");
}

static void try_one(struct probe *p, const struct error_case *c)
{
    struct probe_talk k;
    struct probe_answer a;
    struct buf request;
    enum err e;

    buf_init(&request, 0);
    if (c->request)
        buf_text(&request, c->request);
    else
        probe_add_head(p, &request, c->method, c->wrong_service ? p->wrong_url : p->url, c->version,
                       "Encapsulated: null-body=0\r\n");
    e = probe_fresh_exchange(p, &k, c->what, buf_span(&request), &a);
    if (e == OK)
        judge(p, c, &a);
    else
        probe_bad(p->report, c->check, "%s: %s", c->what, k.why);
    probe_answer_done(&a);
    probe_talk_close(&k);
    probe_request_done(&request);
}

void probe_errors(struct probe *p)
{
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
        try_one(p, &cases[i]);
}
