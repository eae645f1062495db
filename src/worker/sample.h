/* SPDX-License-Identifier: Apache-2.0 */
/* sample.h - a few bytes of ours, inspected: everything that a worker will do is done once. */
#ifndef WORKER_SAMPLE_H
#define WORKER_SAMPLE_H

#include "base/buf.h"
#include "worker/engine.h"

/* In the zygote, it lets libraries open and set up what they do on first use; in a worker on trial,
 * it shows that they do no more of that. ERR_ENGINE with |why| when the sample was not unpacked. */
NODISCARD enum err sample_inspect(const struct engines *engines, struct buf *why);

#endif
