/* SPDX-License-Identifier: Apache-2.0 */
/* What printers say of themselves, for those who announce them. */
#include <stdlib.h>

#include "ipp/ipp_advertise.h"
#include "ipp/ipp_server_int.h"

struct announcement {
    struct ipp_snapshot *snapshot;
    const struct ipp_printer *printer;
    struct ipp_errand *errand;
    struct buf request;
    ipp_announced_fn done;
    void *arg;
};

static void on_answer(void *arg, const struct ipp_backend_answer *answer)
{
    struct announcement *n = arg;
    const struct ipp_advertisement a = {
        .set = n->printer->set,
        .uuid = n->printer->uuid,
        .port = n->snapshot->port,
        .secure_port = n->snapshot->secure_port,
        .attributes = answer->message,
    };
    struct buf txt;

    buf_init(&txt, 65536);
    ipp_advertise_txt(&a, &txt);
    n->done(n->arg, n->printer, answer->message != NULL, buf_span(&txt));
    buf_done(&txt);
    buf_done(&n->request);
    ipp_snapshot_unref(n->snapshot);
    free(n);
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

enum err ipp_server_announce(struct ipp_server *s, size_t i, ipp_announced_fn done, void *arg)
{
    struct announcement *n;

    if (i >= s->snapshot->n_printers)
        return ERR_MISSING;
    n = calloc(1, sizeof *n);
    if (!n)
        return ERR_NOMEM;
    n->snapshot = ipp_snapshot_ref(s->snapshot);
    n->printer = &s->snapshot->printers[i];
    n->done = done;
    n->arg = arg;
    buf_init(&n->request, 4096);
    enum err e = make_request(n->printer, &n->request);
    const struct ipp_backend_request r = {
        .attributes = buf_span(&n->request), .done = on_answer, .arg = n};

    if (e == OK)
        e = ipp_backend_ask(ipp_server_backend(s, n->printer), &r, &n->errand);
    if (e) {
        buf_done(&n->request);
        ipp_snapshot_unref(n->snapshot);
        free(n);
    }
    return e;
}
