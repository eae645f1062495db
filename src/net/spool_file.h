/* SPDX-License-Identifier: Apache-2.0 */
/* spool_file.h - for spool.c alone: where the bytes of a spool lie (a memfd, a file), and the part
 * of its work that runs in the thread pool. */
#ifndef NET_SPOOL_FILE_H
#define NET_SPOOL_FILE_H

#include <sys/uio.h>

#include "base/chain.h"
#include "net/loop.h"

/* Counted by |ref|, whose holders read through ref.fd; outlives its spool. Gives its budgets back
 * when it goes. Belongs to the loop's thread, like every file_ref. */
struct spool_store {
    struct file_ref ref;
    int fd; /* for writing; -1 once nobody may write any more */
    uint64_t bytes_n, memory_n;
    struct budget *bytes, *memory;
    struct loop *loop;
    struct work closing;
};

/* Without descriptors yet; one reference. NULL: out of memory. */
struct spool_store *spool_store_new(struct loop *l, struct budget *bytes, struct budget *memory);
/* 0, or an errno: an empty memfd that can be sealed, for reading and writing. */
int spool_memfd(int *ret_fd);
/* 0, or an errno: nobody, we included, can change the bytes of |memfd| any more. */
int spool_memfd_seal(int memfd);
/* All of |iov|, which is used up, at |off|. 0, or an errno. */
int spool_write_all(int fd, struct iovec *iov, uint32_t n, uint64_t off);

#define SPOOL_BATCH_IOV 64u
#define SPOOL_BATCH_MAX (4u << 20)

/* One turn in the pool: makes the file if there is none, moves the memfd's bytes to its front, and
 * writes one batch behind them. The loop thread leaves the job alone meanwhile and holds the blocks
 * that |iov| points into. */
struct spool_job {
    int dir_fd;
    uint64_t reserve;
    int memfd; /* -1: nothing to move */
    uint64_t memfd_n;
    int fd, read_fd; /* in and out; -1: to be made */
    uint64_t off;    /* where the batch begins */
    struct iovec iov[SPOOL_BATCH_IOV];
    uint32_t n_iov;
    size_t n;  /* bytes in the batch */
    int error; /* out: 0, or an errno */
};
void spool_job_run(struct spool_job *j);

#endif
