/* SPDX-License-Identifier: Apache-2.0 */
#include "observe/record_sealer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/arena.h"
#include "base/clock.h"
#include "observe/record_chain.h"

struct record_sealer {
    int fd;
    /* Between begin and its end: they hold the key. */
    struct record_mac *mac;
    struct record_chain chain;
    struct record_seal seal;
    char line[RECORD_SEAL_MAX];
    const char *doing; /* "lock", when an error came */
    int errnum;        /* 0: not the system's */
    bool stuck;        /* the last state could not be written */
};

enum err record_sealer_new(int fd, struct record_sealer **ret)
{
    struct record_sealer *s = mem_fail_now() ? NULL : calloc(1, sizeof *s);

    if (!s) {
        (void)close(fd);
        return ERR_NOMEM;
    }
    s->fd = fd;
    *ret = s;
    return OK;
}

void record_sealer_free(struct record_sealer *s)
{
    if (!s)
        return;
    (void)close(s->fd);
    free(s);
}

static enum err failed(struct record_sealer *s, const char *doing, int errnum)
{
    s->doing = doing;
    s->errnum = errnum;
    return ERR_IO;
}

static enum err set_lock(struct record_sealer *s, short type)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET};

    while (fcntl(s->fd, F_SETLKW, &l) != 0)
        if (errno != EINTR)
            return failed(s, "lock", errno);
    return OK;
}

static enum err read_state(struct record_sealer *s)
{
    char state[RECORD_CHAIN_STATE_LEN + 1]; /* one more: a longer file is seen, not cut */
    ssize_t n;

    do
        n = pread(s->fd, state, sizeof state, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return failed(s, "read", errno);
    enum err e = record_chain_decode((struct span){state, (size_t)n}, &s->chain);

    OPENSSL_cleanse(state, sizeof state);
    if (e)
        (void)failed(s, "use", 0);
    return e;
}

static enum err write_state(struct record_sealer *s)
{
    char state[RECORD_CHAIN_STATE_LEN];
    ssize_t n;

    record_chain_encode(&s->chain, state);
    do
        n = pwrite(s->fd, state, sizeof state, 0);
    while (n < 0 && errno == EINTR);
    int errnum = n < 0 ? errno : EIO;

    OPENSSL_cleanse(state, sizeof state);
    s->stuck = n != (ssize_t)sizeof state;
    return s->stuck ? failed(s, "write", errnum) : OK;
}

static enum err seal(struct record_sealer *s, const struct iovec *iov, unsigned n)
{
    s->seal =
        (struct record_seal){.time_wall_ms = clock_wall_ms(&clock_system), .n = s->chain.next};
    for (unsigned i = 0; i < n; i++)
        s->seal.octets += iov[i].iov_len;
    TRY(record_mac_new(&s->mac));
    TRY(record_mac_begin(s->mac, &s->chain, &s->seal));
    for (unsigned i = 0; i < n; i++)
        TRY(record_mac_add(s->mac, (struct span){iov[i].iov_base, iov[i].iov_len}));
    return record_mac_end(s->mac, s->seal.mac);
}

enum err record_sealer_begin(struct record_sealer *s, const struct iovec *iov, unsigned n,
                             struct span *ret_line)
{
    TRY(set_lock(s, F_WRLCK));
    enum err e = read_state(s);

    if (!e && s->stuck)
        e = write_state(s);
    if (!e && (e = seal(s, iov, n)) != OK)
        (void)failed(s, "go on with", ENOMEM);
    if (e) {
        record_sealer_abandon(s);
        return e;
    }
    *ret_line = (struct span){s->line, record_seal_format(&s->seal, s->line)};
    return OK;
}

enum err record_sealer_commit(struct record_sealer *s)
{
    enum err e = record_chain_next(s->mac, &s->chain);

    if (e)
        (void)failed(s, "go on with", ENOMEM);
    else
        e = write_state(s);
    record_sealer_abandon(s);
    return e;
}

void record_sealer_abandon(struct record_sealer *s)
{
    const char *doing = s->doing;
    int errnum = s->errnum;

    record_chain_wipe(&s->chain);
    record_mac_free(s->mac);
    s->mac = NULL;
    /* What fails here fails at the next lock, too; the first complaint is the one that counts. */
    if (set_lock(s, F_UNLCK) != OK)
        (void)failed(s, doing, errnum);
}

void record_sealer_why(const struct record_sealer *s, struct buf *out)
{
    buf_fmt(out, "cannot %s the state of the records' chain: %s", s->doing ? s->doing : "use",
            s->errnum ? strerrordesc_np(s->errnum) : "it is garbage");
}
