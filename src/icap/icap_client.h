/* SPDX-License-Identifier: Apache-2.0 */
/* icap_client.h - the ICAP client's driver: has one file at a time inspected by a server over
 * icap:// or icaps://, on a connection that is kept. Several at once are several clients.
 *
 * Threads: belongs to its loop's thread. */
#ifndef ICAP_CLIENT_H
#define ICAP_CLIENT_H

#include "icap/icap_client_engine.h"
#include "net/upstream.h"

struct icap_client;
struct record_upstream;

/* Who asks (RFC 7617, draft-cameron-secure-icap-bcp-00): goes with every request, because servers
 * differ in which ones they look at, and only over a connection that is confidential and whose
 * server is authenticated. */
struct icap_client_login {
    const char *user;          /* for sentences */
    const char *authorization; /* value of the field, "Basic ..."; NULL: nobody. A secret, which its
                                  owner wipes */
    bool insecure;             /* goes over any connection */
};

struct icap_client_settings {
    struct upstream_settings upstream;
    const char *uri;         /* icap(s)://host[:port]/path, as it goes on the wire */
    const char *host_header; /* Host: value */
    enum icap_method method; /* ICAP_RESPMOD or ICAP_REQMOD; what files are wrapped in */
    struct icap_client_login login;
    uint64_t
        file_ms; /* one file or OPTIONS, connecting and all; 0: as the engine's limits have it */
};

struct icap_client_file {
    struct span name; /* becomes the last part of the wrapped request's path, percent-encoded */
    int fd;           /* regular file, read from 0; stays the caller's until |done| */
    uint64_t len;
};

/* PASS: 204, or the same bytes came back. CHANGED: other bytes came back. BLOCKED: an HTTP error
 * came back, or X-Infection-Found. ERROR: an ICAP error, or |err|. */
enum icap_client_verdict {
    ICAP_CLIENT_PASS,
    ICAP_CLIENT_CHANGED,
    ICAP_CLIENT_BLOCKED,
    ICAP_CLIENT_ERROR
};

#define ICAP_CLIENT_TEXT_MAX 256
struct icap_client_result {
    enum icap_client_verdict verdict;
    enum err err;                         /* network, TLS, protocol: no answer that counts */
    char why[ICAP_CLIENT_TEXT_MAX];       /* a sentence */
    unsigned status, http_status;         /* of the answer; 0: none */
    char infection[ICAP_CLIENT_TEXT_MAX]; /* X-Infection-Found, or X-Virus-ID */
    char info[ICAP_CLIENT_TEXT_MAX];      /* X-Response-Info and X-Response-Desc */
    char id[ICAP_CLIENT_TEXT_MAX];        /* X-Request-ID */
    char istag[ICAP_CLIENT_TEXT_MAX];
    char how[ICAP_CLIENT_TEXT_MAX]; /* HOW the connection was protected */
    char who[ICAP_CLIENT_TEXT_MAX]; /* WHO: the authenticated server, or "" */
    uint64_t body_len;              /* bytes that came back */
    uint64_t us;
};
typedef void (*icap_client_fn)(void *arg, const struct icap_client_result *result);

/* Strings are borrowed and outlive the client. */
NODISCARD enum err icap_client_new(struct loop *l, const struct icap_client_settings *s,
                                   struct icap_client **ret);
void icap_client_free(struct icap_client *c);
/* |done| once, never inside the call. ERR_BUG while another file is under way. The first file asks
 * OPTIONS first, for the preview. A kept connection that dies before the first byte of an answer is
 * replaced once. With a login a 407 is answered by the same request once more, from the first byte
 * of the file: a session of the server may have ended, also in the middle of a file; the second 407
 * in a row is the result. A 503 that says when to come back, and soon, is taken at its word, three
 * times. */
NODISCARD enum err icap_client_scan(struct icap_client *c, const struct icap_client_file *f,
                                    icap_client_fn done, void *arg);
/* Asks OPTIONS alone: PASS for a 2xx answer, with its |status| and |istag|; ERROR otherwise. Like
 * icap_client_scan() in everything else. */
NODISCARD enum err icap_client_ask(struct icap_client *c, icap_client_fn done, void *arg);
/* For a record: the connection that the file that is under way, or was the last one, went over or
 * could not go over. NULL: there is none. Borrowed until the next file. */
struct record_upstream *icap_client_upstream(const struct icap_client *c);
/* Ends what is under way, if anything is: its connection is closed, and |done| hears |err| and
 * |why|, unless it has a result already. */
void icap_client_give_up(struct icap_client *c, enum err err, const char *why);

#endif
