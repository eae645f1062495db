/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks of pages are cut into pieces of one size; pieces that come back wait in a list. Chunks
 * stay. */
#include "base/secret.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define LEAST   64u
#define CLASSES 6u /* 64 .. 2048 */
#define CHUNK   (16u << 10)

struct piece {
    struct piece *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct piece *spare[CLASSES];
static size_t used;

/* CLASSES: there is none. */
static unsigned class_of(size_t n)
{
    unsigned c = 0;

    while (c < CLASSES && (size_t)LEAST << c < n)
        c++;
    return n ? c : CLASSES;
}

/* Under the lock. */
static bool add_chunk(unsigned c)
{
    char *p = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t size = (size_t)LEAST << c;

    if (p == MAP_FAILED)
        return false;
    (void)mlock(p, CHUNK);
    (void)madvise(p, CHUNK, MADV_DONTDUMP);
    for (size_t at = 0; at < CHUNK; at += size) {
        struct piece *piece = (struct piece *)(void *)(p + at);

        piece->next = spare[c];
        spare[c] = piece;
    }
    return true;
}

void *secret_alloc(size_t n)
{
    unsigned c = class_of(n);
    struct piece *p = NULL;

    if (c == CLASSES)
        return NULL;
    (void)pthread_mutex_lock(&lock);
    if (spare[c] || add_chunk(c)) {
        p = spare[c];
        spare[c] = p->next;
        p->next = NULL;
        used += (size_t)LEAST << c;
    }
    (void)pthread_mutex_unlock(&lock);
    return p;
}

void secret_free(void *ptr, size_t n)
{
    unsigned c = class_of(n);
    struct piece *p = ptr;

    if (!p || c == CLASSES)
        return;
    explicit_bzero(p, (size_t)LEAST << c);
    (void)pthread_mutex_lock(&lock);
    p->next = spare[c];
    spare[c] = p;
    used -= (size_t)LEAST << c;
    (void)pthread_mutex_unlock(&lock);
}

size_t secret_used(void)
{
    (void)pthread_mutex_lock(&lock);
    size_t n = used;

    (void)pthread_mutex_unlock(&lock);
    return n;
}

/* For core_pattern files any limit below a page means none; for a pipe the kernel takes no notice
 * of 0, but 1 is its sign not to start the program (core(5), do_coredump()). Where the hard limit
 * is 0 by now, only root may make it 1. */
void secret_forbid_cores(void)
{
    const struct rlimit none = {0, 0}, not_piped = {1, 1};

    if (setrlimit(RLIMIT_CORE, &not_piped) != 0)
        (void)setrlimit(RLIMIT_CORE, &none);
}
