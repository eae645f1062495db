/* SPDX-License-Identifier: Apache-2.0 */
/* settings_tls.c - the rows of a tls entry, and what can be said of them without its files. */
#include <string.h>

#include "proc/settings.h"

static const struct config_names version_names =
    CONFIG_NAMES({"1.2", TLS_VERSION_1_2}, {"1.3", TLS_VERSION_1_3});
static const struct config_names clients_names =
    CONFIG_NAMES({"auto", TLS_CLIENTS_AUTO}, {"off", TLS_CLIENTS_OFF},
                 {"request", TLS_CLIENTS_REQUEST}, {"require", TLS_CLIENTS_REQUIRE});

static const char *valid_name(struct span text)
{
    return span_is_token(text) ? NULL : "be letters, digits, '-', '_' and '.'";
}

/* RFC 952, RFC 1123 2.1: letters, digits and hyphens between dots; underscores are met, too. */
static const char *valid_dns_name(struct span text)
{
    struct span rest = span_starts(text, SPAN("*.")) ? span_sub(text, 2, text.n) : text;

    if (rest.n == 0 || text.n > 253)
        return "be a DNS name, or *.NAME";
    while (rest.p) {
        struct span label = span_cut(&rest, '.');

        if (label.n == 0 || label.n > 63)
            return "be a DNS name, or *.NAME, without a dot at its end";
        for (size_t i = 0; i < label.n; i++)
            if (!(char_lower(label.p[i]) >= 'a' && char_lower(label.p[i]) <= 'z') &&
                !(label.p[i] >= '0' && label.p[i] <= '9') && label.p[i] != '-' && label.p[i] != '_')
                return "be a DNS name, or *.NAME for one more label";
    }
    return NULL;
}

static const struct config_row tls_rows[] = {
    CONFIG_STRING("name", struct tls_config, name, .required = true, .min = 1, .max = 64,
                  .valid = valid_name, .help = "What listeners call it."),
    CONFIG_PATH("certificate", struct tls_config, certificate,
                .help = "PEM file: the server's certificate, then its intermediate CAs. Replacing "
                        "the file is noticed; new connections get the new certificate."),
    CONFIG_PATH("key", struct tls_config, key,
                .help = "PEM file: the private key, not encrypted, readable for Sallyport only."),
    CONFIG_PATH("directory", struct tls_config, directory,
                .help = "Directory with tls-server-cert, tls-server-key and tls-cafile, such as a "
                        "mounted Kubernetes secret, instead of certificate, key and client-ca. The "
                        "server's certificate must belong to that CA, too. Until all three are "
                        "there and fit, the listeners stay closed and the gateway is not ready; "
                        "then they open by themselves."),
    CONFIG_PATH("ocsp", struct tls_config, ocsp,
                .help = "File with an OCSP response (DER) for the certificate, which clients get "
                        "that ask for it. Fetch it anew before it expires: it is not sent any "
                        "more then, nor when it is about another certificate."),
    CONFIG_STRINGS("names", struct tls_config, names, .max = 256, .valid = valid_dns_name,
                   .help = "DNS names (*.NAME: one more label) for which a listener that has the "
                           "entry in tls or also-tls shows this certificate. Empty: those in the "
                           "certificate."),
    CONFIG_PATH("client-ca", struct tls_config, client_ca,
                .help = "PEM file: the CAs of client certificates. With it, every client must "
                        "show a certificate, unless verify-client says otherwise."),
    CONFIG_ENUM("verify-client", struct tls_config, verify_client, clients_names,
                .fallback = "auto",
                .help = "require: no client without a certificate of client-ca. request: clients "
                        "are asked for one; without one they are let in as nobody, with a bad one "
                        "they are not. off: they are not asked. auto: require with client-ca, off "
                        "without."),
    CONFIG_PATHS("client-crl", struct tls_config, client_crl, .single = true,
                 .max = SETTINGS_CRLS_MAX,
                 .help = "PEM files with CRLs, one or more in each. With it, every certificate of "
                         "a client's chain must be covered by the CRL of its CA, which must not "
                         "have expired; a revoked one is always refused. Replacing a file is "
                         "noticed, and ends the sessions that clients could resume."),
    CONFIG_COUNT("client-depth", struct tls_config, client_depth, .min = 1, .max = TLS_DEPTH_MAX,
                 .fallback = "5", .unit = "CA certificates",
                 .help = "Longest chain of a client, its root counted, too."),
    CONFIG_STRINGS(
        "verification-flags", struct tls_config, flags_text, .single = true, .max = 16,
        .help = "Faults of client certificates that are let pass, in the words or numbers of "
                ".NET's X509VerificationFlags, joined by comma or vertical bar, or as a list; "
                "records say when one was. Here those count that are about policies, and about "
                "CRLs that are missing or have expired (IgnoreEndRevocationUnknown and the like). "
                "Without this key: what the environment says in "
                "CERTIFICATE__VerificationFlags."),
    CONFIG_STRINGS(
        "insecure-verification-flags", struct tls_config, insecure_flags_text, .single = true,
        .max = 16,
        .help = "The same for those with which a certificate proves less than it seems to: "
                "IgnoreNotTimeValid, IgnoreInvalidBasicConstraints, IgnoreWrongUsage, "
                "IgnoreInvalidName, AllowUnknownCertificateAuthority (such a client is let in "
                "with verify-client: request, and is nobody), AllFlags."),
    CONFIG_ENUM("minimum", struct tls_config, minimum, version_names, .fallback = "1.2",
                .help = "Oldest TLS version that is spoken."),
    CONFIG_BOOL("tickets", struct tls_config, tickets, .fallback = "on",
                .help = "Let clients resume their sessions with tickets, for an hour after the "
                        "full handshake."),
    CONFIG_PATH("ticket-secret", struct tls_config, ticket_secret,
                .help = "File with at least 32 random bytes from which the keys of tickets are "
                        "made, new ones each hour: the same on several nodes, so that clients can "
                        "resume on each. Without it: a secret that Sallyport makes up when it is "
                        "started."),
};

