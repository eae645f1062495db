/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_translate.h - requests and answers between the names of the gateway and those of the printer
 * behind it. What a printer does not need is not told to it, what leads past the gateway is not
 * told to clients, and everything else stays octet by octet (ipp_rewrite.h). Names of attributes
 * compare without case; what is written anew has the usual spelling.
 *
 * Engine: plain values in, a message out. Any thread. */
#ifndef IPP_TRANSLATE_H
#define IPP_TRANSLATE_H

#include "ipp/ipp_jobs.h"
#include "ipp/ipp_message.h"
#include "ipp/ipp_names.h"
#include "ipp/ipp_rewrite.h"
#include "ipp/ipp_settings.h"

/* ---- client to printer: ipp_translate_request.c ---- */

/* A job by both of its numbers. */
struct ipp_job_numbers {
    int32_t id;         /* the gateway's */
    int32_t printer_id; /* the printer's */
};

struct ipp_request_translation {
    struct span printer_uri; /* the printer's own */
    int32_t job_id;          /* the printer's number of the job that the request names; 0: none */
    struct span user;        /* whose request it is, proved; empty: what it claims stays as it is */
    bool secure;             /* both ways are protected: secrets (auth-info, passwords) may pass */
    bool hold;               /* the job shall wait until it is released */
    int32_t limit;           /* of Get-Jobs, in place of its own; 0: that */
    const struct ipp_job_numbers *jobs; /* at least those of ipp_request_jobs() */
    size_t n_jobs;
};
/* clang-format off */
/* Appends |m|, a request, as the printer is to get it:
 *
 *   printer-uri                the printer's
 *   job-uri                    becomes printer-uri and job-id
 *   job-id                     the printer's
 *   job-ids, notify-job-id, predecessor-job-id
 *                              the printer's, of |jobs|. A request that names any other job fails: with that number
 *                              left out Cancel-Jobs would mean all of them
 *   first-job-id               left out: the printer's numbers have another order
 *   requesting-user-name       |user|, once, in the first group; added where it is missing
 *   job-originating-user-name, job-originating-host-name, original-requesting-user-name
 *                              left out: CUPS believes them, since it takes the gateway for itself
 *   requesting-user-uri, requesting-user-vcard
 *                              left out
 *   document-uri, document-access, notify-recipient-uri
 *                              left out: nobody fetches or is told past us. A group of subscription attributes with
 *                              notify-recipient-uri and without notify-pull-method goes as a whole
 *   auth-info, job-password, job-password-encryption, document-password, destination-accesses
 *                              left out unless |secure|
 *   job-hold-until, job-hold-until-time
 *                              where |hold|: left out in all groups (CUPS takes the first one of the message), and
 *                              job-hold-until with indefinite ends the job attributes; that group is added where it
 *                              is missing
 *   limit                      |limit|, where there are both; of Get-Subscriptions left out: what may be told is counted
 *                              behind the answer
 *   requested-attributes       of Get-Jobs job-id is added, and of what tells of subscriptions notify-job-id and
 *                              notify-subscription-id: they say to whom a group of the answer may be told
 *                              (ipp_translate_answer())
 *   all others                 as they are
 *
 * ERR_MISSING: one of those other jobs is not in |jobs|, or is named by predecessor-job-uri; ERR_BUG: |m| is no
 * request, names a job where |job_id| is 0, or names a system, which is no printer; others as ipp_rewrite(), also
 * about |out|. */
/* clang-format on */
NODISCARD enum err ipp_translate_request(const struct ipp_message *m,
                                         const struct ipp_request_translation *t, struct buf *out);
/* The gateway's numbers of jobs that |m|, a request, names otherwise than as its target; at most
 * |max|, in their order, some perhaps twice, 0 for what is no number. Returns how many there are; a
 * request with more than |max| is better refused, since each is looked for among |jobs|. */
