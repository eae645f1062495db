/* SPDX-License-Identifier: Apache-2.0 */
/* jail_layers.h - the layers, one function each, for jail.c only. Each returns OK when its layer is
 * on, ERR_MISSING when this machine does not give it (|why| says what failed and what to do about
 * it), and any other error when going on would be wrong. */
#ifndef JAIL_JAIL_LAYERS_H
#define JAIL_JAIL_LAYERS_H

#include "jail/jail.h"

NODISCARD enum err jail_rlimits(const struct jail_spec *spec, struct jail_report *r,
                                struct buf *why);
NODISCARD enum err jail_namespaces(const struct jail_spec *spec, struct jail_report *r,
                                   struct buf *why);
NODISCARD enum err jail_user(const struct jail_spec *spec, struct jail_report *r, struct buf *why);
/* Sets r->landlock_abi. */
NODISCARD enum err jail_landlock(const struct jail_spec *spec, struct jail_report *r,
                                 struct buf *why);
NODISCARD enum err jail_seccomp(const struct jail_spec *spec, struct jail_report *r,
                                struct buf *why);

#endif
