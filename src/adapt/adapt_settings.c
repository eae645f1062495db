/* SPDX-License-Identifier: Apache-2.0 */
#include "adapt/adapt_settings.h"

const struct config_names cause_names = CONFIG_NAMES(
    {"infected", CAUSE_INFECTED}, {"denied", CAUSE_DENIED}, {"engine-down", CAUSE_ENGINE_DOWN},
    {"timeout", CAUSE_TIMEOUT}, {"too-large", CAUSE_TOO_LARGE},
    {"not-inspected", CAUSE_NOT_INSPECTED}, {"worker-crash", CAUSE_WORKER_CRASH},
    {"overload", CAUSE_OVERLOAD}, {"disk-full", CAUSE_DISK_FULL});

const struct config_names action_names =
    CONFIG_NAMES({"pass", ACTION_PASS}, {"block", ACTION_BLOCK}, {"error", ACTION_ERROR});

static const struct config_row yara_rows[] = {
    CONFIG_PATHS("rules", struct yara_settings, rules,
                 .help = "YARA rule files, compiled together. Empty: the rules that come with "
                         "Sallyport. A change of a "
                         "file is noticed and taken over; a file that does not compile leaves the "
                         "old rules in force."),
};
static const struct config_block yara_block =
    CONFIG_ROWS(struct yara_settings, yara_rows, .help = "YARA rules, run in the jailed worker.");

static const struct config_row worker_rows[] = {
    CONFIG_COUNT("count", struct worker_settings, count, .min = 1, .max = 64, .fallback = "2",
                 .unit = "per thread",
                 .help = "Jailed worker processes that each gateway thread may keep."),
    CONFIG_SIZE(
        "memory", struct worker_settings, memory, .min = 64 << 20, .max = UINT64_C(1) << 40,
        .fallback = "2g", .restart = true,
        .help = "Address space of one worker; a file that makes it grow beyond ends the worker."),
    CONFIG_COUNT("reuse", struct worker_settings, reuse, .min = 1, .max = 1000000,
                 .fallback = "5000", .unit = "files",
                 .help = "Files that one worker inspects before it is replaced by a fresh one. 1: "
                         "a process for each file. To fork one takes about a millisecond of a "
                         "core."),
    CONFIG_COUNT("queue", struct worker_settings, queue, .min = 1, .max = 100000, .fallback = "256",
                 .unit = "per thread",
                 .help = "Files that may wait for a free worker; with one more the newest of the "
                         "client that has most in it is answered as overload."),
    CONFIG_DURATION(
        "grace", struct worker_settings, grace_ms, .min = 10, .max = 60000, .fallback = "2s",
        .help = "A worker that has not answered that long after the scan's deadline is killed."),
};
static const struct config_block worker_block =
    CONFIG_ROWS(struct worker_settings, worker_rows,
                .help = "The jailed processes in which hostile files are parsed.");

static const struct config_row filetype_rows[] = {
    CONFIG_PATHS("magic", struct filetype_settings, magic,
                 .help = "Magic files of file(1), loaded together; compiled ones (file -C) are "
                         "asked in a fraction of the time. Empty: the system's."),
};
static const struct config_block filetype_block =
    CONFIG_ROWS(struct filetype_settings, filetype_rows,
                .help = "What files look like, whatever they are called: libmagic, in the jailed "
                        "worker. What follows from it is the service's `types`.");

static const struct config_names transport_names =
    CONFIG_NAMES({"auto", CLAMD_AUTO}, {"descriptor", CLAMD_FILDES}, {"stream", CLAMD_INSTREAM});

static const struct config_names silent_names =
    CONFIG_NAMES({"not-inspected", false}, {"insecure-accept", true});

