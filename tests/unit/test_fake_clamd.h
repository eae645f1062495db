/* SPDX-License-Identifier: Apache-2.0 */
/* test_fake_clamd.h - clamd, played by the test on a Unix socket or on loopback: it does what it is
 * told to. Everything happens in daemon_step(). */
#ifndef TEST_FAKE_CLAMD_H
#define TEST_FAKE_CLAMD_H

#include "test_net.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/un.h>

#define DAEMON_PEERS_MAX 64
#define DAEMON_IN_MAX    (1u << 20)
#define DAEMON_PATH      "daemon.sock"

struct daemon_peer {
    int fd; /* -1: gone */
    bool in_session;
    uint32_t id; /* of the last command */
    bool holds;  /* a file without an answer */
    char *in;
    size_t n_in;
    int passed; /* a descriptor that came, -1: none */
    char out[512];
    size_t n_out;
};

struct fake_daemon {
    char dir[64];
    struct address address;
    int listening; /* -1: nobody is there */
    struct daemon_peer peers[DAEMON_PEERS_MAX];
    unsigned n_peers;
    unsigned n_versions, n_files, n_by_fd, n_streams;
    uint64_t last_len;  /* of the last file */
    char last_head[16]; /* its first bytes */
    /* what it does */
    bool hold;             /* answers no file */
    bool mute;             /* answers nothing */
    bool refuses_fds;      /* as when a jail of its own takes them away */
    bool has_no_signature; /* an empty database */
    bool alerts;           /* AlertExceedsMax: of files above look_max, and of archives */
    bool drips;            /* one byte for each step */
    bool bare_only;        /* its signature means the bare file */
    unsigned dies;         /* so many files make it close the connection */
    uint64_t look_max;     /* silently OK above */
    const char *version;   /* behind "ClamAV " */
    const char *answer;    /* instead of what it would say; the id goes before it */
    const char *raw;       /* the same without id */
    size_t raw_n;          /* 0: strlen */
};

static inline void daemon_listen(struct fake_daemon *d)
{
    d->listening = socket(d->address.ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(d->listening >= 0);
    if (d->address.ss.ss_family == AF_UNIX)
        (void)unlink(((struct sockaddr_un *)(void *)&d->address.ss)->sun_path);
    assert_int_equal(setsockopt(d->listening, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)), 0);
    assert_int_equal(bind(d->listening, (const struct sockaddr *)&d->address.ss, d->address.len),
                     0);
    assert_int_equal(listen(d->listening, 64), 0);
}

static inline void daemon_open(struct fake_daemon *d, bool tcp)
{
    char text[128];

    *d = (struct fake_daemon){.look_max = UINT64_MAX, .version = "1.4.6/1/now", .alerts = true};
    (void)snprintf(d->dir, sizeof d->dir, "/tmp/sallyport-clamd-XXXXXX");
    assert_non_null(mkdtemp(d->dir));
    (void)snprintf(text, sizeof text, tcp ? "127.0.0.1:0" : "unix:%s/" DAEMON_PATH, d->dir);
    assert_int_equal(address_parse(span_of(text), &d->address), OK);
    daemon_listen(d);
    d->address = test_local_address(d->listening);
}

static inline void peer_close(struct daemon_peer *p)
{
    if (p->fd >= 0)
        (void)close(p->fd);
    if (p->passed >= 0)
        (void)close(p->passed);
    free(p->in);
    *p = (struct daemon_peer){.fd = -1, .passed = -1};
}

/* As if it had been killed: the socket stays behind, nobody listens. */
static inline void daemon_die(struct fake_daemon *d)
{
    if (d->listening >= 0)
        (void)close(d->listening);
    d->listening = -1;
    for (unsigned i = 0; i < d->n_peers; i++)
        peer_close(&d->peers[i]);
}

static inline void daemon_done(struct fake_daemon *d)
{
    char path[128];

    daemon_die(d);
    (void)snprintf(path, sizeof path, "%s/" DAEMON_PATH, d->dir);
    (void)unlink(path);
    (void)rmdir(d->dir);
}

