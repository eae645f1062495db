/* SPDX-License-Identifier: Apache-2.0 */
/* why_int.h - the parts of `sallyport why`: command_why.c has the command line, why_talk.c plans
 * and connects, why_print.c tells. */
#ifndef CLI_WHY_INT_H
#define CLI_WHY_INT_H

#include "cli/probe_talk.h"
#include "sallyport/conn.h"

struct why {
    /* What is asked. */
    const char *target;      /* as it was typed */
    const char *policy_path; /* for texts */
    const char *demanded_by; /* who made the want: "the URL's scheme", "the command line" */
    struct probe_target place;
    sallyport_ctx *ctx;
    sallyport_want *want;
    uint64_t ms; /* for each step */
    /* What came of it. */
    sallyport_report *plan, *report; /* NULL: it did not come to that */
    bool closed;                     /* by the server, as soon as the handshake was over */
    char address[ADDRESS_TEXT_MAX];  /* that answered; "" */
    char failure[200];               /* of the network; "": none */
};

/* Fills the lower half; EXIT_*. Frees nothing. */
int why_find_out(struct why *w);
void why_print_text(const struct why *w);
void why_print_json(const struct why *w, int exit_code);

#endif
