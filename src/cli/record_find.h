/* SPDX-License-Identifier: Apache-2.0 */
/* record_find.h - one record out of a file of records, however long that is: searched from its end,
 * where the answers are that people ask for, in bounded memory. */
#ifndef CLI_RECORD_FIND_H
#define CLI_RECORD_FIND_H

#include "base/buf.h"

#define RECORD_FIND_LINE_MAX (1u << 20) /* longer lines are no records */

/* Letters and digits, at most 32: may be part of a search. */
bool record_id_is_valid(const char *id);
/* |line| gets the last record of |path| with that id, without its LF. ERR_MISSING: there is none;
 * ERR_IO: *ret_errnum says why it cannot be read. */
NODISCARD enum err record_find(const char *path, const char *id, struct buf *line, int *ret_errnum);

#endif
