/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/pages.h"

#include <sys/mman.h>

#define PAGES_FIRST ((size_t)1 << 20)
#define PAGE        ((size_t)4096)

/* By a quarter: mremap moves page tables only, but a worker's limit counts what is mapped. */
static NODISCARD bool next_cap(const struct pages *m, size_t need, size_t *ret)
{
    size_t cap;

    if (__builtin_add_overflow(m->cap, m->cap / 4, &cap))
        return false;
    if (cap < PAGES_FIRST)
        cap = PAGES_FIRST;
    if (cap < need)
        cap = need;
    if (__builtin_add_overflow(cap, PAGE - 1, &cap))
        return false;
    *ret = cap & ~(PAGE - 1);
    return true;
}

enum err pages_reserve(struct pages *m, size_t n)
{
    size_t need, cap;
    void *p;

    if (__builtin_add_overflow(m->n, n, &need))
        return ERR_NOMEM;
    if (need <= m->cap)
        return OK;
    if (!next_cap(m, need, &cap))
        return ERR_NOMEM;
    if (m->p)
        p = mremap(m->p, m->cap, cap, MREMAP_MAYMOVE);
    else
        p = mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return ERR_NOMEM;
    m->p = p;
    m->cap = cap;
    return OK;
}

void pages_done(struct pages *m)
{
    if (m->p)
        (void)munmap(m->p, m->cap);
    *m = (struct pages){.p = NULL};
}
