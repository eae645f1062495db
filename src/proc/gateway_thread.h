/* SPDX-License-Identifier: Apache-2.0 */
/* gateway_thread.h - where the threads of loops stand among others that want the processor. */
#ifndef PROC_GATEWAY_THREAD_H
#define PROC_GATEWAY_THREAD_H

/* The calling thread, and those that it makes, shall wait for others as little as they can. */
void gateway_thread_be_prompt(void);

#endif