/* ---- flags ---- */

static unsigned read_flags(const struct tls_config *t, const char *key,
                           const struct config_strings *texts, struct config_report *r)
{
    unsigned all = 0, flags;
    struct span wrong;

    for (size_t i = 0; i < texts->n; i++) {
        if (tls_flags_parse(span_of(texts->v[i]), &flags, &wrong) == OK)
            all |= flags;
        else
            (void)config_fault(r, t, key,
                               "'" SPAN_FMT "' is not a verification flag: names are those of "
                               ".NET's X509VerificationFlags, numbers sums of them up to %u",
                               SPAN_ARG(wrong), (unsigned)TLS_FLAGS_ALL);
    }
    return all;
}

static void say_flags(unsigned flags, struct buf *out)
{
    buf_init(out, 0);
    tls_flags_format(flags, out);
}

static void check_flags(struct tls_config *t, struct config_report *r)
{
    unsigned safe = read_flags(t, "verification-flags", &t->flags_text, r);
    unsigned insecure = read_flags(t, "insecure-verification-flags", &t->insecure_flags_text, r);
    struct buf text;

    t->flags = safe | insecure;
    if (safe & TLS_FLAGS_DANGEROUS) {
        say_flags(safe & TLS_FLAGS_DANGEROUS, &text);
        (void)config_fault(r, t, "verification-flags",
                           "%s: certificates would prove less than they seem to; write it under "
                           "insecure-verification-flags to have it that way",
                           buf_cstr(&text));
        buf_done(&text);
    }
    if (insecure) {
        say_flags(insecure, &text);
        config_warn(r, t, "insecure-verification-flags",
                    "INSECURE: tls '%s' lets in clients whose certificates are not good (%s)",
                    t->name, buf_cstr(&text));
        buf_done(&text);
    }
    if (t->flags & TLS_FLAG_UNKNOWN_CA && t->clients == TLS_CLIENTS_REQUIRE)
        config_warn(r, t, "insecure-verification-flags",
                    "AllowUnknownCertificateAuthority has no effect with verify-client: require: "
                    "such a client is nobody, and somebody is required");
}

unsigned settings_tls_flags(const struct tls_config *t, unsigned elsewhere)
{
    return t->flags_text.n || t->insecure_flags_text.n ? t->flags : elsewhere;
}

/* ---- files ---- */

