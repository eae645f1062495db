/* SPDX-License-Identifier: Apache-2.0 */
/* clamd_int.h - what the files of clamd share: one session with the daemon, files for it, and the
 * writing side of its health. */
#ifndef ADAPT_CLAMD_INT_H
#define ADAPT_CLAMD_INT_H

#include "adapt/clamd.h"
#include "base/chain.h"

/* ---- one connection: IDSESSION, one question at a time ---- */

struct clamd_session;
enum clamd_session_event {
    CLAMD_SESSION_READY, /* connected */
    CLAMD_SESSION_REPLY, /* |text|: the answer, without its NUL */
    CLAMD_SESSION_LOST,  /* |text|: why; the last event. The user closes it */
};
/* Never inside a call. |text| is valid during the call; the session may be closed in it. */
typedef void (*clamd_session_fn)(void *arg, enum clamd_session_event event, struct span text);

NODISCARD enum err clamd_session_new(struct loop *l, const struct address *a, clamd_session_fn fn,
                                     void *arg, struct clamd_session **ret);
/* No event after this; NULL is fine. */
void clamd_session_close(struct clamd_session *s);
/* Connected, nothing asked, nothing unsent: the next question may come. */
bool clamd_session_is_idle(const struct clamd_session *s);
/* Questions so far: the id that the answer to the last one carries. */
uint32_t clamd_session_id(const struct clamd_session *s);
/* One of these, when idle. What goes wrong is told as LOST. They take their own references. */
void clamd_session_version(struct clamd_session *s);
void clamd_session_fildes(struct clamd_session *s, struct file_ref *f);
void clamd_session_instream(struct clamd_session *s, struct file_ref *f, uint64_t off,
                            uint64_t len);

/* ---- files ---- */

/* Takes |fd| over on success; one reference. NULL: out of memory. */
struct file_ref *clamd_file_new(int fd);
/* Its descriptor is somebody else's again. Only while nobody else holds a reference. */
void clamd_file_forget(struct file_ref *f);
/* An empty memfd that can be sealed; -1: errno. */
int clamd_memfd(void);
/* Nobody can change its bytes any more. 0, or an errno. */
int clamd_memfd_seal(int fd);

/* A zip, stored, with a zip in it, and so on: so many bytes for |levels| of them. -1: errno. */
#define CLAMD_NEST_LEN(levels) (100u * (levels))
int clamd_nest_file(unsigned levels);

/* ---- health ---- */

/* Before the first look is over nobody knows what it finds, so that it counts as down, too. */
static inline bool clamd_health_is_down(const struct clamd_health_report *r)
{
    return !r->up;
}

/* Any thread: somebody saw the daemon gone or hanging. The monitor, if there is one, looks soon. */
void clamd_health_suspect(struct clamd_health *h);
/* The monitor's: |suspected| is called on |l| after a clamd_health_suspect(), until |l| is NULL. */
void clamd_health_attach(struct clamd_health *h, struct loop *l, void (*suspected)(void *arg),
                         void *arg);
void clamd_health_write(struct clamd_health *h, const struct clamd_health_report *r);

#endif
