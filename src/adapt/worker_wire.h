/* SPDX-License-Identifier: Apache-2.0 */
/* worker_wire.h - what gateway, zygote, worker and supervisor say to each other over SOCK_SEQPACKET
 * socket pairs: one message is one packet, big-endian, at most WIRE_MAX bytes, with at most one
 * descriptor beside it (SCM_RIGHTS). Pure codec, the same for both sides; the specification is
 * docs/guide/worker-protocol.md.
 *
 *   supervisor -> zygote   CHANNEL +fd     serve a gateway loop on this socket
 *   zygote -> supervisor   READY | BROKEN  once, after the rules are compiled
 *   gateway -> zygote      FORK            a worker, please (|id| is echoed)
 *   zygote -> gateway      FORKED +fd | FORK_FAILED
 *   gateway -> zygote      KILL            that worker hangs
 *   zygote -> gateway      DIED            that worker ended (any way)
 *   gateway -> worker      JOB +fd         inspect this read-only file
 *   worker -> gateway      RESULT [+fd]    fd: the objects that were found in it (adapt/objects.h)
 */
#ifndef ADAPT_WORKER_WIRE_H
#define ADAPT_WORKER_WIRE_H

#include "adapt/verdict.h"
#include "base/reader.h"

#define WIRE_MAX 16384u

enum wire_kind {
    WIRE_CHANNEL = 1,
    WIRE_READY,
    WIRE_BROKEN,
    WIRE_FORK,
    WIRE_FORKED,
    WIRE_FORK_FAILED,
    WIRE_KILL,
    WIRE_DIED,
    WIRE_JOB,
    WIRE_RESULT,
};

#define WIRE_TEXT_MAX 1024
#define WIRE_NAME_MAX 255

/* Bit mask. UNPACK: undo Content-Encoding and split multipart/form-data before the others look;
 * without it a body that has either is not inspected. FILETYPE: say what each object is. PRINTING:
 * look at it as a printer does, and count its pages. */
enum wire_engine {
    WIRE_ENGINE_YARA = 1,
    WIRE_ENGINE_FILETYPE = 2,
    WIRE_ENGINE_UNPACK = 4,
    WIRE_ENGINE_PRINTING = 8
};
#define WIRE_ENGINES_ALL 15u

/* Limits on what unpacking may make; over one: CAUSE_NOT_INSPECTED. */
struct wire_unpack {
    uint64_t size_max;  /* decoded bytes of one body, each step of nested codings */
    uint32_t ratio_max; /* decoded bytes for each encoded one, once 1 MiB has come out */
    uint32_t codings_max;
    uint32_t parts_max; /* of all multipart levels together */
};

struct wire_message {
    enum wire_kind kind;
    union {
        struct {
            char engines[WIRE_TEXT_MAX]; /* "yara 4.2.3 rules 1f0c…": goes into ISTags */
            char layers[WIRE_TEXT_MAX];  /* jail layers that a worker has, for the start line */
        } ready;
        struct {
            char text[WIRE_TEXT_MAX];
        } broken; /* also FORK_FAILED's, with id */
        struct {
            uint32_t id;
        } fork;
        struct {
            uint32_t id;
            uint32_t pid;
        } forked;
        struct {
            uint32_t id;
            char text[WIRE_TEXT_MAX];
        } fork_failed;
        struct {
            uint32_t pid;
        } kill;
        struct {
            uint32_t pid;
            uint32_t signal; /* 0: exited */
            uint32_t exit_code;
        } died;
        struct {
            uint64_t id;
            uint32_t engines;             /* WIRE_ENGINE_* */
            uint32_t time_ms;             /* the worker gives up by itself after that */
            uint64_t len;                 /* bytes in the file */
            char name[WIRE_NAME_MAX + 1]; /* declared file name, any bytes but NUL; "" if none */
            char type[WIRE_TEXT_MAX];     /* Content-Type, with its parameters */
            char encoding[WIRE_NAME_MAX + 1]; /* Content-Encoding, "" if none */
            struct wire_unpack unpack;
            bool want_objects; /* RESULT shall bring what is in the file, for another engine */
        } job;
        struct {
            uint64_t id;
            struct scan_result result;
            bool has_objects; /* a descriptor comes with it */
        } result;
    };
};

/* Appends the packet to |w|; ERR_LIMIT when it does not fit (it always fits WIRE_MAX) or a text has
 * no closing NUL, ERR_BUG for a value out of range. A RESULT says PASS or CHANGED exactly when its
 * cause is CAUSE_NONE; anything else is out of range, on both sides. */
NODISCARD enum err wire_encode(const struct wire_message *m, struct writer *w);
/* ERR_SYNTAX for unknown kinds, short or long packets, texts that hold NUL or are too long, values
 * out of range. One message has one encoding. *ret only on OK. */
NODISCARD enum err wire_decode(struct span packet, struct wire_message *ret);

/* CHANNEL, FORKED, JOB, and a RESULT with has_objects come with exactly one descriptor, all others
 * with none. */
bool wire_message_has_fd(const struct wire_message *m);

/* sendmsg/recvmsg of one packet with its descriptor. |fd| -1: none. Blocking or not, as the socket
 * is: ERR_AGAIN when it would block, ERR_EOF at the end, ERR_RESET when the peer is gone,
 * ERR_SYNTAX for a packet that cannot be decoded or whose descriptor is missing or too much (what
 * came is closed). The received descriptor is the caller's, close-on-exec; *ret_fd is -1 when there
 * is none, and after every error. *ret is written only on OK. wire_send leaves |fd| to the caller.
 */
NODISCARD enum err wire_send(int sock, const struct wire_message *m, int fd);
NODISCARD enum err wire_receive(int sock, struct wire_message *ret, int *ret_fd);

#endif
