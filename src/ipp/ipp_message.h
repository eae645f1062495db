/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_message.h - an IPP message whose attributes are all here (RFC 8010 3.1): checked once, then
 * read with the cursors of ipp_cursor.h. Sans-IO; nothing is allocated or copied.
 *
 * Strict where two readers could see two messages: what is checked here is what a printer behind us
 * relies on when it reads the same octets. Where peers break order without harm they are let. */
#ifndef IPP_MESSAGE_H
#define IPP_MESSAGE_H

#include "ipp/ipp_cursor.h"
#include "ipp/ipp_scan.h"

#define IPP_HEADER_SIZE 8u

enum ipp_kind { IPP_REQUEST, IPP_RESPONSE };

struct ipp_header {
    uint8_t major, minor;
    uint16_t code; /* operation-id or status-code */
    uint32_t request_id;
};

/* RFC 8011 4.1.5: what a request is about. */
enum ipp_target_kind {
    IPP_TARGET_NONE,        /* some operations have none: CUPS-Get-Default */
    IPP_TARGET_PRINTER,     /* printer-uri */
    IPP_TARGET_PRINTER_JOB, /* printer-uri and job-id */
    IPP_TARGET_JOB,         /* job-uri */
    IPP_TARGET_SYSTEM,      /* system-uri (PWG 5100.22) */
};

struct ipp_target {
    enum ipp_target_kind kind;
    struct span uri;
    int32_t job_id; /* of IPP_TARGET_PRINTER_JOB; else 0 */
};

/* A view: lives as long as the octets that it was made of. Immutable, so any thread may read it. */
struct ipp_message {
    enum ipp_kind kind;
    struct ipp_header header;
    struct span octets;    /* all of it, from the version to the end-of-attributes tag */
    struct span groups;    /* for ipp_group_next() */
    struct span operation; /* the attributes of the first group, operation-attributes */
    size_t last_group;     /* where in |octets| the last group begins: its tag */
    struct ipp_target target;
    struct span compression, format; /* of requests: the first document-format; .p NULL: none */
    unsigned n_attributes;
};

/* The first 8 octets, unchecked: what an answer to a message that cannot be read needs. False when
 * there are fewer. */
bool ipp_header_read(struct span octets, struct ipp_header *ret);

/* Checks a message: |octets| is what ipp_scan_feed() found, nothing before or behind it, and stays
 * where it is as long as *ret is used. Rules of RFC 8010 3.1 and RFC 8011 4.1:
 * - the shape, with the limits (all that ipp_scan_feed() refuses is refused here, too);
 * - version 1.x or 2.x, request-id 1..2^31-1;
 * - upper bounds of strings (in responses not of text and names, which printers make too long), no
 *   NUL in strings (again but text and names of responses), lengths of text with language;
 * - attributes-charset first, attributes-natural-language second, each once in its group;
 * - requests: at most one of printer-uri, job-uri, system-uri in the whole message, in the first
 *   group, one uri; job-id only beside printer-uri, once, positive. Their place is free: libcups
 * puts other attributes before them. That there is a target where the operation needs one is the
 *   caller's rule;
 * - requests: compression and document-format in no group but the first; the one at most once, one
 *   keyword; the other one mimeMediaType, and perhaps a second time, which counts for nothing and
 * is not for the printer. *ret is written only on OK. ERR_PROTO, ERR_LIMIT: |reterr| (which may be
 * NULL) says why. */
NODISCARD enum err ipp_message_parse(enum ipp_kind kind, struct span octets,
                                     const struct ipp_limits *lim, struct ipp_message *ret,
                                     struct ipp_fault *reterr);
/* As above, of octets whose shape |scan| has seen as they came, with the same limits: it said OK
 * behind the last one of these. What is left are the rules about what they say. */
NODISCARD enum err ipp_message_read(enum ipp_kind kind, struct span octets,
                                    const struct ipp_scan *scan, struct ipp_message *ret,
                                    struct ipp_fault *reterr);

/* As ipp_attribute_find(), in the group operation-attributes. */
NODISCARD enum err ipp_message_find(const struct ipp_message *m, struct span name,
                                    struct ipp_attribute *ret);

#endif
