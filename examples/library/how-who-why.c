/* SPDX-License-Identifier: Apache-2.0 */
/* how-who-why.c - connects with TLS and prints HOW the connection is protected, WHO is at the other
 * end, and WHY it is not what was wanted.
 *
 *   cc how-who-why.c $(pkg-config --cflags --libs sallyport libssl libcrypto) -o how-who-why
 *   ./how-who-why HOST PORT CA.pem [CERTIFICATE-AND-KEY.pem] [dns:*.example.org ...]
 *
 * The policy of the machine, /etc/sallyport/policy, holds as well. Exit code 0: as wanted; 3: not;
 * 1: no connection at all. */
#include <errno.h>
#include <netdb.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <sallyport/conn.h>

static int connect_to(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int fd = -1;

    if (getaddrinfo(host, port, &hints, &list) != 0)
        return -1;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            (void)close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

/* Application data is none of the library's business: it only looks at the SSL. */
static SSL *open_tls(SSL_CTX *ctx, int fd, const char *host)
{
    SSL *ssl = SSL_new(ctx);

    if (!ssl || SSL_set_tlsext_host_name(ssl, host) != 1 || SSL_set1_host(ssl, host) != 1 ||
        SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        return NULL;
    }
    return ssl;
}

/* 0: as it must be. A server of TLS 1.3 refuses a client when the client's handshake is over, with
 * its first words: they are waited for, a second at most. */
static int judge(sallyport_conn *conn, SSL *ssl, int fd)
{
    const struct timeval second = {1, 0};
    int e = sallyport_drive(conn, SALLYPORT_DID_HANDSHAKE, SSL_connect(ssl));
    char byte;

    if (e != 0)
        return e;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
    return sallyport_drive(conn, SALLYPORT_DID_READ, SSL_read(ssl, &byte, 1));
}

static void print_names(const sallyport_peer *peer)
{
    static const struct {
        int kind;
        const char *name;
    } kinds[] = {
        {SALLYPORT_PEER_DNS,   "dns"  },
        {SALLYPORT_PEER_URI,   "uri"  },
        {SALLYPORT_PEER_EMAIL, "email"},
    };
    const void *text;
    size_t n;

    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
        for (size_t i = 0; sallyport_peer_attr(peer, kinds[k].kind, i, &text, &n) == 0; i++)
            printf("  %s:%s\n", kinds[k].name, (const char *)text);
}

static void print_report(const sallyport_report *report)
{
    sallyport_how how = {.size = sizeof how};
    sallyport_why why = {.size = sizeof why};
    const sallyport_peer *peer = sallyport_report_peer(report);

    (void)sallyport_report_how(report, &how);
    printf("HOW %s: %s\n", sallyport_level_name(how.level), how.text);
    printf("WHO %s\n", peer ? sallyport_peer_text(peer) : "nobody that could be told");
    if (peer)
        print_names(peer);
    for (size_t i = 0; sallyport_report_why(report, i, &why) == 0; i++)
        printf("WHY %s: %s (%s)\n", why.code, why.text, sallyport_side_name(why.side));
}

static int connect_and_tell(sallyport_ctx *policy, const sallyport_want *want, SSL *ssl, int fd)
{
    sallyport_conn *conn;
    sallyport_report *report;
    int e = sallyport_adopt(policy, want, fd, ssl, &conn);

    if (e == -EAGAIN)
        e = judge(conn, ssl, fd);
    if (!conn)
        return 1;
    report = sallyport_conn_report(conn);
    print_report(report);
    sallyport_report_free(report);
    sallyport_conn_free(conn);
    return e == 0 ? 0 : 3;
}

/* Of the arguments, one without a colon is a file with our own certificate and key. */
static int take_argument(SSL_CTX *ctx, sallyport_want *want, const char *text)
{
    if (strchr(text, ':'))
        return sallyport_want_peer_text(want, text);
    return SSL_CTX_use_certificate_chain_file(ctx, text) == 1 &&
                   SSL_CTX_use_PrivateKey_file(ctx, text, SSL_FILETYPE_PEM) == 1
               ? 0
               : -EINVAL;
}

int main(int argc, char **argv)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    sallyport_ctx *policy = NULL;
    sallyport_want *want = NULL;
    int code = 1, fd = -1;
    SSL *ssl = NULL;
    char why[256];

    if (argc < 4 || !ctx || SSL_CTX_load_verify_file(ctx, argv[3]) != 1) {
        fprintf(stderr,
                "usage: how-who-why HOST PORT CA.pem [FILE.pem] [dns:NAME | uri:URI | ...]\n");
        SSL_CTX_free(ctx);
        return 1;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (sallyport_open(NULL, &policy, why, sizeof why) != 0) {
        fprintf(stderr, "how-who-why: %s\n", why);
        goto end;
    }
    if (sallyport_want_new(&want) != 0)
        goto end;
    if (sallyport_want_protect(want, SALLYPORT_STRONG, SALLYPORT_VIA_TLS) != 0)
        goto end;
    for (int i = 4; i < argc; i++)
        if (take_argument(ctx, want, argv[i]) != 0) {
            fprintf(stderr, "how-who-why: '%s' names nobody, and is no file for us\n", argv[i]);
            goto end;
        }
    fd = connect_to(argv[1], argv[2]);
    ssl = fd >= 0 ? open_tls(ctx, fd, argv[1]) : NULL;
    if (ssl)
        code = connect_and_tell(policy, want, ssl, fd);
    else
        fprintf(stderr, "how-who-why: no connection to %s port %s\n", argv[1], argv[2]);
end:
    sallyport_want_free(want);
    sallyport_close(policy);
    SSL_free(ssl);
    if (fd >= 0)
        (void)close(fd);
    SSL_CTX_free(ctx);
    return code;
}
