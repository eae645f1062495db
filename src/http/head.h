/* SPDX-License-Identifier: Apache-2.0 */
/* head.h - one strict, incremental parser for the heads of ICAP messages (RFC 3507 4.3) and of
 * HTTP/1.1 messages (RFC 9112 2-5), also those that ICAP encapsulates. Sans-IO: bytes in, a table
 * of views out. */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include "base/arena.h"
#include "base/span.h"

enum head_kind { HEAD_ICAP_REQUEST, HEAD_ICAP_STATUS, HEAD_HTTP_REQUEST, HEAD_HTTP_STATUS };

struct field {
    struct span name;
    struct span value; /* without the white space around it */
    bool odd; /* encapsulated heads only: not a well-formed field-line; name is empty, value the
                 whole line */
};

struct head {
    enum head_kind kind;
    struct span text;           /* all of it, start-line to empty line included */
    struct span start_line;     /* without CRLF */
    struct span method, target; /* requests */
    struct span reason;         /* status-lines; may be empty */
    unsigned status;            /* status-lines: 100..999 */
    unsigned major, minor;      /* version digits */
    struct field *fields;
    unsigned n_fields;
    bool plain; /* no control byte in it but HTAB and the CRLFs, and one empty line, its last */
};

struct head_limits {
    size_t line_max; /* start-line, bytes without CRLF */
    size_t size_max; /* whole head */
    unsigned fields_max;
};

/* Looks for the end of a head in bytes that grow: same result for any split, total work linear.
 * Zero it to start. */
struct head_scan {
    size_t at;      /* bytes looked at */
    size_t line;    /* where the current line began */
    bool in_fields; /* the start-line is behind us */
};

/* |so_far|: all bytes from the first of the head on, as received until now (each call passes at
 * least as many as the last). OK: *ret_len is the head's length with its empty line. ERR_AGAIN: no
 * end yet. ERR_PROTO for a bare LF, a CR without LF, or NUL; ERR_LIMIT (status 414 for the
 * start-line, 431 for the rest) over a limit; |fault| says which and where. */
NODISCARD enum err head_scan(struct head_scan *s, struct span so_far, const struct head_limits *lim,
                             size_t *ret_len, struct fault *reterr);

/* Parses one whole head, as head_scan() found it. Fields come from |mem|; every view points into
 * |text|. ICAP kinds are strict: token names, no white space before the colon, no obs-fold, no
 * control bytes. HTTP kinds are strict on the start-line and on the names that decide framing and
 * type (Content-Length, Transfer-Encoding, Content-Type, Content-Disposition, Content-Encoding,
 * Connection, Trailer, Host), and hand other odd lines on as |odd| (origin servers emit them, and
 * they are passed through byte for byte). obs-fold in HTTP kinds: the continuation is an odd line
 * unless it continues one of these names: then it is refused. *ret is written only on OK. */
NODISCARD enum err head_parse(enum head_kind kind, struct span text, const struct head_limits *lim,
                              struct arena *mem, struct head *ret, struct fault *reterr);

/* Splits one field-line (without CRLF) by the strict grammar of RFC 9110 5.1 and 5.5: token name,
 * no white space before the colon, no control byte in the value. False when it is anything else. */
bool field_line_parse(struct span line, struct field *ret);
/* Takes the strict field-line, with its CRLF, that |*lines| begins with. False: there is none. */
bool field_line_next(struct span *lines, struct field *ret);
/* Is |lines| a run of strict field-lines, each with its CRLF (the empty run, too)? What callers
 * hand over as "further fields" is checked with this, so that no text from a peer can split a
 * message. */
bool field_lines_are_valid(struct span lines);

/* First field of that name at or after index |from|, or n_fields. Names compare without case. */
unsigned head_find(const struct head *h, struct span name, unsigned from);
/* Value of the first field of that name; SPAN_NONE (p == NULL) when there is none. */
struct span head_value(const struct head *h, struct span name);
/* Overwrites all values of Authorization and Proxy-Authorization, whatever stands there: they have
 * been used, and shall not be found later in memory that others get. By the owner of the head's
 * text alone, which is not read-only. */
void head_wipe_credentials(const struct head *h);
unsigned head_count(const struct head *h, struct span name);
/* Is |token| an element of the comma lists of all fields |name|? Without case. */
bool head_has_token(const struct head *h, struct span name, struct span token);
/* RFC 9112 6.3: the one Content-Length, equal repeats allowed. OK; ERR_MISSING: none; ERR_PROTO:
 * bad or conflicting. */
NODISCARD enum err head_content_length(const struct head *h, uint64_t *ret);
/* Has the head one of the contradictions that a filter must not guess about (RFC 9112 6.1, 11.2):
 * conflicting Content-Length, Content-Length with Transfer-Encoding, repeated Content-Type or
 * Content-Disposition, in a request what head_host_conflict() says, NUL? Returns a static sentence,
 * or NULL when it is sane. */
const char *head_smuggling(const struct head *h);
/* RFC 9112 3.2: more than one Host, whatever they say and whatever the target is, or one that names
 * no single host. Returns a static sentence, or NULL. None at all is no conflict: makers of
 * synthetic heads leave it out, and nobody reads another one. */
const char *head_host_conflict(const struct head *h);

#endif
