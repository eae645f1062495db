/* SPDX-License-Identifier: Apache-2.0 */
/* Progress pages, between transactions and the table of icap_progress_table.h: a scan is taken off
 * its connection, which gets a page; it goes on by itself, in its old icap_transaction without a
 * connection, to the same decision; requests for the page or the file are answered from the table.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/log.h"
#include "icap/icap_progress_page.h"
#include "icap/icap_server_int.h"

#define PAGE_MAX  (16u << 10)
#define WHOSE_MAX (ADDRESS_TEXT_MAX + CREDENTIAL_TENANT_MAX + 2)
#define HEAD_MAX  (32u << 10) /* of a response that is kept; Squid takes 64 KiB in all */
#define PIECE     (512u << 10)
#define IN_USE_MS 1000u /* how soon to look again whether the last reader is gone */

/* ---- for whom ---- */

static bool accepts_html(const struct head *h)
{
    for (unsigned i = head_find(h, SPAN("Accept"), 0); i < h->n_fields;
         i = head_find(h, SPAN("Accept"), i + 1)) {
        struct span rest = h->fields[i].value, element;

        while (span_list_next(&rest, &element))
            if (span_ieq(span_trim(span_cut(&element, ';')), SPAN("text/html")))
                return true;
    }
    return false;
}

/* Fetch Metadata: what the browser will do with the answer. Old browsers do not say. */
static bool is_navigation(const struct head *h)
{
    struct span dest = head_value(h, SPAN("Sec-Fetch-Dest"));

    return !dest.p || span_ieq(dest, SPAN("document")) || span_ieq(dest, SPAN("iframe"));
}

bool icap_progress_suits(const struct icap_transaction *tx)
{
    const struct head *request = tx->req->http_request, *response = tx->req->http_response;

    return tx->server->env.progress && tx->subject && tx->method == ICAP_RESPMOD && request &&
           response && response->status == 200 && span_eq(request->method, SPAN("GET")) &&
           accepts_html(request) && is_navigation(request);
}

static const char *via_of(const struct icap_transaction *tx)
{
    return tx->service->set->via ? tx->snapshot->host : NULL;
}

/* ---- taking a scan off its connection ---- */

/* Moves what points into the engine's arena. */
static NODISCARD enum err keep_texts(struct icap_transaction *tx, struct icap_detached *d)
{
    const struct head *http = icap_message_head(tx->req);
    struct span encoding = icap_content_encoding(tx, http);
    struct icap_subject *s = &d->subject;
    char *at;

    *s = *tx->subject;
    d->text = malloc(s->path.n + s->type.n + encoding.n + 1);
    if (!d->text)
        return ERR_NOMEM;
    at = d->text;
    struct span *const spans[] = {&s->path, &s->type, &encoding};

    for (size_t i = 0; i < ARRAY_LEN(spans); i++) {
        if (spans[i]->n)
            memcpy(at, spans[i]->p, spans[i]->n);
        if (spans[i]->p)
            spans[i]->p = at;
        at += spans[i]->n;
    }
    d->encoding = encoding;
    return OK;
}

static void detached_free(struct icap_detached *d)
{
    if (!d)
        return;
    free(d->text);
    free(d);
}

static struct icap_detached *detached_new(struct icap_transaction *tx)
{
    struct icap_detached *d = calloc(1, sizeof *d);
    struct icap_connection *c = tx->conn;

    if (!d || keep_texts(tx, d) != OK) {
        detached_free(d);
        return NULL;
    }
    struct address peer = stream_peer(c->stream);

    d->tx = tx;
    (void)address_text(&peer, d->peer);
    (void)span_copy(span_of(c->accepted.settings->name), d->listener, sizeof d->listener);
    return d;
}

/* Who may see the page and have the file: the user's address, within the tenant. */
static struct span whose(const struct icap_transaction *tx, char dst[WHOSE_MAX])
{
    char host[ADDRESS_TEXT_MAX];

    (void)snprintf(dst, WHOSE_MAX, "%s%s%s", address_host_text(&tx->subject->client, host),
                   tx->tenant ? " " : "", tx->tenant ? tx->tenant->name : "");
    return span_of(dst);
}

static NODISCARD enum err add_entry(struct icap_transaction *tx, struct icap_detached *d,
                                    struct span id)
{
    const struct icap_service_settings *set = tx->service->set;
    char client[WHOSE_MAX];
    struct buf head;
    enum err e;