size_t ipp_request_jobs(const struct ipp_message *m, int32_t *v, size_t max);
/* Does |m|, a request, have passwords: those that go to a printer on a protected way only? */
bool ipp_request_has_secrets(const struct ipp_message *m);

/* ---- printer to client: ipp_translate_answer.c, ipp_translate_printer.c ---- */

/* How the gateway's printer is told of. */
struct ipp_public_printer {
    const struct ipp_printer_settings *set;
    struct ipp_front front; /* host and ports as this client knows them */
    bool upgrades;          /* the clear port takes TLS by Upgrade */
    enum ipp_job_style job_style;
    struct span backend_host; /* the printer's, as in its URI */
    const char *uuid;         /* urn:uuid:... of the gateway's printer; NULL: not told */
    bool digest;              /* passwords are known here at all */
    bool single; /* one URI is told, of those the one for |secure| connections, or not */
    bool secure; /* this client's is TLS from the first byte */
};

struct ipp_answer_translation {
    const struct ipp_public_printer *printer;
    uint32_t request_id; /* the client's */
    bool is_operator;    /* whoever asks is one */
    /* The job that the request names or has made: groups without a number are about it. NULL: it
     * names none, and such groups could be about anybody's, so they are left out. */
    const struct ipp_job *named;
    struct span state_message; /* in place of the printer's own; empty: that */
    /* The job of that number at the printer, as far as it may be told to whoever asks; NULL: it may
     * not. What it returns lives until the end of the translation. May be NULL, where only |named|
     * is told. */
    const struct ipp_job *(*job)(void *arg, int32_t printer_id);
    /* May the subscription of that number be told? NULL: all may. */
    bool (*subscription)(void *arg, int32_t id);
    void *arg;
};
/* clang-format off */
/* Appends |m|, an answer, as the client is to get it:
 *
 *   groups of job, document, event notification and subscription attributes (02, 09, 07, 06)
 *                              left out when a number in them (job-id, document-job-id, notify-job-id) is that of no
 *                              job that may be told; those of the first two, and of the third when they are about a
 *                              job, also when they have none and there is no |named|. CUPS answers Get-Jobs without
 *                              job-id when nobody asked for it. The fourth also when |subscription| says so of their
 *                              notify-subscription-id, or they have none
 *   job-id, job-ids, notify-job-id, document-job-id, parent-job-id
 *                              the gateway's; values of jobs that may not be told are left out
 *   job-uri                    minted of the job as it was made (ipp_uri_format_job()): /jobs/ID
 *   job-printer-uri, printer-uri
 *                              the first of printer-uri-supported
 *   printer-uri-supported, uri-security-supported, uri-authentication-supported, printer-xri-supported
 *                              the gateway's, in parallel, in the order
 *                                - ipps, if there is a secure port: tls
 *                                - ipp with AUTH list, if the printer demands TLS and the clear port upgrades: tls
 *                                - ipp, where it demands no TLS and there is a clear port: none
 *                              and how users prove themselves: requesting-user-name, basic, digest, certificate
 *                              Of several only that which leads where the client came, if |single|: libcups, which asks at
 *                              "/", takes all of them for one
 *   printer-name               the gateway's
 *   auth-info-required         none, or username and password: as the gateway asks
 *   printer-state-message      |state_message|, where there are both
 *   printer-uuid               the gateway's
 *   device-uri, job-more-info, printer-more-info, printer-icons, printer-strings-uri, printer-supply-info-uri,
 *   printer-privacy-policy-uri, printer-static-resource-directory-uri, member-uris, document-uri, document-job-uri,
 *   document-printer-uri, notify-printer-uri, notify-recipient-uri, printer-dns-sd-name,
 *   reference-uri-schemes-supported, notify-schemes-supported
 *                              left out
 *   operations-supported       those that ipp_printer_allows() lets through for whoever asks
 *   document-format-supported  those that |formats| lets through
 *   document-format-default, document-format-preferred
 *                              left out when it is not one of these
 *   compression-supported, compression-default
 *                              none, gzip, deflate of them
 *   any other uri whose host is the printer's, localhost or a loopback address
 *                              its attribute is left out, also when it is in a collection
 *   all others                 as they are
 *
 * An attribute that loses all of its values goes. Out-of-band values ("unsupported") of what would be written anew
 * stay. ERR_BUG: |m| is no answer; others as ipp_rewrite(). */
