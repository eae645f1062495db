/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_client.h - the IPP client's driver: requests to one printer, one at a time, over a connection
 * that is protected as its URI demands (the draft, 2.0 and 3.1) before anything is said on it, and
 * that is kept. Directly, or through an HTTP proxy by CONNECT.
 *
 * What counts is what really happened: a printer that does not do what the URI's list says is told
 * nothing. Credentials go to nobody in clear text where a secure channel is demanded, and a
 * document goes to nobody who has not asked for Digest where DAA is.
 *
 * Threads: belongs to its loop's thread. */
#ifndef IPP_CLIENT_H
#define IPP_CLIENT_H

#include "ipp/ipp_client_plan.h"
#include "ipp/ipp_message.h"
#include "net/loop.h"
#include "protect/tls_context.h"

struct digest_random;
struct ipp_client;

/* Names of what is spoken inside TLS (RFC 7301), for the contexts below: a server that was joined
 * to another client's handshake by somebody in between sees by them that it was. */
#define IPP_ALPN_UPGRADED "sallyport-upgraded"
#define IPP_ALPN_IMPLICIT "http/1.1"

/* Who asks. */
struct ipp_client_login {
    const char *user; /* NULL: nobody */
    /* Asked for once, when somebody wants it; may wait for a person. NULL: there is none. What it
     * gives stays its owner's, and lives as long as the client. */
    const char *(*password)(void *arg);
    void *arg;
};

/* Texts are borrowed and outlive the client. */
struct ipp_client_settings {
    struct ipp_uri uri; /* of the printer, or of a job at it */
    struct ipp_client_plan plan;
    const char *proxy_host; /* NULL: none */
    unsigned proxy_port;
    /* It takes references. NULL: the plan has no way that needs it; a printer that asks for an
     * upgrade nevertheless does not get one. */
    struct tls_context *tls_upgraded, *tls_implicit;
    bool insecure; /* their handshakes take any certificate */
    struct ipp_client_login login, proxy_login;
    bool no_insist;      /* what the list demands and the printer does not do is a warning */
    bool allow_basic;    /* Basic is answered within TLS, with a server that has proved who it is */
    bool lenient;        /* a 101 that does not say to what */
    bool no_md5;         /* no Digest with MD5 is answered */
    uint64_t connect_ms; /* each step until requests can go out; 0: 10 s */
    uint64_t answer_ms;  /* between two signs of life of the printer; 0: 5 min */
    const struct digest_random *random; /* NULL: the system's */
    /* Something that a person should know, a sentence; valid inside the call. May be NULL. */
    void (*warn)(void *arg, const char *text);
    void *warn_arg;
};

/* What became of a request. */
enum ipp_client_end {
    IPP_CLIENT_ANSWERED, /* by the printer, in IPP: |message| */
    IPP_CLIENT_REFUSED,  /* by an HTTP status */
    IPP_CLIENT_SECURITY, /* what the list demands is not there */
    IPP_CLIENT_LOGIN,    /* who asks could not be proved, or the printer could not */
    IPP_CLIENT_NETWORK,  /* nobody answers, or not in HTTP and IPP */
    IPP_CLIENT_LOCAL,    /* no memory, or the document cannot be read */
};

#define IPP_CLIENT_TEXT_MAX 512u

/* Valid inside |done|. */
struct ipp_client_result {
    enum ipp_client_end end;
    char why[IPP_CLIENT_TEXT_MAX]; /* a sentence, unless ANSWERED */
    unsigned http_status;          /* 0: none came */
    const struct ipp_message *message;
    struct ipp_level level; /* of the request, as it really was */
    enum ipp_need lacks;    /* of the demand, held against |level| */
    bool document_sent;     /* a byte of it */
    char how[256];          /* HOW the connection was protected; "" without one */
    char who[256];          /* WHO: the authenticated server, or "" */
    char server[64];        /* what it says that it is (RFC 9110 10.2.4) */
};
typedef void (*ipp_client_fn)(void *arg, const struct ipp_client_result *r);

/* What the message must say. */
struct ipp_client_target {
    struct span uri; /* printer-uri or job-uri: with the list for gateways that know it, without for
                        printers that do not (the draft, 3.0) */
    uint8_t major, minor; /* version-number */
    uint32_t request_id;
};

struct ipp_client_request {
    /* Appends the message, from its version to its end-of-attributes tag. Called again when the
     * request has to be sent again, perhaps with another target. */
    enum err (*write)(const void *arg, const struct ipp_client_target *t, struct buf *out);
    const void *write_arg; /* lives until |done| */
    int fd;        /* the document, a regular file from 0; stays the caller's until |done| */
    uint64_t len;  /* 0: none */
    bool harmless; /* changes nothing, and tells nothing that needs a proved user: goes out to find
                      out whether the printer asks for one. Else a demand for DAA holds it back */
    ipp_client_fn done; /* once, never inside the call */
    void *arg;
};

/* ERR_NOMEM; ERR_LIMIT: a URI, host or user that is too long; ERR_IO: no randomness. */
NODISCARD enum err ipp_client_new(struct loop *l, const struct ipp_client_settings *s,
                                  struct ipp_client **ret);
/* Without a call of |done|. NULL is fine. */
void ipp_client_free(struct ipp_client *c);
/* ERR_BUG while another request is under way. Copies |r|. A kept connection that dies before the
 * first byte of an answer, and before any of a document was sent, is replaced once. */
NODISCARD enum err ipp_client_ask(struct ipp_client *c, const struct ipp_client_request *r);
/* Bytes of the request's document that are gone. */
uint64_t ipp_client_sent(const struct ipp_client *c);
/* Does the printer say that it is one of our gateways? */
bool ipp_client_is_sallyport(const struct ipp_client *c);

/* ---- what heads say; ipp_client_head.c, pure ---- */

struct head;
/* Has |h| an Upgrade field with TLS in it, or TLS/ and a version (RFC 2817 3.3, RFC 9110 7.8)? Of
 * several the first that fits; *ret_token, which may be NULL, is that. */
bool ipp_head_names_tls(const struct head *h, struct span *ret_token);
bool ipp_head_is_sallyport(const struct head *h);
/* One Content-Type, application/ipp. */
bool ipp_head_is_ipp(const struct head *h);

#endif
