/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "proc/supervisor_int.h"

#define LINKS_MAX     8u  /* on the way to a file */
#define POLLS_PER_TRY 10u /* while certificates are bad */

/* ---- directories ---- */

/* The whole path; what is missing gets |mode|. */
static int make_directories(const char *path, mode_t mode)
{
    char part[4096];
    size_t n = span_copy(span_of(path), part, sizeof part);

    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        part[i] = '\0';
        if (mkdir(part, mode) != 0 && errno != EEXIST)
            return errno;
        part[i] = path[i];
    }
    return 0;
}

/* Is the gateway another user than we? */
static bool has_user(const struct settings_loaded *l)
{
    return geteuid() == 0 && l->uid != 0;
}

static void complain_owner(const struct settings_loaded *l, const char *path)
{
    log_warn(AREA, "cannot let the user %s into %s: %s", l->settings.user, path, strerror(errno));
}

static int open_directory(const char *path, struct stat *ret_stat, struct buf *why)
{
    int errnum = make_directories(path, 0700);
    int fd = errnum ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0 && fstat(fd, ret_stat) == 0)
        return fd;
    buf_fmt(why, "cannot use the directory %s: %s", path, strerror(errnum ? errnum : errno));
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

/* The state directory stays root's: what root opens by path must not lie where a lesser user can
 * put a link. That user may pass through, to the control socket. A directory that others share
 * already is left as it is. */
static void share_state(int fd, const struct stat *st, const struct settings_loaded *l)
{
    if (has_user(l) && (st->st_mode & 07077) == 0 &&
        (fchown(fd, (uid_t)-1, l->gid) != 0 || fchmod(fd, 0710) != 0))
        complain_owner(l, l->settings.state);
}

void files_share_control(const struct settings_loaded *l)
{
    if (has_user(l) && lchown(l->settings.control_path, l->uid, l->gid) != 0)
        complain_owner(l, l->settings.control_path);
}

bool files_lock(struct supervisor *s, const struct settings_loaded *l, struct buf *why)
{
    const char *state = l->settings.state;
    struct stat st;
    int dir = open_directory(state, &st, why);

    if (dir < 0)
        return false;
    share_state(dir, &st, l);
    s->lock_fd = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int errnum = errno;

    (void)close(dir);
    if (s->lock_fd >= 0 && flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    if (s->lock_fd >= 0 && errno == EWOULDBLOCK)
        buf_fmt(why,
                "another sallyport runs with the state directory %s: end it first, or give this "
                "one a state directory of its own",
                state);
    else
        buf_fmt(why, "cannot lock %s/lock: %s", state, strerror(s->lock_fd >= 0 ? errno : errnum));
    return false;
}

/* A directory that the configuration names is the operator's: it must be there, since a mistyped
 * mount point would fill the file system below, and it is not ours to give away. */
static enum err open_named_spool(const char *path, int *ret_fd, struct buf *why)
{
    *ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*ret_fd >= 0)
        return OK;
    buf_fmt(why,
            "cannot use the directory %s of spool.path: %s; make it, writable for Sallyport's user",
            path, strerror(errno));
    return ERR_IO;
}

/* The gateway makes files here. Not where everybody may: that directory is not ours to give. */
enum err files_open_spool(const struct settings_loaded *l, int *ret_fd, struct buf *why)
{
    struct stat st;

    if (l->settings.spool.path)
        return open_named_spool(l->settings.spool.path, ret_fd, why);
    *ret_fd = open_directory(l->settings.spool_path, &st, why);
    if (*ret_fd < 0)
        return ERR_IO;
    if (has_user(l) && !(st.st_mode & S_ISVTX) && fchown(*ret_fd, l->uid, l->gid) != 0)
        complain_owner(l, l->settings.spool_path);
    return OK;
}

/* What is in it opens doors, so nobody else may look into it; and root follows no path in it: the
 * gateway opens its files as its own user. */
enum err files_open_store(const struct settings_loaded *l, int *ret_fd, struct buf *why)
{
    const char *path = l->settings.store_path;
    struct stat st;

    *ret_fd = open_directory(path, &st, why);
    if (*ret_fd < 0)
        return ERR_IO;
    if (fchmod(*ret_fd, 0700) != 0)
        log_warn(AREA, "cannot close %s to others: %s", path, strerror(errno));
    if (has_user(l) && fchown(*ret_fd, l->uid, l->gid) != 0)
        complain_owner(l, path);
    return OK;
}

enum err files_open_records(const struct settings_loaded *l, int *ret_fd, struct buf *why)
{
    const char *path = l->settings.records_path;

    *ret_fd = -1;
    if (!l->settings.records.enabled)
        return OK;
    *ret_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
    if (*ret_fd < 0) {
        buf_fmt(why, "cannot open the records %s: %s", path, strerror(errno));
        return ERR_IO;
    }
    if (has_user(l) && fchown(*ret_fd, (uid_t)-1, l->gid) != 0)
        complain_owner(l, path);
    return OK;
}

