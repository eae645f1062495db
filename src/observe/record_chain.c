/* SPDX-License-Identifier: Apache-2.0 */
#include "observe/record_chain.h"

#include <assert.h>
#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/reader.h"

#define STATE_MAGIC   SPAN("SPchain\n")
#define STATE_VERSION 1u
#define KEY_PREFIX    SPAN("sallyport-record-key-1 ")
#define STEP          SPAN("sallyport record chain next")
#define HEX_LEN       ((size_t)2 * RECORD_MAC_LEN)

static_assert(RECORD_CHAIN_STATE_LEN == 8 + 4 + 8 + RECORD_MAC_LEN, "magic, version, members");
static_assert(RECORD_KEY_TEXT_LEN == sizeof "sallyport-record-key-1 " - 1 + HEX_LEN + 1, "and LF");

/* ---- hex ---- */

static void write_octets(struct writer *w, const uint8_t v[RECORD_MAC_LEN])
{
    static const char digits[] = "0123456789abcdef";

    for (unsigned i = 0; i < RECORD_MAC_LEN; i++) {
        write_u8(w, (uint8_t)digits[v[i] >> 4]);
        write_u8(w, (uint8_t)digits[v[i] & 15]);
    }
}

/* Small letters only: there is one way to write a MAC. */
static enum err parse_octets(struct span hex, uint8_t ret[RECORD_MAC_LEN])
{
    if (hex.n != HEX_LEN)
        return ERR_SYNTAX;
    for (size_t i = 0; i < hex.n; i++)
        if (char_hex(hex.p[i]) < 0 || (hex.p[i] >= 'A' && hex.p[i] <= 'F'))
            return ERR_SYNTAX;
    for (size_t i = 0; i < RECORD_MAC_LEN; i++)
        ret[i] = (uint8_t)(char_hex(hex.p[2 * i]) << 4 | char_hex(hex.p[2 * i + 1]));
    return OK;
}

/* ---- state and key ---- */

void record_chain_begin(const uint8_t key[RECORD_MAC_LEN], struct record_chain *ret)
{
    *ret = (struct record_chain){0};
    memcpy(ret->key, key, RECORD_MAC_LEN);
}

void record_chain_wipe(struct record_chain *c)
{
    OPENSSL_cleanse(c, sizeof *c);
}

void record_chain_encode(const struct record_chain *c, char ret[RECORD_CHAIN_STATE_LEN])
{
    struct writer w = writer_of(ret, RECORD_CHAIN_STATE_LEN);

    write_span(&w, STATE_MAGIC);
    write_u32(&w, STATE_VERSION);
    write_u64(&w, c->next);
    write_span(&w, (struct span){(const char *)c->key, sizeof c->key});
}

enum err record_chain_decode(struct span state, struct record_chain *ret)
{
    struct reader r = reader_of(state.p, state.n);
    struct span magic = read_span(&r, STATE_MAGIC.n);
    uint32_t version = read_u32(&r);
    uint64_t next = read_u64(&r);
    struct span key = read_span(&r, RECORD_MAC_LEN);

    if (r.err || reader_left(&r) != 0 || !span_eq(magic, STATE_MAGIC) || version != STATE_VERSION)
        return ERR_SYNTAX;
    ret->next = next;
    memcpy(ret->key, key.p, RECORD_MAC_LEN);
    return OK;
}

void record_key_format(const uint8_t key[RECORD_MAC_LEN], char ret[RECORD_KEY_TEXT_LEN])
{
    struct writer w = writer_of(ret, RECORD_KEY_TEXT_LEN);

    write_span(&w, KEY_PREFIX);
    write_octets(&w, key);
    write_u8(&w, '\n');
}

enum err record_key_parse(struct span text, uint8_t ret[RECORD_MAC_LEN])
{
    if (span_ends(text, SPAN("\n")))
        text.n--;
    if (!span_starts(text, KEY_PREFIX))
        return ERR_SYNTAX;
    return parse_octets(span_sub(text, KEY_PREFIX.n, SIZE_MAX), ret);
}

/* ---- the MAC ---- */

/* Made once: fetching costs more than a MAC over a few lines does. */
struct record_mac {
    EVP_MAC_CTX *ctx;
};

enum err record_mac_new(struct record_mac **ret)
{
    struct record_mac *m = mem_fail_now() ? NULL : calloc(1, sizeof *m);
    EVP_MAC *hmac = m ? EVP_MAC_fetch(NULL, "HMAC", NULL) : NULL;
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};

    if (hmac)
        m->ctx = EVP_MAC_CTX_new(hmac);
    EVP_MAC_free(hmac);
    if (!m || !m->ctx || EVP_MAC_CTX_set_params(m->ctx, params) != 1) {
        record_mac_free(m);
        return ERR_NOMEM;
    }
    *ret = m;
    return OK;
}

void record_mac_free(struct record_mac *m)
{
    if (!m)
        return;
    EVP_MAC_CTX_free(m->ctx);
    free(m);
}

static enum err mac_key(struct record_mac *m, const uint8_t key[RECORD_MAC_LEN])
{
    return !mem_fail_now() && EVP_MAC_init(m->ctx, key, RECORD_MAC_LEN, NULL) == 1 ? OK : ERR_NOMEM;
}

