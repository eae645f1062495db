/* SPDX-License-Identifier: Apache-2.0 */
/* print_progress.c - one line on a terminal that says how much of a document is on its way. */
#include "cli/print_int.h"

#define EVERY_US  100000u
#define REDRAW_MS 200u
#define BAR_MAX   30u

static void add_bar(struct buf *out, uint64_t sent, uint64_t total)
{
    unsigned full = total ? (unsigned)((double)sent / (double)total * BAR_MAX) : BAR_MAX;

    buf_char(out, '[');
    for (unsigned i = 0; i < BAR_MAX; i++)
        buf_char(out, i < full ? '#' : ' ');
    buf_text(out, "] ");
}

void print_progress_text(uint64_t sent, uint64_t total, uint64_t us, unsigned columns,
                         struct buf *out)
{
    double seconds = (double)us / 1e6;
    char done[24], all[24];

    if (sent >= total) {
        buf_fmt(out, "%s sent; the printer has it, and does not answer yet",
                scan_size_text(total, all));
    } else {
        if (columns > 2 * BAR_MAX)
            add_bar(out, sent, total);
        buf_fmt(out, "%s of %s, %.1f MB/s", scan_size_text(sent, done), scan_size_text(total, all),
                seconds > 0 ? (double)sent / 1e6 / seconds : 0.0);
    }
    /* The last column stays free: some terminals wrap there. */
    if (out->n >= columns)
        out->n = columns - 1;
}

static void on_redraw(struct timer *t)
{
    struct print_progress *p = CONTAINER_OF(t, struct print_progress, redraw);

    timer_set(p->link->loop, t, loop_now_ms(p->link->loop) + REDRAW_MS);
}

void print_progress_begin(struct print_progress *p, struct print_link *l, uint64_t total, bool on)
{
    *p = (struct print_progress){
        .link = l, .total = total, .start_us = loop_now_us(l->loop), .redraw.fire = on_redraw};
    p->redraw.at_ms = UINT64_MAX;
    if (!on)
        return;
    scan_progress_init(&p->line, stderr);
    if (p->line.out)
        timer_set(l->loop, &p->redraw, loop_now_ms(l->loop) + REDRAW_MS);
}

void print_progress_turn(void *arg)
{
    struct print_progress *p = arg;
    uint64_t now = loop_now_us(p->link->loop);
    struct buf line;

    if (!p->line.out || now < p->line.next_us)
        return;
    p->line.next_us = now + EVERY_US;
    p->line.drawn = true;
    buf_init(&line, 0);
    print_progress_text(ipp_client_sent(p->link->client), p->total, now - p->start_us,
                        p->line.columns, &line);
    (void)fprintf(p->line.out, "\r\033[K%s", buf_cstr(&line));
    (void)fflush(p->line.out);
    buf_done(&line);
}

void print_progress_end(struct print_progress *p)
{
    timer_clear(p->link->loop, &p->redraw);
    scan_progress_erase(&p->line);
}
