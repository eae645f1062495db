/* SPDX-License-Identifier: Apache-2.0 */
#include "adapt/url_lists.h"

#include <stdlib.h>

#include <openssl/evp.h>

#include "adapt/url_lists_int.h"
#include "adapt/url_normal.h"
#include "base/arena.h"
#include "base/reader.h"

/* What a hostile URL may cost one regular expression. No JIT: the gateway's seccomp filter lets
 * nothing become executable. */
#define REGEX_STEPS_MAX    100000u
#define REGEX_DEPTH_MAX    10000u
#define REGEX_HEAP_KIB_MAX 1024u
/* The limits count anew at each place where a match may begin: what a pattern costs can grow with
 * the square of what it looks at. A longer URL is over the limit. */
#define REGEX_SUBJECT_MAX 2048u
#define TARGET_MAX        (256u << 10)

static const struct config_names action_words =
    CONFIG_NAMES({"match", URL_LIST_MATCH}, {"deny", URL_LIST_DENY}, {"allow", URL_LIST_ALLOW},
                 {"note", URL_LIST_NOTE});

static const char *valid_name(struct span text)
{
    return span_is_token(text) ? NULL : "be letters, digits, '-', '_' and '.'";
}

static const struct config_row url_list_rows[] = {
    CONFIG_STRING("name", struct url_list_settings, name, .required = true, .min = 1, .max = 64,
                  .valid = valid_name, .help = "Name of the list in rules and records."),
    CONFIG_PATH("file", struct url_list_settings, file, .required = true,
                .help = "Text file, one entry a line: host.example; .example for it and every host "
                        "below; host.example/path; host.example/path* for all that begins so; an "
                        "address; ~ and a regular expression over host and path. '#' begins a "
                        "comment. A change of the file is noticed and taken over; a file with an "
                        "error leaves the old list in force."),
    CONFIG_ENUM("action", struct url_list_settings, action, action_words, .fallback = "match",
                .help =
                    "What the engine url does. deny: denied. allow: not denied by another list. "
                    "note: recorded. match: nothing, the list is for rules only."),
};
const struct config_block url_list_block = CONFIG_ROWS(
    struct url_list_settings, url_list_rows, .help = "Lists of hosts and URLs, from files.");

struct url_lists {
    const struct url_list_settings *settings;
    struct url_list *v;
    size_t n;
    pcre2_match_context *limits;
    char text[sizeof "url " + 16];
};

/* ---- compiling ---- */

static enum err check_names(const struct url_lists_source *src, struct buf *errors)
{
    enum err e = OK;

    for (size_t i = 0; i < src->n; i++)
        for (size_t j = 0; j < i; j++)
            if (span_eq(span_of(src->lists[i].name), span_of(src->lists[j].name))) {
                buf_fmt(errors, "%s: there is a list '%s' already\n", src->lists[i].file,
                        src->lists[i].name);
                e = ERR_CONFIG;
                break;
            }
    return e;
}

static bool digest_list(EVP_MD_CTX *md, const struct url_list_settings *s, struct span text)
{
    uint64_t head[2] = {s->action, text.n};
    struct span name = span_of(s->name);

    return EVP_DigestUpdate(md, name.p, name.n + 1) == 1 &&
           EVP_DigestUpdate(md, head, sizeof head) == 1 &&
           EVP_DigestUpdate(md, text.p, text.n) == 1;
}

static enum err digest_text(EVP_MD_CTX *md, char dst[sizeof "url " + 16])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    struct writer w = writer_of(dst, sizeof "url " + 16);

    if (EVP_DigestFinal_ex(md, digest, NULL) != 1)
        return ERR_BUG;
    write_text(&w, "url ");
    for (size_t i = 0; i < 8; i++)
        write_fmt(&w, "%02x", digest[i]);
    write_u8(&w, 0);
    return w.err;
}

/* Every file is read, so that all their faults are known at once. */
static enum err compile(struct url_lists *u, const struct url_lists_source *src, EVP_MD_CTX *md,
                        struct buf *errors)
{
    enum err worst = OK;

    for (size_t i = 0; i < src->n; i++) {
        const struct url_list_settings *s = &src->lists[i];
        struct span text = src->text(src->arg, s->file);
        enum err e;

        if (!text.p) {
            buf_fmt(errors, "%s: the file cannot be read\n", s->file);
            worst = ERR_CONFIG;
            continue;
        }
        u->n = i + 1;
        e = url_list_parse(text, s->file, &u->v[i], errors);
        if (e != OK && e != ERR_CONFIG)
            return e;
        if (e != OK)
            worst = e;
        if (!digest_list(md, s, text))
            return ERR_BUG;
    }
    return worst;
}

static enum err fill(struct url_lists *u, const struct url_lists_source *src, struct buf *errors)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    enum err e = ERR_NOMEM, names = check_names(src, errors);

    u->settings = src->lists;
    u->v = mem_fail_now() ? NULL : calloc(src->n + 1, sizeof *u->v);
    u->limits = pcre2_match_context_create(NULL);
    if (md && u->v && u->limits && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1) {
        (void)pcre2_set_match_limit(u->limits, REGEX_STEPS_MAX);
        (void)pcre2_set_depth_limit(u->limits, REGEX_DEPTH_MAX);
        (void)pcre2_set_heap_limit(u->limits, REGEX_HEAP_KIB_MAX);
        e = compile(u, src, md, errors);
    }
    if (e == OK)
        e = digest_text(md, u->text);
    EVP_MD_CTX_free(md);
    return e == OK ? names : e;
}

