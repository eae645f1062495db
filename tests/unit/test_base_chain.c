/* SPDX-License-Identifier: Apache-2.0 */
/* block.c, chain.c: small cases by hand, then random operations beside a flat model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/chain.h"

/* ---- blocks ---- */

static void test_block_pool_and_budget(void **state)
{
    struct block *b[40];
    struct budget budget;

    (void)state;
    budget_init(&budget, 40 * BLOCK_SIZE);
    block_set_budget(&budget);
    for (unsigned i = 0; i < ARRAY_LEN(b); i++) {
        b[i] = block_new();
        assert_non_null(b[i]);
        assert_int_equal(b[i]->refs, 1);
        assert_int_equal(b[i]->used, 0);
        memset(b[i]->data, 1, BLOCK_SIZE);
        b[i]->used = 5;
    }
    assert_null(block_new()); /* over the budget */
    assert_int_equal(block_ref(b[0])->refs, 2);
    block_unref(b[0]);
    assert_int_equal(budget_used(&budget), 40 * BLOCK_SIZE);
    for (unsigned i = 0; i < ARRAY_LEN(b); i++)
        block_unref(b[i]);
    block_unref(NULL);
    assert_int_equal(budget_used(&budget), 0); /* pooled blocks do not count */
    b[1] = block_new();
    assert_ptr_equal(b[1], b[39]); /* last in, first out */
    assert_int_equal(b[1]->used, 0);
    block_unref(b[1]);
    mem_fail_after(1);
    assert_null(block_new());
    mem_fail_after(0);
    assert_int_equal(budget_used(&budget), 0);
    block_pool_trim(3);
    block_pool_trim(0);
    block_set_budget(NULL);
}

/* Of these addresses; an unmapped one is ENOMEM for mincore(2). */
static unsigned n_mapped(uint8_t *const *data, unsigned n)
{
    unsigned mapped = 0;
    unsigned char page;

    for (unsigned i = 0; i < n; i++)
        mapped += mincore(data[i], 1, &page) == 0;
    return mapped;
}

/* Mapping a block and unmapping it again costs more than a request: what is needed again and again
 * stays, and what is not goes back within two rounds. */
static void test_block_pool_keeps_what_is_needed(void **state)
{
    struct block *b[100];
    uint8_t *data[ARRAY_LEN(b)];

    (void)state;
    block_pool_trim(0);
    block_pool_age();
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < ARRAY_LEN(b); i++) {
            b[i] = block_new();
            assert_non_null(b[i]);
            if (round == 0)
                data[i] = b[i]->data;
        }
        for (unsigned i = 0; i < ARRAY_LEN(b); i++)
            block_unref(b[i]);
        assert_int_equal(n_mapped(data, ARRAY_LEN(data)), ARRAY_LEN(data));
        assert_true(block_pool_has_spare());
        if (round < 4)
            block_pool_age(); /* it was needed in each round */
        assert_int_equal(n_mapped(data, ARRAY_LEN(data)), ARRAY_LEN(data));
    }
    b[0] = block_new(); /* one of them all the time */
    block_pool_age();
    block_pool_age();
    assert_int_equal(n_mapped(data, ARRAY_LEN(data)), 17); /* 16 stay for ever */
    assert_false(block_pool_has_spare());
    block_unref(b[0]);
    block_pool_trim(0);
    assert_int_equal(n_mapped(data, ARRAY_LEN(data)), 0);
}

/* However many were in use, no more than 512 wait. */
static void test_block_pool_has_an_end(void **state)
{
    struct block *b[600];
    uint8_t *data[ARRAY_LEN(b)];

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(b); i++) {
        b[i] = block_new();
        assert_non_null(b[i]);
        data[i] = b[i]->data;
    }
    for (unsigned i = 0; i < ARRAY_LEN(b); i++)
        block_unref(b[i]);
    assert_int_equal(n_mapped(data, ARRAY_LEN(data)), 512);
    block_pool_trim(0);
}

