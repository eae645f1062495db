/* SPDX-License-Identifier: Apache-2.0 */
/* why_print.c - HOW, WHO and WHY for people, and for scripts. Texts of reports are printable ASCII:
 * nothing that a server said can reach the terminal. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/why_int.h"

/* ---- words ---- */

/* What somebody can do about it. */
static const struct {
    const char *code, *advice;
} advices[] = {
    {"local-policy",       "the policy of this machine must allow it, or the program ask for something "
                     "else"                                                          },
    {"privilege",          "the policy of this machine must exempt this program"                         },
    {"peer-policy",        "its administrator can say why: it knows us, and does not let us in"          },
    {"no-common-proposal", "is it a TLS port? Are versions and ciphers of one side too old?"             },
    {"peer-rejected-us",   "it wants a certificate that it trusts: --cert and --key; its log says "
                         "what was wrong"                                        },
    {"we-rejected-peer",   "the server needs a valid certificate from a CA that is trusted here: "
                         "--ca names another"                                    },
    {"wrong-peer",         "its certificate is for another name than the one that was asked for"         },
    {"level-too-low",
     "the server must offer more, or less must be demanded: the plan says by whom"                       },
    {"not-end-to-end",     "something between ends the protection"                                       },
    {"no-answer",          "is the port right? Does a firewall stand between? It may pass"               },
    {"need-tls",           "ask by a URL that means TLS: icaps, https, ipps"                             },
    {"ambiguous-cert",     "the certificate must name one peer clearly"                                  },
    {"unsupported",        "no strength is known of what was agreed upon: another version of either side"},
};

static const char *advice(const char *code)
{
    for (size_t i = 0; i < ARRAY_LEN(advices); i++)
        if (strcmp(advices[i].code, code) == 0)
            return advices[i].advice;
    return NULL;
}

static const char *whose(int side)
{
    switch (side) {
    case SALLYPORT_SIDE_LOCAL: return "we refused";
    case SALLYPORT_SIDE_PEER: return "the server refused";
    case SALLYPORT_SIDE_BOTH: return "the two do not fit";
    default: return "not clear whose";
    }
}

static const char *when(int stage)
{
    switch (stage) {
    case SALLYPORT_STAGE_POLICY: return "by policy";
    case SALLYPORT_STAGE_CONNECT: return "while connecting";
    case SALLYPORT_STAGE_HANDSHAKE: return "in the handshake";
    case SALLYPORT_STAGE_IDENTITY: return "over an identity";
    case SALLYPORT_STAGE_OPEN: return "when it was open";
    default: return "at some time";
    }
}

/* ---- the plan ---- */

static void print_decision(const struct why *w, const sallyport_decision *d)
{
    char what[80];

    if (strcmp(d->value, "any") == 0 && strcmp(d->what, "peer") != 0)
        (void)snprintf(what, sizeof what, "%s", d->what);
    else
        (void)snprintf(what, sizeof what, "%s %.60s", d->what, d->value);
    if (d->line)
        (void)printf("        %-22s %s in line %u of %s%s\n", what, d->by, d->line, w->policy_path,
                     d->decides ? "" : " (more is asked for elsewhere)");
    else
        (void)printf("        %-22s %s%s\n", what, w->demanded_by,
                     d->decides ? "" : " (more is asked for elsewhere)");
}

static void print_plan(const struct why *w)
{
    sallyport_how how = {.size = sizeof how};
    sallyport_decision d = {.size = sizeof d};

    if (!w->plan || sallyport_report_how(w->plan, &how) != 0)
        return;
    (void)printf("PLAN    %s\n", how.text);
    for (size_t i = 0; sallyport_report_decision(w->plan, i, &d) == 0; i++)
        if (strcmp(d.what, "level") != 0 || strcmp(d.value, "none") != 0)
            print_decision(w, &d);
    if (w->upgrade)
        (void)printf("        %-22s the URL\n", "TLS begins by Upgrade");
    if (w->digest)
        (void)printf("        %-22s the URL; not tried here: sallyport probe does\n",
                     "login by Digest (DAA)");
}

/* ---- HOW, WHO, WHY ---- */

