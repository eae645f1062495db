/* SPDX-License-Identifier: Apache-2.0 */
/* troubles.h - the last things that went wrong, each kind once with a count: for `sallyport
 * status`, so that an operator sees what is the matter without reading a million records. Bounded:
 * when the table is full the kind that was seen longest ago gives way.
 *
 * Threads: any; one mutex, on the way of failures only. */
#ifndef OBSERVE_TROUBLES_H
#define OBSERVE_TROUBLES_H

#include "base/err.h"
#include "base/json.h"
#include "base/span.h"

#define TROUBLES_MAX     32u
#define TROUBLE_TEXT_MAX 160u

struct troubles;
NODISCARD enum err troubles_new(struct troubles **ret);
void troubles_free(struct troubles *t); /* NULL is fine */
/* One kind is |area| ("service inspect", "listener edge"), |code| ("timeout", err_code()) and
 * |text| (static sentences; cut at TROUBLE_TEXT_MAX). |id|: of the record that tells more, or "".
 */
void troubles_add(struct troubles *t, struct span area, const char *code, const char *text,
                  const char *id, uint64_t now_wall_ms);
/* Elements {"area","code","text","count","first","last","id"} of an open array, latest first. */
void troubles_json(struct troubles *t, struct json *j);
uint64_t troubles_count(struct troubles *t); /* added so far */

#endif
