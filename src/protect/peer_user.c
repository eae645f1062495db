/* SPDX-License-Identifier: Apache-2.0 */
/* peer_user.c - who is at the other end of a Unix socket: a user of this machine. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/socket.h>

#include "protect/peer_int.h"

/* What the kernel says for a user that has no number in our namespace
 * (/proc/sys/kernel/overflowuid), and of whom nothing follows anyway. */
#define UID_NOBODY 65534u
#define UID_NONE   UINT32_MAX

static bool peer_uid(int fd, uid_t *ret)
{
    struct ucred who = {.uid = UID_NONE};
    int domain = AF_UNSPEC;
    socklen_t n_domain = sizeof domain, n_who = sizeof who;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n_domain) != 0 || domain != AF_UNIX ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n_who) != 0)
        return false;
    *ret = who.uid;
    return who.uid != UID_NOBODY && who.uid != UID_NONE;
}

/* The number is who it is; the name is how people know it. */
static void fill(sallyport_peer *p, uid_t uid)
{
    struct passwd pw, *found = NULL;
    char room[4096], number[16], line[PEER_TEXT_MAX];
    struct span name = SPAN_NONE;

    (void)snprintf(number, sizeof number, "%u", uid);
    if (getpwuid_r(uid, &pw, room, sizeof room, &found) == 0 && found)
        name = span_of(pw.pw_name);
    if (name.n > 255 || !peer_is_visible(name))
        name = SPAN_NONE;
    if (name.n) {
        peer_add(p, SALLYPORT_PEER_USER, name);
        (void)snprintf(line, sizeof line, "user:" SPAN_FMT " (uid %s)", SPAN_ARG(name), number);
    } else {
        (void)snprintf(line, sizeof line, "uid:%s", number);
    }
    peer_add(p, SALLYPORT_PEER_UID, span_of(number));
    peer_add(p, SALLYPORT_PEER_METHOD, SPAN("local"));
    peer_add(p, SALLYPORT_PEER_AUDIT, span_of(line));
}

int peer_of_socket(int fd, sallyport_peer **ret_peer)
{
    sallyport_peer *p;
    uid_t uid;

    *ret_peer = NULL;
    if (fd < 0 || !peer_uid(fd, &uid))
        return 0;
    p = peer_alloc();
    if (!p)
        return -ENOMEM;
    fill(p, uid);
    if (p->bytes.err) {
        sallyport_peer_unref(p);
        return -ENOMEM;
    }
    *ret_peer = p;
    return 0;
}
