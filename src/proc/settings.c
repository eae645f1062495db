/* SPDX-License-Identifier: Apache-2.0 */
/* settings.c - the rows of the whole configuration, and what can be checked without asking the
 * machine: settings_load.c does that. */
#include "proc/settings.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/reader.h"
#include "net/address.h"
#include "protect/policy.h"
#include "sallyport/conn.h"

static const struct config_names sandbox_names =
    CONFIG_NAMES({"best-effort", false}, {"required", true});
static const struct config_names level_names =
    CONFIG_NAMES({"error", LOG_LEVEL_ERROR}, {"warn", LOG_LEVEL_WARN}, {"info", LOG_LEVEL_INFO},
                 {"debug", LOG_LEVEL_DEBUG});
static const struct config_names format_names =
    CONFIG_NAMES({"text", LOG_FORMAT_TEXT}, {"json", LOG_FORMAT_JSON});
static const struct config_names on_full_names =
    CONFIG_NAMES({"drop", RECORD_DROP}, {"refuse", RECORD_REFUSE});
static const struct config_names protocol_names =
    CONFIG_NAMES({"icap", LISTENER_ICAP}, {"ipp", LISTENER_IPP});
static const struct config_names tls_begins_names =
    CONFIG_NAMES({"at-once", LISTENER_TLS_AT_ONCE}, {"sniff", LISTENER_TLS_SNIFF},
                 {"by-upgrade", LISTENER_TLS_LATER});
static const struct config_names require_names =
    CONFIG_NAMES({"none", SALLYPORT_NONE}, {"integrity", SALLYPORT_INTEGRITY},
                 {"weak", SALLYPORT_WEAK}, {"strong", SALLYPORT_STRONG});

static const char *valid_name(struct span text)
{
    return span_is_token(text) ? NULL : "be letters, digits, '-', '_' and '.'";
}

/* Records, status and the control protocol use these names for sockets of our own. */
static const char *valid_listener_name(struct span text)
{
    if (span_eq(text, SPAN("admin")) || span_eq(text, SPAN("control")))
        return "not be 'admin' or 'control', which Sallyport uses itself";
    return valid_name(text);
}

static const struct config_row log_rows[] = {
    CONFIG_ENUM("level", struct log_settings, level, level_names, .fallback = "info",
                .help = "Least important message that is logged."),
    CONFIG_ENUM("format", struct log_settings, format, format_names, .fallback = "text",
                .restart = true,
                .help = "text: lines for people. json: one object a line, for log collectors."),
};
static const struct config_block log_block =
    CONFIG_ROWS(struct log_settings, log_rows,
                .help = "The event log, on standard error: what happened to the gateway itself. "
                        "What happened to each transaction is in the records.");

static const struct config_row limit_rows[] = {
    CONFIG_SIZE("memory", struct limit_settings, memory, .min = 16 << 20, .max = UINT64_C(1) << 44,
                .fallback = "512m",
                .help = "Memory for bodies and heads in transit of one gateway process. Above it, "
                        "transactions are answered as overload."),
    CONFIG_COUNT("scans", struct limit_settings, scans, .min = 1, .max = 100000, .fallback = "64",
                 .help = "Scans that may be open at once in one gateway process. No single client "
                         "gets the last eighth of them, so that others find room."),
    CONFIG_DURATION("scan-wait", struct limit_settings, scan_wait_ms, .min = 5, .max = 60000,
                    .fallback = "100ms", .restart = true,
                    .help = "How long a file waits for one of them before it is answered as "
                            "overload."),
    CONFIG_COUNT("decision-steps", struct limit_settings, decision_steps, .min = 100000,
                 .max = 100000000000, .fallback = "20000000",
                 .help = "Work that one decision may be for the thread that makes it, in steps of "
                         "about one compared byte: once for the types of all parts of a form, "
                         "once for rules and exceptions. A message that would take more is "
                         "not-inspected."),
    CONFIG_COUNT("connections", struct limit_settings, connections, .min = 1, .max = 1000000,
                 .fallback = "10000", .unit = "per listener",
                 .help =
                     "Open connections of each listener that does not say its own number. From 64 "
                     "on no address gets more than seven times what is left of them, so that "
                     "others find room; load balancers (proxy-protocol-from) do."),
    CONFIG_COUNT("descriptors", struct limit_settings, descriptors, .min = 256, .max = 1 << 20,
                 .fallback = "65536", .restart = true,
                 .help = "Open files to ask the system for (RLIMIT_NOFILE); what the hard limit "
                         "does not allow is left out, with a warning."),
};
static const struct config_block limit_block =
    CONFIG_ROWS(struct limit_settings, limit_rows,
                .help = "Budgets of one gateway process. Going over one is an answer to the "
                        "client, never a crash.");

static const struct config_row spool_rows[] = {
    CONFIG_PATH("path", struct spool_config, path, .restart = true,
                .help = "Directory for bodies that are too large for memory; it must exist and be "
                        "writable for the user. Without it: the directory spool below the state "
                        "directory."),
    CONFIG_SIZE("memory", struct spool_config, memory, .min = 4096, .max = UINT64_C(1) << 40,
                .fallback = "1m",
                .help = "Bytes of one spooled body that stay in memory before it becomes a file."),
    CONFIG_SIZE("total", struct spool_config, total, .min = 1 << 20, .max = UINT64_C(1) << 50,
                .fallback = "8g", .help = "Bytes of all spooled bodies together."),
    CONFIG_SIZE("reserve", struct spool_config, reserve, .max = UINT64_C(1) << 50,
                .fallback = "64m",
                .help = "Room on the file system that the spool leaves free for others."),
};
static const struct config_block spool_block =
    CONFIG_ROWS(struct spool_config, spool_rows,
                .help = "Where bodies wait while they are inspected, when memory is too small.");

