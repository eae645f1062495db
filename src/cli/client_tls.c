/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client_tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

#define PEM_MAX (4u << 20)
#define PIECE   65536u

static int complain(const char *command, const char *path, const char *why)
{
    (void)fprintf(stderr, "sallyport %s: %s: %s\n", command, path, why);
    return EXIT_USAGE;
}

/* Without a path it stays empty. */
static int read_pem(const char *command, const char *path, struct buf *out)
{
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1, errnum;
    ssize_t n = -1;

    if (!path)
        return EXIT_FINE;
    errnum = errno;
    while (fd >= 0) {
        char *room = buf_reserve(out, PIECE);

        n = room ? read(fd, room, PIECE) : -1;
        errnum = room ? errno : EFBIG;
        if (n <= 0)
            break;
        out->n += (size_t)n;
    }
    if (fd >= 0)
        (void)close(fd);
    return n == 0 ? EXIT_FINE : complain(command, path, strerror(errnum));
}

/* Trust alone first, so that the sentence is put to the right file. */
static int make(const char *command, const struct client_tls_options *o, struct tls_settings *s,
                struct tls_context **ret)
{
    const struct tls_settings trust = {
        .role = TLS_CLIENT,
        .trust = s->trust,
        .insecure_no_verify = s->insecure_no_verify,
        .minimum = s->minimum,
        .alpn = s->alpn,
    };
    struct buf why;
    int code = EXIT_FINE;

    buf_init(&why, 0);
    if (tls_context_new(&trust, ret, &why) != OK) {
        code = complain(command, o->ca ? o->ca : "TLS", buf_cstr(&why));
    } else if (o->cert) {
        tls_context_unref(*ret);
        *ret = NULL;
        if (tls_context_new(s, ret, &why) != OK)
            code = complain(command, o->cert, buf_cstr(&why));
    }
    buf_done(&why);
    return code;
}

int client_tls_open(const char *command, const struct client_tls_options *o,
                    struct tls_context **ret)
{
    struct tls_settings s = {
        .role = TLS_CLIENT,
        .insecure_no_verify = o->insecure,
        .minimum = o->only_1_3 ? TLS_VERSION_1_3 : TLS_VERSION_1_2,
        .alpn = span_of(o->alpn),
    };
    struct buf ca, cert, key;
    int code;

    buf_init(&ca, PEM_MAX);
    buf_init(&cert, PEM_MAX);
    buf_init(&key, PEM_MAX);
    code = read_pem(command, o->ca, &ca);
    if (code == EXIT_FINE)
        code = read_pem(command, o->cert, &cert);
    if (code == EXIT_FINE)
        code = read_pem(command, o->key ? o->key : o->cert, &key);
    s.trust = buf_span(&ca);
    s.certificate = buf_span(&cert);
    s.key = buf_span(&key);
    if (code == EXIT_FINE)
        code = make(command, o, &s, ret);
    if (cert.p)
        explicit_bzero(cert.p, cert.cap); /* the key may be in there */
    if (key.p)
        explicit_bzero(key.p, key.cap);
    buf_done(&ca);
    buf_done(&cert);
    buf_done(&key);
    return code;
}