static inline void peer_flush(const struct fake_daemon *d, struct daemon_peer *p)
{
    size_t n = d->drips && p->n_out > 0 ? 1 : p->n_out;

    if (n == 0)
        return;
    if (send(p->fd, p->out, n, MSG_NOSIGNAL) < 0)
        return;
    memmove(p->out, p->out + n, p->n_out - n);
    p->n_out -= n;
}

static inline void peer_say_bytes(struct daemon_peer *p, const char *bytes, size_t n)
{
    assert_true(p->n_out + n <= sizeof p->out);
    memcpy(p->out + p->n_out, bytes, n);
    p->n_out += n;
}

static inline void peer_say(struct daemon_peer *p, const char *text)
{
    char line[256];
    int n = snprintf(line, sizeof line, "%u: %s", p->id, text);

    peer_say_bytes(p, line, (size_t)n + 1);
}

static inline const char *daemon_verdict(const struct fake_daemon *d, const char *where)
{
    static char text[128];
    bool is_eicar = memcmp(d->last_head, "X5O!P", 5) == 0 && !d->has_no_signature &&
                    (!d->bare_only || d->last_len == 68);
    const char *what = "OK";

    if (memcmp(d->last_head, "PK\3\4", 4) == 0)
        what = d->alerts ? "Heuristics.Limits.Exceeded.MaxRecursion FOUND" : "OK";
    else if (d->last_len > d->look_max)
        what = d->alerts ? "Heuristics.Limits.Exceeded.MaxFileSize FOUND" : "OK";
    else if (is_eicar)
        what = "Eicar-Test-Signature FOUND";
    else if (memcmp(d->last_head, "BAD", 3) == 0)
        what = "Test.Bad FOUND";
    (void)snprintf(text, sizeof text, "%s: %s", where, what);
    return text;
}

static inline void peer_file(struct fake_daemon *d, struct daemon_peer *p, const char *where)
{
    d->n_files++;
    if (d->dies > 0) {
        d->dies--;
        peer_close(p);
        return;
    }
    p->holds = d->hold || d->mute;
    if (p->holds)
        return;
    if (d->raw)
        peer_say_bytes(p, d->raw, d->raw_n ? d->raw_n : strlen(d->raw) + 1);
    else
        peer_say(p, d->answer ? d->answer : daemon_verdict(d, where));
}

/* 0: more must come. */
static inline size_t peer_fildes(struct fake_daemon *d, struct daemon_peer *p, const char *in,
                                 size_t n)
{
    struct stat st;

    (void)in;
    if (n < 1)
        return 0;
    if (p->passed < 0 || d->refuses_fds) {
        d->n_files++;
        peer_say(p, "No file descriptor received. ERROR");
        return 1;
    }
    assert_int_equal(fstat(p->passed, &st), 0);
    d->last_len = (uint64_t)st.st_size;
    memset(d->last_head, 0, sizeof d->last_head);
    assert_true(pread(p->passed, d->last_head, sizeof d->last_head, 0) >= 0);
    (void)close(p->passed);
    p->passed = -1;
    d->n_by_fd++;
    peer_file(d, p, "fd[10]");
    return 1;
}

static inline size_t peer_instream(struct fake_daemon *d, struct daemon_peer *p, const char *in,
                                   size_t n)
{
    size_t at = 0, head = 0;
    uint32_t len;

    for (;;) {
        if (n - at < 4)
            return 0;
        memcpy(&len, in + at, 4);
        len = ntohl(len);
        at += 4;
        if (len == 0)
            break;
        if (n - at < len)
            return 0;
        if (head == 0) {
            head = len < sizeof d->last_head ? len : sizeof d->last_head;
            memset(d->last_head, 0, sizeof d->last_head);
            memcpy(d->last_head, in + at, head);
        }
        at += len;
    }
    d->last_len = at - 4; /* close enough: less the heads */
    d->last_len -= head ? 4 : 0;
    d->n_streams++;
    peer_file(d, p, "stream");
    return at;
}

