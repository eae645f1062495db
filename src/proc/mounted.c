/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/mounted.h"

#include <stdlib.h>

#include "proc/made_config.h"

#define PORT_ADMIN 9344

/* Paths that clients of such services know them by. */
static void write_config(struct buf *out, const char *directory, const char *state, int port)
{
    buf_text(out, "# The configuration of `sallyport serve --certificates`, written anew at each "
                  "start.\n"
                  "# Copy it to begin one of your own.\n\n"
                  "state: ");
    made_quoted(out, state, "");
    buf_fmt(out,
            "\nadmin:\n"
            "  address: 127.0.0.1:%d\n"
            "tls:\n"
            "  - name: mounted\n"
            "    directory: ",
            port == 0 ? 0 : PORT_ADMIN);
    made_quoted(out, directory, "");
    buf_fmt(out,
            "\nlisteners:\n"
            "  - name: icaps             # clients show certificates of the same CA\n"
            "    address: \"*:%d\"\n"
            "    tls: mounted\n"
            "    require: strong\n"
            "services:\n"
            "  - name: inspect\n"
            "    type: inspect\n"
            "    path: /inspect\n"
            "    aliases: [/avscan, /resp-cdr-service, /req-cdr-service]\n",
            port < 0 ? MOUNTED_PORT : port);
}

/* The configuration wants absolute paths, and the directory may not be there yet. */
static char *absolute(const char *path)
{
    char *here, *whole;

    if (path[0] == '/')
        return span_dup(span_of(path));
    here = realpath(".", NULL);
    struct buf text;

    buf_init(&text, 0);
    buf_fmt(&text, "%s/%s", here ? here : "", path);
    whole = here && !text.err ? span_dup(buf_span(&text)) : NULL;
    buf_done(&text);
    free(here);
    return whole;
}

static enum err prepare(const char *directory, const char *state, int port, char **ret_path,
                        struct buf *why)
{
    char *path = made_below(state, "/certificates.yaml");
    struct buf text;

    if (!path)
        return ERR_NOMEM;
    buf_init(&text, 0);
    write_config(&text, directory, state, port);
    enum err e = made_save(path, &text, why);

    buf_done(&text);
    if (e)
        free(path);
    else
        *ret_path = path;
    return e;
}

enum err mounted_prepare(const char *directory, const char *state, int port, char **ret_path,
                         struct buf *why)
{
    char *dir = absolute(directory), *own = absolute(state ? state : MOUNTED_STATE);
    enum err e = dir && own ? made_directory(own, why) : ERR_NOMEM;

    if (!e)
        e = prepare(dir, own, port, ret_path, why);
    free(dir);
    free(own);
    return e;
}
