/* SPDX-License-Identifier: Apache-2.0 */
/* CUPS-Get-Printers, CUPS-Get-Classes and Get-Jobs at "/", which CUPS' clients ask a server: all
 * printers of the gateway that whoever asks may see, as each says of itself, and their jobs, in the
 * order of the configuration. Several are asked at once, so that one that does not answer holds up
 * nobody for long; of that its name is told, and that it is stopped. CUPS-Get-Default, which they
 * ask before anything else, is such a list of one. */
#include <stdlib.h>

#include "ipp/ipp_server_int.h"

#define STATE_STOPPED 5 /* RFC 8011 5.4.11 */
#define AHEAD         16u /* printers that are asked, or have answered, before their turn to be told */
#define ANSWER_MS     5000u  /* for each */
#define LIST_MS       12000u /* for all of them: CUPS' clients give up after 30 s */

/* A printer that is asked. */
struct ask {
    struct ipp_exchange *ex;
    const struct ipp_printer *printer;
    bool is_operator; /* whoever asks, there */
    struct ipp_errand *errand;
    struct buf octets; /* the request; then the answer, which |message| is a view of */
    struct ipp_message message;
    bool over, has_answer;
};

/* Asks are told in the order in which they were made: |n_told|, then the others up to |n_asked|. */
struct ipp_printer_walk {
    size_t n_looked_at, n_printers; /* of the snapshot: dealt with, and the end of the list */
    size_t n_asked, n_told;
    uint64_t until_ms; /* whoever cannot have answered by then is not asked */
    bool telling;      /* the book is asked about the jobs of the one whose turn it is */
    struct ask asks[AHEAD];
};

static void go_on(struct ipp_exchange *ex);

static bool is_for_jobs(const struct ipp_exchange *ex)
{
    return ex->operation->code == IPP_OPERATION_GET_JOBS;
}

/* CUPS answers these for all of its queues, whatever they are asked about. */
bool ipp_printer_list_is(const struct ipp_operation *o)
{
    return o->code == IPP_OPERATION_CUPS_GET_DEFAULT ||
           o->code == IPP_OPERATION_CUPS_GET_PRINTERS || o->code == IPP_OPERATION_CUPS_GET_CLASSES;
}

bool ipp_printer_list_wanted(const struct ipp_exchange *ex, struct span path)
{
    return span_eq(path, SPAN("/")) && ex->snapshot->n_printers > 0 &&
           ex->operation->code != IPP_OPERATION_CUPS_GET_DEFAULT &&
           (is_for_jobs(ex) || ipp_printer_list_is(ex->operation));
}

static struct ask *ask_at(struct ipp_printer_walk *w, size_t i)
{
    return &w->asks[i % AHEAD];
}

/* ---- asking ---- */

/* At its level as it is: nobody is asked for more than for others because of one printer. */
static bool may_see(struct ipp_exchange *ex, const struct ipp_printer *p, bool is_operator)
{
    const struct ipp_level now = {ex->level.channel, ex->who.kind};
    struct ipp_demand demand = ipp_admit_demand(ex, p);

    return ipp_demand_check(&demand, now) == IPP_NEED_NOTHING && ipp_admit_is_listed(ex, p) &&
           ipp_printer_allows(p->set, ex->operation, is_operator);
}

static void on_answer(void *arg, const struct ipp_backend_answer *answer)
{
    struct ask *a = arg;
    const struct ipp_server *s = a->ex->server;

    a->errand = NULL;
    a->over = true;
    if (answer->err)
        metrics_add(s->env.metrics, s->loop_index, a->printer->metrics.errors, 1);
    a->has_answer = !answer->err && answer->message->header.code < IPP_CLIENT_ERROR_BAD_REQUEST;
    if (a->has_answer)
        ipp_backend_keep(answer, &a->octets, &a->message);
    go_on(a->ex);
}

static enum err ask_printer(struct ask *a)
{
    struct ipp_exchange *ex = a->ex;
    uint64_t until_ms = loop_now_ms(ex->server->env.loop) + ANSWER_MS;
    struct ipp_backend *b = ipp_server_backend(ex->server, a->printer);

    if (!b)
        return ERR_MISSING;
    if (ipp_backend_is_silent(b) || until_ms > ex->walk->until_ms)
        return ERR_TIMEOUT;
    TRY(is_for_jobs(ex) ? ipp_forward_translate(ex, a->printer, &a->octets)
                        : ipp_forward_attributes(ex, a->printer, &a->octets));
    const struct ipp_backend_request r = {
        .attributes = buf_span(&a->octets),
        .deadline_ms = until_ms,
        .upstreams = &ex->upstreams,
        .done = on_answer,
        .arg = a,
    };