/* clang-format on */
NODISCARD enum err ipp_translate_answer(const struct ipp_message *m,
                                        const struct ipp_answer_translation *t, struct buf *out);
/* The printer's numbers of jobs that |m|, an answer, tells of; at most |max|, in their order, some
 * perhaps twice. Returns how many there are. */
size_t ipp_answer_jobs(const struct ipp_message *m, int32_t *v, size_t max);
/* The job-id of the first job group; 0: there is none. What Print-Job and Create-Job answer. */
int32_t ipp_answer_job(const struct ipp_message *m);

/* ---- what may be asked: ipp_allow.c ---- */

/* Is the operation let through to |p|, for an operator or for others? NULL: it is not known, so
 * no. |refuse| comes before |operations|, which are for operators only; so are Cancel-Jobs,
 * Resume-Job and Promote-Job, which are about whatever job there is. */
bool ipp_printer_allows(const struct ipp_printer_settings *p, const struct ipp_operation *o,
                        bool is_operator);
/* Is |type| (without case, parameters passed over) let through? Without |formats|, everything. */
bool ipp_printer_takes_format(const struct ipp_printer_settings *p, struct span type);

/* ---- answers of our own: ipp_own_answer.c ---- */

struct ipp_own_answer {
    uint8_t major, minor; /* of the request. What we do not speak is answered as 1.1, what is above
                             as 2.0 (RFC 8011 4.1.8) */
    uint16_t status;      /* enum ipp_status_code */
    uint32_t request_id;
    struct span message; /* status-message, a sentence for people; empty: none. Cut to 255 octets;
                            what is no UTF-8 or a control character becomes "?" */
    /* Attributes of the request that were not understood or not supported: their names, with a
     * space between them, for group unsupported-attributes; empty: none. */
    struct span unsupported;
};
/* Appends a whole answer, in UTF-8 and English, whatever was asked for. ERR_NOMEM, ERR_LIMIT,
 * ERR_SYNTAX: as ipp_write_end(). */
NODISCARD enum err ipp_own_answer(const struct ipp_own_answer *a, struct buf *out);
/* As above, with job attributes of |job|: job-id, job-uri, job-state, job-state-reasons,
 * job-state-message, job-printer-uri, job-name, job-originating-user-name, time-at-creation,
 * time-at-processing, time-at-completed (these two "no-value" where it is not known),
 * job-printer-up-time, number-of-documents, job-k-octets, date-time-at-creation. |requested|: the
 * request's requested-attributes, as ipp_message_find() gave it, or NULL: all; "all",
 * "job-description" and "job-template" are groups. Times count from 1970, in seconds; it is
 * |now_wall_ms|. */
NODISCARD enum err ipp_own_job_answer(const struct ipp_own_answer *a, const struct ipp_job *job,
                                      const struct ipp_public_printer *printer,
                                      const struct ipp_attribute *requested, uint64_t now_wall_ms,
                                      struct buf *out);
/* Appends a group of |job|'s attributes alone, for an answer that has others: octets that begin
 * with the group's tag. What is wrong |out| says. */
void ipp_own_job_group(const struct ipp_job *job, const struct ipp_public_printer *printer,
                       const struct ipp_attribute *requested, uint64_t now_wall_ms,
                       struct buf *out);
/* Writes the printer's name and its URIs into the group that is open. */
void ipp_own_printer(struct ipp_writer *w, const struct ipp_public_printer *printer);

#endif