    buf_init(&head, HEAD_MAX);
    progress_file_head(tx->req->http_response, span_of(tx->subject->name.text), tx->body_len,
                       via_of(tx), &head);
    const struct progress_about about = {
        .service = set->name,
        .files_max = set->slow.files_max,
        .client = whose(tx, client),
        .host = span_of(set->slow.host),
        .id = id,
        .follows = {tx->id, RECORD_ID_LEN},
        .name = span_of(tx->subject->name.text),
        .site = span_of(tx->subject->host),
        .contact = span_of(set->contact),
        .head = buf_span(&head),
        .len = tx->body_len,
        .since_ms = tx->slow.since_ms,
        .deadline_ms = set->deadline_ms,
        .every_ms = set->slow.every_ms,
    };

    e = head.err ? head.err : progress_add(tx->server->env.progress, &about, &d->entry);
    buf_done(&head);
    return e;
}

/* An answer that is a page of ours. */
static NODISCARD enum err answer_page(struct icap_transaction *tx, unsigned status,
                                      struct span page, enum cause cause, struct span threat)
{
    bool is_head = tx->req->http_request && tx->method == ICAP_REQMOD &&
                   span_eq(tx->req->http_request->method, SPAN("HEAD"));
    struct buf head;
    enum err e;

    buf_init(&head, HEAD_MAX);
    progress_page_head(status, page.n, via_of(tx), &head);
    const struct icap_own_answer a = {
        .head = buf_span(&head),
        .body = page,
        .has_body = !is_head,
        .cause = cause,
        .threat = threat,
    };

    e = head.err ? head.err : icap_answer_own(tx, &a);
    if (e == OK)
        tx->http_status = status;
    buf_done(&head);
    return e;
}

static NODISCARD enum err answer_state(struct icap_transaction *tx, unsigned status,
                                       enum progress_state state,
                                       const struct progress_entry *entry)
{
    struct buf page;
    enum err e;

    buf_init(&page, PAGE_MAX);
    progress_page(state, entry, loop_now_ms(tx->server->env.loop), &page);
    e = page.err ? page.err : answer_page(tx, status, buf_span(&page), CAUSE_NONE, SPAN_NONE);
    buf_done(&page);
    if (e == OK)
        progress_count(tx->server->env.progress, tx->server->loop_index, state);
    return e;
}

/* |page| takes the place of |tx| on the connection: it is what has been answered. */
static void swap(struct icap_transaction *tx, struct icap_transaction *page)
{
    *page = *tx;
    page->snapshot = icap_snapshot_ref(tx->snapshot);
    page->session = tx->session ? session_ref(tx->session) : NULL;
    if (tx->istag == tx->names.istag) {
        page->istag = page->names.istag;
        page->scope = page->names.scope;
    }
    page->login_timer = (struct timer){0};
    page->state = TX_DONE;
    page->did = "deferred";
    page->body = NULL;
    page->scan = NULL;
    page->scan_slot = false;
    page->result = NULL;
    page->objects = NULL;
    page->slow = (struct icap_slow){0};
    page->scan_wait = (struct icap_scan_wait){0};
    tx->conn->tx = page;
}

static void take_off(struct icap_transaction *tx, struct icap_detached *d, const char *id)
{
    struct icap_server *s = tx->server;

    tx->conn = NULL;
    tx->req = NULL;
    tx->trailers = SPAN_NONE;
    tx->detached = d;
    tx->subject = &d->subject;
    tx->icap_status = tx->http_status = 0;
    memcpy(tx->follows, tx->id, sizeof tx->follows);
    memcpy(tx->id, id, sizeof tx->id);
    icap_scan_slot_detached(tx);
    DL_APPEND(s->detached, d);
    s->n_detached++;
    log_debug("icap", "id=%s service=%s: slow, a progress page for %s", tx->id,
              tx->service->set->name, tx->follows);
}

bool icap_progress_detach(struct icap_transaction *tx)
{
    struct icap_server *s = tx->server;
    struct icap_transaction *page = s->draining ? NULL : malloc(sizeof *page);
    struct icap_detached *d = page ? detached_new(tx) : NULL;
    char id[RECORD_ID_LEN + 1];
    enum err e = ERR_NOMEM;

    if (d) {
        record_id(s->env.id_seed, s->loop_index, s->next_id++, id);
        e = add_entry(tx, d, (struct span){id, RECORD_ID_LEN});
        if (e == OK)
            e = answer_state(tx, 200, PROGRESS_SCANNING, d->entry);
        if (e && d->entry)
            progress_drop(d->entry, PROGRESS_UNKNOWN);
    }
    if (e) {
        detached_free(d);
        free(page);
        return false;
    }
    swap(tx, page);
    take_off(tx, d, id);
    return true;
}

