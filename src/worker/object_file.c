/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/object_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "adapt/objects.h"

static NODISCARD enum err write_at(int fd, struct span s, uint64_t off)
{
    while (s.n) {
        ssize_t n = pwrite(fd, s.p, s.n, (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? err_from_errno(errno) : ERR_IO;
        s = span_sub(s, (size_t)n, SIZE_MAX);
        off += (uint64_t)n;
    }
    return OK;
}

static NODISCARD enum err write_all(int fd, struct span derived, struct span body,
                                    struct span leaves, uint32_t n)
{
    struct buf tail;

    TRY(write_at(fd, derived, 0));
    TRY(write_at(fd, body, derived.n));
    TRY(write_at(fd, leaves, derived.n + body.n));
    buf_init(&tail, OBJECTS_TAIL);
    objects_format_tail(derived.n, n, &tail);
    enum err e = tail.err ? tail.err : write_at(fd, buf_span(&tail), derived.n + body.n + leaves.n);

    buf_done(&tail);
    TRY(e);
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        return err_from_errno(errno);
    return OK;
}

enum err object_file(struct span derived, struct span body, struct span leaves, uint32_t n,
                     int *ret_fd)
{
    if (n > OBJECTS_MAX || body.n + leaves.n > OBJECTS_TABLE_MAX)
        return ERR_LIMIT;
    /* These flags and no others: the worker's jail looks at them. */
    int fd = memfd_create("objects", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return err_from_errno(errno);
    enum err e = write_all(fd, derived, body, leaves, n);

    if (e != OK)
        (void)close(fd);
    else
        *ret_fd = fd;
    return e;
}