/* clamd speaks no TLS. */
static void warn_of_clear_text(const struct clamav_settings *c, struct config_report *r)
{
    struct address a;
    struct buf text;

    if (c->address.kind == CONFIG_ADDRESS_UNIX || c->plaintext_outside_loopback)
        return;
    buf_init(&text, 0);
    config_address_format(&c->address, &text);
    if (address_parse(buf_span(&text), &a) != OK || !address_is_loopback(&a))
        config_warn(r, c, "address",
                    "every file goes to clamd at %s in clear text, and its verdict comes back so: "
                    "who is on the way can read files and have them called clean. Use clamd's "
                    "socket or a tunnel, or write 'plaintext-outside-loopback: true' to have it "
                    "that way",
                    buf_cstr(&text));
    buf_done(&text);
}

static enum err clamav_check(void *block, struct config_report *r)
{
    struct clamav_settings *c = block;

    if (c->address.kind == CONFIG_ADDRESS_NAME)
        return config_fault(r, c, "address",
                            "clamd is reached by an IP address or a socket path, not by the name "
                            "'%s'",
                            c->address.host);
    if (c->transport == CLAMD_FILDES && c->address.kind != CONFIG_ADDRESS_UNIX)
        return config_fault(r, c, "transport", "descriptors need a Unix socket as address");
    warn_of_clear_text(c, r);
    if (c->trust_silent)
        config_warn(r, c, "silent-limits",
                    "a clamd that does not say when it met a limit is believed: set "
                    "AlertExceedsMax yes in clamd.conf, and leave this out");
    return OK;
}

static const struct config_row clamav_rows[] = {
    CONFIG_UPSTREAM("address", struct clamav_settings, address, .fallback = "/run/clamav/clamd.ctl",
                    .restart = true,
                    .help = "Where clamd listens: the path of its LocalSocket, or IP address and "
                            "port of its TCPSocket."),
    CONFIG_BOOL("plaintext-outside-loopback", struct clamav_settings, plaintext_outside_loopback,
                .fallback = "false",
                .help = "That address is on another machine, or in a container, is meant: no "
                        "warning. clamd speaks clear text only, so everybody on the way can read "
                        "every file and have it called clean. The policy of the machine is asked "
                        "all the same."),
    CONFIG_ENUM("transport", struct clamav_settings, transport, transport_names, .fallback = "auto",
                .restart = true,
                .help =
                    "descriptor: pass the open file (FILDES), half the work. stream: send the "
                    "bytes (INSTREAM). auto: descriptor where a self-test shows that it works."),
    CONFIG_COUNT("connections", struct clamav_settings, connections, .min = 1, .max = 256,
                 .fallback = "4", .unit = "per thread", .restart = true,
                 .help = "Sessions with clamd that are kept; each scans one file at a time. All "
                         "threads together should stay below clamd's MaxThreads."),
    CONFIG_COUNT("queue", struct clamav_settings, queue, .min = 1, .max = 100000, .fallback = "256",
                 .unit = "per thread", .restart = true,
                 .help = "Files that may wait for a free session; with one more the newest of the "
                         "client that has most in it is answered as overload."),
    CONFIG_SIZE("max-scan", struct clamav_settings, max_scan, .min = 4096, .max = UINT64_C(1) << 40,
                .fallback = "25m", .restart = true,
                .help =
                    "Largest object that clamd is trusted to look into; a larger one is "
                    "not-inspected. Must not be above clamd's own MaxFileSize, MaxScanSize and "
                    "StreamMaxLength, behind which clamd says OK without a look: a self-test finds "
                    "that out, warns, and uses what clamd really scans."),
    CONFIG_ENUM(
        "silent-limits", struct clamav_settings, trust_silent, silent_names,
        .fallback = "not-inspected", .restart = true,
        .help = "When the self-test finds that clamd calls clean what is over its limits "
                "(AlertExceedsMax no in clamd.conf, or ScanArchive no), so that nobody can tell "
                "what it looked into. not-inspected: its OK is not believed; what it finds still "
                "blocks. insecure-accept: it is believed, and files that are nested or packed to "
                "be over a limit pass unseen."),
    CONFIG_DURATION("check", struct clamav_settings, check_ms, .min = 100, .max = 15000,
                    .fallback = "10s", .restart = true,
                    .help =
                        "How often clamd's version is asked: a new database is a new ISTag, and "
                        "verdicts of the old one are not used any more."),
    CONFIG_DURATION("self-test", struct clamav_settings, self_test_ms, .min = 100, .max = 600000,
                    .fallback = "60s", .restart = true,
                    .help = "Time that clamd has for the self-test."),
};
static const struct config_block clamav_block =
    CONFIG_ROWS(struct clamav_settings, clamav_rows, .check = clamav_check,
                .help = "ClamAV's daemon, for services whose pipeline names clamav.");