static const struct config_row store_rows[] = {
    CONFIG_SIZE("size", struct store_config, size, .min = 1 << 20, .max = UINT64_C(1) << 36,
                .fallback = "256m", .restart = true,
                .help = "Most bytes that the store may take on the disk; it takes what it needs. "
                        "When it is full nothing is added, and everything in it stays."),
};
static const struct config_block store_block = CONFIG_ROWS(
    struct store_config, store_rows,
    .help = "What Sallyport itself keeps between its runs, in the directory store below "
            "the state directory: tenants, and users with verifiers of their "
            "passwords.");

static const struct config_row record_rows[] = {
    CONFIG_BOOL("enabled", struct record_settings, enabled, .fallback = "true", .restart = true,
                .help = "Write one JSON line for each transaction."),
    CONFIG_PATH("path", struct record_settings, path, .restart = true,
                .help = "File that the records are appended to. Without it: records.jsonl below "
                        "the state directory. SIGUSR1 opens it anew after a rotation."),
    CONFIG_ENUM("on-full", struct record_settings, on_full, on_full_names, .fallback = "drop",
                .restart = true,
                .help = "When the disk takes no more. drop: go on and count what was lost. "
                        "refuse: no transaction without its record."),
    CONFIG_SIZE("buffer", struct record_settings, buffer, .min = 65536, .max = UINT64_C(1) << 32,
                .fallback = "8m", .restart = true,
                .help = "Records in memory that wait for a slow disk."),
    CONFIG_BOOL("chain", struct record_settings, chain, .fallback = "false", .restart = true,
                .help = "Seal each batch of records, so that changes are found later (sallyport "
                        "records verify). Makes PATH.chain, and once PATH.key, which belongs on "
                        "another machine."),
};

static enum err record_check(void *block, struct config_report *r)
{
    struct record_settings *s = block;

    if (s->chain && !s->enabled)
        return config_fault(r, s, "chain", "there are no records to seal: enabled says false");
    return OK;
}

static const struct config_block record_block = CONFIG_ROWS(
    struct record_settings, record_rows, .check = record_check,
    .help = "Audit records: what passed, how it was protected, who sent it, what was decided.");

/* Off is an address of no kind, so that there is one question to ask and not two. */
static enum err admin_check(void *block, struct config_report *r)
{
    struct admin_config *a = block;

    if (!a->enabled)
        a->address = (struct config_address){.kind = CONFIG_ADDRESS_NONE};
    else if (a->address.kind == CONFIG_ADDRESS_UNIX)
        return config_fault(r, a, "address", "the admin listener needs an IP address and a port");
    return OK;
}

static const struct config_row admin_rows[] = {
    CONFIG_BOOL("enabled", struct admin_config, enabled, .fallback = "true", .restart = true,
                .help = "Open the admin listener."),
    CONFIG_ADDRESS("address", struct admin_config, address, .fallback = "127.0.0.1:9344",
                   .restart = true,
                   .help = "Where /metrics, /healthz and /readyz are answered, in clear text and "
                           "to everybody who can connect: keep it on loopback or on a management "
                           "network."),
};
static const struct config_block admin_block = CONFIG_ROWS(
    struct admin_config, admin_rows, .check = admin_check, .help = "The operators' HTTP listener.");

