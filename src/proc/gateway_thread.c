/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/gateway_thread.h"

#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's least. Loops do little at a time and wait; whoever derives keys or scans, be it our
 * own niced threads, computes for long. */
#define SLICE_NS 100000u

/* Of those who may run, Linux runs the one whose slice would end first (EEVDF), however nice the
 * others are: with slices of the usual three milliseconds a loop that wakes up waits for the end of
 * another's. Kernels before 6.12 ignore the wish, and so may anybody who refuses it: it costs
 * latency, and nothing else. */
void gateway_thread_be_prompt(void)
{
    struct sched_attr attr = {.size = sizeof attr};

    if (syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) != 0 ||
        attr.sched_policy != SCHED_NORMAL)
        return;
    attr.sched_runtime = SLICE_NS;
    (void)syscall(SYS_sched_setattr, 0, &attr, 0);
}
