/* SPDX-License-Identifier: Apache-2.0 */
#include "net/spool_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/arena.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3; younger than Debian 12's headers */
#endif

/* The last close of an unlinked file frees its blocks, which takes a file system milliseconds per
 * some ten megabytes: above this it is the pool's work. */
#define CLOSE_IN_POOL_MIN (8u << 20)

static void store_close(struct spool_store *s)
{
    if (s->fd >= 0 && s->fd != s->ref.fd)
        (void)close(s->fd);
    if (s->ref.fd >= 0)
        (void)close(s->ref.fd);
}

static void close_run(struct work *w)
{
    store_close(CONTAINER_OF(w, struct spool_store, closing));
}

static void close_done(struct work *w)
{
    free(CONTAINER_OF(w, struct spool_store, closing));
}

static void store_release(struct file_ref *f)
{
    struct spool_store *s = CONTAINER_OF(f, struct spool_store, ref);

    budget_give(s->bytes, s->bytes_n);
    budget_give(s->memory, s->memory_n);
    s->closing = (struct work){.run = close_run, .done = close_done};
    if (s->bytes_n >= CLOSE_IN_POOL_MIN && loop_work(s->loop, &s->closing) == OK)
        return;
    store_close(s);
    free(s);
}

struct spool_store *spool_store_new(struct loop *l, struct budget *bytes, struct budget *memory)
{
    struct spool_store *s = mem_fail_now() ? NULL : malloc(sizeof *s);

    if (s)
        *s = (struct spool_store){
            .ref = {.fd = -1, .refs = 1, .release = store_release},
            .fd = -1,
            .bytes = bytes,
            .memory = memory,
            .loop = l,
        };
    return s;
}

int spool_memfd(int *ret_fd)
{
    static const char name[] = "sallyport-spool";
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return errno;
    *ret_fd = fd;
    return 0;
}

int spool_memfd_seal(int memfd)
{
    int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

    return fcntl(memfd, F_ADD_SEALS, seals) == 0 ? 0 : errno;
}

/* Drops |n| written bytes from the front. */
static void iov_skip(struct iovec **iov, uint32_t *n_iov, size_t n)
{
    while (*n_iov && n >= (*iov)->iov_len) {
        n -= (*iov)->iov_len;
        (*iov)++;
        (*n_iov)--;
    }
    if (*n_iov) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + n;
        (*iov)->iov_len -= n;
    }
}

int spool_write_all(int fd, struct iovec *iov, uint32_t n, uint64_t off)
{
    iov_skip(&iov, &n, 0);
    while (n) {
        ssize_t done = pwritev(fd, iov, (int)n, (off_t)off);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? errno : EIO;
        off += (uint64_t)done;
        iov_skip(&iov, &n, (size_t)done);
    }
    return 0;
}

/* Two descriptors of one file that has no name any more. The read-only one is opened by name,
 * because the gateway, under Landlock, may not reopen through /proc/self/fd. A crash between open
 * and unlink leaves a file spool-*: whoever owns the directory sweeps those at start. */
static int file_open(int dir_fd, int *ret_fd, int *ret_read_fd)
{
    uint64_t r[2];
    char name[sizeof "spool-" + 32];
    int fd, read_fd, error = 0;

    if (getrandom(r, sizeof r, 0) != (ssize_t)sizeof r)
        return EIO;
    (void)snprintf(name, sizeof name, "spool-%016llx%016llx", (unsigned long long)r[0],
                   (unsigned long long)r[1]);
    fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno;
    read_fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (read_fd < 0)
        error = errno;
    if (unlinkat(dir_fd, name, 0) != 0 && !error)
        error = errno;
    if (error) {
        (void)close(fd);
        if (read_fd >= 0)
            (void)close(read_fd);
        return error;
    }
    *ret_fd = fd;
    *ret_read_fd = read_fd;
    return 0;
}

/* fstatvfs costs about a microsecond, a batch hundreds: asked before each. */
static int reserve_check(const struct spool_job *j)
{
    struct statvfs v;
    uint64_t need, free_n;

    if (j->reserve == 0)
        return 0;
    if (fstatvfs(j->dir_fd, &v) != 0)
        return errno;
    if (__builtin_mul_overflow((uint64_t)v.f_bavail, (uint64_t)v.f_frsize, &free_n))
        return 0;
    if (__builtin_add_overflow(j->reserve, j->n + j->memfd_n, &need) || free_n < need)
        return ENOSPC;
    return 0;
}

/* Written from a mapping: works between any two file systems (copy_file_range does not) and copies
 * once. Nobody but us has this memfd, so it cannot shrink under us. */
static int memfd_move(const struct spool_job *j)
{
    size_t n = (size_t)j->memfd_n;
    void *p;
    int error;

    if (n == 0)
        return 0;
    p = mmap(NULL, n, PROT_READ, MAP_SHARED, j->memfd, 0);
    if (p == MAP_FAILED)
        return errno;
    error = spool_write_all(j->fd, &(struct iovec){p, n}, 1, 0);
    (void)munmap(p, n);
    return error;
}

void spool_job_run(struct spool_job *j)
{
    j->error = reserve_check(j);
    if (!j->error && j->fd < 0)
        j->error = file_open(j->dir_fd, &j->fd, &j->read_fd);
    if (!j->error && j->memfd >= 0)
        j->error = memfd_move(j);
    if (!j->error)
        j->error = spool_write_all(j->fd, j->iov, j->n_iov, j->off);
}
