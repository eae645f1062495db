/* SPDX-License-Identifier: Apache-2.0 */
#include "jail/jail.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>

#include "jail/jail_layers.h"

static NODISCARD enum err no_new_privs(const struct jail_spec *spec, struct jail_report *r,
                                       struct buf *why)
{
    (void)spec;
    (void)r;
    /* Not dumpable: no core file with somebody's document in it, and no ptrace by another process
     * of the same user. */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)
        return OK;
    buf_fmt(why, "prctl: %s", strerror(errno));
    return ERR_MISSING;
}

#define ROLE(role) (1u << (role))
#define ALL_ROLES  (ROLE(JAIL_WORKER) | ROLE(JAIL_ZYGOTE) | ROLE(JAIL_GATEWAY))

/* In the order in which they must be entered: namespaces need the privileges that the change of
 * user gives up, Landlock and seccomp need no_new_privs once those are gone, and seccomp refuses
 * the system calls of all the others. */
static const struct {
    enum jail_layer bit;
    const char *name;
    unsigned roles;
    bool minimum;
    enum err (*enter)(const struct jail_spec *spec, struct jail_report *r, struct buf *why);
} layers[] = {
    {JAIL_NAMESPACES,   "namespaces",   ROLE(JAIL_WORKER) | ROLE(JAIL_ZYGOTE), false, jail_namespaces},
    {JAIL_USER,         "user",         ALL_ROLES,                             false, jail_user      },
    {JAIL_NO_NEW_PRIVS, "no-new-privs", ALL_ROLES,                             true,  no_new_privs   },
    {JAIL_RLIMITS,      "rlimits",      ALL_ROLES,                             true,  jail_rlimits   },
    {JAIL_LANDLOCK,     "landlock",     ALL_ROLES,                             true,  jail_landlock  },
    {JAIL_SECCOMP,      "seccomp",      ALL_ROLES,                             true,  jail_seccomp   },
};

#if defined(SALLYPORT_SANITIZED) && SALLYPORT_SANITIZED
#define SANITIZED true
#else
#define SANITIZED false
#endif

enum err jail_enter(const struct jail_spec *spec, struct jail_report *ret, struct buf *why)
{
    struct jail_report report = {0};
    enum err e = OK;
    struct buf text;

    buf_init(&text, 1024);
    for (size_t i = 0; i < ARRAY_LEN(layers) && e == OK; i++) {
        if (!(layers[i].roles & ROLE(spec->role)))
            continue;
        if (SANITIZED && layers[i].bit != JAIL_NO_NEW_PRIVS)
            continue;
        buf_reset(&text);
        e = layers[i].enter(spec, &report, &text);
        if (e == OK) {
            report.on |= layers[i].bit;
        } else if (e == ERR_MISSING && !(spec->required && layers[i].minimum)) {
            e = OK;
        } else {
            if (why)
                buf_fmt(why, "the sandbox layer \"%s\" is required and cannot be had: %s",
                        layers[i].name, buf_cstr(&text));
            e = ERR_POLICY;
        }
    }
    buf_done(&text);
    if (e == OK)
        *ret = report;
    return e;
}

void jail_report_text(const struct jail_report *r, struct buf *out)
{
    bool first = true;

    for (size_t i = 0; i < ARRAY_LEN(layers); i++) {
        if (!(r->on & layers[i].bit))
            continue;
        if (!first)
            buf_char(out, ' ');
        first = false;
        buf_text(out, layers[i].name);
        if (layers[i].bit == JAIL_LANDLOCK)
            buf_fmt(out, "(abi %d)", r->landlock_abi);
    }
    if (first)
        buf_text(out, "none");
    if (SANITIZED)
        buf_text(out, " (sanitizer build: no jail)");
}
