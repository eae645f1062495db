/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_jobs_list.c - walks through the book: many jobs by the printer's numbers, a few at a time so
 * that others can ask the store meanwhile; and all jobs, page by page. */
#include "ipp/ipp_jobs_int.h"

#include <stdlib.h>

#define SLOTS 16u /* jobs that are asked for at once */
#define PAGE  64u /* records of one turn */

/* One of the jobs by numbers, on its way. */
struct slot {
    struct ipp_jobs_walk *walk;
    struct store_op *op;
    size_t at; /* in the walk's jobs */
};

struct ipp_jobs_walk {
    struct ipp_jobs_list *list; /* NULL: cancelled */
    struct ipp_job *jobs;
    size_t n, max;
    char printer[IPP_JOB_PRINTER_MAX + 1];
    size_t n_printer;
    /* by numbers */
    struct task empty; /* answers a question about none */
    struct slot slots[SLOTS];
    size_t next;
    unsigned open; /* slots */
    /* all */
    struct store_op *op;
    bool only; /* those of |printer| */
    struct ipp_jobs_key after;
};

static void slot_begin(struct slot *s);

/* ---- life ---- */

static void walk_free(struct ipp_jobs_walk *w)
{
    free(w->jobs);
    free(w);
}

/* Of at most |max| jobs. */
static enum err walk_new(struct ipp_jobs_list *l, struct span printer, size_t max,
                         struct ipp_jobs_walk **ret)
{
    if (printer.n > IPP_JOB_PRINTER_MAX || max > IPP_JOBS_LIST_MAX)
        return ERR_LIMIT;
    struct ipp_jobs_walk *w = mem_fail_now() ? NULL : calloc(1, sizeof *w);

    if (!w)
        return ERR_NOMEM;
    w->jobs = mem_fail_now() ? NULL : calloc(max + 1, sizeof *w->jobs);
    if (!w->jobs) {
        free(w);
        return ERR_NOMEM;
    }
    w->list = l;
    w->max = max;
    w->n_printer = span_copy(printer, w->printer, sizeof w->printer);
    *ret = w;
    return OK;
}

static struct span printer_of(const struct ipp_jobs_walk *w)
{
    return (struct span){w->printer, w->n_printer};
}

static void cancel_ops(struct ipp_jobs_walk *w)
{
    for (size_t i = 0; i < SLOTS; i++)
        if (w->slots[i].op)
            store_cancel(w->slots[i].op);
    if (w->op)
        store_cancel(w->op);
}

/* Nothing of the list is touched once |done| has it: it may ask anew, or be freed. */
static void walk_end(struct ipp_jobs_walk *w, enum err e)
{
    struct ipp_jobs_list *l = w->list;

    cancel_ops(w);
    l->walk = NULL;
    l->done(l->arg, e, e ? NULL : w->jobs, e ? 0 : w->n);
    walk_free(w);
}

void ipp_jobs_list_cancel(struct ipp_jobs_list *l)
{
    struct ipp_jobs_walk *w = l->walk;

    l->walk = NULL;
    if (!w)
        return;
    cancel_ops(w);
    w->list = NULL;
    if (!w->empty.run) /* else the loop has it */
        walk_free(w);
}

static uint64_t now(const struct ipp_jobs_walk *w)
{
    return clock_wall_ms(w->list->set.clock);
}

/* ---- by the printer's numbers ---- */

/* The next number, if there is one; the end, if this was the last one on its way. */
static void slot_go_on(struct slot *s)
{
    struct ipp_jobs_walk *w = s->walk;

    w->open--;
    if (w->next < w->n)
        slot_begin(s);
    else if (w->open == 0)
        walk_end(w, OK);
}

static void on_job(void *arg, const struct store_reply *r)
{
    struct slot *s = arg;
    struct ipp_jobs_walk *w = s->walk;
    struct ipp_job *want = &w->jobs[s->at], found = {0};

    s->op = NULL;
    enum err e = r->err ? r->err : ipp_jobs_read(r->items, now(w), NULL, &found);

    if (e && (r->err ? e != ERR_MISSING : e != ERR_IO)) {
        walk_end(w, e);
        return;
    }
    if (!e && ipp_jobs_is_at(&found, printer_of(w), want->printer_id))
        *want = found;
    slot_go_on(s);
}

