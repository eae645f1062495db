/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_settings.h"

#include <string.h>

#include "ipp/ipp_names.h"
#include "protect/policy.h"
#include "tenant/credential.h"

const struct config_names ipp_upgrade_names = CONFIG_NAMES(
    {"off", IPP_UPGRADE_OFF}, {"options", IPP_UPGRADE_OPTIONS}, {"any", IPP_UPGRADE_ANY});
static const struct config_names style_names =
    CONFIG_NAMES({"auto", IPP_JOB_AUTO}, {"draft", IPP_JOB_DRAFT}, {"ipps", IPP_JOB_IPPS});
static const struct config_names algorithm_names =
    CONFIG_NAMES({"sha-256", DIGEST_SHA256}, {"sha-256-sess", DIGEST_SHA256_SESS},
                 {"md5", DIGEST_MD5}, {"md5-sess", DIGEST_MD5_SESS});
static const struct config_names rfc2069_names =
    CONFIG_NAMES({"off", DIGEST_RFC2069_OFF}, {"single-use", DIGEST_RFC2069_SINGLE_USE});
static const struct config_names require_names =
    CONFIG_NAMES({"tls", IPP_REQUIRE_TLS}, {"digest", IPP_REQUIRE_DIGEST},
                 {"certificate", IPP_REQUIRE_CERTIFICATE});
static const struct config_names level_names = CONFIG_NAMES(
    {"auto", IPP_LEVEL_AUTO}, {"none", SALLYPORT_NONE}, {"integrity", SALLYPORT_INTEGRITY},
    {"weak", SALLYPORT_WEAK}, {"strong", SALLYPORT_STRONG});
static const struct config_names anonymous_names =
    CONFIG_NAMES({"attributes", IPP_ANONYMOUS_ATTRIBUTES}, {"nothing", IPP_ANONYMOUS_NOTHING});

/* ---- texts ---- */

static const char *valid_name(struct span text)
{
    return span_is_token(text) ? NULL : "be letters, digits, '-', '_' and '.'";
}

static const char *valid_host(struct span text)
{
    struct ipp_uri_fault fault;
    struct ipp_uri uri;
    char whole[300];
    struct writer w = writer_of(whole, sizeof whole);

    write_span(&w, SPAN("ipp://"));
    write_span(&w, text);
    write_span(&w, SPAN("/"));
    bool ok = !w.err && ipp_uri_parse(writer_span(&w), &uri, &fault) == OK && uri.port == 0 &&
              uri.path.n == 1 && !uri.warnings;

    return ok ? NULL : "be a host name or an address; IPv6 in brackets";
}

/* As it is written in a URI: what ipp_uri.h takes, without a list and with nothing encoded. */
static const char *valid_path(struct span text)
{
    struct ipp_uri_fault fault;
    struct ipp_uri uri;
    char whole[IPP_URI_MAX];
    struct writer w = writer_of(whole, sizeof whole);

    if (text.n < 2 || text.p[0] != '/' || span_ends(text, SPAN("/")))
        return "begin with '/', and not end with it";
    write_span(&w, SPAN("ipp://h"));
    write_span(&w, text);
    bool ok = !w.err && ipp_uri_parse(writer_span(&w), &uri, &fault) == OK &&
              span_eq(uri.path, text) && uri.auth == 0 && !uri.query.p &&
              !memchr(text.p, '%', text.n) && !memchr(text.p, ';', text.n);

    return ok ? NULL : "be a path of plain characters without '%', ';' and '?'";
}

static const char *valid_backend(struct span text)
{
    struct ipp_uri_fault fault;
    struct ipp_uri uri;

    if (ipp_uri_parse(text, &uri, &fault) != OK)
        return "be the URI of a printer, as ipp://127.0.0.1:631/printers/NAME";
    if (uri.warnings & IPP_URI_HAS_USER)
        return "have no user and password";
    return uri.auth & ~IPP_AUTH_TLS || uri.warnings & ~IPP_URI_NORMALISED
               ? "have no list but ;AUTH=TLS"
               : NULL;
}

