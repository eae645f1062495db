/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/settings_load.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "proc/generation_text.h"
#include "protect/policy_load.h"
#include "protect/tls_flags.h"

/* What a load begins with. */
struct loading {
    const struct settings_loaded *old; /* NULL: a start */
    bool again;                        /* the configuration is that of |old| */
};

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

static const struct settings_file *file_find(const struct settings_loaded *l, unsigned owner,
                                             const char *path)
{
    for (unsigned i = 0; path && i < l->n_files; i++)
        if (l->files[i].owner == owner && strcmp(l->files[i].path, path) == 0)
            return &l->files[i];
    return NULL;
}

/* A complaint belongs to |key| of |block|. */
struct place {
    const void *block;
    const char *key;
    unsigned owner; /* as in struct settings_file */
};

/* What lies in a directory is read through its descriptor: a swap in between cannot mix two sets.
 */
static enum err load_file(const struct settings_loaded *l, const struct place *at, const char *path,
                          enum text_kind kind, struct settings_file *f, int *reterr_errno)
{
    const char *name = at->owner ? settings_tls_name(&l->settings.tls[at->owner - 1], path) : NULL;

    if (!name)
        return text_load(path, kind, &f->text, &f->stat, reterr_errno);
    *reterr_errno = ENOENT; /* no directory, no files */
    return l->directory_fd < 0
               ? ERR_IO
               : text_load_at(l->directory_fd, name, kind, &f->text, &f->stat, reterr_errno);
}

/* The contents of |path|, each file read once; the empty span after a complaint. */
static struct span file_text(struct settings_loaded *l, struct config_report *r,
                             const struct place *at, const char *path, enum text_kind kind)
{
    const struct settings_file *known = file_find(l, at->owner, path);
    struct settings_file *f = &l->files[l->n_files];
    int errnum;

    if (!path)
        return SPAN_NONE;
    if (known)
        return known->text;
    enum err e = load_file(l, at, path, kind, f, &errnum);

    if (e) {
        const char *why = e == ERR_IO ? "not a regular file, or being written" : err_text(e);

        (void)config_fault(r, at->block, at->key, "cannot read '%s': %s", path,
                           errnum ? strerror(errnum) : why);
        return SPAN_NONE;
    }
    f->path = path;
    f->owner = at->owner;
    f->is_list = kind == TEXT_PUBLIC;
    l->n_files++;
    return f->text;
}

/* ---- certificates ---- */

static unsigned owner_of(const struct settings_loaded *l, const struct tls_config *t)
{
    return 1 + (unsigned)(t - l->settings.tls);
}

static struct span tls_text(struct settings_loaded *l, struct config_report *r,
                            const struct tls_config *t, const char *key, const char *path)
{
    const struct place at = {t, key, owner_of(l, t)};

    return file_text(l, r, &at, path, TEXT_SECRET);
}

/* May everybody read |path|? Where nobody can write it does not count: mounted ones look like that.
 */
static bool is_open_to_all(const char *path)
{
    struct statvfs mount;
    struct stat st;

    return stat(path, &st) == 0 && st.st_mode & S_IROTH && statvfs(path, &mount) == 0 &&
           !(mount.f_flag & ST_RDONLY);
}

static void check_key_mode(const struct tls_config *t, struct config_report *r)
{
    if (is_open_to_all(t->key))
        (void)config_fault(r, t, "key",
                           "every user of this machine can read '%s', and be this server with it: "
                           "chmod o= it, and have a new one made if others were here",
                           t->key);
}

/* Whoever knows it can make tickets, and be any client in them. */
static void check_secret_mode(const struct tls_config *t, struct config_report *r)
{
    if (is_open_to_all(t->ticket_secret))
        (void)config_fault(r, t, "ticket-secret",
                           "every user of this machine can read '%s', and be any client with it: "
                           "make a new one that only its owner can read",
                           t->ticket_secret);
}

/* Clients of the same CA are what a directory promises; elsewhere the two may well differ. */
static void check_issuer(const struct tls_config *t, const struct tls_context *c,
                         struct config_report *r)
{
    struct buf why;

    buf_init(&why, 4096);
    enum err e = tls_context_check_issuer(c, &why);

