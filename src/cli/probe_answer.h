/* SPDX-License-Identifier: Apache-2.0 */
/* probe_answer.h - reads an ICAP answer the way a patient person would: goes on wherever the
 * meaning is plain, and notes each thing that is not as RFC 3507 and RFC 9112 have it. For `probe`
 * alone: everything else here refuses what this reader describes. Sans-IO. */
#ifndef CLI_PROBE_ANSWER_H
#define CLI_PROBE_ANSWER_H

#include "base/buf.h"
#include "icap/icap_message.h"

enum probe_note {
    PROBE_NOTE_LEADING_LINES, /* empty lines before the status-line */
    PROBE_NOTE_BARE_LF,       /* lines of ICAP or of the chunked coding without CR */
    PROBE_NOTE_HTTP_BARE_LF,  /* lines of an encapsulated head without CR */
    PROBE_NOTE_STATUS_LINE,   /* not "ICAP/1.0 NNN ..." */
    PROBE_NOTE_FIELD,        /* a line that is no field-line: no colon, blank before it, no token */
    PROBE_NOTE_FOLD,         /* a field-line that goes on in the next line */
    PROBE_NOTE_CONTROL,      /* control bytes in a field */
    PROBE_NOTE_ENCAPSULATED, /* a value without sense */
    PROBE_NOTE_OFFSET,       /* an offset is not where that part begins */
    PROBE_NOTE_CHUNK_SIZE,   /* blanks around a chunk-size */
    PROBE_NOTE_CHUNK_END,    /* no CRLF after the data of a chunk */
    PROBE_NOTE_TRAILER,      /* fields after the last chunk */
    PROBE_NOTE_204_BODY,     /* 204 whose Encapsulated announces a body */
};
#define PROBE_NOTES 13u

enum probe_answer_state {
    PROBE_ANSWER_START,
    PROBE_ANSWER_HEAD,
    PROBE_ANSWER_HTTP,
    PROBE_ANSWER_CHUNK_SIZE,
    PROBE_ANSWER_CHUNK_DATA,
    PROBE_ANSWER_CHUNK_END,
    PROBE_ANSWER_TRAILER,
    PROBE_ANSWER_DONE,
    PROBE_ANSWER_BROKEN /* |fault| says why */
};

#define PROBE_PARTS_MAX 8u

struct probe_answer {
    enum probe_answer_state state;
    unsigned notes;  /* 1 << enum probe_note */
    unsigned status; /* ICAP */
    unsigned http_status;
    const char *fault; /* static */
    struct buf head;   /* ICAP head as it came, empty line included */
    struct buf http;   /* encapsulated heads as they came */
    struct buf body;   /* without the chunked coding */
    bool has_body;
    struct {
        enum icap_entity entity;
        uint64_t off;
    } part[PROBE_PARTS_MAX];
    unsigned n_parts;
    /* Private. */
    struct buf line;
    unsigned at_part, empty_lines;
    uint64_t chunk_left;
};

/* |body_max|: more is a fault. */
void probe_answer_init(struct probe_answer *a, size_t body_max);
void probe_answer_done(struct probe_answer *a);
/* *ret_used bytes of |in| were used: all, unless the answer is complete or broken. ERR_SYNTAX, and
 * state BROKEN: it cannot be understood; ERR_NOMEM. Same result for any split. */
NODISCARD enum err probe_answer_feed(struct probe_answer *a, struct span in, size_t *ret_used);
/* The server closed: BROKEN unless DONE. */
void probe_answer_eof(struct probe_answer *a);
bool probe_answer_has(const struct probe_answer *a, enum probe_note note);
/* Value of the first ICAP field of that name, trimmed; SPAN_NONE without one. */
struct span probe_answer_field(const struct probe_answer *a, struct span name);
/* All fields whose names begin so: |*at| 0 to start. False at the end. */
bool probe_answer_next(const struct probe_answer *a, struct span prefix, size_t *at,
                       struct span *ret_name, struct span *ret_value);

#endif
