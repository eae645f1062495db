/* SPDX-License-Identifier: Apache-2.0 */
/* loop_int.h - what the files of this room share of a loop, without <uv.h>. */
#ifndef NET_LOOP_INT_H
#define NET_LOOP_INT_H

#include "net/loop.h"

struct uv_loop_s;
struct uv_loop_s *loop_uv(struct loop *l);
struct edges *loop_edges(struct loop *l); /* edge.h */

/* Something that lives on by itself after its user let go of it (a lingering stream): loop_free()
 * calls |leave|, which must remove the hook. */
struct loop_hook {
    void (*leave)(struct loop_hook *h);
    struct loop_hook *prev, *next;
};
void loop_hook_add(struct loop *l, struct loop_hook *h);
void loop_hook_remove(struct loop *l, struct loop_hook *h);

#endif