    return ipp_backend_ask(b, &r, &a->errand);
}

/* False: there is no further one. */
static bool ask_another(struct ipp_exchange *ex, struct ipp_printer_walk *w)
{
    while (w->n_looked_at < w->n_printers) {
        const struct ipp_printer *p = &ex->snapshot->printers[w->n_looked_at++];
        bool is_operator = ipp_admit_is_operator(ex, p);

        if (!may_see(ex, p, is_operator))
            continue;
        struct ask *a = ask_at(w, w->n_asked++);

        *a = (struct ask){.ex = ex, .printer = p, .is_operator = is_operator};
        buf_init(&a->octets, 0);
        a->over = ask_printer(a) != OK;
        return true;
    }
    return false;
}

/* ---- telling ---- */

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

static void told(struct ipp_printer_walk *w)
{
    buf_done(&ask_at(w, w->n_told)->octets);
    w->n_told++;
}

static void on_jobs(struct ipp_exchange *ex)
{
    ex->walk->telling = false;
    ipp_job_list_clip(ex);
    (void)!add_translated(ex); /* the others' all the same */
    told(ex->walk);
    go_on(ex);
}

static void tell(struct ipp_exchange *ex, struct ipp_printer_walk *w)
{
    const struct ask *a = ask_at(w, w->n_told);

    ex->printer = a->printer;
    ex->is_operator = a->is_operator;
    ex->answer_message = a->message;
    if (a->has_answer && is_for_jobs(ex)) {
        w->telling = true;
        ex->n_jobs = 0;
        ipp_job_list(ex, true, on_jobs);
        return;
    }
    if (!a->has_answer || !add_translated(ex))
        add_silent(ex);
    told(w);
}

static void finish(struct ipp_exchange *ex)
{
    if (ex->about_all)
        ex->printer = NULL;
    buf_char(&ex->out, IPP_GROUP_END);
    ipp_reply_out(ex, IPP_SUCCESSFUL_OK);
}

static bool may_tell(const struct ipp_printer_walk *w)
{
    return !w->telling && w->n_told < w->n_asked && w->asks[w->n_told % AHEAD].over;
}

static void go_on(struct ipp_exchange *ex)
{
    struct ipp_printer_walk *w = ex->walk;

    do {
        while (ex->walk && may_tell(w))
            tell(ex, w);
        if (!ex->walk) /* the list was refused */
            return;
    } while (w->n_asked - w->n_told < AHEAD && ask_another(ex, w));
    if (w->n_told == w->n_asked)
        finish(ex);
}

/* ---- beginning and end ---- */

static void choose(const struct ipp_exchange *ex, struct ipp_printer_walk *w)
{
    w->until_ms = loop_now_ms(ex->server->env.loop) + LIST_MS;
    if (ex->operation->code == IPP_OPERATION_CUPS_GET_CLASSES) /* there are none */
        return;
    if (ex->printer)
        w->n_looked_at = (size_t)(ex->printer - ex->snapshot->printers);
    w->n_printers = ex->printer ? w->n_looked_at + 1 : ex->snapshot->n_printers;
}

void ipp_printer_list(struct ipp_exchange *ex)
{
    const struct ipp_own_answer a = {
        .major = ex->header.major,
        .minor = ex->header.minor,
        .status = IPP_SUCCESSFUL_OK,
        .request_id = ex->header.request_id,
    };

    ex->walk = calloc(1, sizeof *ex->walk);
    if (!ex->walk) {
        ipp_reply_refuse(ex, IPP_SERVER_ERROR_BUSY, ERR_NOMEM, "memory",
                         "no memory for a list of printers");
        return;
    }
    ex->state = EX_PRINTER;
    buf_reset(&ex->out);
    (void)!ipp_own_answer(&a, &ex->out);
    if (ex->out.n > 0)
        ex->out.n--; /* its end: groups follow */
    choose(ex, ex->walk);
    if (is_for_jobs(ex))
        ipp_job_list_want_all(ex);
    go_on(ex);
}

void ipp_printer_list_drop(struct ipp_exchange *ex)
{
    struct ipp_printer_walk *w = ex->walk;

    for (size_t i = w ? w->n_told : 0; w && i < w->n_asked; i++) {
        struct ask *a = ask_at(w, i);

        if (a->errand)
            ipp_errand_cancel(a->errand);
        buf_done(&a->octets);
    }
    free(w);
    ex->walk = NULL;
}
