/* SPDX-License-Identifier: Apache-2.0 */
/* decode.h - undoes the Content-Encodings of a body (RFC 9110 8.4): gzip, deflate, br, zstd, nested
 * as the field lists them. The data comes from an enemy: what is damaged, ends early, goes on after
 * its end or grows too much is not inspected, because a recipient may make something else of it. */
#ifndef WORKER_DECODE_H
#define WORKER_DECODE_H

#include "adapt/worker_wire.h"
#include "base/clock.h"
#include "worker/pages.h"

struct decode_limits {
    struct wire_unpack unpack;
    const struct clock *clock;
    uint64_t end_us; /* monotonic: when the job's time is over */
};

enum decode_end {
    DECODE_PLAIN, /* there is nothing to undo: |out| stays empty */
    DECODE_DONE,
    DECODE_FAILED, /* |r| is judged; |out| holds what came out before, of the last step only */
};

/* |encoding|: the field's value. |out| is empty before and the caller's afterwards. */
NODISCARD enum decode_end decode_body(struct span encoding, struct span in,
                                      const struct decode_limits *l, struct pages *out,
                                      struct scan_result *r);

#endif
