/* SPDX-License-Identifier: Apache-2.0 */
/* plain_text.h - text of strangers, as a person at a terminal may be shown it: nothing in it moves
 * the cursor, ends a line, or changes the direction of what follows. */
#ifndef BASE_PLAIN_TEXT_H
#define BASE_PLAIN_TEXT_H

#include "base/buf.h"

/* Appends |text| with a question mark in place of each control character (C0 with LF and TAB, DEL,
 * C1), line and paragraph separator, character that overrides the direction of text (U+202A to
 * U+202E, U+2066 to U+2069), and byte that is no UTF-8. */
void plain_text_add(struct buf *out, struct span text);
/* One line: what |fmt| makes, plain, and LF. */
PRINTF(2, 3) void plain_text_line(struct buf *out, const char *fmt, ...);
/* Lines that stay lines; each of them becomes plain. */
void plain_text_lines(struct buf *out, struct span text);

#endif