/* Pages of |b| that are memory. */
static unsigned n_resident(const struct block *b)
{
    unsigned char page[BLOCK_SIZE / 4096];
    unsigned n = 0;

    assert_int_equal(mincore(b->data, BLOCK_SIZE, page), 0);
    for (unsigned i = 0; i < ARRAY_LEN(page); i++)
        n += page[i] & 1;
    return n;
}

/* A block that was filled is never handed out for text, which would keep all of it in memory. */
static void test_blocks_of_text_are_kept_apart(void **state)
{
    struct block *b, *t;

    (void)state;
    block_pool_trim(0);
    for (unsigned round = 0; round < 3; round++) {
        b = block_new();
        t = block_new_text();
        assert_non_null(b);
        assert_non_null(t);
        memset(b->data, 'b', BLOCK_SIZE);
        memset(t->data, 't', 100);
        assert_int_equal(n_resident(b), BLOCK_SIZE / 4096);
        assert_int_equal(n_resident(t), 1);
        block_unref(round % 2 ? b : t);
        block_unref(round % 2 ? t : b);
    }
    block_pool_age();
    assert_false(block_pool_has_spare());
    block_pool_trim(0);
}

static void test_slices(void **state)
{
    struct block *b = block_new();
    struct slice s = {b, 10, 100};

    (void)state;
    assert_non_null(b);
    memcpy(b->data + 12, "abc", 3);
    assert_true(span_eq(slice_span(slice_sub(s, 2, 3)), SPAN("abc")));
    assert_int_equal(slice_sub(s, 100, 0).len, 0);
    assert_null(slice_span((struct slice){0}).p);
    block_unref(b);
}

/* ---- small cases ---- */

static unsigned n_released;

static void on_release(struct file_ref *f)
{
    (void)f;
    n_released++;
}

static struct slice filled(struct block *b, uint32_t off, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        b->data[off + i] = (uint8_t)(off + i);
    if (b->used < off + len)
        b->used = off + len;
    return (struct slice){b, off, len};
}

static void test_adjacent_slices_join(void **state)
{
    struct chain c;
    struct block *b = block_new();

    (void)state;
    assert_non_null(b);
    chain_init(&c, 0);
    assert_null(chain_first(&c));
    assert_int_equal(chain_append_slice(&c, filled(b, 0, 100)), OK);
    assert_int_equal(chain_append_slice(&c, filled(b, 100, 50)), OK);
    assert_int_equal(c.n, 1);
    assert_int_equal(b->refs, 2);
    assert_int_equal(chain_append_slice(&c, filled(b, 151, 9)), OK); /* a gap */
    assert_int_equal(c.n, 2);
    assert_int_equal(b->refs, 3);
    assert_int_equal(chain_append_slice(&c, filled(b, 160, 0)), OK);
    assert_int_equal(c.n, 2);
    assert_int_equal(c.len, 159);
    assert_null(chain_at(&c, 2));
    chain_skip(&c, 150);
    assert_int_equal(b->refs, 2);
    chain_done(&c);
    assert_int_equal(b->refs, 1);
    block_unref(b);
}

/* Copies share a block with each other, and never with what somebody else is still filling. */
static void test_copies(void **state)
{
    struct chain c;
    struct block *b = block_new();

    (void)state;
    assert_non_null(b);
    chain_init(&c, 0);
    assert_int_equal(chain_append_copy(&c, SPAN("HTTP/1.1 ")), OK);
    assert_int_equal(chain_append_copy(&c, SPAN("200 OK\r\n")), OK);
    assert_int_equal(c.n, 1);
    assert_true(span_eq(slice_span(chain_first(&c)->slice), SPAN("HTTP/1.1 200 OK\r\n")));
    chain_done(&c);
    assert_int_equal(chain_append_slice(&c, filled(b, 0, 10)), OK);
    assert_int_equal(chain_append_copy(&c, SPAN("x")), OK); /* |b| is also ours */
    assert_int_equal(c.n, 2);
    assert_int_equal(b->used, 10);
    chain_done(&c);
    assert_int_equal(chain_append_slice(&c, filled(b, 0, 10)), OK);
    block_unref(b); /* now the chain's alone */
    assert_int_equal(chain_append_copy(&c, SPAN("x")), OK);
    assert_int_equal(c.n, 1);
    assert_int_equal(chain_append_copy(&c, SPAN_NONE), OK);
    chain_done(&c);
}