static const struct config_row listener_rows[] = {
    CONFIG_STRING("name", struct listener_config, name, .required = true, .min = 1, .max = 64,
                  .valid = valid_listener_name, .help = "Name in records, logs and metrics."),
    CONFIG_ADDRESS("address", struct listener_config, address, .required = true, .restart = true,
                   .help = "IP address and port. '*' listens on every address of both families; "
                           "port 0 lets the system choose."),
    CONFIG_ENUM("protocol", struct listener_config, protocol, protocol_names, .fallback = "icap",
                .restart = true,
                .help = "What is spoken. icap: with tls it is icaps. ipp: printing, to the "
                        "printers."),
    CONFIG_STRING("tls", struct listener_config, tls, .max = 64,
                  .help = "Name of a tls entry. Without it the listener speaks clear text."),
    CONFIG_ENUM("tls-begins", struct listener_config, tls_begins, tls_begins_names,
                .fallback = "sniff",
                .help = "ipp: when TLS begins. at-once: with the first byte, and clear text is "
                        "refused (ipps:). sniff: with the first byte where the client begins so; "
                        "others are in clear text, and may upgrade. by-upgrade: only by HTTP "
                        "Upgrade (RFC 2817). For icap it is always at-once."),
    CONFIG_ENUM("upgrade", struct listener_config, ipp.upgrade, ipp_upgrade_names,
                .fallback = "options",
                .help = "ipp: which requests in clear text may ask for TLS on their connection. "
                        "options: OPTIONS, which tell nothing and are what CUPS sends. any: also "
                        "questions about printers and jobs, which then went through the net in "
                        "clear text; for old clients only. off: none."),
    CONFIG_BOOL("upgrade-without-connection", struct listener_config, ipp.takes_unlisted,
                .fallback = "false",
                .help = "ipp: let requests ask for TLS that have Upgrade and no Connection with "
                        "it, as the drafts of 1998 show them (RFC 9110 7.8 has both). For test "
                        "clients: where a hop hands on the one and not the other, TLS begins with "
                        "the wrong one."),
    CONFIG_STRINGS("also-tls", struct listener_config, also_tls, .max = 32, .valid = valid_name,
                   .help = "Names of more tls entries, whose certificates are shown to clients "
                           "that ask for one of their names (SNI). Whom the listener lets in "
                           "depends on tls alone."),
    CONFIG_ENUM("require", struct listener_config, require, require_names, .fallback = "none",
                .help = "Least protection of a connection; one below is refused, with the reason "
                        "in the records."),
    CONFIG_STRINGS("peers", struct listener_config, peers, .max = SALLYPORT_WANT_PEERS_MAX,
                   .valid = protect_peer_fault,
                   .help = "Whose client certificates are let in, by whole names: dns:, uri:, "
                           "email: and ip: are its alternative names, dn: its subject, key: the "
                           "SHA-256 of its public key. dns:*.DOMAIN stands for one more label, "
                           "uri:.../* for all below, a star alone for any value in dn:CN=*,O=... "
                           "Empty: everybody whom client-ca has certified."),
    CONFIG_BOOL("plaintext-outside-loopback", struct listener_config, plaintext_outside_loopback,
                .fallback = "false",
                .help = "Allow clear text on an address that other machines can reach: everybody "
                        "on the way can read and change every file."),
    CONFIG_ENUM("login", struct listener_config, login.by, login_by_names, .fallback = "none",
                .restart = true,
                .help = "How clients say which tenant they are. certificate: by the client "
                        "certificate (tenants.certificates). password: by user and password "
                        "(Authorization: Basic). both: by both, of the same tenant. none: they "
                        "do not, and get the services that are nobody's."),
    CONFIG_ENUM("options-login", struct listener_config, login.options, login_options_names,
                .fallback = "certificate",
                .help = "OPTIONS without a password, which many proxies cannot send there. "
                        "required: refused. certificate: answered to clients with a tenant's "
                        "certificate. open: answered to everybody."),
    CONFIG_BOOL("login-each-request", struct listener_config, login.each_request,
                .fallback = "false",
                .help = "Each request says whose it is: what an earlier one on its connection "
                        "said does not count for it, and no ticket brings a login back. For "
                        "proxies that carry several tenants, or one tenant and nobody's traffic."),
    CONFIG_BOOL("proxy-authorization", struct listener_config, login.proxy_authorization,
                .fallback = "false",
                .help = "Take Proxy-Authorization for the client's own login where Authorization "
                        "is missing (RFC 3507 7.1). Many proxies send their user's there."),
    CONFIG_BOOL("insecure-plaintext-login", struct listener_config, insecure_plaintext_login,
                .fallback = "false",
                .help = "Take passwords in clear text: everybody on the way can read them."),
    CONFIG_CIDRS("proxy-protocol-from", struct listener_config, proxy_from, .max = 256,
                 .help = "Load balancers that begin each connection with a PROXY header, version 1 "
                         "or 2. From these networks it is required, from others refused."),
    CONFIG_CIDRS(
        "allow", struct listener_config, allow, .max = 10000,
        .help = "Who may connect: networks and addresses. Empty: everybody. Others are cut off "
                "before a byte is read, and leave a record."),
    CONFIG_CIDRS(
        "client-ip-from", struct listener_config, client_ip_from, .max = 256,
        .fallback = "[127.0.0.0/8, '::1']",
        .help = "Proxies whose word on the user's address (X-Client-IP) and name counts in rules "
                "and exceptions. For others the user is who connects. Records have both."),
    CONFIG_DURATION("handshake", struct listener_config, handshake_ms, .min = 100, .max = 600000,
                    .fallback = "10s",
                    .help = "From accept until PROXY header and TLS handshake are done."),
    CONFIG_COUNT("connections", struct listener_config, connections, .max = 1000000,
                 .fallback = "inherit", .zero = "inherit",
                 .help = "Open connections of this listener; inherit: limits.connections."),
    CONFIG_COUNT("backlog", struct listener_config, backlog, .min = 1, .max = 65535,
                 .fallback = "4096", .restart = true,
                 .help = "Connections that may wait to be accepted, for each thread; the system's "
                         "net.core.somaxconn caps it."),
};
static const struct config_block listener_block =
    CONFIG_ROWS(struct listener_config, listener_rows, .help = "Where clients connect.");

