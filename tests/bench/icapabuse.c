/* SPDX-License-Identifier: Apache-2.0 */
/*
 * icapabuse.c - a client, or many, that mean no good: what stands beside the well-behaved ones when
 * their latency is measured. usage_text has the modes. It holds as many connections as it was told,
 * opens another one for each that ends, and reports what became of them as JSON when its time is
 * up. Exit code: 0, or 2 for usage or local trouble; nothing that the server does is a fault.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX    256
#define READ_MAX      65536u
#define TICK_MS       20u
#define PIPELINED     32u  /* requests of one write of a flood */
#define OPENS_MAX     200u /* connections begun in one tick: 10,000 in a second */
#define SLOW_READ_MAX 256u /* bytes of one tick of a slow reader */
#define RECEIVE_MAX   4096 /* SO_RCVBUF of who reads slowly or not at all */

enum mode { SILENT, HELLO, IDLE, SLOW_READ, SLOW_WRITE, STORM, RESET, FLOOD, DEAF, MODES };

static const char *const mode_names[MODES] = {"silent", "hello", "idle",  "slow-read", "slow-write",
                                              "storm",  "reset", "flood", "deaf"};

static const char usage_text[] =
    "usage: icapabuse MODE [OPTIONS] HOST:PORT\n"
    "  silent      connections that say nothing\n"
    "  hello       begin a TLS record, and say nothing more\n"
    "  idle        one request, and its answer\n"
    "  slow-read   ask for the echo of a big body, and read a little of it now and then\n"
    "  slow-write  a request of which one byte comes in each pause\n"
    "  storm       connect and close, as fast as it goes\n"
    "  reset       connect, say the half of a request, reset, as fast as it goes\n"
    "  flood       requests behind each other without waiting for answers, which are read\n"
    "  deaf        the same, and no answer is ever read\n"
    "  -n, --connections N   at the same time (100)\n"
    "  -d, --duration S      (5)\n"
    "  -s, --size BYTES      of the body of slow-read (4194304)\n"
    "      --pause MS        of slow-write and slow-read (100)\n"
    "      --from IP         the first source address (127.0.9.1)\n"
    "      --sources N       so many addresses from there on (1)\n";

struct client {
    int fd;          /* -1: none */
    bool connected;  /* the handshake of TCP is done */
    uint64_t off;    /* bytes sent */
    uint64_t due_ms; /* of the next byte */
    uint32_t events; /* what epoll watches */
};

struct abuse {
    enum mode mode;
    struct sockaddr_in to, from;
    unsigned n, sources, next_source;
    double seconds;
    uint64_t pause_ms, size;
    int epoll;
    struct client *clients;
    char *text; /* what is said */
    uint64_t text_len;
    /* counts */
    uint64_t opened, refused, ended_by_peer, finished, bytes_in, bytes_out;
    unsigned n_open, peak;
};

static uint8_t in[READ_MAX];
static volatile sig_atomic_t stop;

static void on_term(int signum)
{
    (void)signum;
    stop = 1;
}

__attribute__((noreturn)) static void usage(void)
{
    (void)fputs(usage_text, stderr);
    exit(2);
}

__attribute__((noreturn)) static void die(const char *what)
{
    (void)fprintf(stderr, "icapabuse: %s: %s\n", what, strerror(errno));
    exit(2);
}

static uint64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- what is said --- */

static void text_request(struct abuse *a, uint64_t body)
{
    static const char http[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n";
    static const char form[] = "RESPMOD icap://abuse.test/echo ICAP/1.0\r\nHost: abuse.test\r\n"
                               "Encapsulated: res-hdr=0, res-body=%zu\r\n\r\n%s%llx\r\n";
    size_t cap = sizeof form + sizeof http + 64 + body;
    int n;

    a->text = malloc(cap);
    if (!a->text)
        die("memory");
    n = snprintf(a->text, cap, form, sizeof http - 1, http, (unsigned long long)body);
    memset(a->text + n, 'a', body);
    memcpy(a->text + (size_t)n + body, "\r\n0\r\n\r\n", 7);
    a->text_len = (uint64_t)n + body + 7;
}

/* |PIPELINED| requests behind each other. */
static void text_flood(struct abuse *a)
{
    char *one;
    uint64_t n;

    text_request(a, 1000);
    one = a->text;
    n = a->text_len;
    a->text = malloc(n * PIPELINED);
    if (!a->text)
        die("memory");
    for (unsigned i = 0; i < PIPELINED; i++)
        memcpy(a->text + i * n, one, n);
    a->text_len = n * PIPELINED;
    free(one);
}

static void text_init(struct abuse *a)
{
    static char hello[] = "\x16\x03\x01\x02\x00\x01"; /* a ClientHello of 512 bytes begins */

    switch (a->mode) {
    case HELLO:
        a->text = hello;
        a->text_len = sizeof hello - 1;
        break;
    case SLOW_READ: text_request(a, a->size); break;
    case FLOOD:
    case DEAF: text_flood(a); break;
    case SILENT:
    case IDLE:
    case STORM:
    case SLOW_WRITE:
    case RESET:
    case MODES: text_request(a, 1000); break;
    }
}

/* --- connections --- */

static void watch(struct abuse *a, struct client *c, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = c};

    if (c->events == events)
        return;
    if (epoll_ctl(a->epoll, c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &ev) != 0)
        die("epoll_ctl");
    c->events = events;
}

