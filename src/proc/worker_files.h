/* SPDX-License-Identifier: Apache-2.0 */
/* worker_files.h - where the worker program and its own rules are: beside this program in a build
 * tree, or installed. */
#ifndef PROC_WORKER_FILES_H
#define PROC_WORKER_FILES_H

#include <stddef.h>

/* |named| (an option) or $SALLYPORT_WORKER, when given; else sallyport-worker beside |exe| (the
 * path of this program), else as installed. |dst| of |cap| bytes is where a path is put that is not
 * constant. Never NULL. */
const char *worker_files_program(const char *named, const char *exe, char *dst, size_t cap);
/* The rules that come with Sallyport. Never NULL. */
const char *worker_files_rules(const char *exe);

#endif
