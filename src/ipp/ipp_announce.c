/* SPDX-License-Identifier: Apache-2.0 */
/* What printers say of themselves, for those who announce them. */
#include <stdlib.h>
#include <utlist.h>

#include "ipp/ipp_advertise.h"
#include "ipp/ipp_server_int.h"

struct announcement {
    struct announcement *prev, *next; /* of |server|, while it is asked */
    struct ipp_server *server;        /* NULL: it is not asked */
    struct task untold;               /* of one that is not asked */
    struct ipp_snapshot *snapshot;
    const struct ipp_printer *printer;
    struct ipp_errand *errand;
    struct buf request;
    ipp_announced_fn done;
    void *arg;
};

static void announcement_free(struct announcement *n)
{
    if (n->server)
        DL_DELETE(n->server->announcements, n);
    buf_done(&n->request);
    ipp_snapshot_unref(n->snapshot);
    free(n);
}

/* |attributes| NULL: it said nothing, and |why| says why. */
static void announce(struct announcement *n, const struct ipp_message *attributes, const char *why)
{
    const struct ipp_snapshot *s = n->snapshot;
    const struct ipp_public_printer p = {
        .set = n->printer->set,
        .front = {.port = s->port, .secure_port = s->secure_port},
        .upgrades = s->upgrades,
        .uuid = n->printer->uuid,
        .digest = s->tenants != NULL,
    };
    const struct ipp_advertisement a = {.printer = &p, .attributes = attributes};
    struct ipp_announced told = {.printer = n->printer, .why = attributes ? NULL : why};
    struct buf txt;

    buf_init(&txt, 65536);
    ipp_advertise_ports(&a, &told.port, &told.secure_port);
    ipp_advertise_txt(&a, &txt);
    told.txt = buf_span(&txt);
    n->done(n->arg, &told);
    buf_done(&txt);
    announcement_free(n);
}

static void on_answer(void *arg, const struct ipp_backend_answer *answer)
{
    announce(arg, answer->message, answer->detail[0] ? answer->detail : answer->why);
}

static void tell_without(struct task *t)
{
    announce(CONTAINER_OF(t, struct announcement, untold), NULL, "");
}

static enum err make_request(const struct ipp_printer *p, struct buf *out)
{
    struct ipp_writer w;

    ipp_write_begin(&w, out, 1, 1, IPP_OPERATION_GET_PRINTER_ATTRIBUTES, 1);
    ipp_write_group(&w, IPP_GROUP_OPERATION);
    ipp_write_string(&w, IPP_VALUE_CHARSET, SPAN("attributes-charset"), SPAN("utf-8"));
    ipp_write_string(&w, IPP_VALUE_LANGUAGE, SPAN("attributes-natural-language"), SPAN("en"));
    ipp_write_string(&w, IPP_VALUE_URI, SPAN("printer-uri"), span_of(p->backend_uri));
    for (size_t i = 0; i < ipp_advertise_n_attributes; i++)
        ipp_write_string(&w, IPP_VALUE_KEYWORD, i ? SPAN_NONE : SPAN("requested-attributes"),
                         span_of(ipp_advertise_attributes[i]));
    return ipp_write_end(&w);
}

static enum err ask(struct ipp_server *s, struct announcement *n, uint64_t deadline_ms)
{
    TRY(make_request(n->printer, &n->request));
    const struct ipp_backend_request r = {.attributes = buf_span(&n->request),
                                          .deadline_ms = deadline_ms,
                                          .hurried = true,
                                          .done = on_answer,
                                          .arg = n};

    TRY(ipp_backend_ask(ipp_server_backend(s, n->printer), &r, &n->errand));
    n->server = s;
    DL_APPEND(s->announcements, n);
    return OK;
}

/* Each may have whoever waits for it ask for another, which is not asked any more. */
void ipp_announcements_end(struct ipp_server *s)
{
    while (s->announcements) {
        struct announcement *n = s->announcements;

        ipp_errand_cancel(n->errand);
        announce(n, NULL, "");
    }
}

enum err ipp_server_announce(struct ipp_server *s, size_t i, uint64_t deadline_ms,
                             ipp_announced_fn done, void *arg)
{
    struct announcement *n;
    enum err e = OK;

    if (i >= s->snapshot->n_printers)
        return ERR_MISSING;
    n = calloc(1, sizeof *n);
    if (!n)
        return ERR_NOMEM;
    n->untold.run = tell_without;
    n->snapshot = ipp_snapshot_ref(s->snapshot);
    n->printer = &s->snapshot->printers[i];
    n->done = done;
    n->arg = arg;
    buf_init(&n->request, 4096);
    if (deadline_ms)
        e = ask(s, n, deadline_ms);
    else
        loop_defer(s->env.loop, &n->untold);
    if (e)
        announcement_free(n);
    return e;
}
