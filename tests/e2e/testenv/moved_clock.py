# SPDX-License-Identifier: Apache-2.0
"""A wall clock that a test puts forward or back while the program runs. Time that is measured, by the monotonic
clock, goes on as it does."""
import mmap
import pathlib
import struct
import subprocess

from .peers import need

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int (*real)(clockid_t, struct timespec *);
static const volatile long long *moved;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("MOVED_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *moved, PROT_READ, MAP_SHARED, fd, 0);

    real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    if (page == MAP_FAILED || !real)
        abort();
    close(fd);
    moved = page;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    int result = real(id, t);

    if (id == CLOCK_REALTIME && moved)
        t->tv_sec += *moved;
    return result;
}
"""


class MovedClock:
    """|environment| makes a program have it."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        source, library, page = folder / "moved_clock.c", folder / "moved_clock.so", folder / "moved"
        source.write_text(SOURCE)
        subprocess.run([need("gcc", "gcc"), "-O1", "-fPIC", "-shared", "-o", library, source, "-ldl"], check=True)
        page.write_bytes(bytes(mmap.PAGESIZE))
        with page.open("r+b") as file:
            self.page = mmap.mmap(file.fileno(), 8)
        self.environment = {"LD_PRELOAD": str(library), "MOVED_CLOCK": str(page)}

    def move(self, seconds):
        """From what it showed before."""
        self.page[:8] = struct.pack("q", struct.unpack("q", self.page[:8])[0] + seconds)
