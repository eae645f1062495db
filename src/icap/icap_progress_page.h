/* SPDX-License-Identifier: Apache-2.0 */
/* icap_progress_page.h - what users of slow.mode: progress see: HTML, and the heads of HTTP
 * responses. Pure. */
#ifndef ICAP_PROGRESS_PAGE_H
#define ICAP_PROGRESS_PAGE_H

#include "http/head.h"
#include "icap/icap_progress_table.h"

/* The page for everything that is not READY or BLOCKED. |entry|: NULL unless SCANNING or FAILED. */
void progress_page(enum progress_state state, const struct progress_entry *entry, uint64_t now_ms,
                   struct buf *b);
/* Head of a response with a page of |len| bytes. |via|: our name, NULL: say nothing. */
void progress_page_head(unsigned status, size_t len, const char *via, struct buf *b);
/* Head of the response that hands the file over: the original one without what was meant for its
 * connection, its site or a cache. |name|: the file's. */
void progress_file_head(const struct head *original, struct span name, uint64_t len,
                        const char *via, struct buf *b);

#endif
