/* SPDX-License-Identifier: Apache-2.0 */
/* CUPS-Get-Printers, CUPS-Get-Classes and Get-Jobs at "/", which CUPS' clients ask a server: all
 * printers of the gateway that whoever asks may see, as each says of itself, and their jobs. One
 * after the other is asked; of one that does not answer its name is told, and that it is
 * stopped. */
#include "ipp/ipp_server_int.h"

#define STATE_STOPPED 5 /* RFC 8011 5.4.11 */

static void ask_next(struct ipp_exchange *ex);

static bool is_for_jobs(const struct ipp_exchange *ex)
{
    return ex->operation->code == IPP_OPERATION_GET_JOBS;
}

bool ipp_printer_list_wanted(const struct ipp_exchange *ex, struct span path)
{
    return span_eq(path, SPAN("/")) && ex->snapshot->n_printers > 0 &&
           (is_for_jobs(ex) || ex->operation->code == IPP_OPERATION_CUPS_GET_PRINTERS ||
            ex->operation->code == IPP_OPERATION_CUPS_GET_CLASSES);
}

/* ---- what is told ---- */

/* The answer's groups of |tag|, as octets; what stands before and behind them is ours. */
static void add_groups(struct ipp_exchange *ex, const struct ipp_message *m, uint8_t tag)
{
    struct ipp_group g;

    for (struct span gs = m->groups; ipp_group_next(&gs, &g);) {
        if (g.tag != tag)
            continue;
        buf_char(&ex->out, (char)tag);
        buf_add(&ex->out, g.attributes);
    }
}

static void add_silent(struct ipp_exchange *ex)
{
    struct ipp_public_printer pub;
    struct ipp_writer w;

    if (is_for_jobs(ex))
        return;
    ipp_reply_public(ex, &pub);
    buf_char(&ex->out, IPP_GROUP_PRINTER);
    ipp_write_part(&w, &ex->out);
    ipp_own_printer(&w, &pub);
    ipp_write_enum(&w, SPAN("printer-state"), STATE_STOPPED);
    ipp_write_string(&w, IPP_VALUE_KEYWORD, SPAN("printer-state-reasons"),
                     SPAN("connecting-to-device"));
    ipp_write_boolean(&w, SPAN("printer-is-accepting-jobs"), false);
    (void)!ipp_write_part_end(&w); /* the buffer has its error */
}

static bool add_translated(struct ipp_exchange *ex)
{
    struct ipp_public_printer pub;
    struct ipp_answer_translation t = ipp_forward_translation(ex, &pub);
    struct ipp_message told;
    struct ipp_fault f;
    struct buf room;

    buf_init(&room, 0);
    bool added = ipp_translate_answer(&ex->answer_message, &t, &room) == OK &&
                 ipp_message_parse(IPP_RESPONSE, buf_span(&room), &ex->snapshot->set->message,
                                   &told, &f) == OK;
    if (added)
        add_groups(ex, &told, is_for_jobs(ex) ? IPP_GROUP_JOB : IPP_GROUP_PRINTER);
    if (added && is_for_jobs(ex))
        ipp_job_list_add(ex, &pub);
    buf_done(&room);
    return added;
}

static void on_jobs(struct ipp_exchange *ex)
{
    (void)!add_translated(ex); /* the others' all the same */
    ask_next(ex);
}

static void on_answer(void *arg, const struct ipp_backend_answer *a)
{
    struct ipp_exchange *ex = arg;
    bool success = !a->err && a->message->header.code < IPP_CLIENT_ERROR_BAD_REQUEST &&
                   ipp_forward_keep(ex, a->message);

    ex->errand = NULL;
    if (success && is_for_jobs(ex)) {
        ex->n_jobs = 0;
        ipp_job_list(ex, true, on_jobs);
        return;
    }
    if (!success || !add_translated(ex))
        add_silent(ex);
    ask_next(ex);
}

/* ---- one after the other ---- */

/* At its level as it is: nobody is asked for more than for others because of one printer. */
static bool may_see(struct ipp_exchange *ex, const struct ipp_printer *p)
{
    const struct ipp_level now = {ex->level.channel, ex->who.kind};
    struct ipp_demand demand = ipp_admit_demand(ex, p);

    ex->is_operator = ipp_admit_is_operator(ex, p);
    return ipp_demand_check(&demand, now) == IPP_NEED_NOTHING && ipp_admit_is_listed(ex, p) &&
           ipp_printer_allows(p->set, ex->operation, ex->is_operator);
}

static bool ask(struct ipp_exchange *ex)
{
    struct ipp_backend *b = ipp_server_backend(ex->server, ex->printer);
    struct ipp_backend_request r = {.done = on_answer, .arg = ex};

    buf_reset(&ex->answer);
    enum err e = is_for_jobs(ex) ? ipp_forward_translate(ex, &ex->answer)
                                 : ipp_forward_attributes(ex, &ex->answer);
    if (!b || e)
        return false;
    r.attributes = buf_span(&ex->answer);
    return ipp_backend_ask(b, &r, &ex->errand) == OK;
}

static void finish(struct ipp_exchange *ex)
{
    ex->printer = NULL;
    buf_char(&ex->out, IPP_GROUP_END);
    ipp_reply_out(ex, IPP_SUCCESSFUL_OK);
}

static void ask_next(struct ipp_exchange *ex)
{
    const struct ipp_snapshot *s = ex->snapshot;

    while (ex->n_listed < s->n_printers) {
        const struct ipp_printer *p = &s->printers[ex->n_listed++];

        if (!may_see(ex, p))
            continue;
        ex->printer = p;
        if (ask(ex))
            return;
        add_silent(ex);
    }
    finish(ex);
}

/* Classes of printers there are none. */
void ipp_printer_list(struct ipp_exchange *ex)
{
    const struct ipp_own_answer a = {
        .major = ex->header.major,
        .minor = ex->header.minor,
        .status = IPP_SUCCESSFUL_OK,
        .request_id = ex->header.request_id,
    };

    ex->state = EX_PRINTER;
    buf_reset(&ex->out);
    (void)!ipp_own_answer(&a, &ex->out);
    if (ex->out.n > 0)
        ex->out.n--; /* its end: groups follow */
    ex->n_listed =
        ex->operation->code == IPP_OPERATION_CUPS_GET_CLASSES ? ex->snapshot->n_printers : 0;
    ask_next(ex);
}
