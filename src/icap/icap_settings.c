/* SPDX-License-Identifier: Apache-2.0 */
#include "icap/icap_settings.h"

#include <ctype.h>

static const struct config_names type_names =
    CONFIG_NAMES({"echo", ICAP_SERVICE_ECHO}, {"inspect", ICAP_SERVICE_INSPECT});
static const struct config_names answer_names = CONFIG_NAMES(
    {"no-change", ICAP_ECHO_NO_CHANGE}, {"partial", ICAP_ECHO_PARTIAL}, {"whole", ICAP_ECHO_WHOLE});
static const struct config_names method_names =
    CONFIG_NAMES({"REQMOD", ICAP_REQMOD}, {"RESPMOD", ICAP_RESPMOD});
static const struct config_names ranges_names = CONFIG_NAMES(
    {"strip", ICAP_RANGES_STRIP}, {"block", ICAP_RANGES_BLOCK}, {"pass", ICAP_RANGES_PASS});
static const struct config_names slow_names = CONFIG_NAMES(
    {"wait", ICAP_SLOW_WAIT}, {"trickle", ICAP_SLOW_TRICKLE}, {"progress", ICAP_SLOW_PROGRESS});

static const char *valid_path(struct span text)
{
    if (text.n < 2 || text.p[0] != '/' || span_ends(text, SPAN("/")))
        return "begin with '/', and not end with it";
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] <= 0x20 || (unsigned char)text.p[i] >= 0x7f ||
            text.p[i] == '?' || text.p[i] == '%')
            return "be plain printable characters without '?' and '%'";
    return NULL;
}

static const char *valid_name(struct span text)
{
    return span_is_token(text) ? NULL : "be letters, digits, '-', '_' and '.'";
}

static const char *valid_line(struct span text)
{
    return span_is_field_value(text) ? NULL : "be one line without control characters";
}

static const char *valid_host(struct span text)
{
    for (size_t i = 0; i < text.n; i++)
        if (!isalnum((unsigned char)text.p[i]) && text.p[i] != '-' && text.p[i] != '.')
            return "be a host name";
    return NULL;
}

static const struct config_row slow_rows[] = {
    CONFIG_ENUM(
        "mode", struct icap_slow_settings, mode, slow_names, .fallback = "wait",
        .help = "wait: nothing is sent before the verdict. trickle: after a while the head, and "
                "then a little of the original now and then, so that nobody gives up; what was "
                "sent cannot be taken back, a blocked file is cut off without a block page, and "
                "its first bytes are with the user. progress: browsers get a page that shows how "
                "far the scan is and fetches the file when it is done; others wait."),
    CONFIG_DURATION("after", struct icap_slow_settings, after_ms, .min = 10, .max = 3600000,
                    .fallback = "10s",
                    .help = "When it begins: for trickle counted from the request's head, for "
                            "progress from the body's end."),
    CONFIG_DURATION("every", struct icap_slow_settings, every_ms, .min = 10, .max = 600000,
                    .fallback = "5s",
                    .help = "Pause between two pieces; how often the page is renewed."),
    CONFIG_SIZE("bytes", struct icap_slow_settings, bytes, .min = 1, .max = 65536, .fallback = "1",
                .help = "trickle: bytes of each piece."),
    CONFIG_SIZE("hold", struct icap_slow_settings, hold_max, .min = 1, .max = UINT64_C(1) << 40,
                .fallback = "4k",
                .help = "trickle: bytes at the end that are never sent before the verdict."),
    CONFIG_STRING(
        "host", struct icap_slow_settings, host, .min = 1, .max = 128, .valid = valid_host,
        .fallback = "sallyport.invalid",
        .help = "progress: the name of the site in whose pages the progress is shown. No such "
                "site needs to exist, but its requests must come through a REQMOD service of "
                "this gateway."),
    CONFIG_DURATION("keep", struct icap_slow_settings, keep_ms, .min = 1000, .max = 86400000,
                    .fallback = "10m",
                    .help = "progress: how long a finished file waits to be fetched."),
    CONFIG_COUNT(
        "files", struct icap_slow_settings, files_max, .min = 1, .max = 100000, .fallback = "64",
        .help = "progress: files of this service that may be shown so at once; further ones wait "
                "as without it."),
};
static const struct config_block slow_block = CONFIG_ROWS(
    struct icap_slow_settings, slow_rows, .help = "What clients see while a scan takes long.");