enum err record_mac_add(struct record_mac *m, struct span piece)
{
    return EVP_MAC_update(m->ctx, (const unsigned char *)piece.p, piece.n) == 1 ? OK : ERR_NOMEM;
}

enum err record_mac_end(struct record_mac *m, uint8_t ret[RECORD_MAC_LEN])
{
    size_t n = 0;

    return EVP_MAC_final(m->ctx, ret, &n, RECORD_MAC_LEN) == 1 && n == RECORD_MAC_LEN ? OK
                                                                                      : ERR_NOMEM;
}

enum err record_mac_begin(struct record_mac *m, const struct record_chain *c,
                          const struct record_seal *s)
{
    char head[8 + 8 + 8];
    struct writer w = writer_of(head, sizeof head);

    write_u64(&w, c->next);
    write_u64(&w, s->time_wall_ms);
    write_u64(&w, s->octets);
    TRY(mac_key(m, c->key));
    return record_mac_add(m, writer_span(&w));
}

/* |key| := the one after it. */
static enum err step(struct record_mac *m, uint8_t key[RECORD_MAC_LEN])
{
    uint8_t fresh[RECORD_MAC_LEN];
    enum err e = mac_key(m, key);

    if (!e)
        e = record_mac_add(m, STEP);
    if (!e)
        e = record_mac_end(m, fresh);
    if (!e)
        memcpy(key, fresh, sizeof fresh);
    OPENSSL_cleanse(fresh, sizeof fresh);
    return e;
}

enum err record_chain_next(struct record_mac *m, struct record_chain *c)
{
    TRY(step(m, c->key));
    c->next++;
    return OK;
}

enum err record_chain_skip(struct record_mac *m, uint64_t to, struct record_chain *c)
{
    struct record_chain at = *c;
    enum err e = OK;

    while (at.next < to && !e)
        e = record_chain_next(m, &at);
    if (!e)
        *c = at;
    record_chain_wipe(&at);
    return e;
}

/* ---- the seal line ---- */

#define SEAL_BEGIN  SPAN("{\"time\":\"")
#define SEAL_EVENT  SPAN("\",\"event\":\"seal\"")
#define SEAL_NUMBER SPAN(",\"seal\":")
#define SEAL_OCTETS SPAN(",\"octets\":")
#define SEAL_MAC    SPAN(",\"mac\":\"")
#define SEAL_END    SPAN("\"}")

size_t record_seal_format(const struct record_seal *s, char ret[RECORD_SEAL_MAX])
{
    struct writer w = writer_of(ret, RECORD_SEAL_MAX);
    char time[ISO_TIME_LEN + 1];

    clock_iso_time(s->time_wall_ms, time);
    write_span(&w, SEAL_BEGIN);
    write_text(&w, time);
    write_span(&w, SEAL_EVENT);
    write_span(&w, SEAL_NUMBER);
    write_dec(&w, s->n);
    write_span(&w, SEAL_OCTETS);
    write_dec(&w, s->octets);
    write_span(&w, SEAL_MAC);
    write_octets(&w, s->mac);
    write_span(&w, SEAL_END);
    write_u8(&w, '\n');
    return w.n;
}

static bool take(struct span *rest, struct span word)
{
    if (!span_starts(*rest, word))
        return false;
    *rest = span_sub(*rest, word.n, SIZE_MAX);
    return true;
}

/* Digits as write_dec() makes them. */
static bool take_number(struct span *rest, uint64_t *ret)
{
    size_t n = 0;

    while (n < rest->n && rest->p[n] >= '0' && rest->p[n] <= '9')
        n++;
    if (n == 0 || (n > 1 && rest->p[0] == '0') ||
        span_u64(span_sub(*rest, 0, n), UINT64_MAX, ret) != OK)
        return false;
    *rest = span_sub(*rest, n, SIZE_MAX);
    return true;
}

static bool take_time(struct span *rest, uint64_t *ret)
{
    struct span time = span_sub(*rest, 0, ISO_TIME_LEN);

    if (time.n < ISO_TIME_LEN || clock_iso_parse(time, ret) != OK)
        return false;
    *rest = span_sub(*rest, ISO_TIME_LEN, SIZE_MAX);
    return true;
}

enum err record_seal_parse(struct span line, struct record_seal *ret)
{
    const size_t event = SEAL_BEGIN.n + ISO_TIME_LEN;
    struct record_seal s = {0};

    if (!span_starts(line, SEAL_BEGIN) || !span_starts(span_sub(line, event, SIZE_MAX), SEAL_EVENT))
        return ERR_MISSING;
    if (take(&line, SEAL_BEGIN) && take_time(&line, &s.time_wall_ms) && take(&line, SEAL_EVENT) &&
        take(&line, SEAL_NUMBER) && take_number(&line, &s.n) && take(&line, SEAL_OCTETS) &&
        take_number(&line, &s.octets) && take(&line, SEAL_MAC) &&
        parse_octets(span_sub(line, 0, HEX_LEN), s.mac) == OK &&
        span_eq(span_sub(line, HEX_LEN, SIZE_MAX), SEAL_END)) {
        *ret = s;
        return OK;
    }
    return ERR_SYNTAX;
}