/* |*path| may say the same already, as the effective configuration does when it is printed. */
static enum err in_directory(struct tls_config *t, const char *name, const char **path,
                             struct config_report *r)
{
    const char *want = settings_below(config_report_arena(r), t->directory, name);

    if (!want)
        return ERR_NOMEM;
    if (*path && strcmp(*path, want) != 0)
        return config_fault(r, t, "directory",
                            "directory stands for certificate, key and client-ca: use either the "
                            "one or the others");
    *path = want;
    return OK;
}

/* The names of a mounted secret. All three are needed: a CA file that is missing by mistake must
 * not open the port to everybody. */
static enum err name_files(struct tls_config *t, struct config_report *r)
{
    if (t->directory) {
        TRY(in_directory(t, "tls-server-cert", &t->certificate, r));
        TRY(in_directory(t, "tls-server-key", &t->key, r));
        TRY(in_directory(t, "tls-cafile", &t->client_ca, r));
    } else if (!t->certificate || !t->key) {
        return config_fault(r, t, NULL, "%s is missing: name certificate and key, or a directory",
                            t->certificate ? "key" : "certificate");
    }
    return OK;
}

static unsigned put_file(struct tls_file *v, unsigned n, const char *key, const char *path)
{
    if (path)
        v[n++] = (struct tls_file){key, path};
    return n;
}

unsigned settings_tls_files(const struct tls_config *t, struct tls_file ret[TLS_FILES_MAX])
{
    unsigned n = put_file(ret, 0, "certificate", t->certificate);

    n = put_file(ret, n, "key", t->key);
    n = put_file(ret, n, "ocsp", t->ocsp);
    n = put_file(ret, n, "client-ca", t->client_ca);
    for (size_t i = 0; i < t->client_crl.n; i++)
        n = put_file(ret, n, "client-crl", t->client_crl.v[i]);
    return put_file(ret, n, "ticket-secret", t->ticket_secret);
}

/* What lies deeper is reached by its path: "..data" has it under another one, or not at all. */
const char *settings_tls_name(const struct tls_config *t, const char *path)
{
    struct span dir = t->directory ? span_of(t->directory) : SPAN_NONE, name = span_of(path);

    if (!dir.p || !span_starts(name, dir) || path[dir.n] != '/')
        return NULL;
    name = span_sub(name, dir.n + 1, name.n);
    return span_find(name, '/') == name.n ? name.p : NULL;
}

/* ---- the whole entry ---- */

static void check_unused(const struct tls_config *t, struct config_report *r)
{
    const char *const keys[] = {
        t->client_crl.n ? "client-crl" : NULL,
        t->flags_text.n ? "verification-flags" : NULL,
        t->insecure_flags_text.n ? "insecure-verification-flags" : NULL,
    };

    for (size_t i = 0; i < ARRAY_LEN(keys) && t->clients == TLS_CLIENTS_OFF; i++)
        if (keys[i])
            (void)config_fault(r, t, keys[i], "no client certificate is looked at here: %s",
                               t->client_ca ? "verify-client is off" : "there is no client-ca");
}

static enum err tls_check(void *block, struct config_report *r)
{
    struct tls_config *t = block;

    TRY(name_files(t, r));
    t->clients = t->verify_client != TLS_CLIENTS_AUTO ? t->verify_client
                 : t->client_ca                       ? TLS_CLIENTS_REQUIRE
                                                      : TLS_CLIENTS_OFF;
    if (t->clients != TLS_CLIENTS_OFF && !t->client_ca)
        (void)config_fault(r, t, "verify-client",
                           "certificates of clients are asked for, but nobody is trusted to issue "
                           "them: name client-ca");
    if (t->ticket_secret && !t->tickets)
        (void)config_fault(r, t, "ticket-secret", "there are no tickets here: tickets is off");
    check_unused(t, r);
    check_flags(t, r);
    return OK;
}

const struct config_block settings_tls_block =
    CONFIG_ROWS(struct tls_config, tls_rows, .check = tls_check,
                .help = "Certificates, keys and trust of listeners with TLS. A set of files that "
                        "cannot be used leaves the one in force that was there before: the log, "
                        "the metric sallyport_certificate_reload_failed and `sallyport status` say "
                        "so.");