enum err url_lists_new(const struct url_lists_source *src, struct url_lists **ret,
                       struct buf *errors)
{
    struct url_lists *u = mem_fail_now() ? NULL : calloc(1, sizeof *u);
    enum err e;

    if (!u)
        return ERR_NOMEM;
    e = fill(u, src, errors);
    if (e != OK) {
        url_lists_free(u);
        return e;
    }
    *ret = u;
    return OK;
}

void url_lists_free(struct url_lists *u)
{
    if (!u)
        return;
    for (size_t i = 0; i < u->n; i++)
        url_list_done(&u->v[i]);
    pcre2_match_context_free(u->limits);
    free(u->v);
    free(u);
}

int url_lists_find(const struct url_lists *u, struct span name)
{
    for (size_t i = 0; i < u->n; i++)
        if (span_eq(span_of(u->settings[i].name), name))
            return (int)i;
    return -1;
}

const char *url_lists_text(const struct url_lists *u)
{
    return u->text;
}

/* ---- asking ---- */

/* The URL in the lists' spelling, once for all of them. */
struct target {
    struct buf text;           /* '.', host, path, '?', query */
    size_t host_end, path_end; /* offsets */
    bool address;
    bool bad; /* too long, no host, or read in several ways: nobody can say what it is on */
};

static struct span target_part(const struct target *t, size_t from, size_t to)
{
    return (struct span){t->text.p + from, to - from};
}

static void target_init(struct target *t, struct span host, struct span path)
{
    struct url_host h;

    buf_init(&t->text, TARGET_MAX);
    t->address = false;
    t->bad = url_host_normal(host, &h) != OK;
    if (t->bad)
        return;
    t->address = h.address;
    buf_char(&t->text, '.');
    buf_add(&t->text, (struct span){h.text, h.n});
    t->host_end = t->text.n;
    if (path.n > 0 && path.p[0] != '/' && path.p[0] != '?')
        buf_char(&t->text, '/'); /* "*", or a path must not read on as a host */
    url_path_normal(path, false, &t->text);
    t->bad = t->text.err != OK || url_host_is_doubtful((struct span){h.text, h.n}) ||
             url_path_is_doubtful(target_part(t, t->host_end, t->text.n));
    if (!t->bad)
        t->path_end = span_find(buf_span(&t->text), '?');
}

static bool has_key(const struct url_list *l, struct span key)
{
    struct url_list_place at;

    return url_list_find(l, key, &at);
}

static bool has_host(const struct url_list *l, const struct target *t)
{
    if (has_key(l, target_part(t, 1, t->host_end)))
        return true;
    for (size_t i = 0; i < t->host_end && !t->address; i++)
        if (t->text.p[i] == '.' && has_key(l, target_part(t, i, t->host_end)))
            return true;
    return false;
}

static bool has_prefix(const struct url_list *l, struct span url)
{
    size_t low = 0, high = l->n_prefixes; /* those before |low| are not greater than |url| */

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (url_list_compare(url_list_key(l, l->prefixes[middle]), url) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && span_starts(url, url_list_key(l, l->prefixes[low - 1]));
}

static bool has_regex(const struct url_lists *u, const struct url_list *l, struct span url,
                      bool *ret_limit)
{
    pcre2_match_data *data;
    bool found = false;

    if (l->n_regexes == 0)
        return false;
    *ret_limit = url.n > REGEX_SUBJECT_MAX;
    if (*ret_limit)
        return false;
    data = pcre2_match_data_create(1, NULL);
    *ret_limit = !data;
    for (size_t i = 0; i < l->n_regexes && !found && !*ret_limit; i++) {
        int n = pcre2_match(l->regexes[i], (PCRE2_SPTR)url.p, url.n, 0, 0, data, u->limits);

        found = n >= 0;
        *ret_limit = n < 0 && n != PCRE2_ERROR_NOMATCH;
    }
    pcre2_match_data_free(data);
    return found;
}

static bool list_has(const struct url_lists *u, size_t i, const struct target *t, bool *ret_limit)
{
    const struct url_list *l = &u->v[i];
    struct span url;
    bool has;

    *ret_limit = t->bad;
    if (!t->bad) {
        if (t->host_end == 1)
            return false; /* no host: no URL */
        url = target_part(t, 1, t->text.n);
        has = has_host(l, t) || has_key(l, target_part(t, 1, t->path_end)) || has_prefix(l, url) ||
              has_regex(u, l, url, ret_limit);
        if (!*ret_limit)
            return has;
    }
    return u->settings[i].action != URL_LIST_ALLOW;
}

bool url_lists_match(const struct url_lists *u, unsigned i, struct span host, struct span path,
                     bool *ret_limit)
{
    struct target t;
    bool limit, has;

    target_init(&t, host, path);
    has = list_has(u, i, &t, &limit);
    buf_done(&t.text);
    if (ret_limit)
        *ret_limit = limit;
    return has;
}

const struct url_list_settings *url_lists_verdict(const struct url_lists *u, struct span host,
                                                  struct span path)
{
    static const enum url_list_action order[] = {URL_LIST_ALLOW, URL_LIST_DENY, URL_LIST_NOTE};
    const struct url_list_settings *found = NULL;
    struct target t;
    bool limit;

    target_init(&t, host, path);
    for (size_t o = 0; o < ARRAY_LEN(order) && !found; o++)
        for (size_t i = 0; i < u->n && !found; i++)
            if (u->settings[i].action == order[o] && list_has(u, i, &t, &limit))
                found = &u->settings[i];
    buf_done(&t.text);
    return found;
}