static void client_close(struct abuse *a, struct client *c, bool reset)
{
    const struct linger now = {.l_onoff = 1};

    if (reset)
        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    (void)close(c->fd);
    a->n_open -= c->connected;
    *c = (struct client){.fd = -1};
}

static void source_bind(struct abuse *a, int fd)
{
    struct sockaddr_in from = a->from;
    const int one = 1;

    from.sin_addr.s_addr = htonl(ntohl(from.sin_addr.s_addr) + a->next_source++ % a->sources);
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (const struct sockaddr *)&from, sizeof from) != 0)
        die("the source address");
}

/* False: the machine gives no more; a later tick tries again. */
static bool client_open(struct abuse *a, struct client *c)
{
    const int small = RECEIVE_MAX;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    source_bind(a, fd);
    if (a->mode == SLOW_READ || a->mode == DEAF)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (connect(fd, (const struct sockaddr *)&a->to, sizeof a->to) != 0 && errno != EINPROGRESS) {
        a->refused += errno == ECONNREFUSED;
        (void)close(fd);
        return false;
    }
    *c = (struct client){.fd = fd};
    watch(a, c, EPOLLOUT | EPOLLRDHUP);
    return true;
}

/* What may be sent now of |text|, over and over where it is a flood. */
static uint64_t due(const struct abuse *a, const struct client *c)
{
    switch (a->mode) {
    case SILENT:
    case STORM: return 0;
    case SLOW_WRITE: return c->off < a->text_len ? 1 : 0;
    case RESET: return c->off < a->text_len / 2 ? a->text_len / 2 - c->off : 0;
    case FLOOD:
    case DEAF: return a->text_len - c->off % a->text_len;
    case HELLO:
    case IDLE:
    case SLOW_READ:
    case MODES: break;
    }
    return a->text_len - c->off;
}

/* False: the connection is gone. */
static bool client_send(struct abuse *a, struct client *c)
{
    for (uint64_t left = due(a, c); left > 0; left = a->mode == SLOW_WRITE ? 0 : due(a, c)) {
        ssize_t n = send(c->fd, a->text + c->off % a->text_len, left, MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN)
            return true;
        if (n < 0) {
            a->ended_by_peer++;
            client_close(a, c, false);
            return false;
        }
        c->off += (uint64_t)n;
        a->bytes_out += (uint64_t)n;
        if (a->mode == FLOOD || a->mode == DEAF)
            break; /* others' turn */
    }
    return true;
}

/* False: the connection is gone. */
static bool client_read(struct abuse *a, struct client *c, size_t max)
{
    ssize_t n = recv(c->fd, in, max, 0);

    if (n < 0 && errno == EAGAIN)
        return true;
    if (n <= 0) {
        a->ended_by_peer++;
        client_close(a, c, false);
        return false;
    }
    a->bytes_in += (uint64_t)n;
    return true;
}

static bool is_slow(const struct abuse *a)
{
    return a->mode == SLOW_READ || a->mode == SLOW_WRITE;
}

/* What epoll shall tell of. Slow ones act by the clock; who reads nothing wants to know of the end
 * only. */
static void client_watch(struct abuse *a, struct client *c)
{
    uint32_t events = EPOLLRDHUP;

    if (a->mode != DEAF && a->mode != SLOW_READ)
        events |= EPOLLIN;
    if (due(a, c) > 0 && a->mode != SLOW_WRITE)
        events |= EPOLLOUT;
    watch(a, c, events);
}

static void client_connected(struct abuse *a, struct client *c)
{
    c->connected = true;
    a->opened++;
    if (++a->n_open > a->peak)
        a->peak = a->n_open;
    if (a->mode == STORM) {
        a->finished++;
        client_close(a, c, false);
        (void)client_open(a, c);
    }
}

static void client_ready(struct abuse *a, struct client *c, uint32_t events)
{
    if (events & (EPOLLERR | EPOLLHUP)) {
        a->refused += !c->connected;
        a->ended_by_peer += c->connected;
        client_close(a, c, false);
        return;
    }
    if (!c->connected) {
        client_connected(a, c);
        if (c->fd < 0 || !c->connected)
            return;
    }
    if (events & EPOLLRDHUP && !(events & EPOLLIN)) {
        a->ended_by_peer++;
        client_close(a, c, false);
        return;
    }
    if ((events & EPOLLIN && !client_read(a, c, READ_MAX)) || !client_send(a, c))
        return;
    if (a->mode == RESET && due(a, c) == 0) {
        a->finished++;
        client_close(a, c, true);
        (void)client_open(a, c);
        return;
    }
    client_watch(a, c);
}