static const struct config_row settings_rows[] = {
    CONFIG_PATH("state", struct settings, state, .fallback = "/var/lib/sallyport", .restart = true,
                .help = "Directory for the control socket, the lock, the spool and the records."),
    CONFIG_PATH("policy", struct settings, policy,
                .help = "Policy of the machine, which connections of listeners, and those to "
                        "printers, their scanners and clamd over TCP, must meet as well: "
                        "sallyport_policy(5). It must belong to root. Without this key: "
                        "/etc/sallyport/policy, if that is there. A change ends open connections "
                        "of clients that are below it."),
    CONFIG_COUNT("threads", struct settings, threads, .max = SETTINGS_THREADS_MAX,
                 .fallback = "auto", .zero = "auto", .restart = true,
                 .help = "Threads that serve connections; auto: one for each CPU."),
    CONFIG_ENUM("sandbox", struct settings, sandbox_required, sandbox_names, .fallback = "required",
                .restart = true,
                .help = "required: do not start when a layer of the sandbox cannot be had. "
                        "best-effort: use the layers that this kernel has; the start line says "
                        "which."),
    CONFIG_STRING("user", struct settings, user, .min = 1, .max = 64, .restart = true,
                  .help = "User that gateway and workers become when Sallyport is started as "
                          "root."),
    CONFIG_DURATION("drain", struct settings, drain_ms, .max = 86400000, .fallback = "30s",
                    .help = "Time that running transactions get to end at a stop, a restart and "
                            "a reload that needs a new gateway process."),
    CONFIG_BLOCK("log", struct settings, log, log_block, .help = "The event log."),
    CONFIG_BLOCK("limits", struct settings, limits, limit_block,
                 .help = "Budgets of one gateway process."),
    CONFIG_BLOCK("spool", struct settings, spool, spool_block, .help = "Large bodies."),
    CONFIG_BLOCK("store", struct settings, store, store_block, .help = "Tenants and users."),
    CONFIG_BLOCK("records", struct settings, records, record_block, .help = "Audit records."),
    CONFIG_BLOCK("admin", struct settings, admin, admin_block, .help = "The admin listener."),
    CONFIG_LIST("tls", struct settings, tls, n_tls, settings_tls_block, .unique = "name", .max = 64,
                .help = "Certificates and keys."),
    CONFIG_LIST("listeners", struct settings, listeners, n_listeners, listener_block,
                .unique = "name", .max = 64, .help = "Where clients connect."),
    CONFIG_BLOCK("login", struct settings, login, login_block, .help = "How tenants log in."),
    CONFIG_BLOCK("icap", struct settings, icap, icap_limits_block,
                 .help = "Limits and deadlines of ICAP."),
    CONFIG_LIST("services", struct settings, services, n_services, icap_service_block,
                .unique = "name", .max = 256, .help = "ICAP services."),
    CONFIG_LIST("tenants", struct settings, tenants, n_tenants, tenant_block, .unique = "name",
                .max = 10000, .help = "Customers that share the gateway."),
    CONFIG_BLOCK("engines", struct settings, engines, engines_block, .help = "Inspection engines."),
    CONFIG_BLOCK("ipp", struct settings, ipp, ipp_block, .help = "Printing, for all printers."),
    CONFIG_LIST("printers", struct settings, printers, n_printers, ipp_printer_block,
                .unique = "name", .max = 256, .help = "Printers."),
};

/* ---- checks across blocks ---- */

const struct tls_config *settings_tls_named(const struct settings *s, const char *name)
{
    for (size_t i = 0; name && i < s->n_tls; i++)
        if (strcmp(s->tls[i].name, name) == 0)
            return &s->tls[i];
    return NULL;
}

const char *settings_policy_path(const struct settings *s)
{
    return s->policy ? s->policy : SALLYPORT_POLICY_PATH;
}

const struct tls_config *settings_tls(const struct settings *s,
                                      const struct listener_config *listener)
{
    return settings_tls_named(s, listener->tls);
}

const struct tls_config *settings_listener_waits(const struct settings *s,
                                                 const struct listener_config *listener)
{
    const struct tls_config *t = settings_tls(s, listener);

    for (size_t i = 0; t && !t->waits && i < listener->also_tls.n; i++)
        t = settings_tls_named(s, listener->also_tls.v[i]);
    return t && t->waits ? t : NULL;
}

bool settings_address(const struct config_address *c, struct address *ret)
{
    struct buf text;
    bool ok = false;

    if (c->kind == CONFIG_ADDRESS_NONE || c->kind == CONFIG_ADDRESS_NAME ||
        c->kind == CONFIG_ADDRESS_UNIX)
        return false;
    buf_init(&text, 0);
    config_address_format(c, &text);
    if (!text.err)
        ok = address_parse(buf_span(&text), ret) == OK;
    buf_done(&text);
    return ok;
}

/* "; did you mean 'x'?" */
static const char *tls_hint(const struct settings *s, const char *got, struct config_report *r)
{
    const char *names[64];
    size_t n = 0;

    for (; n < s->n_tls && n < ARRAY_LEN(names); n++)
        names[n] = s->tls[n].name;
    return config_hint(r, span_of(got), names, n);
}

static bool is_same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool are_same_texts(const struct config_strings *a, const struct config_strings *b)
{
    bool same = a->n == b->n;

    for (size_t i = 0; same && i < a->n; i++)
        same = is_same_text(a->v[i], b->v[i]);
    return same;
}

/* A key of |t| that is other than |own| has it and than it is without a word; NULL: none. */
static const char *other_key(const struct tls_config *t, const struct tls_config *own)
{
    bool says_flags = t->flags_text.n || t->insecure_flags_text.n;

    if (t->client_crl.n && !are_same_texts(&t->client_crl, &own->client_crl))
        return "client-crl";
    if (says_flags && t->flags != own->flags)
        return "verification-flags";
    if (t->client_depth != TLS_DEPTH_DEFAULT && t->client_depth != own->client_depth)
        return "client-depth";
    if (t->minimum != TLS_VERSION_1_2 && t->minimum != own->minimum)
        return "minimum";
    if (!t->tickets && own->tickets)
        return "tickets";
    return t->ticket_secret && !is_same_text(t->ticket_secret, own->ticket_secret) ? "ticket-secret"
                                                                                   : NULL;
}

/* What would not count there must not look as if it did. */
static void check_also_tls(const struct settings *s, const struct listener_config *l,
                           struct config_report *r)
{
    const struct tls_config *own = settings_tls(s, l);

