/* SPDX-License-Identifier: Apache-2.0 */
/* how-who-why.c - connects with TLS and prints HOW the connection is protected, WHO is at the other
 * end, and WHY it is not what was wanted.
 *
 *   cc how-who-why.c $(pkg-config --cflags --libs sallyport libssl libcrypto) -o how-who-why
 *   ./how-who-why HOST PORT CA.pem [dns:*.example.org ...]
 *
 * Exit code 0: as wanted; 3: not; 1: no connection at all. */
#include <netdb.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sallyport/want.h>

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
static SSL *handshake(SSL_CTX *ctx, int fd, const char *host)
{
    SSL *ssl = SSL_new(ctx);

    if (!ssl || SSL_set_tlsext_host_name(ssl, host) != 1 || SSL_set1_host(ssl, host) != 1 ||
        SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        return NULL;
    }
    (void)SSL_connect(ssl); /* well or not: the report tells */
    return ssl;
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

static int print_report(const sallyport_report *report, const sallyport_want *want)
{
    sallyport_how how = {.size = sizeof how};
    sallyport_why why = {.size = sizeof why};
    const sallyport_peer *peer = sallyport_report_peer(report);
    int e;

    (void)sallyport_report_how(report, &how);
    printf("HOW %s: %s\n", sallyport_level_name(how.level), how.text);
    printf("WHO %s\n", peer ? sallyport_peer_text(peer) : "nobody that could be told");
    if (peer)
        print_names(peer);
    for (size_t i = 0; sallyport_report_why(report, i, &why) == 0; i++)
        printf("WHY %s: %s\n", why.code, why.text);
    e = sallyport_want_check(want, report, &why);
    if (e != 0)
        printf("WHY %s: %s\n", why.code, why.text);
    return e ? 3 : 0;
}

int main(int argc, char **argv)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    sallyport_report *report = NULL;
    sallyport_want *want = NULL;
    int code = 1, fd = -1;
    SSL *ssl = NULL;

    if (argc < 4 || !ctx || SSL_CTX_load_verify_file(ctx, argv[3]) != 1) {
        fprintf(stderr, "usage: how-who-why HOST PORT CA.pem [dns:NAME | uri:URI | ...]\n");
        SSL_CTX_free(ctx);
        return 1;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (sallyport_want_new(&want) != 0)
        goto end;
    if (sallyport_want_protect(want, SALLYPORT_STRONG, SALLYPORT_VIA_TLS) != 0)
        goto end;
    for (int i = 4; i < argc; i++)
        if (sallyport_want_peer_text(want, argv[i]) != 0) {
            fprintf(stderr, "how-who-why: '%s' names nobody\n", argv[i]);
            goto end;
        }
    fd = connect_to(argv[1], argv[2]);
    ssl = fd >= 0 ? handshake(ctx, fd, argv[1]) : NULL;
    if (ssl && sallyport_report_new(ssl, &report) == 0)
        code = print_report(report, want);
    else
        fprintf(stderr, "how-who-why: no connection to %s port %s\n", argv[1], argv[2]);
end:
    sallyport_report_free(report);
    sallyport_want_free(want);
    SSL_free(ssl);
    if (fd >= 0)
        (void)close(fd);
    SSL_CTX_free(ctx);
    return code;
}
