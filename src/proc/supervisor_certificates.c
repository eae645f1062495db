/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_certificates.c - certificate files that are wrong, and certificates that expire: who
 * is told, when, and how often. What is done about it is supervisor_change.c's.
 *
 * A set that cannot be used is nothing to cry about at once, because a renewal writes one file
 * after the other. When it stays so, it is: in the log, and by way of the gateways in `sallyport
 * status`, /readyz and the metrics. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proc/supervisor_int.h"

#define AGAIN_MS  (10u * 60 * 1000) /* the same complaint */
#define CALM_MS   5000u             /* another complaint */
#define DAY_S     86400
#define WARN_AREA "tls"

static struct certificate *certificate_of(struct supervisor *s, const char *name)
{
    struct certificate *c = s->certificates;

    while (c && strcmp(c->name, name) != 0)
        c = c->next;
    if (c)
        return c;
    c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->name = span_dup(span_of(name));
    if (!c->name) {
        free(c);
        return NULL;
    }
    c->next = s->certificates;
    s->certificates = c;
    return c;
}

static void forget(char **text)
{
    free(*text);
    *text = NULL;
}

static bool is_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void tell(struct supervisor *s, const struct certificate *c)
{
    for (struct gateway *g = s->gateways; g; g = g->next)
        if (gateway_send_certificate(g, c) != OK)
            log_warn(AREA, "cannot tell a gateway about the certificate of tls '%s' pid=%d",
                     c->name, (int)g->pid);
}

static const struct tls_config *entry_of(const struct settings_loaded *l, const char *name,
                                         const struct settings_tls **ret_state)
{
    for (size_t i = 0; l && i < l->settings.n_tls; i++)
        if (strcmp(l->settings.tls[i].name, name) == 0) {
            *ret_state = &l->tls[i];
            return &l->settings.tls[i];
        }
    return NULL;
}

static const char *source_of(const struct tls_config *t)
{
    return t->directory ? t->directory : t->certificate;
}

/* ---- alarms ---- */

static void log_alarm(const struct supervisor *s, const struct certificate *c)
{
    const struct settings_tls *state = NULL;
    const struct tls_config *t = entry_of(s->loaded, c->name, &state);
    char until[ISO_TIME_LEN + 1];

    if (!t || t->waits) {
        log_error(WARN_AREA,
                  "tls '%s' has no files to serve with, and its listeners are closed: "
                  "%s; they open by themselves when that is mended",
                  c->name, c->why);
        return;
    }
    clock_iso_time((uint64_t)state->certificate.not_after * 1000, until);
    log_error(WARN_AREA,
              "tls '%s': the files in %s are NOT in use: %s; the certificate from before "
              "goes on, until %s; mend the files, and they are taken over",
              c->name, source_of(t), c->why, until);
}

static void on_settle(struct timer *t)
{
    certificates_poll(CONTAINER_OF(t, struct supervisor, settle));
}

/* Where nothing is served anyway there is no reason to wait. */
static bool is_settled(const struct supervisor *s, const struct certificate *c)
{
    const struct settings_tls *state;
    const struct tls_config *t = entry_of(s->loaded, c->name, &state);

    return c->told || (t && t->waits) || loop_now_ms(s->loop) >= c->bad_since_ms + SETTLE_MS;
}

static bool log_is_due(const struct supervisor *s, const struct certificate *c)
{
    return !c->logged ||
           loop_now_ms(s->loop) >= c->logged_ms + (is_same(c->logged, c->why) ? AGAIN_MS : CALM_MS);
}

static void replace(char **text, const char *by)
{
    forget(text);
    *text = span_dup(span_of(by));
}

/* Operators who look see it at once; the log is spared. */
static void say(struct supervisor *s, struct certificate *c)
{
    if (!is_settled(s, c)) {
        log_debug(WARN_AREA, "tls '%s': the files are of no use yet: %s", c->name, c->why);
        s->settle.fire = on_settle;
        timer_set(s->loop, &s->settle, c->bad_since_ms + SETTLE_MS);
        return;
    }
    if (!is_same(c->told, c->why)) {
        replace(&c->told, c->why);
        tell(s, c);
    }
    if (log_is_due(s, c)) {
        log_alarm(s, c);
        replace(&c->logged, c->why);
        c->logged_ms = loop_now_ms(s->loop);
    }
}

static void is_bad(struct supervisor *s, struct certificate *c, const char *why)
{
    if (!c->why)
        c->bad_since_ms = loop_now_ms(s->loop);
    if (!is_same(c->why, why))
        replace(&c->why, why);
    if (c->why)
        say(s, c);
}

static void is_good(struct supervisor *s, struct certificate *c)
{
    forget(&c->why);
    forget(&c->logged);
    if (!c->told)
        return;
    forget(&c->told);
    log_info(WARN_AREA, "tls '%s': the files are good again", c->name);
    tell(s, c);
}

