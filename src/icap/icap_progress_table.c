/* SPDX-License-Identifier: Apache-2.0 */
#include "icap/icap_progress_table.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define PAST_MAX   1024u /* tokens that are remembered after their files are gone */
#define CLIENT_MAX 112u

/* One service's part of the table. Stays when its files are gone: there are few services. */
struct progress_share {
    struct progress_share *next;
    unsigned n;
    char service[];
};

/* A token whose file is gone. */
struct past {
    char token[PROGRESS_TOKEN_LEN + 1];
    char client[CLIENT_MAX];
    enum progress_state state;
};

struct icap_progress {
    pthread_mutex_t lock;
    struct progress_entry *entries; /* by token */
    struct progress_share *shares;
    struct past past[PAST_MAX]; /* ring */
    unsigned past_at;
    struct metrics *metrics;
    metric_id pages[PROGRESS_STATES];
};

static void lock(struct icap_progress *p)
{
    (void)pthread_mutex_lock(&p->lock);
}

static void unlock(struct icap_progress *p)
{
    (void)pthread_mutex_unlock(&p->lock);
}

/* ---- the table ---- */

static double count_entries(void *arg)
{
    struct icap_progress *p = arg;
    unsigned n;

    lock(p);
    n = HASH_COUNT(p->entries);
    unlock(p);
    return n;
}

static void register_metrics(struct icap_progress *p)
{
    static const char *const names[] = {
        [PROGRESS_SCANNING] = "scanning", [PROGRESS_READY] = "file",
        [PROGRESS_BLOCKED] = "blocked",   [PROGRESS_FAILED] = "failed",
        [PROGRESS_EXPIRED] = "expired",   [PROGRESS_UNKNOWN] = "unknown",
    };
    struct buf label;

    (void)metrics_gauge(p->metrics, "sallyport_progress_files", "",
                        "Files with a progress page that are scanned or wait to be fetched.",
                        count_entries, p);
    buf_init(&label, 0);
    for (unsigned i = 0; i < PROGRESS_STATES; i++) {
        buf_reset(&label);
        metrics_label(&label, "page", span_of(names[i]));
        p->pages[i] =
            metrics_counter(p->metrics, "sallyport_progress_pages_total", buf_cstr(&label),
                            "Progress pages, and files fetched through them, by what was shown.");
    }
    buf_done(&label);
}

enum err icap_progress_new(struct metrics *m, struct icap_progress **ret)
{
    struct icap_progress *p = calloc(1, sizeof *p);

    if (!p)
        return ERR_NOMEM;
    if (pthread_mutex_init(&p->lock, NULL) != 0) {
        free(p);
        return ERR_NOMEM;
    }
    p->metrics = m;
    register_metrics(p);
    *ret = p;
    return OK;
}

void icap_progress_free(struct icap_progress *p)
{
    struct progress_share *s, *next;

    if (!p)
        return;
    assert(!p->entries);
    for (s = p->shares; s; s = next) {
        next = s->next;
        free(s);
    }
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}

void progress_count(struct icap_progress *p, unsigned loop, enum progress_state state)
{
    metrics_add(p->metrics, loop, p->pages[state], 1);
}

/* ---- adding ---- */

/* Digits as in the ids of records, five bits each; the last one has three. */
static NODISCARD enum err make_token(char ret[PROGRESS_TOKEN_LEN + 1])
{
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
    uint8_t random[16];
    unsigned have = 0, bits = 0, at = 0;

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return ERR_IO;
    for (unsigned i = 0; i < PROGRESS_TOKEN_LEN; i++) {
        if (have < 5 && at < sizeof random) {
            bits = bits << 8 | random[at++];
            have += 8;
        }
        if (have < 5) {
            bits <<= 5 - have;
            have = 5;
        }
        ret[i] = digits[bits >> (have - 5) & 31];
        have -= 5;
    }
    ret[PROGRESS_TOKEN_LEN] = '\0';
    return OK;
}

/* Under the lock; NULL without memory. */
static struct progress_share *find_share(struct icap_progress *p, const char *service)
{
    struct progress_share *s;
    size_t n = strlen(service) + 1;

    for (s = p->shares; s; s = s->next)
        if (strcmp(s->service, service) == 0)
            return s;
    s = calloc(1, sizeof *s + n);
    if (!s)
        return NULL;
    memcpy(s->service, service, n);
    s->next = p->shares;
    p->shares = s;
    return s;
}

static struct span take_text(char **at, struct span s)
{
    struct span own = {*at, s.n};

    if (s.n)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return own;
}

static struct progress_entry *entry_new(const struct progress_about *a)
{
    struct progress_entry *e =
        calloc(1, sizeof *e + a->client.n + a->host.n + a->id.n + a->follows.n + a->name.n +
                      a->site.n + a->contact.n + a->head.n);
    char *at;

