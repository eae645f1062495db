/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/settings_load.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc/generation_text.h"

#define FILES_PER_TLS 3u

void settings_loaded_free(struct settings_loaded *l)
{
    if (!l)
        return;
    for (unsigned i = 0; i < l->n_files; i++)
        text_free(&l->files[i].text);
    text_free(&l->config_text);
    arena_done(&l->mem);
    free(l);
}

static const struct settings_file *file_find(const struct settings_loaded *l, const char *path)
{
    for (unsigned i = 0; i < l->n_files; i++)
        if (strcmp(l->files[i].path, path) == 0)
            return &l->files[i];
    return NULL;
}

/* A complaint belongs to |key| of |block|. */
struct place {
    const void *block;
    const char *key;
};

/* The contents of |path|, each file read once; the empty span after a complaint. */
static struct span file_text(struct settings_loaded *l, struct config_report *r,
                             const struct place *at, const char *path, enum text_kind kind)
{
    const struct settings_file *known = path ? file_find(l, path) : NULL;
    struct settings_file *f = &l->files[l->n_files];
    int errnum;

    if (!path)
        return SPAN_NONE;
    if (known)
        return known->text;
    enum err e = text_load(path, kind, &f->text, &f->stat, &errnum);

    if (e) {
        const char *why = e == ERR_IO ? "not a regular file, or being written" : err_text(e);

        (void)config_fault(r, at->block, at->key, "cannot read '%s': %s", path,
                           errnum ? strerror(errnum) : why);
        return SPAN_NONE;
    }
    f->path = path;
    f->is_list = kind == TEXT_PUBLIC;
    l->n_files++;
    return f->text;
}

static struct span tls_text(struct settings_loaded *l, struct config_report *r,
                            const struct tls_config *t, const char *key, const char *path)
{
    const struct place at = {t, key};

    return file_text(l, r, &at, path, TEXT_SECRET);
}

/* A key that everybody may read is a warning only: read-only secret mounts look like that. */
static void check_key_mode(const struct tls_config *t, struct config_report *r)
{
    struct stat st;

    if (stat(t->key, &st) == 0 && st.st_mode & S_IROTH)
        config_warn(r, t, "key", "every user of this machine can read '%s': chmod o= it", t->key);
}

static bool check_context(const struct tls_settings *s, const struct tls_config *t, const char *key,
                          struct config_report *r)
{
    struct tls_context *c;
    struct buf why;
    bool fine;

    buf_init(&why, 4096);
    fine = tls_context_new(s, &c, &why) == OK;
    if (fine)
        tls_context_unref(c);
    else
        (void)config_fault(r, t, key, "%s", buf_cstr(&why));
    buf_done(&why);
    return fine;
}

static void check_tls(struct settings_loaded *l, const struct tls_config *t,
                      struct config_report *r)
{
    struct tls_settings s = {.role = TLS_SERVER,
                             .minimum = t->minimum,
                             .certificate = tls_text(l, r, t, "certificate", t->certificate),
                             .key = tls_text(l, r, t, "key", t->key)};
    struct span trust = tls_text(l, r, t, "client-ca", t->client_ca);

    if (!s.certificate.p || !s.key.p || (t->client_ca && !trust.p))
        return;
    check_key_mode(t, r);
    /* Without the CAs first: then the second complaint can only be about them. */
    if (!check_context(&s, t, "certificate", r) || !t->client_ca)
        return;
    s.trust = trust;
    s.require_peer = true;
    (void)check_context(&s, t, "client-ca", r);
}

static void check_readable(const void *block, const char *key, const struct config_strings *files,
                           struct config_report *r)
{
    for (size_t i = 0; i < files->n; i++)
        if (access(files->v[i], R_OK) != 0)
            (void)config_fault_at(r, block, key, i, "cannot read '%s': %s", files->v[i],
                                  strerror(errno));
}

/* ---- lists ---- */

static struct span list_text(void *arg, const char *path)
{
    const struct settings_file *f = file_find(arg, path);

    return f ? f->text : SPAN_NONE;
}

/* |line| begins with the name of the file that it is about. */
static void list_fault(const struct url_settings *u, struct span line, struct config_report *r)
{
    const struct url_list_settings *list = &u->lists[0];

    for (size_t i = 0; i < u->n_lists; i++)
        if (span_starts(line, span_of(u->lists[i].file)))
            list = &u->lists[i];
    (void)config_fault(r, list, "file", SPAN_FMT, SPAN_ARG(line));
}