    if (e && t->directory)
        (void)config_fault(r, t, "directory", "%s", buf_cstr(&why));
    else if (e)
        config_warn(r, t, "client-ca", "%s", buf_cstr(&why));
    buf_done(&why);
}

/* NULL: |r| says at |key| why not. */
static struct tls_context *try_context(const struct tls_settings *s, const struct tls_config *t,
                                       const char *key, struct config_report *r)
{
    struct tls_context *c = NULL;
    struct buf why;

    buf_init(&why, 4096);
    if (tls_context_new(s, &c, &why) != OK)
        (void)config_fault(r, t, key, "%s", buf_cstr(&why));
    buf_done(&why);
    return c;
}

static bool check_context(const struct tls_settings *s, const struct tls_config *t, const char *key,
                          struct config_report *r)
{
    struct tls_context *c = try_context(s, t, key, r);

    tls_context_unref(c);
    return c != NULL;
}

static bool check_trust(const struct tls_settings *s, const struct tls_config *t,
                        struct config_report *r)
{
    struct tls_context *c = try_context(s, t, "client-ca", r);

    if (c)
        check_issuer(t, c, r);
    tls_context_unref(c);
    return c != NULL;
}

/* The texts of |t|'s CRLs, in |mem|. False after a complaint. */
static bool crl_texts(struct settings_loaded *l, const struct tls_config *t,
                      struct config_report *r, struct span **ret)
{
    struct span *v = arena_array(&l->mem, t->client_crl.n + 1, sizeof *v);
    const struct place at = {t, "client-crl", owner_of(l, t)};
    bool all = v != NULL;

    for (size_t i = 0; v && i < t->client_crl.n; i++) {
        v[i] = file_text(l, r, &at, t->client_crl.v[i], TEXT_PUBLIC);
        all &= v[i].p != NULL;
    }
    *ret = v;
    return all;
}

/* Clients do without: no reason not to serve. */
static void check_ocsp(const struct tls_config *t, struct span der, struct span certificate,
                       struct config_report *r)
{
    struct buf why;

    buf_init(&why, 0);
    if (der.p && tls_check_ocsp(der, certificate, &why) != OK)
        config_warn(r, t, "ocsp", "'%s' is not sent to clients: %s", t->ocsp, buf_cstr(&why));
    buf_done(&why);
}

static const struct tls_config *same_entry(const struct settings_loaded *old,
                                           const struct tls_config *t);

/* The revocations in use of the entry that |t| follows. */
static struct tls_certificate crl_before(const struct loading *how, const struct tls_config *t)
{
    const struct tls_config *o = same_entry(how->old, t);

    return o ? how->old->tls[owner_of(how->old, o) - 1].crl : (struct tls_certificate){0};
}

/* With a CRL that is over every client is refused, so none takes the place of one that is not.
 * Where nothing better is there, it is no reason to close the listeners. */
static void check_crl_dates(struct settings_loaded *l, const struct tls_config *t,
                            const struct tls_settings *s, const struct loading *how,
                            struct config_report *r)
{
    const unsigned tolerant =
        TLS_FLAG_END_REVOCATION | TLS_FLAG_CA_REVOCATION | TLS_FLAG_ROOT_REVOCATION;
    struct tls_certificate crl = {0}, before = crl_before(how, t);
    int64_t now = (int64_t)(clock_wall_ms(&clock_system) / 1000);
    char end[ISO_TIME_LEN + 1];

    for (size_t i = 0; i < s->n_crls; i++)
        tls_crls_read(s->crls[i], &crl);
    if (crl.not_after == 0 || crl.not_after > now ||
        settings_tls_flags(t, l->environment_flags) & tolerant)
        return;
    clock_iso_time((uint64_t)crl.not_after * 1000, end);
    if (before.not_after > now)
        (void)config_fault(r, t, "client-crl",
                           "the CRL of '%s' ended on %s, the one in use did not", crl.subject, end);
    else
        config_warn(r, t, "client-crl",
                    "the CRL of '%s' ended on %s: no client with a certificate gets in until there "
                    "is a newer one",
                    crl.subject, end);
}

