/* SPDX-License-Identifier: Apache-2.0 */
/* probe_ipp_login.c - what a printer does with requests in clear text, and how it asks who is
 * there. It is asked without an answer: no credentials are sent. */
#include "cli/probe_ipp_int.h"

#include "http/digest_params.h"
#include "ipp/ipp_names.h"

#define NONCE_MAX 255u /* libcups cuts what is longer */

struct ipp_client_message probe_ipp_validate(void)
{
    return (struct ipp_client_message){
        .operation = IPP_OPERATION_VALIDATE_JOB,
        .user = "sallyport-probe",
        .title = "sallyport probe",
        .format = "application/octet-stream",
    };
}

/* ---- challenges ---- */

struct offered {
    struct buf text; /* "Digest SHA-256, Basic" */
    bool basic, digest, basic_first, unnamed, no_auth, strong, is_long, opaque;
};

static void add_offer(struct offered *o, const struct digest_challenge *c)
{
    bool digest = digest_challenge_is_digest(c);

    buf_fmt(&o->text, "%s" SPAN_FMT "%s%s", o->text.n ? ", " : "", SPAN_ARG(c->scheme),
            digest ? " " : "", digest && !c->flaw ? digest_alg_name(c->alg) : "");
    if (span_ieq(c->scheme, SPAN("Basic"))) {
        o->basic_first |= !o->digest;
        o->basic = true;
    }
    if (!digest)
        return;
    o->digest = true;
    o->unnamed |= !c->alg_named && c->flaw != DIGEST_EALGORITHM;
    o->no_auth |= !(c->qops & DIGEST_BIT(DIGEST_QOP_AUTH));
    o->strong |= c->alg_named && c->alg != DIGEST_MD5 && c->alg != DIGEST_MD5_SESS;
    o->is_long |= c->nonce.n > NONCE_MAX;
    o->opaque |= c->opaque.p != NULL;
}

static void read_offers(const struct head *h, struct offered *o)
{
    char room[DIGEST_TEXT_MAX];

    for (unsigned i = head_find(h, SPAN("WWW-Authenticate"), 0); i < h->n_fields;
         i = head_find(h, SPAN("WWW-Authenticate"), i + 1)) {
        struct writer scratch = writer_of(room, sizeof room);
        struct span value = h->fields[i].value;
        struct digest_challenge c;

        while (digest_challenge_next(&value, &scratch, &c) == DIGEST_OK)
            add_offer(o, &c);
    }
}

static void look_at_digest(struct probe_ipp *p, const struct offered *o)
{
    struct probe_report *r = p->base.report;

    if (o->unnamed)
        probe_bad(r, PROBE_IPP_DIGEST_ALGORITHM, "Digest is offered without algorithm");
    else
        probe_ok(r, PROBE_IPP_DIGEST_ALGORITHM, "every Digest names its algorithm");
    if (o->no_auth)
        probe_bad(r, PROBE_IPP_DIGEST_QOP, "Digest is offered without qop=auth");
    else
        probe_ok(r, PROBE_IPP_DIGEST_QOP, "every Digest offers qop=auth");
    if (o->strong)
        probe_ok(r, PROBE_IPP_DIGEST_MD5, "there is Digest with something better than MD5");
    else
        probe_bad(r, PROBE_IPP_DIGEST_MD5, "Digest is offered with MD5 alone");
    if (o->is_long)
        probe_bad(r, PROBE_IPP_DIGEST_LONG, "a nonce is longer than %u bytes", NONCE_MAX);
    else
        probe_ok(r, PROBE_IPP_DIGEST_LONG, "nonces are short enough");
    if (o->opaque)
        probe_bad(r, PROBE_IPP_DIGEST_OPAQUE, "Digest comes with opaque");
    else
        probe_ok(r, PROBE_IPP_DIGEST_OPAQUE, "there is no opaque");
}

void probe_ipp_challenges(struct probe_ipp *p, const struct head *h, bool clear)
{
    struct probe_report *r = p->base.report;
    struct offered o = {0};

    buf_init(&o.text, 1024);
    read_offers(h, &o);
    p->asked = true;
    p->basic = o.basic;
    p->digest = o.digest;
    if (o.text.n)
        probe_ok(r, PROBE_IPP_CHALLENGES, "%s: %s", clear ? "in clear text" : "within TLS",
                 buf_cstr(&o.text));
    else
        probe_bad(r, PROBE_IPP_CHALLENGES, "401 without a challenge that can be read");
    if (o.basic && o.digest && o.basic_first)
        probe_bad(r, PROBE_IPP_BASIC_FIRST, "Basic comes before Digest: %s", buf_cstr(&o.text));
    else
        probe_ok(r, PROBE_IPP_BASIC_FIRST, "Basic does not come before Digest");
    if (o.basic && clear)
        probe_bad(r, PROBE_IPP_BASIC_CLEAR, "Basic is offered in clear text");
    else
        probe_ok(r, PROBE_IPP_BASIC_CLEAR, "Basic is not offered in clear text");
    if (o.digest)
        look_at_digest(p, &o);
    buf_done(&o.text);
}

/* ---- clear text ---- */