void files_clear_spool(int spool_fd)
{
    int fd = openat(spool_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *e;

    if (!dir) {
        if (fd >= 0)
            (void)close(fd);
        return;
    }
    while ((e = readdir(dir)) != NULL)
        if (span_starts(span_of(e->d_name), SPAN("spool-")))
            (void)unlinkat(spool_fd, e->d_name, 0);
    (void)closedir(dir);
}

/* ---- addresses.json ---- */

static bool write_whole(int fd, struct span text)
{
    return write(fd, text.p, text.n) == (ssize_t)text.n;
}

/* Replaced in one step: whoever reads it sees the old list or the new one. */
static bool replace_file(const char *dir, const char *name, struct span text)
{
    char path[4200], fresh[4200];
    bool ok = false;

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    (void)snprintf(fresh, sizeof fresh, "%s/.%s.new", dir, name);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);

    if (fd >= 0) {
        ok = write_whole(fd, text);
        ok = close(fd) == 0 && ok;
    }
    return ok && rename(fresh, path) == 0;
}

void files_write_addresses(const struct supervisor *s)
{
    struct buf text;

    buf_init(&text, 0);
    sockets_json(&s->sockets, &text);
    buf_char(&text, '\n');
    if (text.err || !replace_file(s->loaded->settings.state, "addresses.json", buf_span(&text)))
        log_warn(AREA, "cannot write %s/addresses.json: %s", s->loaded->settings.state,
                 strerror(errno));
    buf_done(&text);
}

void files_forget_addresses(const struct settings_loaded *l)
{
    char path[4200];

    (void)snprintf(path, sizeof path, "%s/addresses.json", l->settings.state);
    (void)unlink(path);
}

/* ---- limits ---- */

void files_raise_descriptors(const struct settings_loaded *l)
{
    rlim_t want = l->settings.limits.descriptors;
    struct rlimit have, ask;

    if (getrlimit(RLIMIT_NOFILE, &have) != 0 || have.rlim_cur >= want)
        return;
    ask =
        (struct rlimit){.rlim_cur = want, .rlim_max = want > have.rlim_max ? want : have.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &ask) == 0)
        return;
    ask = (struct rlimit){.rlim_cur = have.rlim_max, .rlim_max = have.rlim_max};
    (void)setrlimit(RLIMIT_NOFILE, &ask);
}

/* ---- watching ---- */