static const struct config_row service_rows[] = {
    CONFIG_STRING("name", struct icap_service_settings, name, .required = true, .min = 1, .max = 64,
                  .valid = valid_name,
                  .help = "Name in records, logs and metrics, and the Service-ID."),
    CONFIG_ENUM("type", struct icap_service_settings, type, type_names, .required = true,
                .help =
                    "echo: hand everything back unchanged. inspect: run the pipeline and decide."),
    CONFIG_ENUM("answer", struct icap_service_settings, answer, answer_names,
                .fallback = "no-change",
                .help = "How an echo hands a body back where the client leaves a choice, to see "
                        "what a client makes of it, and what it costs. no-change: 204. partial: "
                        "206 that points to the original, where Allow: 206 permits it, else as "
                        "no-change. whole: 200 with all of it, after 100 Continue where there is "
                        "a preview."),
    CONFIG_STRING("path", struct icap_service_settings, path, .required = true, .max = 256,
                  .valid = valid_path, .help = "Path part of the service's URL."),
    CONFIG_STRINGS("aliases", struct icap_service_settings, aliases, .max = 32, .valid = valid_path,
                   .help =
                       "Further paths under which clients may know the service, such as /avscan."),
    CONFIG_STRINGS("tenants", struct icap_service_settings, tenants, .max = 10000,
                   .valid = valid_name,
                   .help = "Whose service it is: for others it does not exist. Several services "
                           "may have the same path for different tenants; one without tenants "
                           "is for those that have none of their own there."),
    CONFIG_SET("methods", struct icap_service_settings, methods, method_names,
               .fallback = "[REQMOD, RESPMOD]", .help = "What the service adapts."),
    CONFIG_SIZE("preview", struct icap_service_settings, preview, .max = 65536, .fallback = "off",
                .zero = "off",
                .help =
                    "Bytes of each body that clients are asked to show first. Off by default: "
                    "Squid 5.7 stalls on "
                    "previews of responses over 64 KiB when the server wants to see everything."),
    CONFIG_SET("pipeline", struct icap_service_settings, pipeline, pipeline_names,
               .fallback = "[yara]",
               .help = "Engines that an inspect service runs: url judges the URL, yara, filetype, "
                       "printing and clamav the body. All that are named have to agree."),
    CONFIG_BLOCK("types", struct icap_service_settings, types, type_policy_block,
                 .help = "Which types of files pass; needs filetype in the pipeline."),
    CONFIG_ENUM(
        "ranges", struct icap_service_settings, ranges, ranges_names, .fallback = "strip",
        .help =
            "Parts of files (Range requests, 206 answers), in which nobody can recognise "
            "anything. strip: ask for the whole file instead; a part that comes all the same is "
            "not-inspected. block: refuse both. pass: let both go, with a record."),
    CONFIG_BLOCK("slow", struct icap_service_settings, slow, slow_block,
                 .help = "What clients see while a scan takes long."),
    CONFIG_LIST("rules", struct icap_service_settings, rules, n_rules, rule_block, .max = 1000,
                .unique = "name",
                .help =
                    "Asked in order, before the engines as far as the heads tell, and again after "
                    "them; the first that matches decides."),
    CONFIG_SIZE("body-max", struct icap_service_settings, body_max, .min = 1,
                .max = UINT64_C(1) << 42, .fallback = "2g",
                .help = "Largest body that is inspected; a larger one is answered as too-large."),
    CONFIG_SIZE(
        "memory-max", struct icap_service_settings, memory_max, .max = 16 << 20, .fallback = "256k",
        .help = "Bytes of one body that are kept in memory; what is above goes to the spool."),
    CONFIG_DURATION("deadline", struct icap_service_settings, deadline_ms, .min = 10,
                    .max = 3600000, .fallback = "60s",
                    .help = "Time that one scan may take, waiting for a worker included."),
    CONFIG_COUNT("options-ttl", struct icap_service_settings, options_ttl_s, .min = 1, .max = 86400,
                 .fallback = "600", .unit = "seconds",
                 .help = "Options-TTL: how long clients may keep an OPTIONS answer."),
    CONFIG_COUNT("max-connections", struct icap_service_settings, connections_max, .max = 100000,
                 .fallback = "1000", .zero = "off",
                 .help = "Max-Connections that OPTIONS advises."),
    CONFIG_MAP(
        "on", struct icap_service_settings, on, cause_names, action_names,
        .fallback = "{infected: block, denied: block, engine-down: block, timeout: block, "
                    "too-large: block, "
                    "not-inspected: block, worker-crash: block, overload: block, disk-full: block}",
        .help =
            "What happens for each cause. block: 200 with a block page, so that clients that let "
            "pass on errors "
            "do not. error: an ICAP error, and the client decides. pass: deliver, with a record."),
    CONFIG_BOOL("via", struct icap_service_settings, via, .fallback = "true",
                .help = "Add Via (RFC 3507 4.4.2) to heads that are modified or made here."),
    CONFIG_STRING("contact", struct icap_service_settings, contact, .max = 256, .valid = valid_line,
                  .help = "Whom users shall ask about a blocked file; shown on the block page."),
    CONFIG_STRING(
        "revision", struct icap_service_settings, revision, .max = 64, .valid = valid_line,
        .help =
            "Any text; goes into the ISTag. Change it when clients shall forget cached answers."),
};
const struct config_block icap_service_block =
    CONFIG_ROWS(struct icap_service_settings, service_rows, .help = "ICAP services.");

