/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_basic.c - Authorization values: what decodes is the only token of its text. */
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "tenant/basic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void encode_again(struct span token, struct span user, struct span password)
{
    unsigned char text[BASIC_TEXT_MAX], again[BASIC_TOKEN_MAX + 1];

    memcpy(text, user.p, user.n);
    text[user.n] = ':';
    memcpy(text + user.n + 1, password.p, password.n);
    int n = EVP_EncodeBlock(again, text, (int)(user.n + 1 + password.n));

    check(n > 0 && span_eq(token, (struct span){(const char *)again, (size_t)n}));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span value = {(const char *)data, size}, token, user, password;

    if (basic_token(value, &token) != OK)
        return 0;
    check(token.p >= value.p && token.n <= BASIC_TOKEN_MAX);
    char *room = malloc(BASIC_ROOM(token.n));

    check(room != NULL);
    if (basic_decode(token, room, &user, &password) == OK) {
        check(user.n > 0 && span_find(user, ':') == user.n);
        check(user.n + 1 + password.n <= BASIC_TEXT_MAX);
        encode_again(token, user, password);
    }
    free(room);
    return 0;
}
