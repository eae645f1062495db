/* SPDX-License-Identifier: Apache-2.0 */
#include "observe/troubles.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define AREA_MAX 80u
#define CODE_MAX 32u
#define ID_MAX   32u

struct trouble {
    uint64_t count; /* 0: a free place */
    uint64_t first_wall_ms, last_wall_ms;
    uint64_t order; /* of its last time: the clock of the wall may stand still, or be set back */
    char area[AREA_MAX], code[CODE_MAX], text[TROUBLE_TEXT_MAX], id[ID_MAX];
};

struct troubles {
    pthread_mutex_t lock;
    uint64_t added;
    struct trouble v[TROUBLES_MAX];
};

enum err troubles_new(struct troubles **ret)
{
    struct troubles *t = calloc(1, sizeof *t);

    if (!t || pthread_mutex_init(&t->lock, NULL) != 0) {
        free(t);
        return ERR_NOMEM;
    }
    *ret = t;
    return OK;
}

void troubles_free(struct troubles *t)
{
    if (!t)
        return;
    (void)pthread_mutex_destroy(&t->lock);
    free(t);
}

static bool is_kind(const struct trouble *a, const struct trouble *kind)
{
    return a->count > 0 && strcmp(a->area, kind->area) == 0 && strcmp(a->code, kind->code) == 0 &&
           strcmp(a->text, kind->text) == 0;
}

/* The place of |kind|; else a free one, or that of the kind that was seen longest ago. */
static struct trouble *place_of(struct troubles *t, const struct trouble *kind)
{
    struct trouble *oldest = &t->v[0];

    for (unsigned i = 0; i < TROUBLES_MAX; i++) {
        if (is_kind(&t->v[i], kind))
            return &t->v[i];
        if (t->v[i].order < oldest->order)
            oldest = &t->v[i];
    }
    *oldest = *kind;
    return oldest;
}

void troubles_add(struct troubles *t, struct span area, const char *code, const char *text,
                  const char *id, uint64_t now_wall_ms)
{
    struct trouble kind = {.first_wall_ms = now_wall_ms};

    if (!t)
        return;
    (void)span_copy(area, kind.area, sizeof kind.area);
    (void)span_copy(span_of(code), kind.code, sizeof kind.code);
    (void)span_copy(span_of(text), kind.text, sizeof kind.text);
    (void)pthread_mutex_lock(&t->lock);
    struct trouble *place = place_of(t, &kind);

    place->count++;
    place->order = ++t->added;
    place->last_wall_ms = now_wall_ms;
    (void)span_copy(span_of(id), place->id, sizeof place->id);
    (void)pthread_mutex_unlock(&t->lock);
}

static int by_time(const void *a, const void *b)
{
    const struct trouble *x = a, *y = b;

    return x->order < y->order ? 1 : x->order > y->order ? -1 : 0;
}

static void trouble_json(const struct trouble *t, struct json *j)
{
    char first[ISO_TIME_LEN + 1], last[ISO_TIME_LEN + 1];

    clock_iso_time(t->first_wall_ms, first);
    clock_iso_time(t->last_wall_ms, last);
    json_open(j, NULL, '{');
    json_text(j, "area", t->area);
    json_text(j, "code", t->code);
    json_text(j, "text", t->text);
    json_u64(j, "count", t->count);
    json_text(j, "first", first);
    json_text(j, "last", last);
    json_text(j, "id", t->id);
    json_close(j, '}');
}

void troubles_json(struct troubles *t, struct json *j)
{
    struct trouble v[TROUBLES_MAX];

    (void)pthread_mutex_lock(&t->lock);
    memcpy(v, t->v, sizeof v);
    (void)pthread_mutex_unlock(&t->lock);
    qsort(v, TROUBLES_MAX, sizeof v[0], by_time);
    for (unsigned i = 0; i < TROUBLES_MAX && v[i].count > 0; i++)
        trouble_json(&v[i], j);
}

uint64_t troubles_count(struct troubles *t)
{
    uint64_t n;

    (void)pthread_mutex_lock(&t->lock);
    n = t->added;
    (void)pthread_mutex_unlock(&t->lock);
    return n;
}
