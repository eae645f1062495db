/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/gateway.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/block.h"
#include "base/log.h"
#include "base/map.h"
#include "proc/gateway_int.h"

/* Blocking: nothing else happens before the first set is complete. */
static enum err first_set(struct gateway_core *g)
{
    struct proc_message m;
    bool done = false;

    while (!done) {
        struct pollfd p = {.fd = g->control_fd, .events = POLLIN};
        int fd = -1;
        enum err e;

        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            return ERR_IO;
        e = proc_receive(g->control_fd, &m, &fd);
        if (e == ERR_AGAIN)
            continue;
        TRY(e);
        TRY(generation_add(&g->generation, &m, fd, &done));
    }
    return OK;
}

static void ignore_signals(void)
{
    static const int ignored[] = {SIGPIPE, SIGHUP, SIGUSR1, SIGUSR2};
    struct sigaction sa = {.sa_handler = SIG_IGN};

    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        (void)sigaction(ignored[i], &sa, NULL);
}

/* Without a supervisor that hears it nobody would ever drain this gateway: one that is not serving
 * yet ends. */
static enum err tell_ready(struct gateway_core *g, struct buf *why)
{
    jail_report_text(&g->jail, why);
    log_info("gateway", "ready: generation %u, %u threads, sandbox: %s", g->number, g->n_loops,
             buf_cstr(why));
    buf_reset(why);
    if (gateway_answer(g, PROC_READY, g->number, SPAN_NONE) == OK)
        return OK;
    buf_text(why, "the supervisor went away");
    gateway_stop_loops(g);
    return ERR_EOF;
}

static int gateway_serve(struct gateway_core *g)
{
    struct buf why;
    enum err e;

    buf_init(&why, PROC_TEXT_MAX - 1);
    e = first_set(g);
    if (e == OK)
        e = gateway_build(g, &why);
    if (e == OK)
        e = tell_ready(g, &why);
    if (e) {
        struct span text = span_of(why.n ? buf_cstr(&why) : err_text(e));

        log_error("gateway", "cannot start: " SPAN_FMT, SPAN_ARG(text));
        gateway_tell(g, PROC_FAILED, g->generation.number, text);
    } else {
        gateway_thread_be_prompt();
        loop_run(g->loops[0].loop);
        gateway_tell(g, PROC_DRAINED, g->number, SPAN_NONE);
    }
    buf_done(&why);
    return e ? 1 : 0;
}

int gateway_main(int control_fd)
{
    struct gateway_core *g = calloc(1, sizeof *g);
    uint8_t seed[16];
    int code;

    log_setup(STDERR_FILENO, LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "gateway");
    if (!g || getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        log_error("gateway", "cannot start: no memory or no randomness");
        free(g);
        return 1;
    }
    map_seed(seed);
    ignore_signals();
    generation_init(&g->generation);
    generation_init(&g->live);
    g->control_fd = control_fd;
    g->started_wall_ms = clock_wall_ms(&clock_system);
    code = gateway_serve(g);
    gateway_unbuild(g);
    if (g->control_fd >= 0)
        (void)close(g->control_fd);
    free(g);
    return code;
}
