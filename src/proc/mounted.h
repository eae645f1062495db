/* SPDX-License-Identifier: Apache-2.0 */
/* mounted.h - the whole configuration of whoever has nothing but a mounted secret: three files in a
 * directory make the secure port. */
#ifndef PROC_MOUNTED_H
#define PROC_MOUNTED_H

#include "base/buf.h"

#define MOUNTED_STATE "/var/lib/sallyport"
#define MOUNTED_PORT  11344

/* Writes STATE/certificates.yaml, anew each time, and makes |state| (NULL: MOUNTED_STATE), but not
 * its parents. |directory|: with tls-server-cert, tls-server-key, tls-cafile, now or later.
 * |port|: of icaps; -1: MOUNTED_PORT, 0: any free one, as for the admin listener then. *ret_path:
 * the caller frees it. */
NODISCARD enum err mounted_prepare(const char *directory, const char *state, int port,
                                   char **ret_path, struct buf *why);

#endif
