/* SPDX-License-Identifier: Apache-2.0 */
/* generation_text.h - whole files: read, and handed to another process as sealed memfds. Those that
 * may be keys go into locked memory that is in no core file and is wiped when it is freed. */
#ifndef PROC_GENERATION_TEXT_H
#define PROC_GENERATION_TEXT_H

#include "base/span.h"

#define TEXT_FILE_MAX (4u << 20)   /* bytes of one TEXT_SECRET */
#define TEXT_LIST_MAX (256u << 20) /* bytes of one TEXT_PUBLIC */

/* PUBLIC: a list of hosts or the like, which may be large: memory like any other. */
enum text_kind { TEXT_SECRET, TEXT_PUBLIC };

/* Reads |fd| from its beginning to its end. The text has a closing NUL that does not count.
 * ERR_LIMIT over the kind's maximum, ERR_NOMEM, ERR_IO. */
NODISCARD enum err text_read(int fd, enum text_kind kind, struct span *ret);
/* A copy that text_free() frees. */
NODISCARD enum err text_copy(struct span text, enum text_kind kind, struct span *ret);
/* |path|, as text_read(); |ret_stat| (may be NULL): of the file that was read. *reterr_errno says
 * why not (0: too large, no file, or no memory). */
struct stat;
NODISCARD enum err text_load(const char *path, enum text_kind kind, struct span *ret,
                             struct stat *ret_stat, int *reterr_errno);
/* The same for a file of the directory |dir|. */
NODISCARD enum err text_load_at(int dir, const char *path, enum text_kind kind, struct span *ret,
                                struct stat *ret_stat, int *reterr_errno);
/* Wipes and frees a text of the functions above; p == NULL is fine. */
void text_free(struct span *text);
/* A memfd with |text| that nobody can change; close-on-exec. -1: errno. */
int text_memfd(const char *name, struct span text);

#endif
