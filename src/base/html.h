/* SPDX-License-Identifier: Apache-2.0 */
/* html.h - text that anybody may have written, for a page of ours (UTF-8). */
#ifndef BASE_HTML_H
#define BASE_HTML_H

#include "base/buf.h"

/* Adds |s| as text that means no markup, in an element or in a quoted attribute. What no page
 * should show is '?': bytes that are not UTF-8, control characters (NUL to U+001F, DEL, U+0080 to
 * U+009F), and those that make a reader see text in another order (U+202A to U+202E, U+2066 to
 * U+2069). */
void html_text(struct buf *b, struct span s);

#endif