static void print_how(const sallyport_report *r)
{
    sallyport_how how = {.size = sizeof how};

    if (sallyport_report_how(r, &how) != 0)
        return;
    (void)printf("HOW     %s: %s\n", sallyport_level_name(how.level), how.text);
    if (how.via != SALLYPORT_VIA_TLS)
        return;
    if (how.limit)
        (void)printf("        not stronger because of %s (classes %s)\n", how.limit, how.classes);
    if (how.group)
        (void)printf("        keys by %s\n", how.group);
    if (how.signature)
        (void)printf("        signed with %s\n", how.signature);
    (void)printf("        end to end: %s, accepted by the server: %s, safe from replay: %s,\n"
                 "        TCP headers protected: %s\n",
                 sallyport_tri_name(how.end_to_end), sallyport_tri_name(how.accepted_by_peer),
                 sallyport_tri_name(how.replay_safe), sallyport_tri_name(how.transport_covered));
    if (how.accepted_by_peer == SALLYPORT_UNKNOWN)
        (void)puts("        (a server of TLS 1.3 may still refuse us, with its first words)");
}

static const struct {
    int kind;
    const char *name;
} name_kinds[] = {
    {SALLYPORT_PEER_DNS,   "dns"  },
    {SALLYPORT_PEER_URI,   "uri"  },
    {SALLYPORT_PEER_EMAIL, "email"},
};

static void print_who(const struct why *w, const sallyport_report *r)
{
    const sallyport_peer *peer = sallyport_report_peer(r);
    const char *derived;
    const void *text;
    size_t n;

    (void)printf("WHO     %s\n", peer ? sallyport_peer_text(peer) : "nobody that could be told");
    for (size_t k = 0; peer && k < ARRAY_LEN(name_kinds); k++)
        for (size_t i = 0; sallyport_peer_attr(peer, name_kinds[k].kind, i, &text, &n) == 0; i++)
            (void)printf("        %s:%s\n", name_kinds[k].name, (const char *)text);
    for (size_t i = 0; (derived = sallyport_derived(w->ctx, peer, i)); i++)
        (void)printf("        %s (says the policy)\n", derived);
}

static void print_reason(const struct why *w, const sallyport_why *y)
{
    const char *hint = advice(y->code);

    (void)printf("WHY     %s: %s\n", y->code, y->text);
    (void)printf("        %s, %s%s%s", whose(y->side), when(y->stage),
                 y->flags & SALLYPORT_WHY_CERTAIN ? "" : "; inferred, nobody said so",
                 y->flags & SALLYPORT_WHY_RETRY ? "; may pass" : "");
    if (strcmp(y->source, "policy") == 0)
        (void)printf("; line %lld of %s", (long long)y->raw, w->policy_path);
    else if (y->source[0])
        (void)printf("; %s %lld", y->source, (long long)y->raw);
    (void)putchar('\n');
    if (hint)
        (void)printf("        %s\n", hint);
}

static sallyport_why no_upgrade(const struct why *w)
{
    return (sallyport_why){
        .size = sizeof(sallyport_why),
        .code = "no-common-proposal",
        .err = EPROTO,
        .side = SALLYPORT_SIDE_BOTH,
        .stage = SALLYPORT_STAGE_HANDSHAKE,
        .flags = SALLYPORT_WHY_CERTAIN,
        .text = w->no_upgrade,
        .source = "",
    };
}

/* The |i|-th reason: that there is no TLS by Upgrade, those of the report (without one, of the
 * plan), then what is inferred of |closed|. */
static bool reason_at(const struct why *w, size_t i, sallyport_why *ret)
{
    const sallyport_report *r = w->report ? w->report : w->plan;

    if (w->no_upgrade[0] && i == 0) {
        *ret = no_upgrade(w);
        return true;
    }
    i -= w->no_upgrade[0] != '\0';
    *ret = (sallyport_why){.size = sizeof *ret};
    if (r && sallyport_report_why(r, i, ret) == 0)
        return true;
    if (!w->closed || (i > 0 && (!r || sallyport_report_why(r, i - 1, ret) != 0)))
        return false;
    *ret = (sallyport_why){
        .size = sizeof *ret,
        .code = "peer-policy",
        .err = ECONNREFUSED,
        .side = SALLYPORT_SIDE_PEER,
        .stage = SALLYPORT_STAGE_OPEN,
        .text = "the server closed the connection as soon as the handshake was over",
        .source = "",
    };
    return true;
}

static void print_whys(const struct why *w)
{
    sallyport_why y;
    size_t i = 0;

    for (; reason_at(w, i, &y); i++)
        print_reason(w, &y);
    if (i == 0)
        (void)puts("WHY     nothing speaks against it");
}

void why_print_text(const struct why *w)
{
    (void)printf("%s%s%s%s\n", w->target, w->address[0] ? " (" : "", w->address,
                 w->address[0] ? ")" : "");
    print_plan(w);
    if (w->failure[0]) {
        (void)printf("WHY     no-connection: %s\n", w->failure);
        return;
    }
    if (w->report) {
        print_how(w->report);
        print_who(w, w->report);
    } else {
        (void)puts("HOW     none: it was not even tried");
    }
    print_whys(w);
}

