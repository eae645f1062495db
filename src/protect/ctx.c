/* SPDX-License-Identifier: Apache-2.0 */
/* ctx.c - the policy that is in force for a program, and what the program is. */
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include "protect/conn_int.h"
#include "protect/policy_file_int.h"
#include "protect/policy_load.h"

struct policy_file *ctx_policy(const sallyport_ctx *ctx, uint64_t *ret_generation)
{
    sallyport_ctx *own = (sallyport_ctx *)(uintptr_t)ctx; /* for its lock */
    struct policy_file *p;

    *ret_generation = 0;
    if (!ctx)
        return NULL;
    (void)pthread_mutex_lock(&own->lock);
    p = policy_ref(own->policy);
    *ret_generation = ctx_generation(ctx);
    (void)pthread_mutex_unlock(&own->lock);
    return p;
}

uint64_t ctx_generation(const sallyport_ctx *ctx)
{
    return ctx ? atomic_load_explicit(&ctx->generation, memory_order_acquire) : 0;
}

/* ---- the policy ---- */

static void say(const struct buf *why, char *dst, size_t cap)
{
    if (dst && cap)
        (void)span_copy(buf_span(why), dst, cap);
}

static void publish(sallyport_ctx *ctx, struct policy_file *fresh)
{
    (void)pthread_mutex_lock(&ctx->lock);
    struct policy_file *old = ctx->policy;

    ctx->policy = fresh;
    (void)atomic_fetch_add_explicit(&ctx->generation, 1, memory_order_release);
    (void)pthread_mutex_unlock(&ctx->lock);
    policy_unref(old);
}

int sallyport_reload(sallyport_ctx *ctx, char *ret_why, size_t cap)
{
    struct policy_file *fresh = NULL;
    struct buf why;
    int e;

    buf_init(&why, 8192);
    (void)pthread_mutex_lock(&ctx->reloading);
    e = policy_load(ctx->path, &fresh, &why);
    /* The default one need not be there; but one that was does not end by a slip of a finger. */
    if (e == -ENOENT && ctx->optional && !ctx->policy)
        e = 0;
    if (e)
        say(&why, ret_why, cap);
    else
        publish(ctx, fresh);
    (void)pthread_mutex_unlock(&ctx->reloading);
    buf_done(&why);
    return e;
}

static void find_user(sallyport_ctx *ctx)
{
    struct passwd pw, *found = NULL;
    char room[4096];

    ctx->uid = geteuid();
    if (getpwuid_r(ctx->uid, &pw, room, sizeof room, &found) == 0 && found)
        (void)span_copy(span_of(pw.pw_name), ctx->user, sizeof ctx->user);
}

static int fill(sallyport_ctx *ctx, const sallyport_options *o)
{
    const char *path = o && o->policy ? o->policy : SALLYPORT_POLICY_PATH;
    const char *service = o && o->service ? o->service : "";

    if (strlen(path) >= sizeof ctx->path || strlen(service) >= sizeof ctx->service)
        return -EINVAL;
    ctx->optional = !o || !o->policy;
    (void)span_copy(span_of(path), ctx->path, sizeof ctx->path);
    (void)span_copy(span_of(service), ctx->service, sizeof ctx->service);
    find_user(ctx);
    return 0;
}

int sallyport_open(const sallyport_options *options, sallyport_ctx **ret_ctx, char *ret_why,
                   size_t cap)
{
    sallyport_ctx *ctx = calloc(1, sizeof *ctx);
    int e;

    *ret_ctx = NULL;
    if (ret_why && cap)
        *ret_why = '\0';
    if (!ctx)
        return -ENOMEM;
    (void)pthread_mutex_init(&ctx->reloading, NULL);
    (void)pthread_mutex_init(&ctx->lock, NULL);
    e = options && options->size < sizeof *options ? -EINVAL : fill(ctx, options);
    if (!e)
        e = sallyport_reload(ctx, ret_why, cap);
    if (e) {
        sallyport_close(ctx);
        return e;
    }
    *ret_ctx = ctx;
    return 0;
}

void sallyport_close(sallyport_ctx *ctx)
{
    if (!ctx)
        return;
    policy_unref(ctx->policy);
    (void)pthread_mutex_destroy(&ctx->lock);
    (void)pthread_mutex_destroy(&ctx->reloading);
    free(ctx);
}

const char *sallyport_derived(const sallyport_ctx *ctx, const sallyport_peer *peer, size_t i)
{
    uint64_t generation;
    struct policy_file *p = ctx_policy(ctx, &generation);
    const char *text = policy_attr(p, peer, i);

    policy_unref(p); /* the context keeps it until the next reload */
    return text;
}

/* ---- what a connection is ---- */

/* RFC 4007 6: what a link-local address is an address of; 0: of nothing that is known. */
static uint32_t scope_of(const struct sockaddr *a)
{
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)a;

    return a->sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr) ? six->sin6_scope_id
                                                                              : 0;
}

/* Can they be one address? */
static bool same_host(const struct sockaddr *a, const struct sockaddr *b)
{
    int family, other;
    const uint8_t *x = policy_address_bytes(a, &family), *y = policy_address_bytes(b, &other);
    size_t n = family == AF_INET ? 4 : 16;
    uint32_t scope = scope_of(a), other_scope = scope_of(b);

    return x && y && family == other &&
           span_eq((struct span){(const char *)x, n}, (struct span){(const char *)y, n}) &&
           (scope == other_scope || !scope || !other_scope);
}

/* Without the label that an address of IPv4 may have there: "eth0:1". */
static struct span interface_name(const struct ifaddrs *i)
{
    struct span name = span_of(i->ifa_name);

    return span_cut(&name, ':');
}

bool flow_interface(const struct ifaddrs *list, const struct sockaddr *local, char dst[IF_NAMESIZE])
{
    dst[0] = '\0';
    for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
        if (!i->ifa_addr || !same_host(local, i->ifa_addr))
            continue;
        if (dst[0] && !span_eq(interface_name(i), span_of(dst)))
            return false;
        (void)span_copy(interface_name(i), dst, IF_NAMESIZE);
    }
    return dst[0] != '\0';
}

static bool find_interface(const struct sockaddr *local, char dst[IF_NAMESIZE])
{
    struct ifaddrs *list = NULL;

    if (getifaddrs(&list) != 0)
        return false;
    bool found = flow_interface(list, local, dst);

    freeifaddrs(list);
    return found && if_nametoindex(dst) != 0; /* a label may be any word */
}

/* NULL for what is neither IPv4 nor IPv6. */
static const struct sockaddr *copy_address(struct sockaddr_storage *dst, const struct sockaddr *a)
{
    size_t n = !a                         ? 0
               : a->sa_family == AF_INET  ? sizeof(struct sockaddr_in)
               : a->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                          : 0;

    if (n)
        memcpy(dst, a, n);
    return n ? (const struct sockaddr *)dst : NULL;
}

void flow_fill(struct flow *f, const sallyport_ctx *ctx, const struct policy_file *policy,
               const struct sockaddr *local, const struct sockaddr *remote, int proto)
{
    *f = (struct flow){.view = {.proto = proto}};
    f->view.local = copy_address(&f->local, local);
    f->view.remote = copy_address(&f->remote, remote);
    if (f->view.local && policy_names_interfaces(policy) &&
        find_interface(f->view.local, f->interface))
        f->view.interface = f->interface;
    if (!ctx)
        return;
    f->view.service = ctx->service[0] ? ctx->service : NULL;
    f->view.user = ctx->user;
    f->view.uid = ctx->uid;
}
