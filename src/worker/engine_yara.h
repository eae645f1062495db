/* SPDX-License-Identifier: Apache-2.0 */
/* engine_yara.h - the YARA rules as an engine. A rule that matches blocks (CAUSE_INFECTED), unless
 * its meta says action = "note"; the finding's name is meta threat, or the rule's identifier. */
#ifndef WORKER_ENGINE_YARA_H
#define WORKER_ENGINE_YARA_H

#include "worker/engine.h"
#include "worker/yara_rules.h"

/* Borrows |rules|, and keeps the scanner there that all objects go through, one after the other.
 * Writes "yara VERSION rules DIGEST" to |describe|. */
struct engine engine_yara(struct yara_rules *rules, struct buf *describe);

#endif