/* ---- JSON ---- */

static void add_decisions(struct json *j, const sallyport_report *plan)
{
    sallyport_decision d = {.size = sizeof d};

    json_open(j, "decisions", '[');
    for (size_t i = 0; sallyport_report_decision(plan, i, &d) == 0; i++) {
        json_open(j, NULL, '{');
        json_text(j, "what", d.what);
        json_text(j, "value", d.value);
        json_text(j, "by", d.by);
        json_u64(j, "line", d.line);
        json_bool(j, "decides", d.decides != 0);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void add_plan(struct json *j, const struct why *w)
{
    sallyport_how how = {.size = sizeof how};

    if (!w->plan || sallyport_report_how(w->plan, &how) != 0) {
        json_text(j, "plan", NULL);
        return;
    }
    json_open(j, "plan", '{');
    json_text(j, "level", sallyport_level_name(how.level));
    json_text(j, "text", how.text);
    json_bool(j, "upgrade", w->upgrade);
    json_text(j, "login", w->digest ? "digest" : NULL);
    add_decisions(j, w->plan);
    json_close(j, '}');
}

static void add_how(struct json *j, const sallyport_report *r)
{
    sallyport_how how = {.size = sizeof how};

    (void)sallyport_report_how(r, &how);
    json_open(j, "how", '{');
    json_text(j, "level", sallyport_level_name(how.level));
    json_text(j, "version", how.protocol);
    json_text(j, "cipher", how.cipher);
    json_text(j, "group", how.group);
    json_text(j, "signature", how.signature);
    json_bool(j, "resumed", how.resumed != 0);
    json_text(j, "end-to-end", sallyport_tri_name(how.end_to_end));
    json_text(j, "accepted", sallyport_tri_name(how.accepted_by_peer));
    json_text(j, "replay-safe", sallyport_tri_name(how.replay_safe));
    json_text(j, "transport-covered", sallyport_tri_name(how.transport_covered));
    json_text(j, "limit", how.limit);
    json_text(j, "classes", how.classes);
    json_text(j, "text", how.text);
    json_close(j, '}');
}

static void add_who(struct json *j, const struct why *w, const sallyport_peer *peer)
{
    const char *derived;
    const void *text;
    size_t n;

    if (!peer) {
        json_text(j, "who", NULL);
        return;
    }
    json_open(j, "who", '{');
    json_text(j, "peer", sallyport_peer_text(peer));
    for (size_t k = 0; k < ARRAY_LEN(name_kinds); k++) {
        json_open(j, name_kinds[k].name, '[');
        for (size_t i = 0; sallyport_peer_attr(peer, name_kinds[k].kind, i, &text, &n) == 0; i++)
            json_span(j, NULL, (struct span){text, n});
        json_close(j, ']');
    }
    json_open(j, "derived", '[');
    for (size_t i = 0; (derived = sallyport_derived(w->ctx, peer, i)); i++)
        json_text(j, NULL, derived);
    json_close(j, ']');
    json_close(j, '}');
}

static void add_whys(struct json *j, const struct why *w)
{
    sallyport_why y;

    json_open(j, "why", '[');
    for (size_t i = 0; reason_at(w, i, &y); i++) {
        json_open(j, NULL, '{');
        json_text(j, "code", y.code);
        json_text(j, "text", y.text);
        json_text(j, "side", sallyport_side_name(y.side));
        json_text(j, "stage", sallyport_stage_name(y.stage));
        json_bool(j, "certain", y.flags & SALLYPORT_WHY_CERTAIN);
        json_bool(j, "retry", y.flags & SALLYPORT_WHY_RETRY);
        json_text(j, "errno", strerrorname_np(y.err));
        json_text(j, "source", y.source);
        json_i64(j, "raw", y.raw);
        json_close(j, '}');
    }
    json_close(j, ']');
}

void why_print_json(const struct why *w, int exit_code)
{
    struct buf out;
    struct json j = json_to(&out);

    buf_init(&out, 0);
    json_open(&j, NULL, '{');
    json_text(&j, "target", w->target);
    json_text(&j, "address", w->address[0] ? w->address : NULL);
    add_plan(&j, w);
    if (w->report) {
        add_how(&j, w->report);
        add_who(&j, w, sallyport_report_peer(w->report));
    } else {
        json_text(&j, "how", NULL);
        json_text(&j, "who", NULL);
    }
    add_whys(&j, w);
    json_text(&j, "failure", w->failure[0] ? w->failure : NULL);
    json_u64(&j, "exit", (unsigned)exit_code);
    json_close(&j, '}');
    (void)puts(buf_cstr(&out));
    buf_done(&out);
}