static const char *valid_icap(struct span text)
{
    bool ok = (span_istarts(text, SPAN("icap://")) && text.n > 7) ||
              (span_istarts(text, SPAN("icaps://")) && text.n > 8);

    for (size_t i = 0; i < text.n; i++)
        ok &= (unsigned char)text.p[i] > 0x20 && (unsigned char)text.p[i] < 0x7f;
    return ok ? NULL : "be a URL that begins with icap:// or icaps://";
}

static const char *valid_realm(struct span text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < 0x20 || (unsigned char)text.p[i] >= 0x7f ||
            text.p[i] == '"' || text.p[i] == '\\')
            return "be printable ASCII characters without '\"' and '\\'";
    return NULL;
}

static const char *valid_user(struct span text)
{
    return credential_user_is_valid(text) ? NULL : "be a user's name";
}

static const char *valid_who(struct span text)
{
    static const struct span kinds[] = {SPAN("user:"), SPAN("group:"), SPAN("tenant:")};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (span_starts(text, kinds[i]) && text.n > kinds[i].n)
            return NULL;
    return "be user:NAME, group:NAME or tenant:NAME";
}

static const char *valid_operation(struct span text)
{
    const struct ipp_operation *o = ipp_operation_named(text);

    if (!o)
        return "be the name of an IPP operation, as Pause-Printer";
    return o->usual == IPP_USUAL_NEVER ? "not be one that runs programs at the printer" : NULL;
}

static const char *valid_line(struct span text)
{
    return span_is_field_value(text) ? NULL : "be one line without control characters";
}

/* ---- the gateway ---- */

static const struct config_row digest_rows[] = {
    CONFIG_STRING("realm", struct ipp_digest_settings, realm, .min = 1, .max = DIGEST_REALM_MAX,
                  .valid = valid_realm, .fallback = "sallyport",
                  .help = "Realm that passwords belong to. What is kept of them depends on it: "
                          "with another realm they have to be set again "
                          "(sallyport tenant passwd --digest)."),
    CONFIG_SET("algorithms", struct ipp_digest_settings, algorithms, algorithm_names, .min = 1,
               .fallback = "[sha-256, md5]",
               .help =
                   "What is offered, the strongest first. MD5 is for old printers and clients, "
                   "and never offered in clear text; -sess for clients that know nothing else."),
    CONFIG_ENUM("rfc2069", struct ipp_digest_settings, rfc2069, rfc2069_names, .fallback = "off",
                .help = "Clients of 1997, which count nothing. single-use: each nonce is good "
                        "for one request."),
    CONFIG_DURATION("nonce-lifetime", struct ipp_digest_settings, lifetime_ms, .restart = true,
                    .min = 10000, .max = 86400000, .fallback = "5m",
                    .help = "How long a challenge can be answered."),
    CONFIG_COUNT("nonces", struct ipp_digest_settings, nonces_max, .min = 64,
                 .max = DIGEST_REPLAY_MAX, .fallback = "65536", .restart = true,
                 .help = "Challenges whose answers are remembered, so that none is taken twice; "
                         "above, clients are asked once more."),
};
static const struct config_block digest_block = CONFIG_ROWS(
    struct ipp_digest_settings, digest_rows, .help = "Digest access authentication (RFC 7616).");

static const struct config_row group_rows[] = {
    CONFIG_STRING("name", struct ipp_group_settings, name, .required = true, .min = 1, .max = 64,
                  .valid = valid_name, .help = "Name, for group:NAME."),
    CONFIG_STRINGS("users", struct ipp_group_settings, users, .max = 100000, .valid = valid_user,
                   .help = "Users that belong to it."),
};
static const struct config_block group_block =
    CONFIG_ROWS(struct ipp_group_settings, group_rows, .help = "Groups of users.");

