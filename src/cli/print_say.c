/* SPDX-License-Identifier: Apache-2.0 */
/* print_say.c - what `print`, `cancel` and `jobs` say, in words and in JSON. Text of printers may
 * hold anything: nothing of it that a terminal would obey gets there. */
#include <stdarg.h>
#include <stdio.h>

#include "base/json.h"
#include "base/plain_text.h"
#include "cli/print_link.h"
#include "ipp/ipp_names.h"

/* ---- on stderr ---- */

int print_complain(const struct print_link *l, int code, const char *fmt, ...)
{
    struct buf text, line;
    va_list ap;

    buf_init(&text, 0);
    buf_init(&line, 0);
    va_start(ap, fmt);
    buf_vfmt(&text, fmt, ap);
    va_end(ap);
    plain_text_line(&line, "sallyport %s: " SPAN_FMT ": %s", l->o->command->name,
                    SPAN_ARG(buf_span(&l->url)), buf_cstr(&text));
    (void)fputs(buf_cstr(&line), stderr);
    buf_done(&text);
    buf_done(&line);
    return code;
}

int print_exit_code(enum ipp_client_end end)
{
    switch (end) {
    case IPP_CLIENT_ANSWERED: return EXIT_FINE;
    case IPP_CLIENT_REFUSED: return EXIT_REFUSED;
    case IPP_CLIENT_SECURITY: return EXIT_SECURITY;
    case IPP_CLIENT_LOGIN: return EXIT_LOGIN;
    case IPP_CLIENT_NETWORK:
    case IPP_CLIENT_LOCAL: break;
    }
    return EXIT_NETWORK;
}

const char *print_end_name(enum ipp_client_end end)
{
    switch (end) {
    case IPP_CLIENT_ANSWERED:
    case IPP_CLIENT_REFUSED: return "refused";
    case IPP_CLIENT_SECURITY: return "security";
    case IPP_CLIENT_LOGIN: return "login";
    case IPP_CLIENT_NETWORK: return "network";
    case IPP_CLIENT_LOCAL: return "local";
    }
    return "?";
}

static void add_status(struct buf *out, uint16_t code)
{
    const char *name = ipp_status_name(code);

    if (name)
        buf_text(out, name);
    else
        buf_fmt(out, "IPP status 0x%04x", code);
}

void print_refusal(const struct print_link *l, struct buf *out)
{
    struct span said = ipp_client_status_message(&l->answer.message);

    add_status(out, l->answer.message.header.code);
    if (said.n)
        buf_fmt(out, ": " SPAN_FMT, SPAN_ARG(said));
}

static void print_object(const struct print_link *l, const char *error, struct span why)
{
    struct buf out;
    struct json j = json_to(&out);

    buf_init(&out, 0);
    json_open(&j, NULL, '{');
    json_span(&j, "uri", buf_span(&l->url));
    json_text(&j, "error", error);
    json_span(&j, "why", why);
    json_bool(&j, "document_sent", l->document_sent);
    if (l->answer.result.http_status)
        json_u64(&j, "http_status", l->answer.result.http_status);
    if (l->answer.result.end == IPP_CLIENT_ANSWERED)
        json_text(&j, "status", ipp_status_name(l->answer.message.header.code));
    print_add_protection(&j, l);
    json_close(&j, '}');
    (void)puts(buf_cstr(&out));
    buf_done(&out);
}

int print_say_failure(const struct print_link *l, int code, const char *what, struct buf *why)
{
    const struct ipp_client_result *r = &l->answer.result;

    if (r->end == IPP_CLIENT_ANSWERED) {
        buf_fmt(why, "the printer refused %s: ", what);
        print_refusal(l, why);
        code = EXIT_REFUSED;
    } else {
        buf_fmt(why, "%s%s", r->why,
                l->document_sent        ? "; the document, or a part of it, had been sent"
                : code != EXIT_SECURITY ? ""
                : l->made               ? "; the document was not sent"
                                        : "; nothing was done");
    }
    /* The one code that promises that nothing was printed. */
    if (code == EXIT_SECURITY && l->document_sent)
        code = EXIT_NETWORK;
    return print_complain(l, code, "%s", buf_cstr(why));
}

int print_failed(const struct print_link *l, int code, const char *what)
{
    struct buf why;

    buf_init(&why, 0);
    code = print_say_failure(l, code, what, &why);
    if (l->o->json)
        print_object(l, print_end_name(l->answer.result.end), buf_span(&why));
    buf_done(&why);
    return code;
}

/* ---- how it was protected ---- */

static void add_auth(struct ipp_level level, char dst[16])
{
    unsigned auth = ipp_level_auth(level);

    (void)snprintf(dst, 16, "%s%s%s",
                   auth & IPP_AUTH_TLS    ? "TLS"
                   : auth & IPP_AUTH_SSL3 ? "SSL3"
                                          : "",
                   auth & IPP_AUTH_CHANNEL && auth & IPP_AUTH_DAA ? "," : "",
                   auth & IPP_AUTH_DAA ? "DAA" : "");
}

void print_add_protection(struct json *j, const struct print_link *l)
{
    const struct ipp_client_result *r = &l->answer.result;
    char auth[16];

    if (!r->how[0])
        return;
    add_auth(r->level, auth);
    json_text(j, "how", r->how);
    json_text(j, "who", r->who);
    json_text(j, "channel", ipp_channel_name(r->level.channel));
    json_text(j, "auth", auth);
    json_text(j, "user", l->user);
    json_text(j, "user_by",
              ipp_user_name(r->level.user || !l->user ? r->level.user : IPP_USER_CLAIMED));
    if (r->server[0])
        json_text(j, "server", r->server);
}

void print_say_protection(const struct print_link *l, struct buf *out)
{
    const struct ipp_client_result *r = &l->answer.result;
    bool proved = r->level.user > IPP_USER_CLAIMED;

    plain_text_line(out, "how: %s%s", r->how,
                    r->level.channel == IPP_CHANNEL_UPGRADED ? ", by upgrade" : "");
    plain_text_line(out, "who: %s", r->who[0] ? r->who : "nobody that is authenticated");
    if (l->user)
        plain_text_line(out, "user: %s, %s%s", l->user,
                        proved ? "proved by " : "which nothing proves",
                        proved ? ipp_user_name(r->level.user) : "");
}

/* ---- states ---- */

const char *print_job_state(int32_t state)
{
    static const char *const names[] = {
        "pending",  "pending-held", "processing", "processing-stopped",
        "canceled", "aborted",      "completed"};

    /* RFC 8011 5.3.7: from 3 on. */
    return state >= 3 && state <= PRINT_JOB_COMPLETED ? names[state - 3] : "?";
}

bool print_job_is_over(int32_t state)
{
    return state >= 7;
}

const char *print_printer_state(int32_t state)
{
    static const char *const names[] = {"idle", "processing", "stopped"};

    /* RFC 8011 5.4.11. */
    return state >= 3 && state <= 5 ? names[state - 3] : "?";
}

void print_add_texts(struct buf *out, struct span attributes, const char *name)
{
    struct ipp_attribute a;
    struct ipp_value v;
    struct span text;
    bool first = true;

    if (ipp_attribute_find(attributes, span_of(name), &a) != OK)
        return;
    for (struct span vs = a.values; ipp_value_next(&vs, &v);)
        if (ipp_value_text(&v, &text)) {
            buf_fmt(out, "%s" SPAN_FMT, first ? "" : ", ", SPAN_ARG(text));
            first = false;
        }
}
