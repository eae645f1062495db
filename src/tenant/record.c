/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "tenant/record_int.h"

bool record_has_control(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c < 0x20 || c == 0x7f)
            return true;
        if (c == 0xc2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xa0)
            return true;
    }
    return false;
}

void record_hex(struct json *j, const char *key, const uint8_t *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    char *at = json_begin(j, span_of(key), 2 * n + 2);

    if (!at)
        return;
    *at++ = '"';
    for (size_t i = 0; i < n; i++) {
        *at++ = digits[p[i] >> 4];
        *at++ = digits[p[i] & 15];
    }
    *at++ = '"';
    json_end(j, at);
}

void record_time(struct json *j, const char *key, uint64_t wall_ms)
{
    char text[ISO_TIME_LEN + 1];

    clock_iso_time(wall_ms, text);
    json_text(j, key, text);
}

enum err record_load(struct span text, size_t n_members, const char *optional, json_t **ret)
{
    json_error_t error;
    json_t *root;

    if (text.n == 0 || text.n > RECORD_TEXT_MAX)
        return ERR_PROTO;
    root = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &error);
    if (!root && json_error_code(&error) == json_error_out_of_memory)
        return ERR_NOMEM;
    if (optional && json_object_get(root, optional))
        n_members++;
    if (!json_is_object(root) || json_object_size(root) != n_members) {
        json_decref(root);
        return ERR_PROTO;
    }
    *ret = root;
    return OK;
}

enum err record_read_text(const json_t *o, const char *key, struct span *ret)
{
    const json_t *v = json_object_get(o, key);

    if (!json_is_string(v))
        return ERR_PROTO;
    *ret = (struct span){json_string_value(v), json_string_length(v)};
    return OK;
}

enum err record_read_bool(const json_t *o, const char *key, bool *ret)
{
    const json_t *v = json_object_get(o, key);

    if (!json_is_boolean(v))
        return ERR_PROTO;
    *ret = json_is_true(v);
    return OK;
}

enum err record_read_hex(const json_t *o, const char *key, uint8_t *dst, size_t n)
{
    struct span s;

    TRY(record_read_text(o, key, &s));
    if (s.n != 2 * n)
        return ERR_PROTO;
    for (size_t i = 0; i < n; i++) {
        int high = char_hex(s.p[2 * i]), low = char_hex(s.p[2 * i + 1]);

        if (high < 0 || low < 0)
            return ERR_PROTO;
        dst[i] = (uint8_t)(high << 4 | low);
    }
    return OK;
}

enum err record_read_time(const json_t *o, const char *key, uint64_t *ret_wall_ms)
{
    struct span s;

    TRY(record_read_text(o, key, &s));
    return clock_iso_parse(s, ret_wall_ms) == OK ? OK : ERR_PROTO;
}