void certificates_look(struct supervisor *s, const struct settings_loaded *l)
{
    for (size_t i = 0; i < l->settings.n_tls; i++) {
        struct certificate *c = certificate_of(s, l->settings.tls[i].name);

        if (c && l->tls[i].refused)
            is_bad(s, c, l->tls[i].refused);
        else if (c)
            is_good(s, c);
    }
}

bool certificates_are_bad(const struct supervisor *s)
{
    const struct settings_tls *state;

    for (const struct certificate *c = s->certificates; c; c = c->next)
        if (c->why && entry_of(s->loaded, c->name, &state))
            return true;
    return false;
}

/* ---- new ones ---- */

/* It may be the CRL that changed, or the key's mode. */
static void log_taken(const struct certificate *c, const struct tls_certificate *old,
                      const struct tls_certificate *now)
{
    bool same = strcmp(old->serial, now->serial) == 0 && old->not_after == now->not_after &&
                strcmp(old->subject, now->subject) == 0;
    char until[ISO_TIME_LEN + 1];

    clock_iso_time((uint64_t)now->not_after * 1000, until);
    log_info(WARN_AREA, "tls '%s': %s subject='%s' serial=%s until=%s", c->name,
             same ? "other files are in use, with the certificate from before"
                  : "another certificate is in use",
             now->subject, now->serial, until);
}

void certificates_taken(struct supervisor *s, const struct settings_loaded *old,
                        const struct settings_loaded *l)
{
    for (size_t i = 0; i < l->settings.n_tls; i++) {
        const struct tls_config *t = &l->settings.tls[i];
        struct certificate *c = certificate_of(s, t->name);
        const struct settings_tls *state;
        const struct tls_config *o = entry_of(old, t->name, &state);

        if (!c || !o || t->waits ||
            settings_tls_is_same(l, i, old, (size_t)(o - old->settings.tls)))
            continue;
        c->reloads++;
        log_taken(c, &state->certificate, &l->tls[i].certificate);
        tell(s, c);
    }
}

/* ---- expiry ---- */

static void warn_expiry(const struct tls_config *t, const struct tls_certificate *cert,
                        int64_t left)
{
    char until[ISO_TIME_LEN + 1];

    clock_iso_time((uint64_t)cert->not_after * 1000, until);
    if (left <= 0)
        log_error(WARN_AREA,
                  "tls '%s': the certificate '%s' HAS EXPIRED on %s: put another one "
                  "into %s, it is taken over",
                  t->name, cert->subject, until, source_of(t));
    else
        log_warn(WARN_AREA,
                 "tls '%s': the certificate '%s' expires on %s (days left: %lld): put "
                 "another one into %s, it is taken over",
                 t->name, cert->subject, until, (long long)(left / DAY_S), source_of(t));
}

static void warn_crl(const struct tls_config *t, const struct tls_certificate *crl, int64_t left)
{
    char until[ISO_TIME_LEN + 1];

    clock_iso_time((uint64_t)crl->not_after * 1000, until);
    if (left <= 0)
        log_error(WARN_AREA,
                  "tls '%s': the CRL of '%s' ENDED on %s: no client with a certificate gets in "
                  "until there is a newer one, which is taken over",
                  t->name, crl->subject, until);
    else
        log_warn(WARN_AREA,
                 "tls '%s': the CRL of '%s' ends on %s (days left: %lld): without a newer one no "
                 "client with a certificate gets in then",
                 t->name, crl->subject, until, (long long)(left / DAY_S));
}

/* Once for each step towards the end. */
static void look_at_end(const struct tls_config *t, const struct tls_certificate *cert, int64_t now,
                        struct certificate_end *end,
                        void (*warn)(const struct tls_config *t, const struct tls_certificate *cert,
                                     int64_t left))
{
    unsigned due = cert->not_after ? tls_certificate_warning(cert, now) : 0;

    if (end->not_after != cert->not_after)
        end->warned = 0;
    end->not_after = cert->not_after;
    if (due == end->warned)
        return;
    end->warned = due;
    if (due)
        warn(t, cert, cert->not_after - now);
}

static void look_at_expiry(struct supervisor *s, size_t i)
{
    const struct tls_config *t = &s->loaded->settings.tls[i];
    struct certificate *c = certificate_of(s, t->name);
    int64_t now = (int64_t)(clock_wall_ms(loop_clock(s->loop)) / 1000);

    if (!c || t->waits)
        return;
    look_at_end(t, &s->loaded->tls[i].certificate, now, &c->end, warn_expiry);
    look_at_end(t, &s->loaded->tls[i].crl, now, &c->crl_end, warn_crl);
}

void certificates_poll(struct supervisor *s)
{
    const struct settings_tls *state;

    for (struct certificate *c = s->certificates; c; c = c->next)
        if (c->why && entry_of(s->loaded, c->name, &state))
            say(s, c);
    for (size_t i = 0; s->loaded && i < s->loaded->settings.n_tls; i++)
        look_at_expiry(s, i);
}

void certificates_free(struct supervisor *s)
{
    while (s->certificates) {
        struct certificate *c = s->certificates;

        s->certificates = c->next;
        free(c->name);
        free(c->why);
        free(c->told);
        free(c->logged);
        free(c);
    }
}