static void test_limit_counts_slices_only(void **state)
{
    struct file_ref file = {.fd = -1, .refs = 1, .release = on_release};
    struct chain c, from;

    (void)state;
    n_released = 0;
    chain_init(&c, 10);
    chain_init(&from, 0);
    assert_int_equal(chain_append_copy(&c, SPAN("12345678")), OK);
    assert_int_equal(chain_append_text(&c, SPAN("as much text as you like")), OK);
    assert_int_equal(chain_append_file(&c, &file, 0, UINT64_MAX / 4), OK);
    assert_int_equal(chain_append_file(&c, &file, 0, 0), OK);
    assert_int_equal(file.refs, 2);
    assert_int_equal(chain_append_copy(&c, SPAN("abc")), ERR_LIMIT);
    assert_int_equal(chain_append_copy(&from, SPAN("abc")), OK);
    assert_int_equal(chain_append_slice(&c, chain_first(&from)->slice), ERR_LIMIT);
    assert_int_equal(chain_move(&c, &from), ERR_LIMIT);
    assert_int_equal(from.len, 3);
    assert_int_equal(c.n, 3);
    assert_int_equal(c.memory_len, 8);
    chain_skip(&c, 8);
    assert_int_equal(chain_move(&c, &from), OK); /* there is room now */
    assert_int_equal(from.len, 0);
    chain_done(&from);
    chain_done(&c);
    assert_int_equal(c.max, 10);
    file_unref(&file);
    file_unref(NULL);
    assert_int_equal(n_released, 1);
}

/* A copy over several blocks that fails half way leaves nothing behind. */
static void test_failing_copy_changes_nothing(void **state)
{
    static char big[3 * BLOCK_SIZE + 100];
    struct budget budget;
    struct chain c;

    (void)state;
    memset(big, 'b', sizeof big);
    budget_init(&budget, 3 * BLOCK_SIZE);
    block_set_budget(&budget);
    chain_init(&c, 0);
    assert_int_equal(chain_append_copy(&c, SPAN("head")), OK);
    struct block *b = chain_first(&c)->slice.block;

    assert_int_equal(chain_append_copy(&c, (struct span){big, sizeof big}), ERR_NOMEM);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.len, 4);
    assert_int_equal(c.memory_len, 4);
    assert_int_equal(b->used, 4);
    assert_int_equal(budget_used(&budget), BLOCK_SIZE);
    assert_int_equal(chain_append_copy(&c, SPAN("tail")), OK);
    assert_true(span_eq(slice_span(chain_first(&c)->slice), SPAN("headtail")));
    chain_done(&c);
    assert_int_equal(budget_used(&budget), 0);
    block_set_budget(NULL);
}

static void test_load_first(void **state)
{
    struct file_ref file = {.fd = -1, .refs = 1, .release = on_release};
    struct block *b = block_new();
    struct slice loaded[2];
    struct chain c;

    (void)state;
    assert_non_null(b);
    chain_init(&c, 0);
    assert_int_equal(chain_append_file(&c, &file, 1000, 300), OK);
    assert_int_equal(chain_append_text(&c, SPAN("tail")), OK);
    loaded[0] = filled(block_ref(b), 0, 100);
    loaded[1] = filled(block_ref(b), 200, 50);
    assert_int_equal(chain_load_first(&c, loaded, 2, 150), OK); /* part of it */
    assert_int_equal(c.n, 4);
    assert_int_equal(c.len, 304);
    assert_int_equal(c.memory_len, 150);
    assert_ptr_equal(chain_at(&c, 0)->slice.block, b);
    assert_int_equal(chain_at(&c, 1)->slice.off, 200);
    assert_int_equal(chain_at(&c, 2)->file.off, 1150);
    assert_int_equal(chain_at(&c, 2)->file.len, 150);
    chain_skip(&c, 150);
    loaded[0] = filled(block_ref(b), 0, 150);
    assert_int_equal(chain_load_first(&c, loaded, 1, 150), OK); /* the rest */
    assert_int_equal(file.refs, 1);
    assert_int_equal(c.n, 2);
    assert_int_equal(c.len, 154);
    chain_done(&c);
    assert_int_equal(b->refs, 1);
    block_unref(b);
}

