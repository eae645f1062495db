/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_filetype_magic.c - libmagic asked for the tests that can hold says what libmagic says that
 * is asked for all of them, whatever the bytes. Of the system's magic files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <magic.h>

#include "worker/filetype_magic.h"

#define SIZE_LIMIT 16384u /* the whole takes time by the byte */
#define ANSWER_MAX 256u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct filetype_magic *magic;

static void load(void)
{
    struct buf errors;

    buf_init(&errors, 0);
    if (filetype_magic_new(magic_getpath(NULL, 1), &magic, &errors) != OK)
        abort();
    buf_done(&errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct span file = {(const char *)data, size < SIZE_LIMIT ? size : SIZE_LIMIT};
    char whole[ANSWER_MAX];
    const char *said;

    if (!magic)
        load();
    if (file.n == 0)
        return 0;
    said = filetype_magic_ask_whole(magic, file);
    (void)snprintf(whole, sizeof whole, "%s", said ? said : "");
    said = filetype_magic_ask(magic, file);
    if (strcmp(whole, said ? said : "") != 0)
        abort();
    return 0;
}
