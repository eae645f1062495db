/* SPDX-License-Identifier: Apache-2.0 */
/* Renew-Subscription and Cancel-Subscription (RFC 3995 11.2.5, 11.2.6) name a subscription, and not
 * the job that it may be about: the printer is asked which one that is, and it is treated as a job
 * that is named besides. */
#include "ipp/ipp_server_int.h"

bool ipp_subscription_is(const struct ipp_operation *o)
{
    return o->code == IPP_OPERATION_RENEW_SUBSCRIPTION ||
           o->code == IPP_OPERATION_CANCEL_SUBSCRIPTION;
}

static void refuse(struct ipp_exchange *ex, uint16_t status, enum err e, const char *why)
{
    ipp_reply_refuse(ex, status, e, "subscription", "%s", why);
    ipp_exchange_wake(ex);
}

/* Wherever it stands: printers may look there. */
static bool is_named_once(const struct ipp_message *m)
{
    struct ipp_attribute a;
    struct ipp_group g;
    unsigned n = 0;

    for (struct span gs = m->groups; ipp_group_next(&gs, &g);)
        for (struct span rest = g.attributes; ipp_attribute_next(&rest, &a);)
            n += span_eq(a.name, SPAN("notify-subscription-id"));
    return n == 1;
}

/* 0: it names none, or several. */
static int32_t subscription_of(const struct ipp_exchange *ex)
{
    struct ipp_attribute a;
    struct ipp_value v;
    int32_t id = 0;

    return is_named_once(ex->message) &&
                   ipp_message_find(ex->message, SPAN("notify-subscription-id"), &a) == OK &&
                   ipp_attribute_single(&a, IPP_VALUE_INTEGER, &v) && ipp_value_integer(&v, &id)
               ? id
               : 0;
}

/* Of the printer's answer; 0: it is about no job. */
static int32_t job_of(const struct ipp_message *m)
{
    struct ipp_attribute a;
    struct ipp_value v;
    struct ipp_group g;
    int32_t id = 0;

    for (struct span gs = m->groups; ipp_group_next(&gs, &g);)
        if (g.tag == IPP_GROUP_SUBSCRIPTION &&
            ipp_attribute_find(g.attributes, SPAN("notify-job-id"), &a) == OK)
            return ipp_attribute_single(&a, IPP_VALUE_INTEGER, &v) && ipp_value_integer(&v, &id)
                       ? id
                       : IPP_JOB_ASK_NONE;
    return 0;
}

static void on_subscription(void *arg, const struct ipp_backend_answer *a)
{
    struct ipp_exchange *ex = arg;
    uint16_t code = a->err ? 0 : a->message->header.code;

    ex->errand = NULL;
    if (a->err) {
        ipp_forward_failed(ex, a);
        ipp_exchange_wake(ex);
    } else if (code >= IPP_CLIENT_ERROR_BAD_REQUEST) {
        refuse(ex, code, ERR_UPSTREAM, "the printer does not know that subscription, or not so");
    } else {
        ipp_job_besides(ex, job_of(a->message));
    }
}

void ipp_subscription(struct ipp_exchange *ex)
{
    struct ipp_backend *b = ipp_server_backend(ex->server, ex->printer);
    struct ipp_backend_request r = {
        .upstreams = &ex->upstreams, .done = on_subscription, .arg = ex};
    int32_t id = subscription_of(ex);
    struct ipp_writer w;

    if (id == 0) {
        refuse(ex, IPP_CLIENT_ERROR_BAD_REQUEST, ERR_SYNTAX, "the request names no subscription");
        return;
    }
    buf_reset(&ex->out);
    ipp_write_begin(&w, &ex->out, 1, 1, IPP_OPERATION_GET_SUBSCRIPTION_ATTRIBUTES,
                    ex->header.request_id);
    ipp_write_group(&w, IPP_GROUP_OPERATION);
    ipp_write_string(&w, IPP_VALUE_CHARSET, SPAN("attributes-charset"), SPAN("utf-8"));
    ipp_write_string(&w, IPP_VALUE_LANGUAGE, SPAN("attributes-natural-language"), SPAN("en"));
    ipp_write_string(&w, IPP_VALUE_URI, SPAN("printer-uri"), span_of(ex->printer->backend_uri));
    ipp_write_integer(&w, SPAN("notify-subscription-id"), id);
    if (ex->who.name[0])
        ipp_write_string(&w, IPP_VALUE_NAME, SPAN("requesting-user-name"), span_of(ex->who.name));
    enum err e = b ? ipp_write_end(&w) : ERR_MISSING;

    ex->state = EX_PRINTER;
    r.attributes = buf_span(&ex->out);
    if (e == OK)
        e = ipp_backend_ask(b, &r, &ex->errand);
    if (e)
        refuse(ex, IPP_SERVER_ERROR_SERVICE_UNAVAILABLE, e, "the printer cannot be asked about it");
}
