/* SPDX-License-Identifier: Apache-2.0 */
/* gateway.h - the process that meets the net: loop threads, listeners, services. Started by the
 * supervisor as `sallyport serve --gateway-control FD`. */
#ifndef PROC_GATEWAY_H
#define PROC_GATEWAY_H

/* Runs until drained or told to end; the process's exit code. |control_fd|: the socket pair to the
 * supervisor. When the supervisor dies the gateway goes on serving, and waits on its control socket
 * for a new one to take its sockets over. */
int gateway_main(int control_fd);

#endif