    if (l->also_tls.n && !l->tls)
        (void)config_fault(r, l, "also-tls", "name the entry for all other clients first: tls");
    for (size_t i = 0; i < l->also_tls.n; i++) {
        const char *name = l->also_tls.v[i];
        const struct tls_config *t = settings_tls_named(s, name);

        if (!t)
            (void)config_fault_at(r, l, "also-tls", i, "no entry of tls has the name '%s'%s", name,
                                  tls_hint(s, name, r));
        else if (own && t->clients != TLS_CLIENTS_OFF &&
                 (t->clients != own->clients || !is_same_text(t->client_ca, own->client_ca)))
            (void)config_fault_at(r, l, "also-tls", i,
                                  "whose certificates count is said by tls '%s', because clients "
                                  "choose the name: '%s' must not have another client-ca or "
                                  "verify-client, but for off",
                                  own->name, name);
        else if (own && other_key(t, own))
            (void)config_fault_at(r, l, "also-tls", i,
                                  "of '%s' only certificates and names count here: its %s is not "
                                  "that of tls '%s'",
                                  name, other_key(t, own), own->name);
    }
}

static void check_tls_name(const struct settings *s, const struct listener_config *l,
                           struct config_report *r)
{
    if (l->tls && !settings_tls(s, l))
        (void)config_fault(r, l, "tls", "no entry of tls has the name '%s'%s", l->tls,
                           tls_hint(s, l->tls, r));
    check_also_tls(s, l, r);
}

static void check_protection(const struct listener_config *l, struct config_report *r)
{
    struct address a;

    if (!settings_address(&l->address, &a)) {
        (void)config_fault(r, l, "address", "a listener needs an IP address and a port");
        return;
    }
    if (l->protocol == LISTENER_IPP && l->tls && l->tls_begins != LISTENER_TLS_AT_ONCE &&
        l->require > SALLYPORT_NONE)
        (void)config_fault(r, l, "require",
                           "connections that begin in clear text never reach '%s': it is printers "
                           "that demand TLS here (printers.require)",
                           sallyport_level_name(l->require));
    if (l->tls)
        return;
    if (l->require > SALLYPORT_NONE)
        (void)config_fault(r, l, "require",
                           "a listener without tls never reaches '%s'; name a tls entry",
                           sallyport_level_name(l->require));
    if (!address_is_loopback(&a) && !l->plaintext_outside_loopback)
        (void)config_fault(r, l, "address",
                           "clear text outside loopback: name a tls entry, or write "
                           "'plaintext-outside-loopback: true' to have it that way");
    else if (!address_is_loopback(&a))
        config_warn(r, l, "plaintext-outside-loopback",
                    "everybody on the way can read and change what '%s' inspects", l->name);
}

static void check_peers(const struct settings *s, const struct listener_config *l,
                        struct config_report *r)
{
    const struct tls_config *tls = settings_tls(s, l);

    if (l->peers.n > 0 && (!tls || tls->clients == TLS_CLIENTS_OFF))
        (void)config_fault(r, l, "peers",
                           "nobody has a name here that could be trusted: name a tls entry with "
                           "client-ca");
}

static void check_login(const struct settings *s, const struct listener_config *l,
                        struct config_report *r)
{
    const struct tls_config *tls = settings_tls(s, l);
    enum login_by by = l->login.by;

    if ((by == LOGIN_BY_CERTIFICATE || by == LOGIN_BY_BOTH) &&
        (!tls || !tls->client_ca || tls->clients == TLS_CLIENTS_OFF))
        (void)config_fault(r, l, "login",
                           "clients show no certificates here: name a tls entry with client-ca");
    else if (by == LOGIN_BY_PASSWORD && !l->tls && !l->insecure_plaintext_login)
        (void)config_fault(r, l, "login",
                           "passwords in clear text: name a tls entry, or write "
                           "'insecure-plaintext-login: true' to have it that way");
    if (l->login.each_request && by != LOGIN_BY_PASSWORD && by != LOGIN_BY_BOTH)
        (void)config_fault(
            r, l, "login-each-request",
            "a request says whose it is by a password: 'login: password', or 'both'");
    if (by == LOGIN_BY_PASSWORD && !l->tls && l->insecure_plaintext_login)
        config_warn(r, l, "insecure-plaintext-login",
                    "everybody on the way can read the passwords of '%s'", l->name);
}

static bool address_is_taken(const struct config_address *a, const struct config_address *b)
{
    return a->kind == b->kind && a->kind != CONFIG_ADDRESS_NONE && a->port != 0 &&
           a->port == b->port && strcmp(a->host, b->host) == 0;
}

static void check_upgrade(const struct listener_config *l, struct config_report *r)
{
    if (!l->ipp.takes_unlisted)
        return;
    if (l->protocol != LISTENER_IPP || !l->tls || l->tls_begins == LISTENER_TLS_AT_ONCE ||
        l->ipp.upgrade == IPP_UPGRADE_OFF)
        (void)config_fault(r, l, "upgrade-without-connection",
                           "no request asks for TLS at this listener");
    else
        config_warn(r, l, "upgrade-without-connection",
                    "'%s' begins TLS also with a hop in between that hands Upgrade on and did not "
                    "ask for it: for test clients only",
                    l->name);
}

/* Who sits in between can join a client that begins with TLS to a connection on which he has asked
 * for an upgrade, if the certificate is good for both: it would read the answer to his question. */
static void check_joined(const struct settings *s, const struct listener_config *l,
                         struct config_report *r)
{
    if (l->protocol != LISTENER_IPP || !l->tls || l->tls_begins == LISTENER_TLS_AT_ONCE ||
        l->ipp.upgrade != IPP_UPGRADE_ANY)
        return;
    for (size_t i = 0; i < s->n_listeners; i++) {
        const struct listener_config *o = &s->listeners[i];

        if (o->protocol != LISTENER_IPP || !settings_listener_is_secure(o) ||
            strcmp(o->tls, l->tls) != 0)
            continue;
        config_warn(r, l, "upgrade",
                    "with 'any', somebody on the way can answer a client that begins with TLS at "
                    "'%s' with what he asked himself: give that a listener and a certificate "
                    "(tls) of its own, or write 'upgrade: options'",
                    o->name);
        return;
    }
}

