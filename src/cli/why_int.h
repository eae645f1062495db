/* SPDX-License-Identifier: Apache-2.0 */
/* why_int.h - the parts of `sallyport why`: command_why.c has the command line, why_talk.c plans
 * and connects, why_upgrade.c asks a printer for TLS, why_print.c tells. */
#ifndef CLI_WHY_INT_H
#define CLI_WHY_INT_H

#include "cli/probe_ipp_int.h"
#include "sallyport/conn.h"

struct why {
    /* What is asked. */
    const char *target;      /* as it was typed */
    const char *policy_path; /* for texts */
    const char *demanded_by; /* who made the want: "the URL's scheme", "the command line" */
    struct probe_target place;
    bool upgrade; /* TLS begins by HTTP Upgrade (RFC 2817), as AUTH=TLS wants it */
    bool digest;  /* the URI wants a login, too, which is not tried */
    sallyport_ctx *ctx;
    sallyport_want *want;
    uint64_t ms; /* for each step */
    /* What came of it. */
    sallyport_report *plan, *report; /* NULL: it did not come to that */
    bool closed;                     /* by the server, as soon as the handshake was over */
    char address[ADDRESS_TEXT_MAX];  /* that answered; "" */
    char no_upgrade[160];            /* what came in place of TLS; "": nothing did */
    char failure[200];               /* of the network; "": none */
};

/* Asks for TLS on |t|, which is open in clear text. OK: it may begin. ERR_PROTO: the server does
 * not begin it as it should, and w->no_upgrade says what it does; anything else: t->why. */
NODISCARD enum err why_upgrade(struct why *w, struct ipp_talk *t);
/* Fills the lower half; EXIT_*. Frees nothing. */
int why_find_out(struct why *w);
void why_print_text(const struct why *w);
void why_print_json(const struct why *w, int exit_code);

#endif