static const struct config_row limits_rows[] = {
    CONFIG_SIZE("request-line", struct http_limits, request_line_max, .min = 64, .max = 65536,
                .fallback = "8k", .help = "Longest request-line."),
    CONFIG_SIZE("head", struct http_limits, head_max, .min = 1024, .max = 1 << 20,
                .fallback = "16k", .help = "Largest head of a request."),
    CONFIG_COUNT("fields", struct http_limits, fields_max, .min = 8, .max = 10000,
                 .fallback = "100", .help = "Most field-lines in one head."),
    CONFIG_SIZE("chunk-line", struct http_limits, chunk_line_max, .min = 32, .max = 65536,
                .fallback = "4k", .help = "Longest chunk-size line with its extensions."),
    CONFIG_SIZE("trailer", struct http_limits, trailer_max, .min = 64, .max = 1 << 20,
                .fallback = "16k", .help = "Largest trailer section."),
    CONFIG_SIZE("chunk-overhead", struct http_limits, chunk_overhead_max, .min = 4096,
                .max = UINT64_C(1) << 40, .fallback = "1m",
                .help = "Bytes of chunk framing beyond the size of the body itself."),
    CONFIG_SIZE("discard", struct http_limits, discard_max, .max = UINT64_C(1) << 42,
                .fallback = "64k",
                .help = "Bytes that are read and dropped after an early answer before the "
                        "connection is closed instead."),
    CONFIG_COUNT("empty-lines", struct http_limits, empty_lines_max, .max = 100, .fallback = "4",
                 .help = "Empty lines that are ignored before a request-line."),
    CONFIG_SIZE("memory", struct http_limits, memory_max, .min = 65536, .max = 64 << 20,
                .fallback = "4m", .help = "Memory for what one request says of itself."),
    CONFIG_DURATION("head-timeout", struct http_limits, head_ms, .min = 100, .max = 3600000,
                    .fallback = "10s",
                    .help = "From the first byte of a request to the end of its head."),
    CONFIG_DURATION("body-timeout", struct http_limits, body_idle_ms, .min = 100, .max = 3600000,
                    .fallback = "60s", .help = "Longest pause inside a document."),
    CONFIG_DURATION("discard-timeout", struct http_limits, discard_ms, .min = 100, .max = 3600000,
                    .fallback = "2s", .help = "Time for what is dropped after an early answer."),
    CONFIG_DURATION(
        "write-timeout", struct http_limits, write_idle_ms, .min = 100, .max = 3600000,
        .fallback = "60s",
        .help = "Longest time that a client may take nothing of an answer that waits for it."),
    CONFIG_DURATION("idle-timeout", struct http_limits, idle_ms, .min = 100, .max = 86400000,
                    .fallback = "120s",
                    .help = "Longest pause between requests of one connection."),
    CONFIG_DURATION("exchange-timeout", struct http_limits, exchange_ms, .min = 1000,
                    .max = 86400000, .fallback = "1h",
                    .help = "From the first byte of a request to the last byte of its answer."),
};
static const struct config_block limits_block =
    CONFIG_ROWS(struct http_limits, limits_rows,
                .help = "Limits on what a print client can make grow, and its deadlines.");

static const struct config_row message_rows[] = {
    CONFIG_SIZE("size", struct ipp_limits, size_max, .min = 4096, .max = 16 << 20, .fallback = "1m",
                .help = "Largest attribute part of a request or an answer."),
    CONFIG_COUNT("attributes", struct ipp_limits, attributes_max, .min = 16, .max = 1000000,
                 .fallback = "8192", .help = "Most attributes in it."),
    CONFIG_COUNT("depth", struct ipp_limits, depth_max, .min = 1, .max = IPP_DEPTH_MAX,
                 .fallback = "16", .help = "Collections in collections."),
};
static const struct config_block message_block =
    CONFIG_ROWS(struct ipp_limits, message_rows, .help = "Limits of IPP messages.");

