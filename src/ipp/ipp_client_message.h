/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_client_message.h - the requests that our client makes (RFC 8011 4.2, 4.3), as messages; and
 * the syntax that a job's attribute has, which the printer's own answer tells best.
 *
 * Pure: what is written goes into the caller's buf. Any thread. */
#ifndef IPP_CLIENT_MESSAGE_H
#define IPP_CLIENT_MESSAGE_H

#include "ipp/ipp_client.h"

/* A job template attribute (RFC 8011 5.2) with one value. */
struct ipp_client_option {
    struct span name;
    uint8_t tag;
    union {
        struct span text; /* keyword, name and all that are strings */
        int32_t number;   /* integer, enum, boolean */
        struct {
            int32_t lower, upper; /* rangeOfInteger; resolution: dots per inch */
        } range;
    };
};

/* What a request says besides its target; what is NULL, 0 or false is not said. */
struct ipp_client_message {
    uint16_t operation;
    bool is_job;               /* the URI is a job's, not a printer's */
    int32_t job_id;            /* with a printer's URI: this job of it */
    const char *user;          /* requesting-user-name: anybody can say it */
    const char *title;         /* job-name; cut at 255 octets */
    const char *format;        /* document-format */
    const char *which;         /* which-jobs */
    int32_t limit;             /* of Get-Jobs */
    bool document;             /* it is Send-Document's, the last one */
    const char *const *wanted; /* requested-attributes */
    size_t n_wanted;
    const struct ipp_client_option *wanted_options; /* and what the printer says of these */
    size_t n_wanted_options;
    const struct ipp_client_option *options; /* of the job */
    size_t n_options;
};

/* For ipp_client_request.write; |arg|, its write_arg, is a struct ipp_client_message. Errors as
 * ipp_write_end(). */
NODISCARD enum err ipp_client_message_write(const void *arg, const struct ipp_client_target *t,
                                            struct buf *out);

/* Reads "NAME=VALUE"; views into |text|. The value stays text: a keyword, for the time being. NULL,
 * or what is wrong with it (static). */
const char *ipp_client_option_parse(struct span text, struct ipp_client_option *ret);
/* Gives |o|, as it was parsed, the syntax that |printer| has for it: an answer to
 * Get-Printer-Attributes; NULL, or one that does not name it: what it looks like. NULL, or what is
 * wrong (static), and then |o| is as it was. */
const char *ipp_client_option_type(const struct ipp_message *printer, struct ipp_client_option *o);

/* ---- reading answers ---- */

/* The first group of that kind; false without one. */
bool ipp_client_group(const struct ipp_message *m, uint8_t tag, struct ipp_group *ret);
/* Of |attributes|: the first value of a string; SPAN_NONE without one. */
struct span ipp_client_text(struct span attributes, const char *name);
/* The first value of an integer or enum; |otherwise| without one. */
int32_t ipp_client_number(struct span attributes, const char *name, int32_t otherwise);
/* Is |value| one of the strings of that attribute? */
bool ipp_client_has(struct span attributes, const char *name, struct span value);
/* status-message, or SPAN_NONE (RFC 8011 4.1.6.2). */
struct span ipp_client_status_message(const struct ipp_message *m);

#endif
