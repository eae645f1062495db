/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_jobs.h"

#include <assert.h>
#include <string.h>

#include <jansson.h>

#include "base/json.h"
#include "base/reader.h"
#include "base/utf8.h"
#include "http/digest_base64.h"

#define REPLACEMENT SPAN("\xef\xbf\xbd")  /* U+FFFD */
#define NUMBER_MAX  ((uint64_t)INT64_MAX) /* of jansson's integers */
#define MEMBERS     20u                   /* and perhaps "backend" */

/* An octet of text is six of JSON at most ("\u0001"); the rest is keys and numbers. */
static_assert(6 * sizeof(struct ipp_job) + BASE64_URL_LEN(IPP_JOB_SAVED_MAX) + 1024 <=
                  STORE_VALUE_MAX,
              "a record with everything in it fits the store");

/* ---- members that are alike ---- */

struct member {
    const char *key;
    size_t off, size;
};

#define MEMBER(name)                                                                  \
    {                                                                                 \
#name, offsetof(struct ipp_job, name), sizeof(((struct ipp_job *)NULL)->name) \
    }

static const struct member texts[] = {
    MEMBER(printer), MEMBER(user),   MEMBER(tenant), MEMBER(client), MEMBER(name),
    MEMBER(format),  MEMBER(reason), MEMBER(why),    MEMBER(record),
};
/* uint64_t, each. */
static const struct member numbers[] = {
    MEMBER(created_wall_ms),
    MEMBER(until_wall_ms),
    MEMBER(ended_wall_ms),
    MEMBER(octets),
};
static const char *const stages[] = {
    [IPP_JOB_INCOMING] = "incoming", [IPP_JOB_SCANNING] = "scanning", [IPP_JOB_SENDING] = "sending",
    [IPP_JOB_STOPPING] = "stopping", [IPP_JOB_PRINTER] = "printer",   [IPP_JOB_ABORTED] = "aborted",
    [IPP_JOB_CANCELED] = "canceled",
};

static char *text_of(struct ipp_job *j, const struct member *m)
{
    return (char *)j + m->off;
}

static uint64_t *number_of(struct ipp_job *j, const struct member *m)
{
    return (uint64_t *)(void *)((char *)j + m->off);
}

/* ---- as the book keeps it ---- */

void ipp_job_text(struct span text, char *dst, size_t cap)
{
    struct writer w = writer_of(dst, cap - 1);

    while (text.n && !w.err) { /* what does not fit is not written at all, and nothing after it */
        size_t len = text.p[0] ? utf8_len(text) : 0;

        write_span(&w, len ? span_sub(text, 0, len) : REPLACEMENT);
        text = span_sub(text, len ? len : 1, SIZE_MAX);
    }
    dst[w.n] = '\0';
}

static void tidy_text(char *text, size_t cap)
{
    struct span s = {text, strnlen(text, cap)};
    char copy[IPP_JOB_TEXT_MAX + 1];

    assert(cap <= sizeof copy);
    if (s.n < cap && utf8_is_valid(s))
        return;
    memcpy(copy, s.p, s.n);
    ipp_job_text((struct span){copy, s.n}, text, cap);
}

void ipp_job_tidy(struct ipp_job *j)
{
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        tidy_text(text_of(j, &texts[i]), texts[i].size);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (*number_of(j, &numbers[i]) > NUMBER_MAX)
            *number_of(j, &numbers[i]) = NUMBER_MAX;
    if (j->stage != IPP_JOB_INCOMING)
        j->saved = SPAN_NONE;
}

/* Has it not reached its end, nor the printer, as far as the book knows? */
static bool is_open(const struct ipp_job *j)
{
    return j->stage < IPP_JOB_PRINTER;
}

static struct span why_over(enum ipp_job_stage stage)
{
    switch (stage) {
    case IPP_JOB_INCOMING: return SPAN("The document did not come in time.");
    case IPP_JOB_SCANNING: return SPAN("The inspection of the document did not end in time.");
    default: return SPAN("It is not known whether the printer took the document.");
    }
}

void ipp_job_settle(struct ipp_job *j, uint64_t now_wall_ms)
{
    bool incoming = j->stage == IPP_JOB_INCOMING;

    if (!is_open(j) || now_wall_ms < j->until_wall_ms)
        return;
    ipp_job_text(why_over(j->stage), j->why, sizeof j->why);
    j->stage = IPP_JOB_ABORTED;
    j->ended_wall_ms = j->until_wall_ms;
    j->saved = SPAN_NONE;
    ipp_job_text(incoming ? SPAN("submission-interrupted") : SPAN("aborted-by-system"), j->reason,
                 sizeof j->reason);
}

/* ---- writing ---- */

static void write_saved(struct json *w, struct span saved)
{
    size_t n = BASE64_URL_LEN(saved.n);
    char *p = json_begin(w, SPAN("saved"), n + 3);

    if (!p)
        return;
    *p++ = '"';
    digest_base64_url((const uint8_t *)saved.p, saved.n, p);
    p += n;
    *p++ = '"';
    json_end(w, p);
}

void ipp_job_format(const struct ipp_job *j, struct buf *out)
{
    struct json w = json_to(out);
    struct ipp_job t = *j;

    ipp_job_tidy(&t);
    json_open(&w, NULL, '{');
    json_i64(&w, "id", t.id);
    json_i64(&w, "printer_id", t.printer_id);
    json_text(&w, "stage", t.stage < ARRAY_LEN(stages) ? stages[t.stage] : "?");
    json_text(&w, "channel", ipp_channel_name(t.made.channel));
    json_text(&w, "proof", ipp_user_name(t.made.user));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        json_text(&w, texts[i].key, text_of(&t, &texts[i]));
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        json_u64(&w, numbers[i].key, *number_of(&t, &numbers[i]));
    json_u64(&w, "documents", t.documents);
    if (t.backend[0])
        json_text(&w, "backend", t.backend);
    write_saved(&w, t.saved);
    json_close(&w, '}');
}

