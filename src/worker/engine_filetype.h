/* SPDX-License-Identifier: Apache-2.0 */
/* engine_filetype.h - what an object is by its bytes, asked of libmagic (filetype_magic.h): the
 * media type goes into engine_file.sniffed, in small letters; nothing of a FIELD of a form. It
 * judges nothing; policies do (adapt/type_policy.h).
 *
 * Where libmagic is known to be weak, the bytes are looked at again:
 * - MZ is always application/vnd.microsoft.portable-executable, whichever of its names for it
 *   libmagic takes, and also when something else matched first and a PE header is there;
 * - a ZIP is told by the names in it: OOXML (with macros: the macroEnabled type), JAR, APK,
 * wherever in the archive those names stand;
 * - text that a browser would take for HTML, or that is SVG or an HTA, is that, also in UTF-16;
 * - Windows shortcuts, whose type older magic files do not have.
 * Scripts without #! (PowerShell, VBScript, JavaScript) look like text/plain: they are known by
 * name. What libmagic fails at is application/octet-stream. */
#ifndef WORKER_ENGINE_FILETYPE_H
#define WORKER_ENGINE_FILETYPE_H

#include "worker/engine.h"

/* Loads |magic_files| (files or compiled .mgc files; |n| 0: the system's) and makes the engine,
 * once, before forks. Appends "filetype 5.44 magic DIGEST" to |describe|: libmagic's version and
 * the first 16 digits of the SHA-256 of what was loaded. ERR_CONFIG: a file cannot be read or has
 * no magic in it, |errors| says which. */
NODISCARD enum err engine_filetype(const char *const *magic_files, size_t n, struct engine *ret,
                                   struct buf *describe, struct buf *errors);
void engine_filetype_done(struct engine *e);

#endif