/* |s| has certificate and key, which are fine. One thing more at a time: the next complaint can
 * only be about that. */
static void check_clients(struct settings_loaded *l, const struct tls_config *t,
                          struct tls_settings *s, const struct loading *how,
                          struct config_report *r)
{
    struct span trust = tls_text(l, r, t, "client-ca", t->client_ca);
    struct span *crls;
    bool have_crls = crl_texts(l, t, r, &crls);

    /* A directory promises its CA, also where no client is asked. */
    if (!trust.p || (t->clients == TLS_CLIENTS_OFF && !t->directory))
        return;
    s->trust = trust;
    s->require_peer = t->clients == TLS_CLIENTS_REQUIRE;
    if (!check_trust(s, t, r) || t->client_crl.n == 0 || !have_crls)
        return;
    s->crls = crls;
    s->n_crls = t->client_crl.n;
    if (check_context(s, t, "client-crl", r))
        check_crl_dates(l, t, s, how, r);
}

static void check_tls(struct settings_loaded *l, const struct tls_config *t,
                      const struct loading *how, struct config_report *r)
{
    struct tls_settings s = {.role = TLS_SERVER,
                             .minimum = t->minimum,
                             .certificate = tls_text(l, r, t, "certificate", t->certificate),
                             .key = tls_text(l, r, t, "key", t->key)};
    struct span ocsp = tls_text(l, r, t, "ocsp", t->ocsp);

    if (!s.certificate.p || !s.key.p)
        return;
    check_key_mode(t, r);
    if (!check_context(&s, t, "certificate", r))
        return;
    check_ocsp(t, ocsp, s.certificate, r);
    check_clients(l, t, &s, how, r);
    s.ticket_secret = tls_text(l, r, t, "ticket-secret", t->ticket_secret);
    if (!s.ticket_secret.p)
        return;
    check_secret_mode(t, r);
    s.crls = NULL;
    s.n_crls = 0;
    (void)check_context(&s, t, "ticket-secret", r);
}

/* ---- flags from the environment ---- */

/* Both spellings are in use, the first by mistake. */
static const char *const flag_names[][2] = {
    {"CERTIFICATE__VefificationFlags",          "CERTIFICATE__VerificationFlags"         },
    {"INSECURE_CERTIFICATE__VefificationFlags", "INSECURE_CERTIFICATE__VerificationFlags"},
};

static unsigned variable_flags(const char *name, const char *text, struct settings_loaded *l,
                               struct config_report *r)
{
    unsigned flags = 0;
    struct span wrong;

    if (tls_flags_parse(span_of(text), &flags, &wrong) != OK)
        (void)config_fault(r, &l->settings, "tls",
                           "environment: '" SPAN_FMT "' in %s is not a verification flag",
                           SPAN_ARG(wrong), name);
    return flags;
}

static unsigned pair_flags(const char *const names[2], struct settings_loaded *l,
                           struct config_report *r)
{
    const char *one = getenv(names[0]), *other = getenv(names[1]);
    unsigned a = one ? variable_flags(names[0], one, l, r) : 0;
    unsigned b = other ? variable_flags(names[1], other, l, r) : 0;

    if (one && other && a != b)
        (void)config_fault(r, &l->settings, "tls", "environment: %s and %s say different things",
                           names[0], names[1]);
    return a | b;
}

static void check_environment(struct settings_loaded *l, struct config_report *r)
{
    unsigned safe = pair_flags(flag_names[0], l, r), insecure = pair_flags(flag_names[1], l, r);
    struct buf text;

    buf_init(&text, 0);
    if (safe & TLS_FLAGS_DANGEROUS) {
        tls_flags_format(safe & TLS_FLAGS_DANGEROUS, &text);
        (void)config_fault(r, &l->settings, "tls",
                           "environment: with %s certificates would prove less than they seem to; "
                           "write it in %s to have it that way",
                           buf_cstr(&text), flag_names[1][1]);
    } else if (insecure) {
        tls_flags_format(insecure, &text);
        config_warn(r, &l->settings, "tls",
                    "INSECURE: by the environment, tls entries without flags of their own let in "
                    "clients whose certificates are not good (%s)",
                    buf_cstr(&text));
    }
    buf_done(&text);
    l->environment_flags = safe | insecure;
}

