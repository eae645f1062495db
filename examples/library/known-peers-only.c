/* SPDX-License-Identifier: Apache-2.0 */
/* known-peers-only.c - a TLS server that greets those whom it wants, by the names in their
 * certificates, and says of everybody else why not.
 *
 *   cc known-peers-only.c $(pkg-config --cflags --libs sallyport libssl libcrypto) -o known-peers-only
 *   ./known-peers-only PORT CERT.pem KEY.pem CA.pem dns:client.example.org ...
 *
 * One connection after the other, on loopback. Port 0: any; it is printed. */
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sallyport/want.h>

static int listen_on(const char *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || bind(fd, (const struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 16) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &n) != 0)
        return -1;
    printf("port %u\n", ntohs(a.sin_port));
    return fd;
}

static SSL_CTX *context(char **files)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (!ctx || SSL_CTX_use_certificate_chain_file(ctx, files[0]) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, files[1], SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_load_verify_file(ctx, files[2]) != 1) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return ctx;
}

static void serve(SSL *ssl, const sallyport_want *want)
{
    sallyport_why why = {.size = sizeof why};
    sallyport_report *report = NULL;
    char hello[600];

    (void)SSL_accept(ssl); /* well or not: the report tells */
    if (sallyport_report_new(ssl, &report) != 0)
        return;
    if (sallyport_report_why(report, 0, &why) != 0 &&
        sallyport_want_check(want, report, &why) == 0) {
        const char *who = sallyport_peer_text(sallyport_report_peer(report));
        int n = snprintf(hello, sizeof hello, "hello %s\n", who);

        printf("in %s\n", who);
        (void)SSL_write(ssl, hello, n);
        (void)SSL_shutdown(ssl);
    } else {
        const sallyport_peer *peer = sallyport_report_peer(report);

        printf("out %s: %s (%s)\n", peer ? sallyport_peer_text(peer) : "somebody", why.text,
               why.code);
    }
    sallyport_report_free(report);
}

int main(int argc, char **argv)
{
    sallyport_want *want = NULL;
    SSL_CTX *ctx = argc > 5 ? context(argv + 2) : NULL;
    int fd;

    if (!ctx || sallyport_want_new(&want) != 0) {
        fprintf(stderr, "usage: known-peers-only PORT CERT.pem KEY.pem CA.pem dns:NAME ...\n");
        return 1;
    }
    for (int i = 5; i < argc; i++)
        if (sallyport_want_peer_text(want, argv[i]) != 0) {
            fprintf(stderr, "known-peers-only: '%s' names nobody\n", argv[i]);
            return 1;
        }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    (void)signal(SIGPIPE, SIG_IGN); /* a client that hangs up ends its connection, not us */
    fd = listen_on(argv[1]);
    for (int client; fd >= 0 && (client = accept(fd, NULL, NULL)) >= 0;) {
        SSL *ssl = SSL_new(ctx);

        if (ssl && SSL_set_fd(ssl, client) == 1)
            serve(ssl, want);
        SSL_free(ssl);
        (void)close(client);
    }
    perror("known-peers-only");
    return 1;
}