static inline size_t peer_command(struct fake_daemon *d, struct daemon_peer *p)
{
    const char *end = memchr(p->in, '\0', p->n_in);
    size_t n, used = 0;
    char line[128];

    if (!end)
        return 0;
    n = (size_t)(end - p->in) + 1;
    if (strcmp(p->in, "zIDSESSION") == 0) {
        p->in_session = true;
        return n;
    }
    assert_true(p->in_session);
    assert_false(p->holds); /* one question at a time */
    p->id++;
    if (strcmp(p->in, "zVERSION") == 0) {
        d->n_versions++;
        (void)snprintf(line, sizeof line, "ClamAV %s", d->version);
        if (!d->mute)
            peer_say(p, line);
        return n;
    }
    if (strcmp(p->in, "zFILDES") == 0)
        used = peer_fildes(d, p, p->in + n, p->n_in - n);
    else if (strcmp(p->in, "zINSTREAM") == 0)
        used = peer_instream(d, p, p->in + n, p->n_in - n);
    else
        fail_msg("the daemon does not know '%s'", p->in);
    if (used == 0)
        p->id--; /* again, with more */
    return used ? n + used : 0;
}

static inline void peer_receive(struct daemon_peer *p)
{
    char control[CMSG_SPACE(4 * sizeof(int))];
    struct iovec iov = {p->in + p->n_in, DAEMON_IN_MAX - p->n_in};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(p->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *h;

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        peer_close(p);
        return;
    }
    h = CMSG_FIRSTHDR(&m);
    if (h && h->cmsg_type == SCM_RIGHTS) {
        assert_int_equal(h->cmsg_len, CMSG_LEN(sizeof(int)));
        assert_int_equal(p->passed, -1);
        memcpy(&p->passed, CMSG_DATA(h), sizeof(int));
    }
    p->n_in += (size_t)n;
}

static inline void peer_step(struct fake_daemon *d, struct daemon_peer *p)
{
    size_t used;

    if (p->fd >= 0)
        peer_receive(p);
    while (p->fd >= 0 && p->n_in > 0 && (used = peer_command(d, p)) > 0 && p->fd >= 0) {
        memmove(p->in, p->in + used, p->n_in - used);
        p->n_in -= used;
    }
    if (p->fd >= 0)
        peer_flush(d, p);
}

static inline void daemon_step(struct fake_daemon *d)
{
    int fd;

    while (d->listening >= 0 &&
           (fd = accept4(d->listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct daemon_peer *p = &d->peers[d->n_peers];

        assert_true(d->n_peers < DAEMON_PEERS_MAX);
        d->n_peers++;
        *p = (struct daemon_peer){.fd = fd, .passed = -1, .in = malloc(DAEMON_IN_MAX)};
        assert_non_null(p->in);
    }
    for (unsigned i = 0; i < d->n_peers; i++)
        peer_step(d, &d->peers[i]);
}

static inline unsigned daemon_held(const struct fake_daemon *d)
{
    unsigned n = 0;

    for (unsigned i = 0; i < d->n_peers; i++)
        n += d->peers[i].fd >= 0 && d->peers[i].holds;
    return n;
}

static inline unsigned daemon_open_peers(const struct fake_daemon *d)
{
    unsigned n = 0;

    for (unsigned i = 0; i < d->n_peers; i++)
        n += d->peers[i].fd >= 0;
    return n;
}

/* The answer to a file that is held. */
static inline void daemon_answer(struct fake_daemon *d, const char *text)
{
    for (unsigned i = 0; i < d->n_peers; i++) {
        struct daemon_peer *p = &d->peers[i];

        if (p->fd < 0 || !p->holds)
            continue;
        p->holds = false;
        peer_say(p, text);
        return;
    }
    fail_msg("the daemon holds no file");
}

#endif