    if (!e)
        return NULL;
    at = e->texts;
    e->refs = 1;
    e->state = PROGRESS_SCANNING;
    e->file = -1;
    e->about = *a;
    e->about.service = NULL;
    e->about.client = take_text(&at, a->client);
    e->about.host = take_text(&at, a->host);
    e->about.id = take_text(&at, a->id);
    e->about.follows = take_text(&at, a->follows);
    e->about.name = take_text(&at, a->name);
    e->about.site = take_text(&at, a->site);
    e->about.contact = take_text(&at, a->contact);
    e->about.head = take_text(&at, a->head);
    return e;
}

static void entry_free(struct progress_entry *e)
{
    if (e->file >= 0)
        (void)close(e->file);
    free((void *)(uintptr_t)e->page.p);
    free(e);
}

/* Under the lock. */
static NODISCARD enum err entry_insert(struct icap_progress *p, struct progress_entry *e,
                                       const char *service, unsigned files_max)
{
    struct progress_entry *other;

    e->share = find_share(p, service);
    if (!e->share)
        return ERR_NOMEM;
    if (e->share->n >= files_max)
        return ERR_BUSY;
    HASH_FIND(hh, p->entries, e->token, PROGRESS_TOKEN_LEN, other);
    if (other)
        return ERR_BUG; /* 128 bits do not repeat */
    HASH_ADD_KEYPTR(hh, p->entries, e->token, PROGRESS_TOKEN_LEN, e);
    if (!e->hh.tbl)
        return ERR_NOMEM;
    e->share->n++;
    return OK;
}

enum err progress_add(struct icap_progress *p, const struct progress_about *about,
                      struct progress_entry **ret)
{
    struct progress_entry *entry = entry_new(about);
    enum err e;

    if (!entry)
        return ERR_NOMEM;
    entry->table = p;
    e = make_token(entry->token);
    if (e == OK) {
        lock(p);
        e = entry_insert(p, entry, about->service, about->files_max);
        unlock(p);
    }
    if (e)
        entry_free(entry);
    else
        *ret = entry;
    return e;
}

/* ---- the owner's words ---- */

static void set_state(struct progress_entry *e, enum progress_state state)
{
    lock(e->table);
    assert(e->state == PROGRESS_SCANNING);
    e->state = state;
    unlock(e->table);
}

/* Nobody reads |file| or |page| before the state says that they are there. */
void progress_ready(struct progress_entry *e, int file)
{
    e->file = file;
    set_state(e, PROGRESS_READY);
}

void progress_block(struct progress_entry *e, enum cause cause, struct span threat,
                    struct span page)
{
    e->cause = cause;
    (void)span_copy(threat, e->threat, sizeof e->threat);
    e->page = page;
    set_state(e, PROGRESS_BLOCKED);
}

void progress_fail(struct progress_entry *e)
{
    set_state(e, PROGRESS_FAILED);
}

bool progress_is_used(struct progress_entry *e)
{
    bool used;

    lock(e->table);
    used = e->refs > 1;
    unlock(e->table);
    return used;
}

/* Under the lock. */
static void remember(struct icap_progress *p, const struct progress_entry *e,
                     enum progress_state state)
{
    struct past *past = &p->past[p->past_at++ % PAST_MAX];

    memcpy(past->token, e->token, sizeof past->token);
    (void)span_copy(e->about.client, past->client, sizeof past->client);
    past->state = state;
}

void progress_drop(struct progress_entry *e, enum progress_state as)
{
    struct icap_progress *p = e->table;

    lock(p);
    HASH_DEL(p->entries, e);
    e->share->n--;
    if (as != PROGRESS_UNKNOWN)
        remember(p, e, as);
    unlock(p);
    progress_unref(e);
}

/* ---- those who ask ---- */

static enum progress_state find_past(const struct icap_progress *p, struct span token,
                                     struct span client)
{
    for (unsigned i = 0; i < PAST_MAX; i++)
        if (span_eq(span_of(p->past[i].token), token) &&
            span_eq(span_of(p->past[i].client), span_sub(client, 0, CLIENT_MAX - 1)))
            return p->past[i].state;
    return PROGRESS_UNKNOWN;
}

struct progress_entry *progress_find(struct icap_progress *p, struct span token, struct span client,
                                     enum progress_state *ret)
{
    struct progress_entry *e = NULL;

    *ret = PROGRESS_UNKNOWN;
    if (token.n != PROGRESS_TOKEN_LEN)
        return NULL;
    lock(p);
    HASH_FIND(hh, p->entries, token.p, PROGRESS_TOKEN_LEN, e);
    if (!e) {
        *ret = find_past(p, token, client);
    } else if (!span_eq(e->about.client, client)) {
        e = NULL;
    } else {
        e->refs++;
        *ret = e->state;
    }
    unlock(p);
    return e;
}

void progress_unref(struct progress_entry *e)
{
    struct icap_progress *p = e->table;
    bool last;

    lock(p);
    last = --e->refs == 0;
    unlock(p);
    if (last)
        entry_free(e);
}
