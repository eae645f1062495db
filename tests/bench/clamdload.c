/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clamdload.c - closed-loop load for clamd alone: what its work costs when nobody stands in front.
 *
 * N sessions (IDSESSION, kept) scan one file after the other. The files are icapload's unique
 * bodies, as sealed memfds passed with FILDES. Every reply must be OK. Exit code: 0 all were, 1 one
 * was not, 2 usage or local trouble. The report is icapload's.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "load_plan.h"
#include "load_tally.h"

#define SESSIONS_MAX 64
#define REPLY_MAX    512
#define NS           1e9
#define TIMEOUT_MS   10000

struct session {
    int fd;
    bool busy;
    uint64_t since_ns;
    char reply[REPLY_MAX];
    size_t len;
};

struct clamd_load {
    struct plan plan;
    struct tally tally;
    const char *path;
    unsigned n;
    double duration, warmup;
    uint64_t serial;
    uint64_t from_ns, to_ns;
    bool json;
    struct session sessions[SESSIONS_MAX];
};

__attribute__((noreturn)) static void usage(void)
{
    (void)fputs("usage: clamdload [-n SESSIONS] [-s BYTES] [-d SECONDS] [-w SECONDS] [--json] "
                "SOCKET\n",
                stderr);
    exit(2);
}

__attribute__((noreturn)) static void die(const char *what)
{
    (void)fprintf(stderr, "clamdload: %s: %s\n", what, strerror(errno));
    exit(2);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double number(const char *s, double min, double max)
{
    char *end;
    double v = strtod(s, &end);

    if (end == s || *end != '\0' || !(v >= min && v <= max))
        usage();
    return v;
}

static void options_parse(struct clamd_load *c, int argc, char **argv)
{
    static const struct option names[] = {
        {"json", no_argument, NULL, 'j'},
        {NULL,   0,           NULL, 0  },
    };
    int ch;

    while ((ch = getopt_long(argc, argv, "n:s:d:w:", names, NULL)) != -1) {
        switch (ch) {
        case 'n': c->n = (unsigned)number(optarg, 1, SESSIONS_MAX); break;
        case 's': c->plan.size = (int64_t)number(optarg, PLAN_STAMP_LEN, 1 << 30); break;
        case 'd': c->duration = number(optarg, 0.01, 600); break;
        case 'w': c->warmup = number(optarg, 0, 600); break;
        case 'j': c->json = true; break;
        default: usage();
        }
    }
    if (optind + 1 != argc)
        usage();
    c->path = argv[optind];
}

/* --- one file --- */

static int file_new(struct clamd_load *c)
{
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
    int fd = memfd_create("clamdload", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct plan_body body = {.phase = (unsigned)(c->serial & 7) * 509};
    uint64_t size = (uint64_t)c->plan.size;

    plan_body_stamp(&body, c->serial++);
    for (uint64_t at = 0; at < size && fd >= 0;) {
        size_t n = size - at < PLAN_CHUNK_LEN ? (size_t)(size - at) : PLAN_CHUNK_LEN;
        const uint8_t *p = plan_bytes(&c->plan, &body, at, &n);

        if (write(fd, p, n) != (ssize_t)n)
            die("memfd");
        at += n;
    }
    if (fd < 0 || fcntl(fd, F_ADD_SEALS, seals) != 0)
        die("memfd");
    return fd;
}

static void file_send(struct session *s, int fd)
{
    static char question[] = "zFILDES\0"; /* its own NUL is the byte that carries the descriptor */
    struct iovec v = {.iov_base = question, .iov_len = sizeof question};
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.room = {0}};
    struct msghdr m = {
        .msg_iov = &v,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof control,
    };
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);

    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(h), &fd, sizeof fd);
    if (sendmsg(s->fd, &m, MSG_NOSIGNAL) != (ssize_t)sizeof question)
        die("clamd");
}

static void session_begin(struct clamd_load *c, struct session *s)
{
    int fd = file_new(c);

    s->since_ns = now_ns();
    s->busy = true;
    s->len = 0;
    file_send(s, fd);
    (void)close(fd);
}

/* "7: fd[12]: OK" with a NUL. */
static void reply_check(struct clamd_load *c, const struct session *s)
{
    static const struct answer fault_free = {.facts = {.status = 200}};
    struct answer a = fault_free;
    const size_t len = s->len - 1;
    uint64_t now = now_ns();

    if (len < 4 || memcmp(s->reply + len - 4, ": OK", 4) != 0) {
        tally_fault(&c->tally, FAULT_STATUS, s->reply);
        return;
    }
    a.body_len = (uint64_t)c->plan.size;
    tally_answer(&c->tally, &a, now - s->since_ns, now >= c->from_ns && now < c->to_ns);
}

static void session_readable(struct clamd_load *c, struct session *s)
{
    ssize_t n = recv(s->fd, s->reply + s->len, REPLY_MAX - s->len, 0);

    if (n <= 0 || s->len + (size_t)n == REPLY_MAX) {
        errno = n < 0 ? errno : EPROTO;
        die("clamd's reply");
    }
    s->len += (size_t)n;
    if (s->reply[s->len - 1] != '\0')
        return;
    s->busy = false;
    reply_check(c, s);
    if (now_ns() < c->to_ns)
        session_begin(c, s);
}

/* --- all of them --- */

static void session_open(const struct clamd_load *c, struct session *s)
{
    static const char hello[] = "zIDSESSION";
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    if (strlen(c->path) >= sizeof a.sun_path)
        usage();
    memcpy(a.sun_path, c->path, strlen(c->path) + 1);
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || connect(s->fd, (const struct sockaddr *)&a, sizeof a) != 0 ||
        send(s->fd, hello, sizeof hello, MSG_NOSIGNAL) != (ssize_t)sizeof hello)
        die(c->path);
}

/* False: no session has a file any more. */
static bool turn(struct clamd_load *c)
{
    struct pollfd p[SESSIONS_MAX];
    bool busy = false;

    for (unsigned i = 0; i < c->n; i++) {
        p[i] = (struct pollfd){.fd = c->sessions[i].fd, .events = POLLIN};
        busy |= c->sessions[i].busy;
    }
    if (!busy)
        return false;
    if (poll(p, c->n, TIMEOUT_MS) <= 0) {
        errno = ETIMEDOUT;
        die("clamd's reply");
    }
    for (unsigned i = 0; i < c->n; i++)
        if (p[i].revents)
            session_readable(c, &c->sessions[i]);
    return true;
}

int main(int argc, char **argv)
{
    static struct clamd_load c = {
        .plan = {.method = METHOD_RESPMOD,
                 .size = 1024,
                 .preview = PLAN_NO_PREVIEW,
                 .unique = true,
                 .host = "clamd",
                 .path = "/"},
        .n = 4,
        .duration = 2,
    };

    options_parse(&c, argc, argv);
    if (!plan_init(&c.plan))
        die("memory");
    c.serial = now_ns() << 20; /* no other run has these */
    for (unsigned i = 0; i < c.n; i++)
        session_open(&c, &c.sessions[i]);
    c.from_ns = now_ns() + (uint64_t)(c.warmup * NS);
    c.to_ns = c.from_ns + (uint64_t)(c.duration * NS);
    for (unsigned i = 0; i < c.n; i++)
        session_begin(&c, &c.sessions[i]);
    while (turn(&c))
        continue;
    c.tally.seconds = c.duration;
    tally_print(&c.tally, c.n, c.json);
    plan_done(&c.plan);
    return c.tally.faults_total > 0 ? 1 : 0;
}