static void check_listener(const struct settings *s, size_t i, struct config_report *r)
{
    const struct listener_config *l = &s->listeners[i];

    check_tls_name(s, l, r);
    check_protection(l, r);
    check_upgrade(l, r);
    check_joined(s, l, r);
    check_peers(s, l, r);
    check_login(s, l, r);
    for (size_t k = 0; k < i; k++)
        if (address_is_taken(&l->address, &s->listeners[k].address)) {
            (void)config_fault(r, l, "address", "listener '%s' has the same address",
                               s->listeners[k].name);
            break;
        }
    if (address_is_taken(&l->address, &s->admin.address))
        (void)config_fault(r, l, "address", "the admin listener has the same address");
}

/* Path 0 of a service is its own, the others are its aliases. */
static const char *service_path(const struct icap_service_settings *v, size_t i)
{
    return i == 0 ? v->path : v->aliases.v[i - 1];
}

/* Can a client meet both? A service without tenants stands behind those that have some. */
static bool share_tenants(const struct icap_service_settings *a,
                          const struct icap_service_settings *b)
{
    for (size_t i = 0; i < a->tenants.n; i++)
        for (size_t k = 0; k < b->tenants.n; k++)
            if (strcmp(a->tenants.v[i], b->tenants.v[k]) == 0)
                return true;
    return a->tenants.n == 0 && b->tenants.n == 0;
}

/* Who else, earlier in the file, has path |n| of service |at|, for the same clients? */
static const struct icap_service_settings *path_owner(const struct settings *s, size_t at, size_t n)
{
    const char *path = service_path(&s->services[at], n);

    for (size_t i = 0; i <= at; i++) {
        const struct icap_service_settings *v = &s->services[i];
        size_t end = i == at ? n : v->aliases.n + 1;

        for (size_t k = 0; k < end; k++)
            if (strcmp(service_path(v, k), path) == 0 && share_tenants(v, &s->services[at]))
                return v;
    }
    return NULL;
}

static bool has_url_list(const struct settings *s, const char *name)
{
    for (size_t i = 0; i < s->engines.url.n_lists; i++)
        if (strcmp(s->engines.url.lists[i].name, name) == 0)
            return true;
    return false;
}

/* |pipeline| is that of |block|: a service or one of its rules. */
static void check_pipeline(const struct settings *s, const void *block, unsigned pipeline,
                           struct config_report *r)
{
    if (pipeline & 1u << PIPELINE_CLAMAV && !s->engines.clamav)
        (void)config_fault(r, block, "pipeline",
                           "clamav is named, but engines.clamav is not there: say where clamd "
                           "listens");
    if (pipeline & 1u << PIPELINE_URL && s->engines.url.n_lists == 0)
        (void)config_fault(r, block, "pipeline", "url is named, but engines.url.lists has no list");
}

static void check_rules(const struct settings *s, const struct icap_service_settings *v,
                        struct config_report *r)
{
    for (size_t i = 0; i < v->n_rules; i++) {
        const struct rule_settings *rule = &v->rules[i];

        if (rule->then == RULE_PIPELINE)
            check_pipeline(s, rule, rule->pipeline, r);
        for (size_t k = 0; k < rule->url_list.n; k++)
            if (!has_url_list(s, rule->url_list.v[k]))
                (void)config_fault_at(r, rule, "url-list", k,
                                      "there is no list '%s' in engines.url", rule->url_list.v[k]);
    }
}

static void check_inspection(const struct settings *s, const struct icap_service_settings *v,
                             struct config_report *r)
{
    if (v->pipeline == 0)
        (void)config_fault(r, v, "pipeline", "an inspect service needs at least one engine");
    check_pipeline(s, v, v->pipeline, r);
    if ((v->types.allow.n || v->types.deny.n || v->types.mismatch == TYPE_MISMATCH_BLOCK) &&
        !(v->pipeline & 1u << PIPELINE_FILETYPE))
        (void)config_fault(r, v, "types",
                           "types are judged by the engine filetype: add it to the pipeline");
    if (v->slow.mode == ICAP_SLOW_TRICKLE)
        config_warn(r, v, "slow.mode",
                    "trickle sends the beginning of files to users before it is known whether "
                    "they are clean");
    check_rules(s, v, r);
}

static void check_service(const struct settings *s, size_t at, struct config_report *r)
{
    const struct icap_service_settings *v = &s->services[at];

    if (v->type == ICAP_SERVICE_INSPECT)
        check_inspection(s, v, r);
    if (v->type == ICAP_SERVICE_INSPECT && v->on[CAUSE_INFECTED] == ACTION_PASS)
        config_warn(r, v, "on.infected", "service '%s' passes infected files, with a record only",
                    v->name);
    if (v->type == ICAP_SERVICE_INSPECT && v->answer != ICAP_ECHO_NO_CHANGE)
        (void)config_fault(r, v, "answer",
                           "only an echo can choose its answer: the inspection decides it here");
    if (v->methods == 0)
        (void)config_fault(r, v, "methods", "a service needs REQMOD, RESPMOD or both");
    for (size_t i = 0; i <= v->aliases.n; i++) {
        const struct icap_service_settings *owner = path_owner(s, at, i);

        if (!owner)
            continue;
        if (i == 0)
            (void)config_fault(r, v, "path", "service '%s' has the path '%s' already", owner->name,
                               v->path);
        else
            (void)config_fault_at(r, v, "aliases", i - 1, "service '%s' has the path '%s' already",
                                  owner->name, v->aliases.v[i - 1]);
    }
}