/* Slow ones move on, and what has ended is opened again. */
static void tick(struct abuse *a, uint64_t now)
{
    unsigned opens = OPENS_MAX;

    for (unsigned i = 0; i < a->n; i++) {
        struct client *c = &a->clients[i];

        if (c->fd < 0 && opens > 0)
            opens = client_open(a, c) ? opens - 1 : 0;
        if (c->fd < 0 || !c->connected || !is_slow(a) || c->due_ms > now)
            continue;
        c->due_ms = now + a->pause_ms;
        if (a->mode == SLOW_READ ? client_read(a, c, SLOW_READ_MAX) : client_send(a, c))
            client_watch(a, c);
    }
}

static void run(struct abuse *a)
{
    uint64_t end = now_ms() + (uint64_t)(a->seconds * 1000), at = 0;

    while (!stop && now_ms() < end) {
        struct epoll_event ev[EVENTS_MAX];
        uint64_t now = now_ms();

        if (now >= at) {
            tick(a, now);
            at = now + TICK_MS;
        }
        int n = epoll_wait(a->epoll, ev, EVENTS_MAX, (int)(at - now));

        for (int i = 0; i < n; i++)
            if (((struct client *)ev[i].data.ptr)->fd >= 0)
                client_ready(a, ev[i].data.ptr, ev[i].events);
    }
}

/* --- the program --- */

static uint64_t number(const char *s, uint64_t max)
{
    char *end;
    unsigned long long v = strtoull(s, &end, 10);

    if (end == s || *end || v > max)
        usage();
    return v;
}

static void option(struct abuse *a, int ch)
{
    switch (ch) {
    case 'n': a->n = (unsigned)number(optarg, 100000); break;
    case 'd': a->seconds = (double)number(optarg, 3600); break;
    case 's': a->size = number(optarg, 1u << 30); break;
    case 'p': a->pause_ms = number(optarg, 60000); break;
    case 'f':
        if (inet_pton(AF_INET, optarg, &a->from.sin_addr) != 1)
            usage();
        break;
    case 'N': a->sources = (unsigned)number(optarg, 65536); break;
    default: usage();
    }
}

static void options(struct abuse *a, int argc, char **argv)
{
    static const struct option longs[] = {
        {"connections", required_argument, NULL, 'n'},
        {"duration",    required_argument, NULL, 'd'},
        {"size",        required_argument, NULL, 's'},
        {"pause",       required_argument, NULL, 'p'},
        {"from",        required_argument, NULL, 'f'},
        {"sources",     required_argument, NULL, 'N'},
        {NULL,          0,                 NULL, 0  },
    };
    char host[INET_ADDRSTRLEN];
    int ch;

    while ((ch = getopt_long(argc, argv, "n:d:s:", longs, NULL)) != -1)
        option(a, ch);
    if (optind + 2 != argc || a->sources == 0 || a->n == 0)
        usage();
    while (a->mode < MODES && strcmp(argv[optind], mode_names[a->mode]) != 0)
        a->mode++;
    const char *colon = strchr(argv[optind + 1], ':');

    if (a->mode == MODES || !colon || (size_t)(colon - argv[optind + 1]) >= sizeof host)
        usage();
    (void)snprintf(host, sizeof host, "%.*s", (int)(colon - argv[optind + 1]), argv[optind + 1]);
    a->to.sin_port = htons((uint16_t)number(colon + 1, 65535));
    if (inet_pton(AF_INET, host, &a->to.sin_addr) != 1)
        usage();
}

static void report(const struct abuse *a)
{
    (void)printf("{\"mode\": \"%s\", \"opened\": %llu, \"refused\": %llu, \"ended_by_peer\": %llu, "
                 "\"finished\": %llu, \"open\": %u, \"peak\": %u, \"bytes_in\": %llu, "
                 "\"bytes_out\": %llu}\n",
                 mode_names[a->mode], (unsigned long long)a->opened, (unsigned long long)a->refused,
                 (unsigned long long)a->ended_by_peer, (unsigned long long)a->finished, a->n_open,
                 a->peak, (unsigned long long)a->bytes_in, (unsigned long long)a->bytes_out);
}

int main(int argc, char **argv)
{
    struct abuse a = {.n = 100, .sources = 1, .seconds = 5, .pause_ms = 100, .size = 4u << 20};
    struct rlimit files;

    a.to.sin_family = a.from.sin_family = AF_INET;
    a.from.sin_addr.s_addr = htonl(0x7f000901);
    options(&a, argc, argv);
    (void)signal(SIGTERM, on_term);
    (void)signal(SIGINT, on_term);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    text_init(&a);
    a.epoll = epoll_create1(EPOLL_CLOEXEC);
    a.clients = calloc(a.n, sizeof *a.clients);
    if (a.epoll < 0 || !a.clients)
        die("memory");
    for (unsigned i = 0; i < a.n; i++)
        a.clients[i].fd = -1;
    run(&a);
    report(&a);
    return 0;
}
