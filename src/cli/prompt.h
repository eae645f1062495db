/* SPDX-License-Identifier: Apache-2.0 */
/* prompt.h - asks a person for a secret, on the terminal and without echo; and reads a line, be it
 * a person's or a file's. */
#ifndef CLI_PROMPT_H
#define CLI_PROMPT_H

#include <stddef.h>

#include "base/err.h"

/* Shows |text| on the controlling terminal, whatever stdin and stdout are, and reads a line into
 * |dst| (with a closing NUL, without LF). The terminal is left as it was, also when a signal ends
 * the process. ERR_MISSING: there is no terminal; ERR_EOF: nothing was typed; ERR_LIMIT: more than
 * cap - 1 bytes; ERR_SYNTAX; ERR_IO. |dst| is wiped unless OK. */
NODISCARD enum err prompt_secret(const char *text, char *dst, size_t cap);
/* A line of |fd| into |dst|, with a closing NUL and without its end, LF or CRLF. Byte by byte: what
 * follows is somebody else's. ERR_EOF: there is none; ERR_LIMIT: more than cap - 1 bytes;
 * ERR_SYNTAX: a NUL in it; ERR_IO: errno says why. |dst| is wiped unless OK. */
NODISCARD enum err prompt_line(int fd, char *dst, size_t cap);

#endif