/* ---- printers ---- */

static const char *printer_path(const struct ipp_printer_settings *v, size_t i)
{
    return i == 0 ? v->path : v->aliases.v[i - 1];
}

/* Who else, earlier in the file, has path |n| of printer |at|? */
static const struct ipp_printer_settings *printer_owner(const struct settings *s, size_t at,
                                                        size_t n)
{
    const char *path = printer_path(&s->printers[at], n);

    for (size_t i = 0; i <= at; i++) {
        const struct ipp_printer_settings *v = &s->printers[i];
        size_t end = i == at ? n : v->aliases.n + 1;

        for (size_t k = 0; k < end; k++)
            if (strcmp(printer_path(v, k), path) == 0)
                return v;
    }
    return NULL;
}

static void check_printer_paths(const struct settings *s, size_t at, struct config_report *r)
{
    const struct ipp_printer_settings *v = &s->printers[at];

    for (size_t i = 0; i <= v->aliases.n; i++) {
        const struct ipp_printer_settings *owner = printer_owner(s, at, i);

        if (owner && i == 0)
            (void)config_fault(r, v, "path", "printer '%s' has the path '%s' already", owner->name,
                               v->path);
        else if (owner)
            (void)config_fault_at(r, v, "aliases", i - 1, "printer '%s' has the path '%s' already",
                                  owner->name, v->aliases.v[i - 1]);
    }
}

static void check_groups(const struct settings *s, const struct ipp_printer_settings *v,
                         const char *key, const struct config_strings *list,
                         struct config_report *r)
{
    for (size_t i = 0; i < list->n; i++) {
        struct span who = span_of(list->v[i]), kind = span_cut(&who, ':');
        bool known = !span_eq(kind, SPAN("group"));

        for (size_t k = 0; !known && k < s->ipp.n_groups; k++)
            known = span_eq(who, span_of(s->ipp.groups[k].name));
        if (!known)
            (void)config_fault_at(r, v, key, i, "there is no group '" SPAN_FMT "' in ipp.groups",
                                  SPAN_ARG(who));
    }
}

/* Who listens where printers in clear text are reached from other machines? */
static const struct listener_config *clear_listener(const struct settings *s)
{
    struct address a;

    for (size_t i = 0; i < s->n_listeners; i++) {
        const struct listener_config *l = &s->listeners[i];

        if (l->protocol == LISTENER_IPP && (!l->tls || l->tls_begins != LISTENER_TLS_AT_ONCE) &&
            !l->plaintext_outside_loopback && settings_address(&l->address, &a) &&
            !address_is_loopback(&a))
            return l;
    }
    return NULL;
}

static void check_printer_protection(const struct settings *s, const struct ipp_printer_settings *v,
                                     struct config_report *r)
{
    const struct listener_config *clear = clear_listener(s);

    if (!(v->require & (1u << IPP_REQUIRE_TLS | 1u << IPP_REQUIRE_CERTIFICATE)) && clear)
        (void)config_fault(r, v, "require",
                           "printing in clear text outside loopback: demand tls, or let listener "
                           "'%s' say 'plaintext-outside-loopback: true'",
                           clear->name);
    if (v->require & 1u << IPP_REQUIRE_CERTIFICATE && v->require & 1u << IPP_REQUIRE_DIGEST)
        (void)config_fault(r, v, "require",
                           "digest adds nothing to certificate, which is more: leave one out");
}

static bool asks_for_responses_only(const struct rule_settings *rule)
{
    for (size_t i = 0; i < rule->method.n; i++)
        if (span_ieq(span_of(rule->method.v[i]), SPAN("REQMOD")))
            return false;
    return rule->method.n > 0;
}

/* What rules of services may ask and do, and those of printers not: a condition that never holds
 * would refuse nothing, and nobody would notice. */
static void check_printer_rules(const struct ipp_printer_settings *v, struct config_report *r)
{
    for (size_t i = 0; i < v->n_rules; i++) {
        const struct rule_settings *rule = &v->rules[i];

        if (rule->then == RULE_PIPELINE)
            (void)config_fault(r, rule, "then",
                               "rules of printers are asked after the engines, which a pipeline "
                               "would have to choose before: use the printer's pipeline");
        if (rule->url_list.n)
            (void)config_fault(r, rule, "url-list",
                               "documents have no URL that could be on a list");
        if (rule->host.n)
            (void)config_fault(r, rule, "host", "documents have no URL with a host");
        if (asks_for_responses_only(rule))
            (void)config_fault(r, rule, "method",
                               "documents that are printed are requests: REQMOD");
    }
}

static void check_printer(const struct settings *s, size_t at, struct config_report *r)
{
    const struct ipp_printer_settings *v = &s->printers[at];

    check_printer_paths(s, at, r);
    check_printer_protection(s, v, r);
    settings_check_upstreams(v, r);
    check_groups(s, v, "allow", &v->allow, r);
    check_groups(s, v, "operators", &v->operators, r);
    check_pipeline(s, v, v->pipeline, r);
    check_printer_rules(v, r);
    ipp_reject_check(v->reject, v->n_reject, r);
    if (v->pipeline & 1u << PIPELINE_URL)
        (void)config_fault(r, v, "pipeline", "documents have no URL that url could judge");
    if ((v->types.allow.n || v->types.deny.n || v->types.mismatch == TYPE_MISMATCH_BLOCK) &&
        !(v->pipeline & 1u << PIPELINE_FILETYPE))
        (void)config_fault(r, v, "types",
                           "types are judged by the engine filetype: add it to the pipeline");
    if (v->pages_max && !(v->pipeline & 1u << PIPELINE_PRINTING))
        (void)config_fault(r, v, "pages-max",
                           "pages are counted by the engine printing: add it to the pipeline");
    if (v->on[CAUSE_INFECTED] == ACTION_PASS)
        config_warn(r, v, "on.infected",
                    "printer '%s' prints infected documents, with a record "
                    "only",
                    v->name);
    if (v->pipeline == 0)
        config_warn(r, v, "pipeline", "nobody looks at what is printed on '%s'", v->name);
}

