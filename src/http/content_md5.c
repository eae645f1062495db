/* SPDX-License-Identifier: Apache-2.0 */
#include "http/content_md5.h"

#include "http/digest_base64.h"

/* As digest_hash_end() writes what it is held against. */
static bool read_field(struct span text, struct digest_hex *ret)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t sum[CONTENT_MD5_LEN];

    if (!digest_base64_read(text, sum, sizeof sum))
        return false;
    *ret = (struct digest_hex){.n = 2 * sizeof sum};
    for (size_t i = 0; i < ret->n; i++)
        ret->text[i] = digits[sum[i / 2] >> (i % 2 ? 0 : 4) & 15];
    return true;
}

bool content_md5_begin(struct content_md5 *m, const struct head *h)
{
    const struct span name = SPAN("Content-MD5");
    unsigned i = head_find(h, name, 0);

    *m = (struct content_md5){0};
    if (i == h->n_fields)
        return true;
    m->hash = digest_hash_begin(DIGEST_MD5);
    if (!m->hash.ctx)
        return true;
    if (head_find(h, name, i + 1) == h->n_fields && read_field(h->fields[i].value, &m->said))
        return true;
    (void)digest_hash_end(&m->hash, NULL);
    return false;
}

bool content_md5_end(struct content_md5 *m, bool whole)
{
    struct digest_hex sum;

    if (!m->hash.ctx)
        return true;
    return digest_hash_end(&m->hash, &sum) != DIGEST_OK || !whole ||
           digest_hex_equal(&m->said, &sum);
}