int settings_tls_open(const struct tls_config *t)
{
    int dir = t->directory ? open(t->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int data = dir < 0 ? -1 : openat(dir, "..data", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (data < 0)
        return dir;
    (void)close(dir);
    return data;
}

const struct settings_file *settings_tls_file(const struct settings_loaded *l, size_t i,
                                              const char *path)
{
    return file_find(l, 1 + (unsigned)i, path);
}

static bool file_is_same(const struct settings_file *a, const struct settings_file *b)
{
    return a->stat.st_dev == b->stat.st_dev && a->stat.st_ino == b->stat.st_ino &&
           a->stat.st_size == b->stat.st_size && a->stat.st_mtim.tv_sec == b->stat.st_mtim.tv_sec &&
           a->stat.st_mtim.tv_nsec == b->stat.st_mtim.tv_nsec &&
           a->stat.st_ctim.tv_sec == b->stat.st_ctim.tv_sec &&
           a->stat.st_ctim.tv_nsec == b->stat.st_ctim.tv_nsec;
}

/* Every file of the one, if it is as in the other? */
static bool files_are_in(const struct settings_loaded *l, size_t i, const struct settings_loaded *m,
                         size_t k)
{
    for (unsigned f = 0; f < l->n_files; f++) {
        const struct settings_file *a = &l->files[f];
        const struct settings_file *b = a->owner == 1 + i ? settings_tls_file(m, k, a->path) : NULL;

        if (a->owner == 1 + i && (!b || !file_is_same(a, b)))
            return false;
    }
    return true;
}

bool settings_tls_is_same(const struct settings_loaded *l, size_t i,
                          const struct settings_loaded *m, size_t k)
{
    return files_are_in(l, i, m, k) && files_are_in(m, k, l, i);
}

/* The entry of |old| whose files |t| may keep: of the same name, from the same places. */
static const struct tls_config *same_entry(const struct settings_loaded *old,
                                           const struct tls_config *t)
{
    struct tls_file files[TLS_FILES_MAX], others[TLS_FILES_MAX];
    unsigned n = settings_tls_files(t, files);

    for (size_t i = 0; old && i < old->settings.n_tls; i++) {
        const struct tls_config *o = &old->settings.tls[i];
        bool same = strcmp(o->name, t->name) == 0 && settings_tls_files(o, others) == n;

        for (unsigned k = 0; same && k < n; k++)
            same = strcmp(files[k].key, others[k].key) == 0 &&
                   strcmp(files[k].path, others[k].path) == 0;
        if (same)
            return o->waits ? NULL : o;
    }
    return NULL;
}

static void files_drop(struct settings_loaded *l, unsigned n)
{
    while (l->n_files > n)
        text_free(&l->files[--l->n_files].text);
}

static enum err keep_file(struct settings_loaded *l, unsigned owner,
                          const struct settings_file *from)
{
    struct settings_file *f = &l->files[l->n_files];

    *f = (struct settings_file){.owner = owner, .is_list = from->is_list, .stat = from->stat};
    f->path = arena_text(&l->mem, span_of(from->path));
    if (!f->path)
        return ERR_NOMEM;
    TRY(text_copy(from->text, from->is_list ? TEXT_PUBLIC : TEXT_SECRET, &f->text));
    l->n_files++;
    return OK;
}

/* Those that are there already stay: policy and CAs were looked at before the lists. */
static enum err keep_files(struct settings_loaded *l, unsigned owner,
                           const struct settings_loaded *old, unsigned old_owner)
{
    for (unsigned i = 0; i < old->n_files; i++)
        if (old->files[i].owner == old_owner && !file_find(l, owner, old->files[i].path))
            TRY(keep_file(l, owner, &old->files[i]));
    return OK;
}

/* The set on the disk is of no use: what else is there? */
static enum err do_without(struct settings_loaded *l, struct tls_config *t,
                           const struct loading *how, const char *why, struct config_report *r)
{
    const struct tls_config *o = how->again || t->directory ? same_entry(how->old, t) : NULL;

    l->tls[owner_of(l, t) - 1].refused = arena_text(&l->mem, span_of(why ? why : "unknown fault"));
    if (!l->tls[owner_of(l, t) - 1].refused)
        return ERR_NOMEM;
    if (o)
        return keep_files(l, owner_of(l, t), how->old, owner_of(how->old, o));
    t->waits = true;
    if (!how->again)
        config_warn(r, t, "directory", "%s: its listeners stay closed until that is mended",
                    l->tls[owner_of(l, t) - 1].refused);
    return OK;
}

/* The files of one entry: all of those that are on the disk, or all of those from before. */
static enum err check_set(struct settings_loaded *l, struct tls_config *t,
                          const struct loading *how, struct config_report *r)
{
    struct settings_tls *state = &l->tls[owner_of(l, t) - 1];
    struct config_mark mark = config_report_mark(r);
    unsigned n_files = l->n_files;

    l->directory_fd = settings_tls_open(t);
    check_tls(l, t, how, r);
    if (l->directory_fd >= 0)
        (void)close(l->directory_fd);
    l->directory_fd = -1;
    if (r->n_errors > mark.n_errors && (how->again || t->directory)) {
        const char *why = config_report_since(r, &mark);

        config_report_rewind(r, &mark);
        files_drop(l, n_files);
        TRY(do_without(l, t, how, why, r));
    }
    const struct settings_file *f = file_find(l, owner_of(l, t), t->certificate);

    if (f && tls_certificate_read(f->text, &state->certificate) != OK)
        state->certificate = (struct tls_certificate){0}; /* and there is a complaint already */
    for (size_t i = 0; i < t->client_crl.n; i++) {
        f = file_find(l, owner_of(l, t), t->client_crl.v[i]);
        if (f)
            tls_crls_read(f->text, &state->crl);
    }
    return OK;
}

static const struct listener_config *listener_named(const struct settings *s, const char *name)
{
    for (size_t i = 0; i < s->n_listeners; i++)
        if (strcmp(s->listeners[i].name, name) == 0)
            return &s->listeners[i];
    return NULL;
}

/* A port that is open is not closed for want of a file. */
enum err settings_check_open(const struct settings_loaded *l, const struct settings_loaded *old,
                             struct config_report *r)
{
    enum err e = OK;

    for (size_t i = 0; i < l->settings.n_listeners; i++) {
        const struct listener_config *now = &l->settings.listeners[i];
        const struct listener_config *was = listener_named(&old->settings, now->name);
        const struct tls_config *t = settings_listener_waits(&l->settings, now);

        if (was && t && !settings_listener_waits(&old->settings, was))
            e = config_fault(r, now, "tls",
                             "the listener is open, and would have to close: the files of tls "
                             "'%s' cannot be used",
                             t->name);
    }
    return e;
}

static enum err check_sets(struct settings_loaded *l, const struct loading *how,
                           struct config_report *r)
{
    for (size_t i = 0; i < l->settings.n_tls; i++)
        TRY(check_set(l, &l->settings.tls[i], how, r));
    return how->old && !r->n_errors ? settings_check_open(l, how->old, r) : OK;
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
    const struct settings_file *f = file_find(arg, 0, path);

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
        const struct place at = {&u->lists[i], "file", 0};

        all &= file_text(l, r, &at, u->lists[i].file, TEXT_PUBLIC).p != NULL;
    }
    if (u->n_lists && all)
        compile_lists(l, r);
}

/* A list that somebody is just editing must not hold up a certificate. */
static enum err check_or_keep_lists(struct settings_loaded *l, const struct loading *how,
                                    struct config_report *r)
{
    struct config_mark mark = config_report_mark(r);
    unsigned n_files = l->n_files;

    check_lists(l, r);
    if (!how->again || r->n_errors == mark.n_errors)
        return OK;
    const char *why = config_report_since(r, &mark);

    l->lists_refused = arena_text(&l->mem, span_of(why ? why : "unknown fault"));
    config_report_rewind(r, &mark);
    files_drop(l, n_files);
    return l->lists_refused ? keep_files(l, 0, how->old, 0) : ERR_NOMEM;
}

/* ---- the policy of the machine ---- */

/* Parsed here only to see whether it can be: each gateway does it for itself. */
static void parse_policy(struct span text, const char *path, const struct settings *s,
                         struct config_report *r)
{
    struct policy_fault fault;
    struct policy_file *p = NULL;
    enum err e = policy_parse(text, &p, &fault);

    policy_unref(p);
    if (e == ERR_SYNTAX && fault.line)
        (void)config_fault(r, s, "policy", "%s:%u: %s", path, fault.line, fault.why);
    else if (e)
        (void)config_fault(r, s, "policy", "%s: %s", path,
                           e == ERR_SYNTAX ? fault.why : err_text(e));
}

static void check_policy(struct settings_loaded *l, struct config_report *r)
{
    const struct settings *s = &l->settings;
    const struct place at = {s, "policy", 0};
    const char *path = settings_policy_path(s), *wrong;

    if (!s->policy && access(path, F_OK) != 0 && errno == ENOENT)
        return;
    struct span text = file_text(l, r, &at, path, TEXT_PUBLIC);

    if (!text.p)
        return;
    l->has_policy = true;
    wrong = policy_owner_fault(&file_find(l, 0, path)->stat);
    if (wrong)
        (void)config_fault(r, s, "policy", "%s: %s", path, wrong);
    else
        parse_policy(text, path, s, r);
}

/* Nor must a policy; and one that is in force does not end by a slip of a finger. */
static enum err check_or_keep_policy(struct settings_loaded *l, const struct loading *how,
                                     struct config_report *r)
{
    const char *path = settings_policy_path(&l->settings);
    struct config_mark mark = config_report_mark(r);
    unsigned n_files = l->n_files;

    check_policy(l, r);
    if (how->again && how->old->has_policy && !l->has_policy && r->n_errors == mark.n_errors)
        (void)config_fault(r, &l->settings, "policy",
                           "%s is gone: to have none, let it say 'version 1' and nothing else",
                           path);
    if (!how->again || r->n_errors == mark.n_errors)
        return OK;
    const char *why = config_report_since(r, &mark);
    const struct settings_file *old = file_find(how->old, 0, path);

    l->policy_refused = arena_text(&l->mem, span_of(why ? why : "unknown fault"));
    config_report_rewind(r, &mark);
    files_drop(l, n_files);
    l->has_policy = old != NULL;
    if (!l->policy_refused)
        return ERR_NOMEM;
    return old ? keep_file(l, 0, old) : OK;
}

/* Made here only to see whether it can be: each gateway does it for itself. */
static void check_printer_trust(struct settings_loaded *l, struct config_report *r,
                                const struct ipp_printer_settings *p, const char *key,
                                const char *path)
{
    const struct place at = {p, key, 0};
    const struct tls_settings set = {.role = TLS_CLIENT,
                                     .trust = file_text(l, r, &at, path, TEXT_PUBLIC)};
    struct tls_context *tls = NULL;
    struct buf why;

    if (!set.trust.p)
        return;
    buf_init(&why, 4096);
    if (tls_context_new(&set, &tls, &why) != OK)
        (void)config_fault(r, p, key, "'%s': %s", path, buf_cstr(&why));
    tls_context_unref(tls);
    buf_done(&why);
}

/* Each file for itself. |refused|: what was complained of so far. */
static enum err check_or_keep_trust(struct settings_loaded *l, const struct loading *how,
                                    const struct ipp_printer_settings *p, const char *key,
                                    const char *path, struct config_report *r, struct buf *refused)
{
    struct config_mark mark = config_report_mark(r);
    unsigned n_files = l->n_files;

    check_printer_trust(l, r, p, key, path);
    if (!how->again || r->n_errors == mark.n_errors)
        return OK;
    const struct settings_file *old = file_find(how->old, 0, path);
    const char *why = config_report_since(r, &mark);

    buf_fmt(refused, "%sprinter '%s': %s", refused->n ? "; " : "", p->name,
            why ? why : "unknown fault");
    config_report_rewind(r, &mark);
    files_drop(l, n_files);
    return old && !file_find(l, 0, path) ? keep_file(l, 0, old) : OK;
}

static enum err check_printers(struct settings_loaded *l, const struct loading *how,
                               struct config_report *r)
{
    struct buf refused;
    enum err e = OK;

    buf_init(&refused, 0);
    for (size_t i = 0; i < l->settings.n_printers && !e; i++) {
        const struct ipp_printer_settings *p = &l->settings.printers[i];

        e = check_or_keep_trust(l, how, p, "backend-ca", p->backend_ca, r, &refused);
        if (!e)
            e = check_or_keep_trust(l, how, p, "icap-ca", p->icap_ca, r, &refused);
    }
    if (!e && refused.n) {
        l->trust_refused = arena_text(&l->mem, buf_span(&refused));
        e = l->trust_refused ? OK : ERR_NOMEM;
    }
    buf_done(&refused);
    return e;
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

/* What files alone cannot change, or what is another change's, holds up no file. */
static void check_others(struct settings_loaded *l, const struct loading *how,
                         struct config_report *r)
{
    const struct settings *s = &l->settings;

    if (how->again) {
        l->uid = how->old->uid;
        l->gid = how->old->gid;
        return;
    }
    check_readable(&s->engines.yara, "rules", &s->engines.yara.rules, r);
    check_readable(&s->engines.filetype, "magic", &s->engines.filetype.magic, r);
    check_user(l, r);
}

static enum err check_machine(struct settings_loaded *l, const struct loading *how,
                              struct config_report *r)
{
    const struct settings *s = &l->settings;

    struct tls_file files[TLS_FILES_MAX];
    size_t n = s->engines.url.n_lists + 2 * s->n_printers + 2;

    for (size_t i = 0; i < s->n_tls; i++)
        n += settings_tls_files(&s->tls[i], files);
    l->files = arena_array(&l->mem, n, sizeof *l->files);
    l->tls = arena_array(&l->mem, s->n_tls + 1, sizeof *l->tls);
    if (!l->files || !l->tls)
        return ERR_NOMEM;
    check_environment(l, r);
    TRY(check_sets(l, how, r));
    TRY(check_or_keep_policy(l, how, r));
    TRY(check_printers(l, how, r));
    TRY(check_or_keep_lists(l, how, r));
    check_others(l, how, r);
    return r->n_errors ? ERR_CONFIG : OK;
}

/* |l| has file and config_text. */
static enum err load(struct settings_loaded *l, const struct loading *how, const char *state,
                     struct config_report *r)
{
    TRY(config_load_text(l->config_text, l->file, &settings_block, &l->mem, r, &l->settings));
    if (state) {
        l->settings.state = arena_text(&l->mem, span_of(state));
        if (!l->settings.state)
            return ERR_NOMEM;
        TRY(settings_derive(&l->settings, &l->mem));
    }
    return check_machine(l, how, r);
}

static struct settings_loaded *loaded_new(const char *file)
{
    struct settings_loaded *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    arena_init(&l->mem, 0);
    l->directory_fd = -1;
    l->file = arena_text(&l->mem, span_of(file));
    if (l->file)
        return l;
    settings_loaded_free(l);
    return NULL;
}

static enum err load_or_free(struct settings_loaded *l, enum err e, const struct loading *how,
                             const char *state, struct config_report *r,
                             struct settings_loaded **ret)
{
    if (!e)
        e = load(l, how, state, r);
    if (e)
        settings_loaded_free(l);
    else
        *ret = l;
    return e;
}

enum err settings_reload(const struct settings_loaded *old, const char *path, const char *state,
                         struct config_report *r, struct settings_loaded **ret)
{
    const struct loading how = {.old = old};
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
    return load_or_free(l, OK, &how, state, r, ret);
}

enum err settings_load(const char *path, const char *state, struct config_report *r,
                       struct settings_loaded **ret)
{
    return settings_reload(NULL, path, state, r, ret);
}

enum err settings_load_again(const struct settings_loaded *old, struct config_report *r,
                             struct settings_loaded **ret)
{
    const struct loading how = {.old = old, .again = true};
    struct settings_loaded *l = loaded_new(old->file);

    if (!l)
        return ERR_NOMEM;
    return load_or_free(l, text_copy(old->config_text, TEXT_SECRET, &l->config_text), &how,
                        old->settings.state, r, ret);
}