static void on_entry(void *arg, const struct store_reply *r)
{
    struct slot *s = arg;
    struct ipp_jobs_walk *w = s->walk;
    const struct store_asker by = {.loop = w->list->loop, .done = on_job, .arg = s};
    int32_t id = 0;

    s->op = NULL;
    if (r->err && r->err != ERR_MISSING) {
        walk_end(w, r->err);
        return;
    }
    if (r->err || ipp_jobs_read_id(r->items, &id) != OK) {
        slot_go_on(s);
        return;
    }
    struct ipp_jobs_key key = ipp_jobs_key(id);
    enum err e =
        store_get(w->list->set.store, IPP_JOBS_SPACE, ipp_jobs_key_span(&key), &by, &s->op);

    if (e)
        walk_end(w, e);
}

static enum err slot_ask(struct slot *s)
{
    struct ipp_jobs_walk *w = s->walk;
    const struct store_asker by = {.loop = w->list->loop, .done = on_entry, .arg = s};
    struct ipp_jobs_key key = ipp_jobs_printer_key(printer_of(w), w->jobs[w->next].printer_id);

    TRY(store_get(w->list->set.store, IPP_JOBS_AT_PRINTER_SPACE, ipp_jobs_key_span(&key), &by,
                  &s->op));
    s->at = w->next++;
    w->open++;
    return OK;
}

static void slot_begin(struct slot *s)
{
    enum err e = slot_ask(s);

    if (e)
        walk_end(s->walk, e);
}

static void on_empty(struct task *t)
{
    struct ipp_jobs_walk *w = CONTAINER_OF(t, struct ipp_jobs_walk, empty);

    if (w->list)
        walk_end(w, OK);
    else
        walk_free(w);
}

enum err ipp_jobs_find_all(struct ipp_jobs_list *l, struct span printer, const int32_t *v, size_t n)
{
    struct ipp_jobs_walk *w = NULL;
    enum err e = OK;

    TRY(walk_new(l, printer, n, &w));
    w->n = n;
    for (size_t i = 0; i < n; i++)
        w->jobs[i].printer_id = v[i];
    for (size_t i = 0; i < SLOTS && i < n && !e; i++) {
        w->slots[i].walk = w;
        e = slot_ask(&w->slots[i]);
    }
    if (e) {
        cancel_ops(w);
        walk_free(w);
        return e;
    }
    l->walk = w;
    if (n == 0) {
        w->empty.run = on_empty;
        loop_defer(l->loop, &w->empty);
    }
    return OK;
}

/* ---- all ---- */

static enum err page_ask(struct ipp_jobs_walk *w);

static enum err read_page(struct ipp_jobs_walk *w, const struct store_reply *r)
{
    TRY(r->err);
    for (size_t i = 0; i < r->n_items && w->n < w->max; i++) {
        struct ipp_job *j = &w->jobs[w->n];
        enum err e = ipp_jobs_read(&r->items[i], now(w), NULL, j);

        if (e == ERR_IO)
            continue;
        TRY(e);
        if (!w->only || span_eq(span_of(j->printer), printer_of(w)))
            w->n++;
    }
    if (r->n_items)
        w->after.n = span_copy(r->items[r->n_items - 1].key, w->after.bytes, sizeof w->after.bytes);
    return OK;
}

static void on_page(void *arg, const struct store_reply *r)
{
    struct ipp_jobs_walk *w = arg;

    w->op = NULL;
    enum err e = read_page(w, r);
    bool over = e || !r->more || w->n == w->max;

    if (!over)
        e = page_ask(w);
    if (over || e)
        walk_end(w, e);
}

static enum err page_ask(struct ipp_jobs_walk *w)
{
    const struct store_asker by = {.loop = w->list->loop, .done = on_page, .arg = w};
    size_t left = w->max - w->n;
    const struct store_range range = {
        .after = ipp_jobs_key_span(&w->after),
        .max = w->only || left > PAGE ? PAGE : left,
    };

    return store_list(w->list->set.store, IPP_JOBS_SPACE, &range, &by, &w->op);
}

enum err ipp_jobs_all(struct ipp_jobs_list *l, const char *only, size_t max)
{
    struct ipp_jobs_walk *w = NULL;

    if (max == 0)
        return ERR_LIMIT;
    TRY(walk_new(l, span_of(only), max, &w));
    w->only = only != NULL;
    enum err e = page_ask(w);

    if (e) {
        walk_free(w);
        return e;
    }
    l->walk = w;
    return OK;
}
