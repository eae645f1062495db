/* SPDX-License-Identifier: Apache-2.0 */
/* clamd_nest.c - a file of the self-test: archives one in another, deeper than a daemon goes. Each
 * is one stored entry (APPNOTE 4.3), so that nothing has to be compressed: 31 bytes in front of
 * what is inside, 69 behind it. The innermost entry is empty. */
#include <assert.h>
#include <errno.h>
#include <unistd.h>

#include "adapt/clamd_int.h"
#include "base/buf.h"

#define FRONT 31u /* local file header, and a name of one byte */
#define BACK  69u /* central directory, with the name, and its end record */

static_assert(FRONT + BACK == CLAMD_NEST_LEN(1), "the length of one level");

static void u16(struct buf *b, unsigned v)
{
    buf_char(b, (char)(v & 0xff));
    buf_char(b, (char)(v >> 8 & 0xff));
}

static void u32(struct buf *b, unsigned v)
{
    u16(b, v & 0xffff);
    u16(b, v >> 16);
}

/* Version, flags and method (stored), time (the first day there is), no CRC (the daemon asks for
 * none), sizes, and lengths of name and extra field: the same in both headers. */
static void add_facts(struct buf *b, unsigned len)
{
    u16(b, 10);
    u16(b, 0);
    u16(b, 0);
    u32(b, 0x00210000);
    u32(b, 0);
    u32(b, len);
    u32(b, len);
    u16(b, 1);
    u16(b, 0);
}

/* |len|: what is inside. */
static void add_front(struct buf *b, unsigned len)
{
    u32(b, 0x04034b50);
    add_facts(b, len);
    buf_char(b, 'a');
}

static void add_back(struct buf *b, unsigned len)
{
    u32(b, 0x02014b50);
    u16(b, 10); /* made by */
    add_facts(b, len);
    u16(b, 0); /* comment, disk, attributes: none; the local header is at 0 */
    u16(b, 0);
    u16(b, 0);
    u32(b, 0);
    u32(b, 0);
    buf_char(b, 'a');
    u32(b, 0x06054b50);
    u16(b, 0);
    u16(b, 0);
    u16(b, 1); /* entries, here and in all */
    u16(b, 1);
    u32(b, 47); /* bytes of the directory, and where it begins */
    u32(b, FRONT + len);
    u16(b, 0);
}

int clamd_nest_file(unsigned levels)
{
    struct buf b;
    int fd = -1;

    buf_init(&b, 0);
    for (unsigned i = levels; i > 0; i--)
        add_front(&b, CLAMD_NEST_LEN(i - 1));
    for (unsigned i = 0; i < levels; i++)
        add_back(&b, CLAMD_NEST_LEN(i));
    errno = ENOMEM;
    if (b.err == OK)
        fd = clamd_memfd();
    if (fd >= 0 && pwrite(fd, b.p, b.n, 0) != (ssize_t)b.n) {
        (void)close(fd);
        fd = -1;
    }
    buf_done(&b);
    return fd;
}