static const struct config_row url_rows[] = {
    CONFIG_LIST("lists", struct url_settings, lists, n_lists, url_list_block, .max = 256,
                .unique = "name",
                .help = "Lists of hosts and URLs, for the engine url and for rules."),
};
static const struct config_block url_block =
    CONFIG_ROWS(struct url_settings, url_rows,
                .help = "Lists of hosts and URLs. A change of a file is noticed.");

static const struct config_row unpack_rows[] = {
    CONFIG_SIZE("size", struct unpack_settings, size_max, .min = 1 << 20, .max = UINT64_C(1) << 40,
                .fallback = "256m",
                .help = "Most bytes that one body may have when its Content-Encoding is undone."),
    CONFIG_COUNT("ratio", struct unpack_settings, ratio_max, .min = 2, .max = 1000000,
                 .fallback = "200",
                 .help = "Most bytes for each compressed byte, once one mebibyte has come out."),
    CONFIG_COUNT("codings", struct unpack_settings, codings_max, .min = 1, .max = 10,
                 .fallback = "2", .help = "Most codings one within another."),
    CONFIG_COUNT("parts", struct unpack_settings, parts_max, .min = 1, .max = 65000,
                 .fallback = "10000",
                 .help = "Most parts of a multipart body, all levels together."),
};
static const struct config_block unpack_block =
    CONFIG_ROWS(struct unpack_settings, unpack_rows,
                .help = "Limits on undoing Content-Encoding (gzip, deflate, br, zstd) and on "
                        "splitting multipart/form-data, in the jailed worker. A body over one of "
                        "them is not-inspected.");

static const struct config_row cache_rows[] = {
    CONFIG_SIZE("size", struct cache_settings, size, .max = UINT64_C(1) << 36, .fallback = "64m",
                .zero = "off",
                .help = "Memory for verdicts of files that were seen before. Files that come "
                        "several times at once are scanned once in any case."),
    CONFIG_DURATION("ttl", struct cache_settings, ttl_ms, .min = 1000, .max = 604800000,
                    .fallback = "1h", .help = "How long a verdict is used."),
};
static const struct config_block cache_block = CONFIG_ROWS(
    struct cache_settings, cache_rows,
    .help = "Verdicts by digest of the file, and ISTag of the service: new rules, a new "
            "database or other settings make old verdicts unused.");

static const struct config_row engines_rows[] = {
    CONFIG_BLOCK("yara", struct engines_settings, yara, yara_block, .help = "The YARA engine."),
    CONFIG_BLOCK("filetype", struct engines_settings, filetype, filetype_block,
                 .help = "The filetype engine."),
    CONFIG_OPTIONAL("clamav", struct engines_settings, clamav, clamav_block,
                    .help = "The clamav engine."),
    CONFIG_BLOCK("url", struct engines_settings, url, url_block, .help = "The url engine."),
    CONFIG_BLOCK("unpack", struct engines_settings, unpack, unpack_block,
                 .help = "Limits on compressed and multipart bodies."),
    CONFIG_BLOCK("cache", struct engines_settings, cache, cache_block,
                 .help = "The verdict cache."),
    CONFIG_BLOCK("workers", struct engines_settings, workers, worker_block,
                 .help = "The worker processes."),
};
const struct config_block engines_block =
    CONFIG_ROWS(struct engines_settings, engines_rows,
                .help = "Inspection engines and the processes that run them.");