static void stat_key(const char *path, const struct stat *st, struct buf *out)
{
    buf_fmt(out, "%s %llu %llu %lld %lld.%09ld %lld.%09ld\n", path, (unsigned long long)st->st_dev,
            (unsigned long long)st->st_ino, (long long)st->st_size, (long long)st->st_mtim.tv_sec,
            st->st_mtim.tv_nsec, (long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
}

void files_key(const char *path, struct buf *out)
{
    struct stat st;

    if (stat(path, &st) == 0)
        stat_key(path, &st, out);
    else
        buf_fmt(out, "%s %s\n", path, strerror(errno));
}

void files_loaded_key(const struct settings_loaded *l, struct buf *out)
{
    for (unsigned i = 0; i < l->n_files; i++)
        stat_key(l->files[i].path, &l->files[i].stat, out);
}

/* The files of a tls entry in a directory, through the same link as they are read. */
static void directory_key(const struct tls_config *t, const struct tls_file *files, unsigned n,
                          struct buf *out)
{
    int dir = settings_tls_open(t);
    struct stat st;

    for (unsigned i = 0; i < n; i++) {
        const char *name = settings_tls_name(t, files[i].path);

        if (!name)
            files_key(files[i].path, out);
        else if (dir >= 0 && fstatat(dir, name, &st, 0) == 0)
            stat_key(files[i].path, &st, out);
        else
            buf_fmt(out, "%s missing\n", files[i].path);
    }
    if (dir >= 0)
        (void)close(dir);
}

/* One that need not be there was not among the files that were read, and is there now. */
static bool policy_is_new(const struct settings_loaded *l)
{
    return !l->has_policy && access(settings_policy_path(&l->settings), F_OK) == 0;
}

void files_disk_key(const struct settings_loaded *l, struct buf *out)
{
    struct tls_file files[TLS_FILES_MAX];

    for (size_t i = 0; i < l->settings.n_tls; i++)
        directory_key(&l->settings.tls[i], files, settings_tls_files(&l->settings.tls[i], files),
                      out);
    if (policy_is_new(l))
        files_key(settings_policy_path(&l->settings), out);
    for (unsigned i = 0; i < l->n_files; i++)
        if (l->files[i].owner == 0)
            files_key(l->files[i].path, out);
}

static void on_file(void *arg)
{
    change_want(arg, WANT_FILES);
}

static void on_rules(void *arg)
{
    change_want(arg, WANT_RULES);
}

static void watch_path(struct supervisor *s, const char *path, void (*fn)(void *arg))
{
    struct path_watch **v = s->watches;

    if (s->n_watches == s->cap_watches) {
        unsigned cap = s->cap_watches ? 2 * s->cap_watches : 16;

        v = reallocarray(s->watches, cap, sizeof *v);
        if (!v)
            return; /* the poll will do */
        s->watches = v;
        s->cap_watches = cap;
    }
    if (path_watch_new(s->loop, path, fn, s, &v[s->n_watches]) == OK)
        s->n_watches++;
    else
        log_warn(AREA, "cannot watch %s; it is looked at every %u s", path, POLL_FILES_MS / 1000);
}

/* Links that lead to |path|, each of which may be pointed elsewhere, as ACME clients do. */
static void watch_links(struct supervisor *s, const char *path, void (*fn)(void *arg))
{
    char at[4096], to[4096];

    watch_path(s, path, fn);
    (void)span_copy(span_of(path), at, sizeof at);
    for (unsigned i = 0; i < LINKS_MAX; i++) {
        char *slash = strrchr(at, '/');
        ssize_t n = readlink(at, to, sizeof to - 1);

        if (n <= 0 || !slash)
            return;
        to[n] = '\0';
        size_t dir = to[0] == '/' ? 0 : (size_t)(slash - at) + 1;

        if (dir + (size_t)n >= sizeof at)
            return;
        memcpy(at + dir, to, (size_t)n + 1);
        watch_path(s, at, fn);
    }
}

/* Of a directory that is not there, the nearest above it that is. */
static void watch_directory(struct supervisor *s, const char *path, void (*fn)(void *arg))
{
    char at[4096];

    (void)span_copy(span_of(path), at, sizeof at);
    while (access(at, F_OK) != 0) {
        char *slash = strrchr(at, '/');

        if (!slash)
            return;
        slash[slash == at] = '\0'; /* the root stays */
        if (slash == at)
            break;
    }
    watch_path(s, at, fn);
}

static void watch_tls(struct supervisor *s, const struct tls_config *t)
{
    struct tls_file files[TLS_FILES_MAX];
    unsigned n = settings_tls_files(t, files);

    if (t->directory)
        watch_directory(s, t->directory, on_file);
    for (unsigned i = 0; i < n; i++)
        if (!settings_tls_name(t, files[i].path) || access(files[i].path, F_OK) == 0)
            watch_links(s, files[i].path, on_file);
}

void files_unwatch(struct supervisor *s)
{
    for (unsigned i = 0; i < s->n_watches; i++)
        path_watch_close(s->watches[i]);
    free(s->watches);
    s->watches = NULL;
    s->n_watches = s->cap_watches = 0;
}

void files_watch(struct supervisor *s)
{
    const char *rules[2 * SETTINGS_RULES_MAX];
    unsigned n = zygote_is_needed(s->loaded) ? zygote_rules(s, s->loaded, rules) : 0;
    const struct settings *set = &s->loaded->settings;

    if (n)
        n += zygote_magic(s->loaded, rules + n);
    files_unwatch(s);
    for (size_t i = 0; i < set->n_tls; i++)
        watch_tls(s, &set->tls[i]);
    if (policy_is_new(s->loaded))
        watch_links(s, settings_policy_path(set), on_file);
    for (unsigned i = 0; i < s->loaded->n_files; i++)
        if (s->loaded->files[i].owner == 0)
            watch_links(s, s->loaded->files[i].path, on_file);
    for (unsigned i = 0; i < n; i++)
        watch_path(s, rules[i], on_rules);
}

/* ---- files that are wrong ---- */

/* Once for each mistake. */
static void tell(struct supervisor *s, enum files_kind k, const char *refused, const char *what)
{
    char **told = &s->files_told[k];

    if (*told && refused ? strcmp(*told, refused) == 0 : *told == refused)
        return;
    free(*told);
    *told = refused ? span_dup(span_of(refused)) : NULL;
    if (refused)
        log_error(AREA, "changed files: the changed files cannot be used yet: %s; %s as before",
                  refused, what);
    else
        log_info(AREA, "changed files: the files are good again: %s", files_kind_name(k));
    for (struct gateway *g = s->gateways; g; g = g->next)
        if (gateway_send_files(g, k) != OK)
            log_warn(AREA, "cannot tell a gateway about files: %s pid=%d", files_kind_name(k),
                     (int)g->pid);
}

void files_look(struct supervisor *s, const struct settings_loaded *l)
{
    tell(s, FILES_POLICY, l->policy_refused, "the policy of the machine holds");
    tell(s, FILES_LISTS, l->lists_refused, "the lists stay");
    tell(s, FILES_PRINTER_CA, l->trust_refused, "these CAs are trusted");
}

/* A certificate that is not valid yet needs no change of its files, only time. */
static void on_poll(struct timer *t)
{
    struct supervisor *s = CONTAINER_OF(t, struct supervisor, poll_files);

    if (certificates_are_bad(s) && ++s->polls_while_bad % POLLS_PER_TRY == 0) {
        free(s->files_tried);
        s->files_tried = NULL;
    }
    certificates_poll(s);
    files_poll_soon(s);
    change_want(s, WANT_FILES | WANT_RULES);
}

void files_poll_soon(struct supervisor *s)
{
    uint64_t ms = certificates_are_bad(s) ? POLL_MISSING_MS : POLL_FILES_MS;

    s->poll_files.fire = on_poll;
    timer_set(s->loop, &s->poll_files, loop_now_ms(s->loop) + ms);
}