static void check_is_used(const struct settings *s, struct config_report *r)
{
    bool icap = false, ipp = false;

    for (size_t i = 0; i < s->n_listeners; i++) {
        icap |= s->listeners[i].protocol == LISTENER_ICAP;
        ipp |= s->listeners[i].protocol == LISTENER_IPP;
    }
    if (s->n_services == 0 && (icap || !ipp))
        config_warn(r, s, "services", "no service: every request will be answered 404");
    if (s->n_printers == 0 && ipp)
        config_warn(r, s, "printers", "no printer: every request will be refused");
    if (s->n_printers > 0 && !ipp)
        config_warn(r, s, "printers", "no listener has 'protocol: ipp': nobody reaches them");
}

bool settings_listener_is_secure(const struct listener_config *l)
{
    return l->tls && (l->protocol != LISTENER_IPP || l->tls_begins != LISTENER_TLS_LATER);
}

/* CPUs that we may use, which a container or taskset makes fewer than the machine has. */
static unsigned cpu_count(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    return CPU_COUNT(&set) > 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

const char *settings_below(struct arena *mem, const char *dir, const char *name)
{
    struct span d = span_of(dir), n = span_of(name);
    size_t len = d.n + 1 + n.n;
    char *path = arena_alloc(mem, len + 1);

    if (path) {
        struct writer w = writer_of(path, len);

        write_span(&w, d);
        write_u8(&w, '/');
        write_span(&w, n);
    }
    return path;
}

enum err settings_derive(struct settings *s, struct arena *mem)
{
    s->spool_path = s->spool.path ? s->spool.path : settings_below(mem, s->state, "spool");
    s->records_path =
        s->records.path ? s->records.path : settings_below(mem, s->state, "records.jsonl");
    s->control_path = settings_below(mem, s->state, "control.sock");
    s->exceptions_path = settings_below(mem, s->state, "exceptions.jsonl");
    s->store_path = settings_below(mem, s->state, "store");
    s->n_threads = s->threads ? s->threads : cpu_count();
    if (s->n_threads > SETTINGS_THREADS_MAX)
        s->n_threads = SETTINGS_THREADS_MAX;
    return s->spool_path && s->records_path && s->control_path && s->exceptions_path &&
                   s->store_path
               ? OK
               : ERR_NOMEM;
}

/* A certificate that a tenant names, by its text in small letters. Two patterns that mean the same
 * one are found out when it comes: then it is nobody's. */
struct owned {
    UT_hash_handle hh;
    const struct tenant_settings *owner;
};

static enum err check_certificate(const struct tenant_settings *t, size_t i, struct owned *own,
                                  struct owned **owned, struct config_report *r)
{
    size_t n = strlen(t->certificates.v[i]);
    char *text = arena_text(config_report_arena(r), span_of(t->certificates.v[i]));
    struct owned *found = NULL;

    if (!text)
        return ERR_NOMEM;
    for (size_t k = 0; k < n; k++)
        text[k] = char_lower(text[k]);
    HASH_FIND(hh, *owned, text, n, found);
    if (found && found->owner != t)
        return config_fault_at(r, t, "certificates", i, "tenant '%s' has this certificate already",
                               found->owner->name);
    own->owner = t;
    if (!found)
        HASH_ADD_KEYPTR(hh, *owned, text, n, own);
    return found || own->hh.tbl ? OK : ERR_NOMEM;
}

static enum err check_tenants(const struct settings *s, struct config_report *r)
{
    struct owned *v, *owned = NULL;
    size_t n = 0, at = 0;
    enum err e = OK;

    for (size_t i = 0; i < s->n_tenants; i++)
        n += s->tenants[i].certificates.n;
    v = calloc(n + 1, sizeof *v);
    if (!v)
        return ERR_NOMEM;
    for (size_t i = 0; i < s->n_tenants && e != ERR_NOMEM; i++)
        for (size_t k = 0; k < s->tenants[i].certificates.n && e != ERR_NOMEM; k++)
            e = check_certificate(&s->tenants[i], k, &v[at++], &owned, r);
    HASH_CLEAR(hh, owned);
    free(v);
    return e == ERR_NOMEM ? e : OK;
}

static enum err settings_check(void *block, struct config_report *r)
{
    struct settings *s = block;

    if (s->n_listeners == 0)
        (void)config_fault(r, s, "listeners", "at least one listener is needed");
    check_is_used(s, r);
    for (size_t i = 0; i < s->n_listeners; i++)
        check_listener(s, i, r);
    for (size_t i = 0; i < s->n_services; i++)
        check_service(s, i, r);
    for (size_t i = 0; i < s->n_printers; i++)
        check_printer(s, i, r);
    TRY(check_tenants(s, r));
    return settings_derive(s, config_report_arena(r));
}

const struct config_block settings_block =
    CONFIG_ROWS(struct settings, settings_rows, .check = settings_check,
                .help = "Sallyport reads one YAML file. Every key has a default, except the "
                        "listeners and services that you want.");
