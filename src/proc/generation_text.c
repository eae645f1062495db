/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/generation_text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A mapping of its own for each text: locking and unlocking never touch a neighbour's page. */
static char *text_alloc(size_t n, enum text_kind kind)
{
    void *p = mmap(NULL, n + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    if (kind == TEXT_PUBLIC)
        return p;
    /* Over RLIMIT_MEMLOCK the text is swappable, which is no reason not to serve. */
    (void)mlock(p, n + 1);
    (void)madvise(p, n + 1, MADV_DONTDUMP);
    return p;
}

void text_free(struct span *text)
{
    if (!text->p)
        return;
    void *p = (void *)(uintptr_t)text->p; /* the mapping is ours: const only for readers */

    explicit_bzero(p, text->n);
    (void)munmap(p, text->n + 1);
    *text = SPAN_NONE;
}

enum err text_copy(struct span text, enum text_kind kind, struct span *ret)
{
    char *p = text_alloc(text.n, kind);

    if (!p)
        return ERR_NOMEM;
    if (text.n)
        memcpy(p, text.p, text.n);
    *ret = (struct span){p, text.n};
    return OK;
}

static enum err read_all(int fd, char *p, size_t n)
{
    size_t got = 0;

    while (got < n) {
        ssize_t r = pread(fd, p + got, n - got, (off_t)got);

        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return ERR_IO; /* shorter than fstat() said: it is being written */
        got += (size_t)r;
    }
    return OK;
}

enum err text_read(int fd, enum text_kind kind, struct span *ret)
{
    size_t max = kind == TEXT_PUBLIC ? TEXT_LIST_MAX : TEXT_FILE_MAX;
    struct stat st;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return ERR_IO;
    if (st.st_size < 0 || (uint64_t)st.st_size > max)
        return ERR_LIMIT;
    size_t n = (size_t)st.st_size;
    char *p = text_alloc(n, kind);

    if (!p)
        return ERR_NOMEM;
    struct span text = {p, n};
    enum err e = read_all(fd, p, n);

    if (e)
        text_free(&text);
    else
        *ret = text;
    return e;
}

enum err text_load(const char *path, enum text_kind kind, struct span *ret, struct stat *ret_stat,
                   int *reterr_errno)
{
    return text_load_at(AT_FDCWD, path, kind, ret, ret_stat, reterr_errno);
}

enum err text_load_at(int dir, const char *path, enum text_kind kind, struct span *ret,
                      struct stat *ret_stat, int *reterr_errno)
{
    int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    *reterr_errno = 0;
    if (fd < 0) {
        *reterr_errno = errno;
        return ERR_IO;
    }
    enum err e = ret_stat && fstat(fd, ret_stat) != 0 ? ERR_IO : text_read(fd, kind, ret);

    (void)close(fd);
    return e;
}

int text_memfd(const char *name, struct span text)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    size_t done = 0;

    if (fd < 0)
        return -1;
    while (done < text.n) {
        ssize_t w = write(fd, text.p + done, text.n - done);

        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            goto fail;
        done += (size_t)w;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        goto fail;
    return fd;

fail:
    (void)close(fd);
    return -1;
}