/* ---- the end of a detached scan ---- */

static void drop_body(struct icap_transaction *tx)
{
    body_free(tx->body);
    tx->body = NULL;
}

static void detached_drop(struct icap_detached *d, enum progress_state as)
{
    struct icap_server *s = d->tx->server;

    progress_drop(d->entry, as);
    DL_DELETE(s->detached, d);
    icap_transaction_free(d->tx);
    detached_free(d);
}

/* The body stays while somebody is reading it: it is what the spool's budget counts. */
static void on_keep_end(struct timer *t)
{
    struct icap_transaction *tx = CONTAINER_OF(t, struct icap_transaction, slow.timer);
    struct loop *loop = tx->server->env.loop;

    if (progress_is_used(tx->detached->entry))
        timer_set(loop, t, loop_now_ms(loop) + IN_USE_MS);
    else
        detached_drop(tx->detached,
                      tx->action == ACTION_ERROR ? PROGRESS_FAILED : PROGRESS_EXPIRED);
}

static void fail(struct icap_transaction *tx, enum err err, const char *why)
{
    if (!tx->err) {
        tx->err = err;
        tx->err_why = why;
    }
    tx->action = ACTION_ERROR;
    progress_fail(tx->detached->entry);
}

static void block(struct icap_transaction *tx)
{
    struct buf page;

    atomic_fetch_add_explicit(&tx->server->n_blocked, 1, memory_order_relaxed);
    buf_init(&page, PAGE_MAX);
    icap_block_page(tx, &page);
    if (page.err) {
        buf_done(&page);
        fail(tx, ERR_NOMEM, "the block page could not be written");
        return;
    }
    progress_block(tx->detached->entry, tx->cause, icap_threat(tx), buf_span(&page));
}

static void pass(struct icap_transaction *tx)
{
    if (!tx->slow.has_file) {
        fail(tx, ERR_NOMEM, "there is no descriptor for the file");
        return;
    }
    tx->slow.has_file = false;
    progress_ready(tx->detached->entry, tx->slow.file);
}

void icap_progress_act(struct icap_transaction *tx)
{
    struct icap_server *s = tx->server;

    switch (tx->action) {
    case ACTION_PASS: pass(tx); break;
    case ACTION_BLOCK: block(tx); break;
    case ACTION_ERROR: fail(tx, ERR_POLICY, tx->err_why); break;
    }
    tx->state = TX_DONE;
    if (tx->action != ACTION_PASS) {
        drop_body(tx);
        icap_slow_free(tx);
    }
    icap_audit_finish(tx);
    s->n_detached--;
    tx->slow.timer.fire = on_keep_end;
    timer_set(s->env.loop, &tx->slow.timer,
              loop_now_ms(s->env.loop) + tx->service->set->slow.keep_ms);
    icap_server_check_drained(s);
}

void icap_progress_end(struct icap_server *s)
{
    struct icap_detached *d, *tmp;

    DL_FOREACH_SAFE(s->detached, d, tmp)
    {
        struct icap_transaction *tx = d->tx;
        bool failed = tx->action == ACTION_ERROR;

        if (tx->state != TX_DONE) {
            failed = true;
            s->n_detached--;
            tx->err = ERR_DRAINING;
            tx->err_why = "the gateway is shutting down";
            icap_audit_finish(tx);
        }
        detached_drop(d, failed ? PROGRESS_FAILED : PROGRESS_EXPIRED);
    }
}

/* ---- requests for pages and files ---- */

/* A descriptor for the chain of the loop that delivers, which may not be the one that scanned. */
struct fetched_file {
    struct file_ref ref;
    struct progress_entry *entry;
};

static void fetched_release(struct file_ref *ref)
{
    struct fetched_file *f = CONTAINER_OF(ref, struct fetched_file, ref);

    progress_unref(f->entry);
    free(f);
}

