/* SPDX-License-Identifier: Apache-2.0 */
/* The state of the records' chain lies beside the records, and so does, once, the key that checks
 * them. Who has either can forge what comes, so both are root's. A chain that was begun is never
 * begun anew unless somebody moved both files away: a state that is gone is what an intruder would
 * like to leave. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/log.h"
#include "observe/record_chain.h"
#include "proc/supervisor_int.h"

struct chain_paths {
    char state[4200], key[4200], fresh[4200];
};

static void name_paths(const char *records, struct chain_paths *ret)
{
    (void)snprintf(ret->state, sizeof ret->state, "%s.chain", records);
    (void)snprintf(ret->key, sizeof ret->key, "%s.key", records);
    (void)snprintf(ret->fresh, sizeof ret->fresh, "%s.new", records);
}

/* ---- making it ---- */

/* The entry in the directory is on the disk, too. 0 or an errno value. */
static int sync_directory(const char *path)
{
    char dir[4200];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;

    (void)span_copy(n ? (struct span){path, n} : slash ? SPAN("/") : SPAN("."), dir, sizeof dir);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int errnum = fd < 0 ? errno : fsync(fd) != 0 ? errno : 0;

    if (fd >= 0)
        (void)close(fd);
    return errnum == EINVAL ? 0 : errnum; /* not every file system can */
}

/* Whole and on the disk, or not there at all. 0 or an errno value. */
static int make_file(const struct chain_paths *p, const char *path, struct span text)
{
    (void)unlink(p->fresh); /* of a start that was cut off */
    int fd = open(p->fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return errno;
    ssize_t n = write(fd, text.p, text.n);
    int errnum = n < 0 ? errno : n < (ssize_t)text.n ? ENOSPC : fsync(fd) != 0 ? errno : 0;

    (void)close(fd);
    if (!errnum && rename(p->fresh, path) != 0)
        errnum = errno;
    if (!errnum)
        return sync_directory(path);
    (void)unlink(p->fresh);
    return errnum;
}

/* The key first: a chain whose key is not there could never be checked. */
static int make_files(const struct chain_paths *p, const uint8_t key[RECORD_MAC_LEN],
                      const char **ret_failed)
{
    struct record_chain chain;
    char text[RECORD_KEY_TEXT_LEN], state[RECORD_CHAIN_STATE_LEN];

    record_chain_begin(key, &chain);
    record_chain_encode(&chain, state);
    record_key_format(key, text);
    *ret_failed = p->key;
    int errnum = make_file(p, p->key, (struct span){text, sizeof text});

    if (!errnum) {
        *ret_failed = p->state;
        errnum = make_file(p, p->state, (struct span){state, sizeof state});
        if (errnum && access(p->state, F_OK) != 0)
            (void)unlink(p->key); /* of no chain */
    }
    record_chain_wipe(&chain);
    OPENSSL_cleanse(text, sizeof text);
    OPENSSL_cleanse(state, sizeof state);
    return errnum;
}

static enum err begin_chain(const struct chain_paths *p, struct buf *why)
{
    uint8_t key[RECORD_MAC_LEN];
    struct stat st;
    const char *failed = p->key;

    if (lstat(p->key, &st) == 0) {
        buf_fmt(why,
                "the state of the records' chain, %s, is gone, but its key %s is here: put the "
                "state back, or move the key away to begin a new chain",
                p->state, p->key);
        return ERR_CONFIG;
    }
    int errnum =
        getrandom(key, sizeof key, 0) == (ssize_t)sizeof key ? make_files(p, key, &failed) : EIO;

    OPENSSL_cleanse(key, sizeof key);
    if (errnum) {
        buf_fmt(why, "cannot make %s for records.chain: %s", failed, strerror(errnum));
        return ERR_IO;
    }
    log_warn("records",
             "a new chain of records begins; move its key %s off this machine now: who has it can "
             "check the records, and forge them",
             p->key);
    return OK;
}

/* ---- opening it ---- */

static int open_state(const char *path)
{
    return open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
}

/* Gateways may be writing it: what is looked at here does not change. */
static bool is_state(int fd)
{
    char state[RECORD_CHAIN_STATE_LEN + 1];
    struct record_chain chain;
    struct stat st;
    ssize_t n = -1;

    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        n = pread(fd, state, sizeof state, 0);
    bool good = n > 0 && record_chain_decode((struct span){state, (size_t)n}, &chain) == OK;

    OPENSSL_cleanse(state, sizeof state);
    record_chain_wipe(&chain);
    return good;
}

static enum err check_state(const struct chain_paths *p, int fd, struct buf *why)
{
    if (!is_state(fd)) {
        buf_fmt(why,
                "%s is not the state of a chain of records: put back the right one, or move it "
                "away, with %s, to begin a new chain",
                p->state, p->key);
        return ERR_CONFIG;
    }
    if (fchmod(fd, 0600) != 0)
        log_warn("records", "cannot close %s to others: %s", p->state, strerror(errno));
    return OK;
}

enum err files_open_chain(const struct settings_loaded *l, int *ret_fd, struct buf *why)
{
    const char *records = l->settings.records_path;
    struct chain_paths p;
    struct stat st;

    *ret_fd = -1;
    if (!l->settings.records.enabled || !l->settings.records.chain)
        return OK;
    if (stat(records, &st) == 0 && !S_ISREG(st.st_mode)) {
        buf_fmt(why, "records.chain needs records in a file, and %s is none", records);
        return ERR_CONFIG;
    }
    name_paths(records, &p);
    int fd = open_state(p.state);

    if (fd < 0 && errno == ENOENT) {
        TRY(begin_chain(&p, why));
        fd = open_state(p.state);
    }
    if (fd < 0) {
        buf_fmt(why, "cannot open the state of the records' chain %s: %s", p.state,
                strerror(errno));
        return ERR_IO;
    }
    enum err e = check_state(&p, fd, why);

    if (e)
        (void)close(fd);
    else
        *ret_fd = fd;
    return e;
}
