/* SPDX-License-Identifier: Apache-2.0 */
/* scan_progress.c - one line on a terminal that says how far a scan is. */
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/scan_int.h"

#define EVERY_US     100000u
#define COLUMNS_MIN  20u
#define COLUMNS_ELSE 80u

void scan_progress_init(struct scan_progress *p, FILE *out)
{
    struct winsize w = {0};

    *p = (struct scan_progress){0};
    if (!isatty(fileno(out)))
        return;
    p->out = out;
    p->columns = ioctl(fileno(out), TIOCGWINSZ, &w) == 0 && w.ws_col >= COLUMNS_MIN ? w.ws_col
                                                                                    : COLUMNS_ELSE;
}

void scan_progress_text(const struct scan_totals *t, uint64_t found, bool more, unsigned columns,
                        struct buf *out)
{
    double seconds = (double)t->us / 1e6;
    char size[24];

    buf_fmt(out, "%llu of %llu%s files, %llu blocked, %s, %.1f MB/s", (unsigned long long)t->files,
            (unsigned long long)found, more ? "+" : "", (unsigned long long)t->blocked,
            scan_size_text(t->bytes, size), seconds > 0 ? (double)t->bytes / 1e6 / seconds : 0.0);
    /* The last column stays free: some terminals wrap there. */
    if (out->n >= columns)
        out->n = columns - 1;
}

void scan_progress_draw(struct scan_progress *p, const struct scan_totals *t, uint64_t found,
                        bool more, uint64_t now_us)
{
    struct buf line;

    if (!p->out || now_us < p->next_us)
        return;
    p->next_us = now_us + EVERY_US;
    p->drawn = true;
    buf_init(&line, 0);
    scan_progress_text(t, found, more, p->columns, &line);
    (void)fprintf(p->out, "\r\033[K%s", buf_cstr(&line));
    (void)fflush(p->out);
    buf_done(&line);
}

void scan_progress_erase(struct scan_progress *p)
{
    if (!p->drawn)
        return;
    p->drawn = false;
    p->next_us = 0; /* what was erased may come back at once */
    (void)fputs("\r\033[K", p->out);
    (void)fflush(p->out);
}