/* ---- reading ---- */

static enum err load(struct span text, json_t **ret)
{
    json_error_t error;

    if (text.n == 0 || text.n > STORE_VALUE_MAX)
        return ERR_PROTO;
    json_t *root = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &error);

    if (!root && json_error_code(&error) == json_error_out_of_memory)
        return ERR_NOMEM;
    if (json_object_size(root) != MEMBERS + (json_object_get(root, "backend") != NULL)) {
        json_decref(root);
        return ERR_PROTO;
    }
    *ret = root;
    return OK;
}

static enum err read_text(const json_t *o, const char *key, struct span *ret)
{
    const json_t *v = json_object_get(o, key);

    if (!json_is_string(v))
        return ERR_PROTO;
    *ret = (struct span){json_string_value(v), json_string_length(v)};
    return OK;
}

static enum err read_number(const json_t *o, const char *key, int64_t min, int64_t max,
                            int64_t *ret)
{
    const json_t *v = json_object_get(o, key);

    if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max)
        return ERR_PROTO;
    *ret = json_integer_value(v);
    return OK;
}

/* Which of |words|, of |n|, it is. */
static enum err read_word(const json_t *o, const char *key, const char *const *words, size_t n,
                          size_t *ret)
{
    struct span word = SPAN_NONE;

    TRY(read_text(o, key, &word));
    for (size_t i = 0; i < n; i++) {
        if (span_eq(word, span_of(words[i]))) {
            *ret = i;
            return OK;
        }
    }
    return ERR_PROTO;
}

static enum err read_words(const json_t *o, struct ipp_job *j)
{
    const char *const channels[] = {
        ipp_channel_name(IPP_CHANNEL_CLEAR),
        ipp_channel_name(IPP_CHANNEL_UPGRADED),
        ipp_channel_name(IPP_CHANNEL_IMPLICIT),
    };
    const char *const users[] = {
        ipp_user_name(IPP_USER_NONE),        ipp_user_name(IPP_USER_CLAIMED),
        ipp_user_name(IPP_USER_BASIC),       ipp_user_name(IPP_USER_DIGEST),
        ipp_user_name(IPP_USER_CERTIFICATE),
    };
    size_t stage = 0, channel = 0, user = 0;

    TRY(read_word(o, "stage", stages, ARRAY_LEN(stages), &stage));
    TRY(read_word(o, "channel", channels, ARRAY_LEN(channels), &channel));
    TRY(read_word(o, "proof", users, ARRAY_LEN(users), &user));
    j->stage = (enum ipp_job_stage)stage;
    j->made.channel = (enum ipp_channel)channel;
    j->made.user = (enum ipp_user)user;
    return OK;
}

static enum err read_numbers(const json_t *o, struct ipp_job *j)
{
    int64_t v = 0;

    TRY(read_number(o, "id", 1, IPP_JOB_ID_MAX, &v));
    j->id = (int32_t)v;
    TRY(read_number(o, "printer_id", 0, IPP_JOB_ID_MAX, &v));
    j->printer_id = (int32_t)v;
    TRY(read_number(o, "documents", 0, UINT32_MAX, &v));
    j->documents = (uint32_t)v;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        TRY(read_number(o, numbers[i].key, 0, INT64_MAX, &v));
        *number_of(j, &numbers[i]) = (uint64_t)v;
    }
    return OK;
}

/* jansson has seen that they are UTF-8 and without NUL. */
static enum err read_texts(const json_t *o, struct ipp_job *j)
{
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct span s = SPAN_NONE;

        TRY(read_text(o, texts[i].key, &s));
        if (s.n >= texts[i].size)
            return ERR_PROTO;
        (void)span_copy(s, text_of(j, &texts[i]), texts[i].size);
    }
    return j->printer[0] ? OK : ERR_PROTO;
}

static enum err read_backend(const json_t *o, struct ipp_job *j)
{
    struct span s = SPAN_NONE;

    if (!json_object_get(o, "backend"))
        return OK;
    TRY(read_text(o, "backend", &s));
    if (s.n != IPP_JOB_BACKEND_LEN)
        return ERR_PROTO;
    (void)span_copy(s, j->backend, sizeof j->backend);
    return OK;
}

static enum err read_saved(const json_t *o, struct arena *mem, struct ipp_job *j)
{
    struct span text = SPAN_NONE;

    TRY(read_text(o, "saved", &text));
    size_t n = text.n / 4 * 3 + text.n % 4 * 3 / 4;

    if (n > IPP_JOB_SAVED_MAX || (text.n > 0 && j->stage != IPP_JOB_INCOMING))
        return ERR_PROTO;
    if (text.n == 0 || !mem)
        return OK;
    uint8_t *bytes = arena_alloc(mem, n);

    if (!bytes)
        return ERR_NOMEM;
    if (!digest_base64_url_read(text, bytes, n))
        return ERR_PROTO;
    j->saved = (struct span){(const char *)bytes, n};
    return OK;
}

enum err ipp_job_parse(struct span text, struct arena *mem, struct ipp_job *ret)
{
    struct ipp_job j = {0};
    json_t *object = NULL;

    TRY(load(text, &object));
    enum err e = read_words(object, &j);

    if (!e)
        e = read_numbers(object, &j);
    if (!e)
        e = read_texts(object, &j);
    if (!e)
        e = read_backend(object, &j);
    if (!e)
        e = read_saved(object, mem, &j);
    json_decref(object);
    if (!e)
        *ret = j;
    return e;
}
