/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/magic_number.h"

/* Operators of |mask_op|. */
enum { OP_AND, OP_OR, OP_XOR, OP_ADD, OP_MINUS, OP_MULTIPLY, OP_DIVIDE, OP_MODULO };
#define OP_MASK    0x07u
#define OP_INVERSE 0x40u

struct number_type {
    uint8_t n; /* bytes; 0: this is no number */
    bool big;
};

#define NATIVE_BIG (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)

static const struct number_type types[256] = {
    [MAGIC_TYPE_BYTE] = {1, false     },
      [MAGIC_TYPE_SHORT] = {2, NATIVE_BIG},
    [MAGIC_TYPE_BESHORT] = {2, true      },
      [MAGIC_TYPE_LESHORT] = {2, false     },
    [MAGIC_TYPE_LONG] = {4, NATIVE_BIG},
      [MAGIC_TYPE_BELONG] = {4, true      },
    [MAGIC_TYPE_LELONG] = {4, false     },
      [MAGIC_TYPE_QUAD] = {8, NATIVE_BIG},
    [MAGIC_TYPE_BEQUAD] = {8, true      },
      [MAGIC_TYPE_LEQUAD] = {8, false     },
};

/* The lowest |n| bytes. */
static uint64_t cut(uint64_t v, unsigned n)
{
    return n < 8 ? v & ((UINT64_C(1) << 8 * n) - 1) : v;
}

static uint64_t sign_extend(uint64_t v, unsigned n)
{
    switch (n) {
    case 1: return (uint64_t)(int64_t)(int8_t)v;
    case 2: return (uint64_t)(int64_t)(int16_t)v;
    case 4: return (uint64_t)(int64_t)(int32_t)v;
    default: return v;
    }
}

bool magic_number_is(const struct magic_entry *e)
{
    const struct number_type *t = &types[e->type];
    unsigned op = e->mask_op & OP_MASK;
    bool divides = e->mask && (op == OP_DIVIDE || op == OP_MODULO);

    return t->n && e->offset >= 0 &&
           !(e->flag & (MAGIC_FLAG_INDIR | MAGIC_FLAG_OFFADD | MAGIC_FLAG_INDIROFFADD |
                        MAGIC_FLAG_OFFNEGATIVE)) &&
           (!divides || cut(e->mask, t->n) != 0);
}

/* Behind the end of the file there are zeros for the eight bytes of a quad, which is the one kind
 * of which libmagic does not ask whether they are there. */
static uint64_t number_at(const struct number_type *t, size_t at, struct span file)
{
    uint64_t v = 0;

    for (size_t i = 0; i < t->n; i++) {
        size_t k = at + (t->big ? i : t->n - 1 - i);

        v = v << 8 | (k < file.n ? (unsigned char)file.p[k] : 0);
    }
    return v;
}

static uint64_t operate(unsigned op, uint64_t v, uint64_t mask)
{
    switch (op) {
    case OP_AND: return v & mask;
    case OP_OR: return v | mask;
    case OP_XOR: return v ^ mask;
    case OP_ADD: return v + mask;
    case OP_MINUS: return v - mask;
    case OP_MULTIPLY: return v * mask;
    /* By zero it is no number (magic_number_is). */
    case OP_DIVIDE: return mask ? v / mask : v;
    default: return mask ? v % mask : v;
    }
}

bool magic_number_holds(const struct magic_entry *e, struct span file)
{
    const struct number_type *t = &types[e->type];
    size_t at = (size_t)e->offset;
    uint64_t v, want = e->value.number;
    bool is_signed = !(e->flag & MAGIC_FLAG_UNSIGNED);

    if (t->n < 8 && (at > file.n || t->n > file.n - at))
        return e->reln == '!'; /* as libmagic has it */
    v = number_at(t, at, file);
    if (e->mask)
        v = operate(e->mask_op & OP_MASK, v, cut(e->mask, t->n));
    if (e->mask_op & OP_INVERSE)
        v = ~v;
    v = cut(v, t->n);
    if (is_signed)
        v = sign_extend(v, t->n);
    switch (e->reln) {
    case '=': return v == want;
    case '!': return v != want;
    case '>': return is_signed ? (int64_t)v > (int64_t)want : v > want;
    case '<': return is_signed ? (int64_t)v < (int64_t)want : v < want;
    case '&': return (v & want) == want;
    case '^': return (v & want) != want;
    default: return true;
    }
}

size_t magic_number_bytes(const struct magic_entry *e, char ret[4])
{
    const struct number_type *t = &types[e->type];
    uint64_t want = e->value.number;
    bool is_signed = !(e->flag & MAGIC_FLAG_UNSIGNED);

    if (e->reln != '=' || e->mask || e->mask_op || t->n > 4 ||
        want != (is_signed ? sign_extend(want, t->n) : cut(want, t->n)))
        return 0;
    for (unsigned i = 0; i < t->n; i++)
        ret[t->big ? t->n - 1 - i : i] = (char)(want >> 8 * i);
    return t->n;
}
