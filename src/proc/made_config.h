/* SPDX-License-Identifier: Apache-2.0 */
/* made_config.h - configurations that Sallyport writes for itself: what demo.c and mounted.c share.
 */
#ifndef PROC_MADE_CONFIG_H
#define PROC_MADE_CONFIG_H

#include "base/buf.h"

/* A path as a YAML string, whatever it has in it. */
void made_quoted(struct buf *out, const char *dir, const char *name);
/* OK, also when it is there. |why| gets a sentence. */
NODISCARD enum err made_directory(const char *path, struct buf *why);
NODISCARD enum err made_save(const char *path, const struct buf *text, struct buf *why);
/* "cannot |what| |path|: " and errno's text. Returns ERR_IO. */
enum err made_failed(struct buf *why, const char *what, const char *path);
/* |dir| and |name| in one; NULL without memory. The caller frees it. */
char *made_below(const char *dir, const char *name);

#endif