static void test_iovec(void **state)
{
    struct file_ref file = {.fd = -1, .refs = 1, .release = on_release};
    struct iovec iov[4];
    struct chain c;
    size_t n = 99;

    (void)state;
    chain_init(&c, 0);
    assert_int_equal(chain_iovec(&c, iov, 4, 100, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(chain_append_text(&c, SPAN("abc")), OK);
    assert_int_equal(chain_append_copy(&c, SPAN("defgh")), OK);
    assert_int_equal(chain_append_text(&c, SPAN("ij")), OK);
    assert_int_equal(chain_append_file(&c, &file, 0, 5), OK);
    assert_int_equal(chain_append_text(&c, SPAN("behind the file")), OK);
    assert_int_equal(chain_iovec(&c, iov, 4, 100, &n), 3);
    assert_int_equal(n, 10);
    assert_int_equal(chain_iovec(&c, iov, 2, 100, &n), 2);
    assert_int_equal(n, 8);
    assert_int_equal(chain_iovec(&c, iov, 4, 4, &n), 2); /* cut within a segment */
    assert_int_equal(n, 4);
    assert_int_equal(iov[1].iov_len, 1);
    assert_memory_equal(iov[1].iov_base, "d", 1);
    assert_int_equal(chain_iovec(&c, iov, 4, 0, &n), 0);
    chain_skip(&c, 10);
    assert_int_equal(chain_iovec(&c, iov, 4, 100, &n), 0);
    chain_done(&c);
}

/* ---- random operations ---- */

#define MODEL_MAX  (1u << 20)
#define FILE_BYTES 4096u
#define OPS        30000u

struct model {
    uint8_t *p;
    size_t n;
};

/* Two chains, so that bytes move; one block that somebody else goes on filling, as a stream does
 * while it reads. */
struct world {
    struct chain chain[2];
    struct model model[2];
    uint8_t file_bytes[FILE_BYTES];
    struct file_ref file;
    struct block *reading;
    struct budget budget;
    uint64_t rng;
    unsigned n_refused, n_done;
};

static uint32_t pick(struct world *w, uint32_t below)
{
    w->rng ^= w->rng << 13;
    w->rng ^= w->rng >> 7;
    w->rng ^= w->rng << 17;
    return (uint32_t)(w->rng >> 33) % below;
}

static void model_add(struct model *m, const void *p, size_t n)
{
    assert_true(m->n + n <= MODEL_MAX);
    memcpy(m->p + m->n, p, n);
    m->n += n;
}

static enum err op_append_slice(struct world *w, unsigned k)
{
    uint32_t n = pick(w, 3000), off;

    if (!w->reading || w->reading->used + n > BLOCK_SIZE || pick(w, 20) == 0) {
        block_unref(w->reading);
        w->reading = block_new();
        if (!w->reading)
            return ERR_NOMEM;
    }
    off = w->reading->used;
    for (uint32_t i = 0; i < n; i++)
        w->reading->data[off + i] = (uint8_t)pick(w, 256);
    w->reading->used += n;
    TRY(chain_append_slice(&w->chain[k], (struct slice){w->reading, off, n}));
    model_add(&w->model[k], w->reading->data + off, n);
    return OK;
}

static enum err op_append_copy(struct world *w, unsigned k)
{
    static char bytes[3 * BLOCK_SIZE];
    size_t n = pick(w, 50) ? pick(w, 500) : pick(w, sizeof bytes);

    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)pick(w, 256);
    TRY(chain_append_copy(&w->chain[k], (struct span){bytes, n}));
    model_add(&w->model[k], bytes, n);
    return OK;
}

static enum err op_append_text(struct world *w, unsigned k)
{
    static const char text[] = "Content-Type: text/html\r\n";
    size_t n = pick(w, sizeof text);

    TRY(chain_append_text(&w->chain[k], (struct span){text, n}));
    model_add(&w->model[k], text, n);
    return OK;
}

static enum err op_append_file(struct world *w, unsigned k)
{
    uint32_t off = pick(w, FILE_BYTES), n = pick(w, FILE_BYTES - off);

    TRY(chain_append_file(&w->chain[k], &w->file, off, n));
    model_add(&w->model[k], w->file_bytes + off, n);
    return OK;
}

static enum err op_skip(struct world *w, unsigned k)
{
    struct model *m = &w->model[k];
    uint32_t n = pick(w, (uint32_t)(pick(w, 3) ? m->n / 8 + 1 : m->n + 1));

    chain_skip(&w->chain[k], n);
    memmove(m->p, m->p + n, m->n - n);
    m->n -= n;
    return OK;
}

static enum err op_move(struct world *w, unsigned k)
{
    struct model *from = &w->model[1 - k];

    TRY(chain_move(&w->chain[k], &w->chain[1 - k]));
    model_add(&w->model[k], from->p, from->n);
    from->n = 0;
    return OK;
}

/* As a driver does: reads part of the range into blocks of its own. The content stays the same. */
static enum err op_load_first(struct world *w, unsigned k)
{
    const struct segment *s = chain_first(&w->chain[k]);
    struct slice loaded[3];
    uint32_t n = 0;
    uint64_t done = 0;
    enum err e = OK;

    if (!s || s->kind != SEGMENT_FILE)
        return OK;
    while (n < 3 && done < s->file.len) {
        struct block *b = block_new();
        uint32_t len = 1 + pick(w, (uint32_t)(s->file.len - done));

        if (!b)
            break;
        memcpy(b->data, w->file_bytes + s->file.off + done, len);
        b->used = len;
        loaded[n++] = (struct slice){b, 0, len};
        done += len;
    }
    e = chain_load_first(&w->chain[k], loaded, n, done);
    for (uint32_t i = 0; e && i < n; i++)
        block_unref(loaded[i].block);
    return e;
}

static void check_segments(struct world *w, unsigned k)
{
    const struct chain *c = &w->chain[k];
    uint64_t at = 0, memory = 0;

    for (uint32_t i = 0; i < c->n; i++) {
        const struct segment *s = chain_at(c, i);
        uint64_t len = segment_len(s);
        const void *p = NULL;

        switch (s->kind) {
        case SEGMENT_SLICE:
            p = s->slice.block->data + s->slice.off;
            memory += len;
            break;
        case SEGMENT_TEXT: p = s->text.p; break;
        case SEGMENT_FILE: p = w->file_bytes + s->file.off; break;
        }
        assert_true(len > 0 && len <= w->model[k].n - at);
        assert_memory_equal(p, w->model[k].p + at, len);
        at += len;
    }
    assert_int_equal(at, w->model[k].n);
    assert_int_equal(c->len, at);
    assert_int_equal(c->memory_len, memory);
}

static void check_iovec(struct world *w, unsigned k)
{
    struct iovec iov[5];
    size_t max = pick(w, 10000), bytes = 0, at = 0;
    uint32_t n = chain_iovec(&w->chain[k], iov, ARRAY_LEN(iov), max, &bytes);

    for (uint32_t i = 0; i < n; i++) {
        assert_memory_equal(iov[i].iov_base, w->model[k].p + at, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    assert_int_equal(at, bytes);
    assert_true(bytes <= max);
    assert_true(n == ARRAY_LEN(iov) || bytes == max || bytes == w->model[k].n ||
                chain_at(&w->chain[k], n)->kind == SEGMENT_FILE);
}

static void world_init(struct world *w, bool tight, uint64_t seed)
{
    *w = (struct world){.rng = seed};
    w->file = (struct file_ref){.fd = -1, .refs = 1, .release = on_release};
    for (size_t i = 0; i < FILE_BYTES; i++)
        w->file_bytes[i] = (uint8_t)pick(w, 256);
    budget_init(&w->budget, tight ? 6 * BLOCK_SIZE : 0);
    block_set_budget(&w->budget);
    for (unsigned k = 0; k < 2; k++) {
        chain_init(&w->chain[k], tight ? 100000 : 0);
        w->model[k].p = malloc(MODEL_MAX);
        assert_non_null(w->model[k].p);
    }
}

static void world_done(struct world *w)
{
    for (unsigned k = 0; k < 2; k++) {
        chain_done(&w->chain[k]);
        free(w->model[k].p);
    }
    block_unref(w->reading);
    assert_int_equal(w->file.refs, 1);
    assert_int_equal(budget_used(&w->budget), 0);
    block_set_budget(NULL);
    block_pool_trim(0);
}

static void world_run(struct world *w, bool failing)
{
    static enum err (*const ops[])(struct world * w, unsigned k) = {
        op_append_slice, op_append_slice, op_append_copy, op_append_copy, op_append_text,
        op_append_file,  op_skip,         op_skip,        op_load_first,  op_move,
    };

    for (unsigned i = 0; i < OPS; i++) {
        unsigned k = pick(w, 2), op = pick(w, ARRAY_LEN(ops));

        if (w->model[0].n + w->model[1].n > MODEL_MAX / 2)
            op = 6; /* skip */
        if (failing)
            mem_fail_after(1 + pick(w, 4));
        enum err e = ops[op](w, k);

        mem_fail_after(0);
        assert_true(e == OK || e == ERR_LIMIT || e == ERR_NOMEM);
        w->n_refused += e != OK;
        w->n_done += e == OK;
        /* After a refusal, too: nothing has changed. */
        if (e || i % 16 == 0) {
            check_segments(w, 0);
            check_segments(w, 1);
        }
        check_iovec(w, k);
    }
}

static void test_random_operations(void **state)
{
    static struct world w;

    (void)state;
    world_init(&w, false, 1);
    world_run(&w, false);
    assert_int_equal(w.n_refused, 0);
    world_done(&w);
}

static void test_random_operations_in_tight_budgets(void **state)
{
    static struct world w;

    (void)state;
    world_init(&w, true, 2);
    world_run(&w, false);
    assert_true(w.n_refused > 100 && w.n_done > 1000);
    world_done(&w);
}

static void test_random_operations_with_failing_allocator(void **state)
{
    static struct world w;

    (void)state;
    world_init(&w, false, 3);
    world_run(&w, true);
    assert_true(w.n_refused > 100 && w.n_done > 1000);
    world_done(&w);
}

/* A ring that is full, with its first segment anywhere, keeps its order when it grows. */
static void test_ring_growth(void **state)
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";

    (void)state;
    for (unsigned shift = 0; shift < 8; shift++) {
        struct chain c;

        chain_init(&c, 0);
        for (unsigned i = 0; i < shift; i++)
            assert_int_equal(chain_append_text(&c, SPAN("x")), OK);
        chain_skip(&c, shift);
        for (unsigned i = 0; i < 36; i++)
            assert_int_equal(chain_append_text(&c, (struct span){digits + i, 1}), OK);
        assert_int_equal(c.n, 36);
        for (uint32_t i = 0; i < 36; i++)
            assert_ptr_equal(chain_at(&c, i)->text.p, digits + i);
        chain_done(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block_pool_and_budget),
        cmocka_unit_test(test_block_pool_keeps_what_is_needed),
        cmocka_unit_test(test_block_pool_has_an_end),
        cmocka_unit_test(test_blocks_of_text_are_kept_apart),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_adjacent_slices_join),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_limit_counts_slices_only),
        cmocka_unit_test(test_failing_copy_changes_nothing),
        cmocka_unit_test(test_load_first),
        cmocka_unit_test(test_iovec),
        cmocka_unit_test(test_ring_growth),
        cmocka_unit_test(test_random_operations),
        cmocka_unit_test(test_random_operations_in_tight_budgets),
        cmocka_unit_test(test_random_operations_with_failing_allocator),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