static const struct config_row limits_rows[] = {
    CONFIG_SIZE("request-line", struct icap_limits, request_line_max, .min = 64, .max = 65536,
                .fallback = "8k", .help = "Longest ICAP request-line and HTTP start-line."),
    CONFIG_SIZE("head", struct icap_limits, head_max, .min = 1024, .max = 1 << 20,
                .fallback = "64k", .help = "Largest ICAP head."),
    CONFIG_COUNT("fields", struct icap_limits, fields_max, .min = 8, .max = 10000,
                 .fallback = "128", .help = "Most field-lines in one head."),
    CONFIG_SIZE("http-head", struct icap_limits, http_head_max, .min = 1024, .max = 4 << 20,
                .fallback = "256k", .help = "Largest encapsulated HTTP head."),
    CONFIG_SIZE("chunk-line", struct icap_limits, chunk_line_max, .min = 32, .max = 65536,
                .fallback = "4k", .help = "Longest chunk-size line with its extensions."),
    CONFIG_SIZE("trailer", struct icap_limits, trailer_max, .min = 64, .max = 1 << 20,
                .fallback = "16k", .help = "Largest trailer section."),
    CONFIG_SIZE("chunk-overhead", struct icap_limits, chunk_overhead_max, .min = 4096,
                .max = UINT64_C(1) << 40, .fallback = "1m",
                .help = "Bytes of chunk framing beyond the size of the body itself."),
    CONFIG_SIZE("preview", struct icap_limits, preview_max, .min = 1024, .max = 16 << 20,
                .fallback = "64k", .help = "Largest Preview that a client may announce."),
    CONFIG_SIZE("discard", struct icap_limits, discard_max, .max = UINT64_C(1) << 42,
                .fallback = "64m",
                .help = "Bytes that are read and dropped after an early answer before the "
                        "connection is closed instead."),
    CONFIG_COUNT("empty-lines", struct icap_limits, empty_lines_max, .max = 100, .fallback = "4",
                 .help = "Empty lines that are ignored before a request-line."),
    CONFIG_SIZE("memory", struct icap_limits, memory_max, .min = 65536, .max = 64 << 20,
                .fallback = "1m", .help = "Memory for the heads of one transaction."),
    CONFIG_BOOL("require-host", struct icap_limits, require_host, .fallback = "false",
                .help =
                    "Refuse requests without Host (RFC 3507 4.3.2); some clients leave it out."),
    CONFIG_DURATION("head-timeout", struct icap_limits, head_ms, .min = 100, .max = 3600000,
                    .fallback = "10s",
                    .help = "From the first byte of a request to the end of its heads."),
    CONFIG_DURATION("body-timeout", struct icap_limits, body_idle_ms, .min = 100, .max = 3600000,
                    .fallback = "60s", .help = "Longest pause inside a body."),
    CONFIG_DURATION(
        "write-timeout", struct icap_limits, write_idle_ms, .min = 100, .max = 3600000,
        .fallback = "60s",
        .help = "Longest time that a client may take nothing of an answer that waits for it."),
    CONFIG_DURATION("idle-timeout", struct icap_limits, idle_ms, .min = 100, .max = 86400000,
                    .fallback = "120s",
                    .help = "Longest pause between requests of one connection."),
    CONFIG_DURATION("transaction-timeout", struct icap_limits, transaction_ms, .min = 100,
                    .max = 86400000, .fallback = "10m",
                    .help = "From the first byte of a request to the last byte of its answer."),
};
const struct config_block icap_limits_block =
    CONFIG_ROWS(struct icap_limits, limits_rows,
                .help = "Limits on what an ICAP peer can make grow, and its deadlines.");
