/* SPDX-License-Identifier: Apache-2.0 */
/* TLS by Upgrade (RFC 2817), by OPTIONS, which tells nothing. */
#include "ipp/ipp_backend_int.h"
#include "ipp/ipp_client.h"

enum err ipp_errand_upgrade(struct ipp_errand *e)
{
    const struct http_client_request r = {
        .method = SPAN("OPTIONS"),
        .target = SPAN("*"),
        .host = span_of(e->backend->host),
        .fields = SPAN("User-Agent: sallyport\r\n"),
        .upgrade = SPAN("TLS/1.3, TLS/1.2"),
        .head_only = true,
    };

    e->upgrade = UPGRADE_ASKED;
    return http_client_request(e->engine, &r);
}

/* An answer without the switch. */
void ipp_errand_upgrade_answer(struct ipp_errand *e, const struct http_answer *a)
{
    if (e->upgrade == UPGRADE_ASKED)
        ipp_errand_end(e, ERR_TLS, "the printer does not begin TLS when it is asked to");
    else if (a->status < 200 || a->status > 299)
        ipp_errand_end(e, ERR_PROTO, "the printer began TLS and then refused");
}

/* What comes behind the 101 in clear text would be taken for protected. And a 101 that does not say
 * to what (RFC 9110 7.8), or not to TLS (RFC 2817 3.3), is no promise of it. */
void ipp_errand_switched(struct ipp_errand *e)
{
    if (e->upgrade != UPGRADE_ASKED) {
        ipp_errand_end(e, ERR_PROTO, "the printer switches protocols");
    } else if (!ipp_head_names_tls(http_client_answer(e->engine)->head, NULL)) {
        ipp_errand_end(e, ERR_PROTO, "the printer switches to something else than TLS");
    } else if (e->leftover.len > 0) {
        ipp_errand_end(e, ERR_PROTO, "the printer said more in clear text than that TLS begins");
    } else {
        e->upgrade = UPGRADE_HANDSHAKE;
        stream_arm(e->stream, 0);
        char name[300];

        (void)span_copy(e->backend->set.uri.host, name, sizeof name);
        if (stream_start_tls(e->stream, e->backend->set.tls, name) != OK)
            ipp_errand_end(e, ERR_TLS, stream_error(e->stream));
        else
            timer_set(e->backend->set.loop, &e->timer,
                      loop_now_ms(e->backend->set.loop) + e->backend->set.timeout_ms);
    }
}

void ipp_errand_handshaken(struct ipp_errand *e)
{
    const struct ipp_backend *b = e->backend;
    char text[PROTECT_WHY_MAX];
    sallyport_why why;

    if (protect_policy_check(&b->demand, stream_report(e->stream), &why) != OK ||
        stream_check_system(e->stream, &b->set.system, &why) != OK) {
        (void)span_copy(span_of(protect_refusal_text(&why, stream_report(e->stream), text)),
                        e->detail, sizeof e->detail);
        ipp_errand_note(e, &why);
        ipp_errand_end(e, ERR_POLICY, ipp_errand_unprotected);
    } else if (http_client_switched(e->engine) != OK) {
        ipp_errand_end(e, ERR_BUG, "the engine does not switch");
    } else {
        e->upgrade = UPGRADE_END;
    }
}