/* Takes |entry| over on success. */
static NODISCARD enum err answer_file(struct icap_transaction *tx, struct progress_entry *entry)
{
    bool is_head = span_eq(tx->req->http_request->method, SPAN("HEAD"));
    struct fetched_file *f = malloc(sizeof *f);
    const struct icap_own_answer a = {.head = entry->about.head, .has_body = !is_head};
    enum err e = f ? icap_answer_own(tx, &a) : ERR_NOMEM;

    if (e) {
        free(f);
        return e;
    }
    *f = (struct fetched_file){
        .ref = {.fd = entry->file, .refs = 1, .release = fetched_release},
        .entry = entry,
    };
    tx->http_status = 200;
    progress_count(tx->server->env.progress, tx->server->loop_index, PROGRESS_READY);
    if (is_head) {
        file_unref(&f->ref);
        return OK;
    }
    tx->fetch = &f->ref;
    tx->fetch_len = entry->about.len;
    tx->state = TX_FLOW;
    return OK;
}

static NODISCARD enum err answer_entry(struct icap_transaction *tx, struct progress_entry *entry,
                                       enum progress_state state)
{
    enum err e = OK;

    switch (state) {
    case PROGRESS_SCANNING:
        tx->did = "deferred";
        e = answer_state(tx, 200, state, entry);
        break;
    case PROGRESS_READY:
        tx->did = action_name(ACTION_PASS);
        e = answer_file(tx, entry);
        if (e == OK)
            return OK;
        break;
    case PROGRESS_BLOCKED:
        tx->did = action_name(ACTION_BLOCK);
        e = answer_page(tx, 403, entry->page, entry->cause, span_of(entry->threat));
        if (e == OK)
            progress_count(tx->server->env.progress, tx->server->loop_index, state);
        break;
    case PROGRESS_FAILED:
    case PROGRESS_EXPIRED: e = answer_state(tx, 410, state, entry); break;
    case PROGRESS_UNKNOWN: e = answer_state(tx, 404, state, entry); break;
    }
    progress_unref(entry);
    return e;
}

static bool is_our_host(const struct icap_transaction *tx)
{
    for (size_t i = 0; i < tx->snapshot->n_services; i++) {
        const struct icap_slow_settings *slow = &tx->snapshot->services[i].set->slow;

        if (slow->mode == ICAP_SLOW_PROGRESS &&
            span_ieq(span_of(slow->host), span_of(tx->subject->host)))
            return true;
    }
    return false;
}

static NODISCARD enum err answer_fetch(struct icap_transaction *tx)
{
    const struct head *http = tx->req->http_request;
    struct icap_subject *s = tx->subject;
    struct span token = span_sub(s->path, 1, span_find(s->path, '?') - 1);
    char client[WHOSE_MAX];
    enum progress_state state;
    struct progress_entry *entry;

    s->name.text[0] = '\0'; /* it would be the token, which no record shall tell */
    if (tx->req->has_body ||
        !(span_eq(http->method, SPAN("GET")) || span_eq(http->method, SPAN("HEAD"))))
        return answer_state(tx, 405, PROGRESS_UNKNOWN, NULL);
    entry = progress_find(tx->server->env.progress, token, whose(tx, client), &state);
    if (!entry)
        return answer_state(tx, state == PROGRESS_UNKNOWN ? 404 : 410, state, NULL);
    (void)span_copy(entry->about.name, s->name.text, sizeof s->name.text);
    (void)span_copy(entry->about.follows, tx->follows, sizeof tx->follows);
    return answer_entry(tx, entry, state);
}

bool icap_progress_fetch(struct icap_transaction *tx)
{
    enum err e;

    if (!tx->server->env.progress || tx->method != ICAP_REQMOD || !tx->req->http_request ||
        !tx->subject || !is_our_host(tx))
        return false;
    tx->state = TX_DONE;
    e = answer_fetch(tx);
    if (e == OK)
        return true;
    tx->err = e;
    tx->err_why = "no memory for a progress page";
    if (icap_answer_error(tx, 503, false) != OK)
        icap_abort(tx->conn->engine);
    return true;
}

bool icap_progress_drive(struct icap_transaction *tx)
{
    struct icap_engine *engine = tx->conn->engine;
    uint64_t n = tx->fetch_len - tx->fetched;
    enum err e;

    if (n > PIECE)
        n = PIECE;
    e = icap_reply_file(engine, tx->fetch, tx->fetched, n);
    tx->fetched += n;
    if (e == OK && tx->fetched == tx->fetch_len) {
        e = icap_reply_end(engine, SPAN_NONE, SPAN_NONE);
        tx->state = TX_DONE;
    }
    if (e) {
        tx->err = e;
        tx->err_why = "the file could not be put into the answer";
        tx->state = TX_DONE;
        icap_abort(engine);
    }
    return true;
}