static const struct config_row ipp_rows[] = {
    CONFIG_STRING("host", struct ipp_settings, host, .min = 1, .max = 255, .valid = valid_host,
                  .help = "Name or address under which clients reach the gateway, as printers and "
                          "jobs are told to be found. Without it: what each client calls it, if "
                          "that is one of names."),
    CONFIG_STRINGS("names", struct ipp_settings, names, .max = 256, .valid = valid_host,
                   .help = "Further names and addresses that URIs of requests may have. localhost "
                           "is always one: CUPS writes it whatever it was told."),
    CONFIG_COUNT("port", struct ipp_settings, port, .max = 65535, .fallback = "auto",
                 .zero = "auto",
                 .help = "Port that clients see; auto: that of the first ipp listener."),
    CONFIG_COUNT("secure-port", struct ipp_settings, secure_port, .max = 65535, .fallback = "auto",
                 .zero = "auto",
                 .help = "Port with TLS from the first byte that clients see; auto: that of the "
                         "first ipp listener that has it."),
    CONFIG_ENUM("job-uris", struct ipp_settings, job_style, style_names, .fallback = "auto",
                .help = "How the URI of a job says how it has to be protected. draft: "
                        "ipp://...;AUTH=TLS,DAA. ipps: ipps://... auto: the first for TLS by "
                        "Upgrade, the second for TLS from the first byte."),
    CONFIG_BLOCK("digest", struct ipp_settings, digest, digest_block,
                 .help = "How passwords are proved."),
    CONFIG_LIST("groups", struct ipp_settings, groups, n_groups, group_block, .unique = "name",
                .max = 1000, .help = "Groups of users."),
    CONFIG_DURATION("retention", struct ipp_settings, retention_ms, .min = 60000,
                    .max = UINT64_C(31536000000), .fallback = "7d",
                    .help = "How long it is known how a job was made, and by whom. Afterwards "
                            "nobody can do anything to it through the gateway."),
    CONFIG_DURATION("incoming", struct ipp_settings, incoming_ms, .min = 1000, .max = 86400000,
                    .fallback = "5m",
                    .help = "Longest pause between Create-Job and its document; what is known of a "
                            "job that gets none is forgotten http.exchange-timeout later."),
    CONFIG_COUNT("incoming-max", struct ipp_settings, incoming_max, .min = 1, .max = 1000000,
                 .fallback = "100",
                 .help = "Jobs that one tenant, or address without one, may have made whose "
                         "documents have not come; over that it is told to come again later."),
    CONFIG_COUNT("requests-per-client", struct ipp_settings, requests_max, .max = 1000,
                 .fallback = "500", .zero = "off",
                 .help = "Requests per second of one address (IPv6: of one /64) in which nobody "
                         "proves who he is, and twice as many at once; over that it is told to "
                         "come again later. Users have quotas of their own: tenants."),
    CONFIG_BLOCK("message", struct ipp_settings, message, message_block,
                 .help = "Limits of IPP messages."),
    CONFIG_BLOCK("http", struct ipp_settings, http, limits_block, .help = "Limits of HTTP."),
};
const struct config_block ipp_block =
    CONFIG_ROWS(struct ipp_settings, ipp_rows, .help = "Printing (IPP), for all printers.");

/* ---- printers ---- */