/* Compiled here only to see whether they can be: each gateway does it for itself. */
static void compile_lists(struct settings_loaded *l, struct config_report *r)
{
    const struct url_settings *u = &l->settings.engines.url;
    const struct url_lists_source src = {
        .lists = u->lists, .n = u->n_lists, .text = list_text, .arg = l};
    struct url_lists *lists = NULL;
    struct buf errors;

    buf_init(&errors, 1 << 20);
    enum err e = url_lists_new(&src, &lists, &errors);
    struct span rest = buf_span(&errors);

    url_lists_free(lists);
    if (e && rest.n == 0)
        (void)config_fault(r, &u->lists[0], "file", "cannot use the lists: %s", err_text(e));
    while (e && rest.p) {
        struct span line = span_cut(&rest, '\n');

        if (line.n)
            list_fault(u, line, r);
    }
    buf_done(&errors);
}

static void check_lists(struct settings_loaded *l, struct config_report *r)
{
    const struct url_settings *u = &l->settings.engines.url;
    bool all = true;

    for (size_t i = 0; i < u->n_lists; i++) {
        const struct place at = {&u->lists[i], "file"};

        all &= file_text(l, r, &at, u->lists[i].file, TEXT_PUBLIC).p != NULL;
    }
    if (u->n_lists && all)
        compile_lists(l, r);
}

static void check_user(struct settings_loaded *l, struct config_report *r)
{
    const struct settings *s = &l->settings;

    if (!s->user)
        return;
    /* The supervisor has one thread while it loads. */
    const struct passwd *pw = getpwnam(s->user);

    if (!pw) {
        (void)config_fault(r, s, "user", "no user '%s' on this machine", s->user);
        return;
    }
    if (pw->pw_uid == 0)
        (void)config_fault(r, s, "user", "'%s' is root: name a user without privileges", s->user);
    else if (geteuid() != 0 && geteuid() != pw->pw_uid)
        config_warn(r, s, "user", "has no effect: Sallyport was not started as root");
    l->uid = pw->pw_uid;
    l->gid = pw->pw_gid;
}

static enum err check_machine(struct settings_loaded *l, struct config_report *r)
{
    const struct settings *s = &l->settings;

    l->files = arena_array(&l->mem, FILES_PER_TLS * s->n_tls + s->engines.url.n_lists + 1,
                           sizeof *l->files);
    if (!l->files)
        return ERR_NOMEM;
    for (size_t i = 0; i < s->n_tls; i++)
        check_tls(l, &s->tls[i], r);
    check_lists(l, r);
    check_readable(&s->engines.yara, "rules", &s->engines.yara.rules, r);
    check_readable(&s->engines.filetype, "magic", &s->engines.filetype.magic, r);
    check_user(l, r);
    return r->n_errors ? ERR_CONFIG : OK;
}

/* |l| has file and config_text. */
static enum err load(struct settings_loaded *l, const char *state, struct config_report *r)
{
    TRY(config_load_text(l->config_text, l->file, &settings_block, &l->mem, r, &l->settings));
    if (state) {
        l->settings.state = arena_text(&l->mem, span_of(state));
        if (!l->settings.state)
            return ERR_NOMEM;
        TRY(settings_derive(&l->settings, &l->mem));
    }
    return check_machine(l, r);
}

static struct settings_loaded *loaded_new(const char *file)
{
    struct settings_loaded *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    arena_init(&l->mem, 0);
    l->file = arena_text(&l->mem, span_of(file));
    if (l->file)
        return l;
    settings_loaded_free(l);
    return NULL;
}

static enum err load_or_free(struct settings_loaded *l, enum err e, const char *state,
                             struct config_report *r, struct settings_loaded **ret)
{
    if (!e)
        e = load(l, state, r);
    if (e)
        settings_loaded_free(l);
    else
        *ret = l;
    return e;
}

enum err settings_load(const char *path, const char *state, struct config_report *r,
                       struct settings_loaded **ret)
{
    struct settings_loaded *l = loaded_new(path);
    int errnum;

    if (!l)
        return ERR_NOMEM;
    enum err e = text_load(path, TEXT_SECRET, &l->config_text, NULL, &errnum);

    if (e) {
        settings_loaded_free(l);
        /* config_load_file() says it with the file's name, as it says everything else. */
        struct arena mem;
        struct settings unused;

        arena_init(&mem, 0);
        enum err again = config_load_file(path, &settings_block, &mem, r, &unused);

        arena_done(&mem);
        return again ? again : e;
    }
    return load_or_free(l, OK, state, r, ret);
}

enum err settings_load_again(const struct settings_loaded *old, struct config_report *r,
                             struct settings_loaded **ret)
{
    struct settings_loaded *l = loaded_new(old->file);

    if (!l)
        return ERR_NOMEM;
    return load_or_free(l, text_copy(old->config_text, &l->config_text), old->settings.state, r,
                        ret);
}