static void look_at_demand(struct probe_ipp *p, const struct ipp_talk *t)
{
    struct probe_report *r = p->base.report;
    bool names = ipp_head_names_tls(&t->head, NULL);

    if (t->status == 418)
        probe_bad(r, PROBE_IPP_418, "TLS is demanded with 418%s", names ? "" : ", and not named");
    else
        probe_ok(r, PROBE_IPP_418, "418 is not answered");
    if (t->status != 426)
        return;
    if (!names || !head_has_token(&t->head, SPAN("Connection"), SPAN("upgrade")))
        probe_bad(r, PROBE_IPP_426_BARE, "426 without Upgrade: TLS and Connection: Upgrade");
    else
        probe_ok(r, PROBE_IPP_426_BARE, "426 says to what to upgrade");
}

static void ask_attributes(struct probe_ipp *p, struct ipp_talk *t)
{
    static const char *const wanted[] = {"printer-state"};
    const struct ipp_client_message m = {
        .operation = IPP_OPERATION_GET_PRINTER_ATTRIBUTES, .wanted = wanted, .n_wanted = 1};
    enum err e = ipp_talk_ask(t, p, &m);

    if (e)
        probe_say(p->base.report, PROBE_SECTION_CLEAR, "Get-Printer-Attributes in clear text: %s",
                  t->why);
    else
        probe_say(p->base.report, PROBE_SECTION_CLEAR, "Get-Printer-Attributes in clear text: %u",
                  t->status);
    p->clear_attributes = e == OK && t->has_message;
    if (t->status)
        look_at_demand(p, t);
    if (t->status == 401)
        probe_bad(p->base.report, PROBE_IPP_ATTRIBUTES_401,
                  "Get-Printer-Attributes is asked for a password");
}

static void ask_validate(struct probe_ipp *p, struct ipp_talk *t)
{
    const struct ipp_client_message m = probe_ipp_validate();
    struct probe_report *r = p->base.report;
    bool has_tls = p->upgrades || p->implicit;
    enum err e = ipp_talk_ask(t, p, &m);

    if (e) {
        probe_skip(r, PROBE_IPP_CLEAR_JOBS, "Validate-Job in clear text: %s", t->why);
        return;
    }
    look_at_demand(p, t);
    p->clear_jobs = t->has_message && t->message.header.code < IPP_CLIENT_ERROR_BAD_REQUEST;
    if (t->status == 401) {
        probe_ipp_challenges(p, &t->head, true);
        if (has_tls)
            probe_bad(r, PROBE_IPP_CLEAR_401, "Validate-Job in clear text is answered by 401");
    } else if (has_tls) {
        probe_ok(r, PROBE_IPP_CLEAR_401, "nobody is asked for a password in clear text");
    }
    if (p->clear_jobs)
        probe_bad(r, PROBE_IPP_CLEAR_JOBS, "a job would be taken in clear text");
    else
        probe_ok(r, PROBE_IPP_CLEAR_JOBS, "no job is taken in clear text without more ado (%u)",
                 t->status);
}

void probe_ipp_clear(struct probe_ipp *p)
{
    struct ipp_talk t;

    if (p->only_implicit) {
        probe_skip(p->base.report, PROBE_IPP_CLEAR_JOBS, "the URL says TLS from the first byte");
        return;
    }
    if (ipp_talk_open(&t, &p->base.target) == OK)
        ask_attributes(p, &t);
    ipp_talk_done(&t);
    if (ipp_talk_open(&t, &p->base.target) == OK)
        ask_validate(p, &t);
    ipp_talk_done(&t);
}

/* ---- within TLS ---- */

static void skip_digest(struct probe_ipp *p, const char *why)
{
    static const enum probe_check all[] = {
        PROBE_IPP_BASIC_FIRST,   PROBE_IPP_BASIC_CLEAR, PROBE_IPP_DIGEST_ALGORITHM,
        PROBE_IPP_DIGEST_QOP,    PROBE_IPP_DIGEST_MD5,  PROBE_IPP_DIGEST_LONG,
        PROBE_IPP_DIGEST_OPAQUE,
    };

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        probe_skip(p->base.report, all[i], "%s", why);
}

/* In clear text it was asked already. */
void probe_ipp_login(struct probe_ipp *p)
{
    const struct ipp_client_message m = probe_ipp_validate();
    struct probe_report *r = p->base.report;

    if (p->upgrades || p->implicit) {
        enum err e = probe_ipp_ask_tls(p, &m);

        if (e)
            probe_say(r, PROBE_SECTION_LOGIN, "Validate-Job within TLS: %s", p->tls.why);
        else if (p->tls.status == 401)
            probe_ipp_challenges(p, &p->tls.head, false);
        else
            p->asked = p->basic = p->digest = false;
    }
    if (probe_severity_of(r, PROBE_IPP_ATTRIBUTES_401) == PROBE_SKIPPED)
        probe_ok(r, PROBE_IPP_ATTRIBUTES_401, "Get-Printer-Attributes is not asked for a password");
    if (!p->asked)
        probe_ok(r, PROBE_IPP_CHALLENGES, "nobody is asked for a password");
    if (!p->digest)
        skip_digest(p, "no Digest is offered");
}
