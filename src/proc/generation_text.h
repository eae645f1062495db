/* SPDX-License-Identifier: Apache-2.0 */
/* generation_text.h - whole files that may be keys: read into locked memory that is in no core file
 * and is wiped when it is freed; handed to another process as a sealed memfd. */
#ifndef PROC_GENERATION_TEXT_H
#define PROC_GENERATION_TEXT_H

#include "base/span.h"

#define TEXT_FILE_MAX (4u << 20) /* bytes of one file */

/* Reads |fd| from its beginning to its end. The text has a closing NUL that does not count.
 * ERR_LIMIT over |max|, ERR_NOMEM, ERR_IO. */
NODISCARD enum err text_read(int fd, size_t max, struct span *ret);
/* A copy that text_free() frees. */
NODISCARD enum err text_copy(struct span text, struct span *ret);
/* |path|, as text_read(); |ret_stat| (may be NULL): of the file that was read. *reterr_errno says
 * why not (0: too large, no file, or no memory). */
struct stat;
NODISCARD enum err text_load(const char *path, struct span *ret, struct stat *ret_stat,
                             int *reterr_errno);
/* Wipes and frees a text of the functions above; p == NULL is fine. */
void text_free(struct span *text);
/* A memfd with |text| that nobody can change; close-on-exec. -1: errno. */
int text_memfd(const char *name, struct span text);

#endif
