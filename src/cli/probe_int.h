/* SPDX-License-Identifier: Apache-2.0 */
/* probe_int.h - the parts of `sallyport probe`: probe_talk.c has the connection, probe_answer.c
 * reads, probe_tls.c, probe_options.c, probe_errors.c, probe_adapt.c and probe_keep.c each look at
 * one side of the server, probe_report.c tells. */
#ifndef CLI_PROBE_INT_H
#define CLI_PROBE_INT_H

#include "cli/probe_report.h"
#include "cli/probe_talk.h"

#define PROBE_ISTAG_TEXT_MAX 128u

struct probe {
    struct probe_target target;
    struct probe_report *report;
    const char *url;         /* of the service, as it goes on the wire */
    const char *host_header; /* Host: value */
    const char *wrong_url;   /* of a service that does not exist */
    bool eicar, insecure;
    const char *user;          /* who asks; NULL: nobody */
    const char *authorization; /* the secret with which; NULL: none, or it was refused once */
    bool denied;               /* something was answered with 407 */
    /* What OPTIONS said. */
    unsigned methods; /* bit 1 << enum icap_method */
    bool has_preview;
    uint64_t preview;
    char istag[PROBE_ISTAG_TEXT_MAX];
};

/* Sends |request| and reads the answer, which the caller ends with probe_answer_done() in any case.
 * |what| names the request in sentences. What is odd about the form of the answer is in the report
 * then. Errors as probe_talk_receive(); k->why says more. */
NODISCARD enum err probe_exchange(struct probe *p, struct probe_talk *k, const char *what,
                                  struct span request, struct probe_answer *a);
/* The same on a new connection, which stays open. */
NODISCARD enum err probe_fresh_exchange(struct probe *p, struct probe_talk *k, const char *what,
                                        struct span request, struct probe_answer *a);
/* Notes what is odd about an answer that was read some other way. */
void probe_note_form(struct probe *p, const char *what, const struct probe_answer *a);
/* "OPTIONS icap://… ICAP/1.0", Host, User-Agent, |fields| (each with CRLF), the empty line. */
void probe_add_head(const struct probe *p, struct buf *out, const char *method, const char *url,
                    const char *version, const char *fields);

/* Wipes it: there may be a password in it. */
void probe_request_done(struct buf *request);

struct probe_request {
    enum icap_method method; /* REQMOD or RESPMOD */
    const char *name;        /* of the file */
    struct span body;
    bool allow_204, close, has_preview;
    uint64_t preview;
    size_t hold_back; /* without a preview: so many bytes at the end of the body come later */
};
/* The request up to the end of its preview, or all of it. */
void probe_add_request(const struct probe *p, const struct probe_request *r, struct buf *out);
/* What 100 Continue asks for; |from| and |n| of the body, and the last chunk with |last|. */
void probe_add_chunk(struct buf *out, struct span bytes, bool last);

/* Looks the host up and connects once, in clear text. False: nobody is there. */
bool probe_connection(struct probe *p);

/* ---- parts of probe_tls(), which probes of printers share ---- */

/* A handshake: by our rules, or else by any. False: there is none. */
bool probe_tls_first(struct probe *p, struct tls_peer *ret);
/* Protocol, cipher, certificates, chain and name. */
void probe_tls_look(struct probe *p, const struct tls_peer *peer);
/* Are TLS 1.0 and 1.1 taken? */
void probe_tls_old_versions(struct probe *p);
/* Has the server proved who it is, well enough to be told something? With |insecure| it has. */
bool probe_tls_content(struct probe *p);

/* Each fills its section and says whether the next one makes sense. */
bool probe_tls(struct probe *p);
bool probe_options(struct probe *p);
void probe_errors(struct probe *p);
void probe_adapt(struct probe *p);
void probe_keep(struct probe *p);

#endif