static const struct config_row printer_rows[] = {
    CONFIG_STRING("name", struct ipp_printer_settings, name, .required = true, .min = 1, .max = 64,
                  .valid = valid_name, .help = "Name in records, logs and metrics."),
    CONFIG_STRING("path", struct ipp_printer_settings, path, .required = true, .max = 256,
                  .valid = valid_path,
                  .help = "Path of the printer's URI at the gateway, as /ipp/print/NAME."),
    CONFIG_STRINGS("aliases", struct ipp_printer_settings, aliases, .max = 32, .valid = valid_path,
                   .help = "Further paths under which clients may know it: /ipp/print, "
                           "/printers/NAME, /printers/NAME/.printer."),
    CONFIG_STRING("backend", struct ipp_printer_settings, backend, .required = true, .min = 1,
                  .max = IPP_URI_MAX, .valid = valid_backend,
                  .help = "URI of the printer or CUPS queue behind the gateway. ipp: in clear "
                          "text, ipps: within TLS, ipp:...;AUTH=TLS: TLS by Upgrade; that is also "
                          "begun where a printer demands it and backend-ca is set. http: and "
                          "https: are the same at ports 80 and 443."),
    CONFIG_PATH("backend-ca", struct ipp_printer_settings, backend_ca,
                .help = "CAs (PEM) that certify the backend; without it, the system's."),
    CONFIG_ENUM("backend-require", struct ipp_printer_settings, backend_require, level_names,
                .fallback = "auto",
                .help = "Least protection of connections to the backend; before that is there "
                        "nothing is asked or sent, also where TLS is by Upgrade. auto: strong for "
                        "ipps:, none for others. none, written out: that documents go to it in "
                        "clear text is meant, and no warning."),
    CONFIG_STRINGS("backend-peers", struct ipp_printer_settings, backend_peers,
                   .max = SALLYPORT_WANT_PEERS_MAX, .valid = protect_peer_fault,
                   .help = "Who the backend may be, by a name in its certificate or its key, as "
                           "peers of a listener: dns:, uri:, email:, ip:, dn: or key:. Its "
                           "certificate must be good for the host in its URI all the same. Empty: "
                           "whoever has one that is."),
    CONFIG_SET("require", struct ipp_printer_settings, require, require_names, .fallback = "[tls]",
               .help = "What a request needs before it counts. tls: by Upgrade or from the first "
                       "byte. digest: a user and password, proved by Digest (RFC 7616). "
                       "certificate: a client certificate of a tenant. URIs with an AUTH list may "
                       "demand more, never less."),
    CONFIG_BOOL("basic", struct ipp_printer_settings, basic, .fallback = "false", .restart = true,
                .help = "Let users of clients that cannot do Digest send their password itself "
                        "(Basic), within TLS only. Does not count as digest."),
    CONFIG_ENUM("anonymous", struct ipp_printer_settings, anonymous, anonymous_names,
                .fallback = "attributes",
                .help = "What is told before anybody has proved who he is. attributes: what the "
                        "printer can do; many clients ask for that first, and give up when they "
                        "are asked for a password. nothing: nothing."),
    CONFIG_STRINGS("allow", struct ipp_printer_settings, allow, .max = 10000, .valid = valid_who,
                   .help = "Who may print: user:NAME, group:NAME, tenant:NAME. Empty: everybody "
                           "who meets require."),
    CONFIG_STRINGS("operators", struct ipp_printer_settings, operators, .max = 1000,
                   .valid = valid_who,
                   .help = "Who may see, hold, release and cancel jobs of others."),
    CONFIG_STRINGS("operations", struct ipp_printer_settings, operations, .max = 200,
                   .valid = valid_operation,
                   .help = "Further operations for operators that are let through, by their names "
                           "(Pause-Printer)."),
    CONFIG_STRINGS("refuse", struct ipp_printer_settings, refuse, .max = 200,
                   .valid = valid_operation,
                   .help = "Operations that are not let through although others need no word."),
    CONFIG_STRINGS("formats", struct ipp_printer_settings, formats, .max = 200,
                   .help = "Media types that may be printed ('*' and '?' as in file names). "
                           "Empty: all that the printer takes."),
    CONFIG_SET("pipeline", struct ipp_printer_settings, pipeline, pipeline_names,
               .fallback = "[yara, filetype]",
               .help = "Engines that look at documents. All that are named have to agree. Empty: "
                       "nobody looks."),
    CONFIG_STRING("icap", struct ipp_printer_settings, icap, .min = 1, .max = 1024,
                  .valid = valid_icap,
                  .help = "Service of another ICAP server that documents are shown to after the "
                          "pipeline has passed them, as icaps://scan.example/print (REQMOD). What "
                          "it would change is blocked."),
    CONFIG_PATH("icap-ca", struct ipp_printer_settings, icap_ca,
                .help = "CAs (PEM) that certify an icaps: service; without it, the system's."),
    CONFIG_ENUM("icap-require", struct ipp_printer_settings, icap_require, level_names,
                .fallback = "auto",
                .help = "Least protection of connections to that service; below it no document is "
                        "shown to it, which is engine-down. auto: strong for icaps:, none for "
                        "icap:."),
    CONFIG_STRINGS("icap-peers", struct ipp_printer_settings, icap_peers,
                   .max = SALLYPORT_WANT_PEERS_MAX, .valid = protect_peer_fault,
                   .help = "Who that service may be, as in backend-peers."),
    CONFIG_BOOL("icap-plaintext-outside-loopback", struct ipp_printer_settings,
                icap_plaintext_outside_loopback, .fallback = "false",
                .help = "Allow an icap: service on another machine: everybody on the way can read "
                        "every document, and change what is said of it."),
    CONFIG_BLOCK("types", struct ipp_printer_settings, types, type_policy_block,
                 .help = "Which types of documents pass; needs filetype in the pipeline."),
    CONFIG_LIST("rules", struct ipp_printer_settings, rules, n_rules, rule_block, .max = 1000,
                .unique = "name",
                .help = "Asked in order after the engines; the first that matches decides. Without "
                        "host, url-list and 'then: pipeline'; method is REQMOD."),
    CONFIG_MAP(
        "on", struct ipp_printer_settings, on, cause_names, action_names,
        .fallback = "{infected: block, denied: block, engine-down: error, timeout: error, "
                    "too-large: block, "
                    "not-inspected: block, worker-crash: block, overload: error, disk-full: error}",
        .help = "What happens for each cause. block: the job is refused, and the user told why. "
                "error: the printer is busy, so that clients try again. pass: printed, with a "
                "record, if rules, formats, pages-max and icap have nothing against it."),
    CONFIG_LIST("reject-status", struct ipp_printer_settings, reject, n_reject, ipp_reject_block,
                .max = IPP_REJECT_MAX,
                .help = "Status in which documents are refused for what they are. Where no row "
                        "fits: for Print-Job of CUPS client-error-document-format-not-supported, "
                        "for others client-error-document-security-error."),
    CONFIG_SIZE("body-max", struct ipp_printer_settings, body_max, .min = 1,
                .max = UINT64_C(1) << 42, .fallback = "1g",
                .help = "Largest document; a larger one is too-large."),
    CONFIG_SIZE("memory-max", struct ipp_printer_settings, memory_max, .max = 16 << 20,
                .fallback = "256k",
                .help = "Bytes of one document that are kept in memory; what is above goes to the "
                        "spool. Where nobody scans it, at least spool.memory."),
    CONFIG_COUNT("pages-max", struct ipp_printer_settings, pages_max, .max = 1000000,
                 .fallback = "off", .zero = "off",
                 .help = "Most pages of one document, as far as it tells; needs printing in the "
                         "pipeline."),
    CONFIG_DURATION("deadline", struct ipp_printer_settings, deadline_ms, .min = 10, .max = 3600000,
                    .fallback = "60s",
                    .help = "Time that one scan may take, waiting for a worker included."),
    CONFIG_DURATION("scan-wait", struct ipp_printer_settings, wait_ms, .min = 100, .max = 3600000,
                    .fallback = "20s",
                    .help = "How long a client waits for the verdict. Then it is told that the "
                            "job is on its way, and the job ends as aborted when the verdict is "
                            "bad."),
    CONFIG_DURATION("backend-timeout", struct ipp_printer_settings, backend_ms, .min = 1000,
                    .max = 3600000, .fallback = "60s",
                    .help = "How long the printer may take nothing and say nothing."),
    CONFIG_COUNT("backend-connections", struct ipp_printer_settings, connections, .min = 1,
                 .max = 1000, .fallback = "16", .unit = "per thread",
                 .help = "Connections to the printer at once; further requests wait."),
    CONFIG_BOOL("hold", struct ipp_printer_settings, hold, .fallback = "false",
                .help = "Jobs wait, held, until their users release them."),
    CONFIG_STRING("contact", struct ipp_printer_settings, contact, .max = 256, .valid = valid_line,
                  .help = "Whom users shall ask about a refused document; told with the refusal."),
};
const struct config_block ipp_printer_block =
    CONFIG_ROWS(struct ipp_printer_settings, printer_rows, .help = "Printers.");

sallyport_level ipp_level_required(unsigned require, bool secure)
{
    if (require != IPP_LEVEL_AUTO)
        return (sallyport_level)require;
    return secure ? SALLYPORT_STRONG : SALLYPORT_NONE;
}

struct ipp_demand ipp_printer_demand(const struct ipp_printer_settings *p)
{
    struct ipp_demand d = {0};

    if (p->require & 1u << IPP_REQUIRE_TLS)
        d.auth |= IPP_AUTH_TLS;
    if (p->require & 1u << IPP_REQUIRE_DIGEST)
        d.auth |= IPP_AUTH_DAA;
    if (p->require & 1u << IPP_REQUIRE_CERTIFICATE)
        d.level = (struct ipp_level){IPP_CHANNEL_IMPLICIT, IPP_USER_CERTIFICATE};
    return d;
}
