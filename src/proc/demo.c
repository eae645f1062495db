/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/demo.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc/demo_ca.h"
#include "proc/made_config.h"

#define PORT_ICAP  1344
#define PORT_ICAPS 11344
#define PORT_ADMIN 9344

static int port_of(int port, int usual, int step)
{
    if (port < 0)
        return usual;
    return port == 0 ? 0 : port + step;
}

static void write_listeners(struct buf *out, int port)
{
    buf_fmt(out,
            "\n# Where clients connect. Clear text is for this machine only; others use icaps.\n"
            "listeners:\n"
            "  - name: icap\n"
            "    address: 127.0.0.1:%d\n"
            "  - name: icaps\n"
            "    address: 127.0.0.1:%d\n"
            "    tls: demo\n"
            "    require: strong         # a connection with an old cipher is refused\n",
            port_of(port, PORT_ICAP, 0), port_of(port, PORT_ICAPS, 1));
    buf_fmt(out,
            "\n# For operators: /metrics, /healthz, /readyz.\n"
            "admin:\n"
            "  address: 127.0.0.1:%d\n",
            port_of(port, PORT_ADMIN, 2));
}

static void write_config(struct buf *out, const char *state, int port)
{
    buf_text(out, "# The configuration of `sallyport serve --demo`, written anew at each start.\n"
                  "# Copy it to begin one of your own; `sallyport check -p -c FILE` prints it with "
                  "every default.\n\n"
                  "state: ");
    made_quoted(out, state, "");
    buf_text(out, "\nsandbox: best-effort        # required: do not start where a layer is "
                  "missing\n"
                  "\ntls:\n"
                  "  - name: demo\n"
                  "    certificate: ");
    made_quoted(out, state, "/tls/server.pem");
    buf_text(out, "\n    key: ");
    made_quoted(out, state, "/tls/server.key");
    buf_char(out, '\n');
    write_listeners(out, port);
    buf_text(out,
             "\nservices:\n"
             "  - name: echo              # hands everything back: to see that a client works\n"
             "    type: echo\n"
             "    path: /echo\n"
             "  - name: inspect           # YARA rules in a jailed worker\n"
             "    type: inspect\n"
             "    path: /inspect\n"
             "    aliases: [/avscan]      # what many clients call it\n"
             "    pipeline: [yara]\n");
}

static enum err prepare(struct demo *d, int port, struct buf *why)
{
    struct buf text;
    enum err e;

    d->config_path = made_below(d->state, "/demo.yaml");
    d->ca_path = made_below(d->state, "/tls/ca.pem");
    char *tls = made_below(d->state, "/tls");

    if (!d->config_path || !d->ca_path || !tls) {
        free(tls);
        return ERR_NOMEM;
    }
    e = made_directory(tls, why);
    if (!e)
        e = demo_ca_prepare(tls, why);
    free(tls);
    if (e)
        return e;
    buf_init(&text, 0);
    write_config(&text, d->state, port);
    e = made_save(d->config_path, &text, why);
    buf_done(&text);
    return e;
}

static enum err make_state(const char *state, struct demo *d, struct buf *why)
{
    char temporary[] = "/tmp/sallyport-demo-XXXXXX";

    if (!state) {
        if (!mkdtemp(temporary))
            return made_failed(why, "make", temporary);
        d->temporary = true;
        d->state = span_dup(span_of(temporary));
        return d->state ? OK : ERR_NOMEM;
    }
    TRY(made_directory(state, why));
    d->state = realpath(state, NULL); /* the configuration wants absolute paths */
    return d->state ? OK : made_failed(why, "find", state);
}

enum err demo_prepare(const char *state, int port, struct demo *ret, struct buf *why)
{
    struct demo d = {0};
    enum err e = make_state(state, &d, why);

    if (!e)
        e = prepare(&d, port, why);
    if (e)
        demo_done(&d);
    else
        *ret = d;
    return e;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    (void)remove(path);
    return 0;
}

void demo_done(struct demo *d)
{
    if (d->temporary && d->state)
        (void)nftw(d->state, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    free(d->state);
    free(d->config_path);
    free(d->ca_path);
    *d = (struct demo){0};
}
