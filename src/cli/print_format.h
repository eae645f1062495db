/* SPDX-License-Identifier: Apache-2.0 */
/* print_format.h - what a document is, for its document-format: by its first octets, or by its
 * name. */
#ifndef CLI_PRINT_FORMAT_H
#define CLI_PRINT_FORMAT_H

#include "base/span.h"

#define PRINT_FORMAT_HEAD 16u /* octets that are looked at */
#define PRINT_FORMAT_ANY  "application/octet-stream"

/* |head|: the first octets, PRINT_FORMAT_HEAD or all; |name|: of the file. Static; PRINT_FORMAT_ANY
 * where it cannot be told, which leaves it to the printer. Octets count more than names. */
const char *print_format(struct span head, struct span name);
/* type/subtype (RFC 8011 5.1.10), perhaps with parameters. */
bool print_format_is_valid(struct span type);

#endif
