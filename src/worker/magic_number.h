/* SPDX-License-Identifier: Apache-2.0 */
/* magic_number.h - libmagic's tests of numbers that stand at a place in the file. Pure. */
#ifndef WORKER_MAGIC_NUMBER_H
#define WORKER_MAGIC_NUMBER_H

#include "worker/magic_file.h"

/* The entry tests a number, in a way that is known here, at its own offset. */
bool magic_number_is(const struct magic_entry *e);
/* Whether that holds in |file|. */
bool magic_number_holds(const struct magic_entry *e, struct span file);
/* Most numbers are but bytes that must stand there: how many, or 0. */
size_t magic_number_bytes(const struct magic_entry *e, char ret[4]);

#endif
