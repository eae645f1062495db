/* SPDX-License-Identifier: Apache-2.0 */
/* status_text.h - what the gateway says about itself, and one of its records, for people. */
#ifndef CLI_STATUS_TEXT_H
#define CLI_STATUS_TEXT_H

#include "cli/ask.h"

void status_text(const json_t *root, struct buf *out);
/* With what to do about it; |a|: which gateway the commands are for. */
void status_record_text(const json_t *record, const struct ask *a, struct buf *out);

#endif
