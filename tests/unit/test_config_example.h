/* SPDX-License-Identifier: Apache-2.0 */
/* test_config_example.h - a configuration like the real one, with rows of every kind: for the unit
 * tests of src/config and its fuzz target. */
#ifndef TEST_CONFIG_EXAMPLE_H
#define TEST_CONFIG_EXAMPLE_H

#include "config/config.h"

enum example_sandbox { SANDBOX_REQUIRED, SANDBOX_BEST_EFFORT };
enum example_full { FULL_DROP, FULL_REFUSE };
enum example_cause { CAUSE_INFECTED, CAUSE_ENGINE_DOWN, CAUSE_NOT_INSPECTED, CAUSES };
enum example_action { ACTION_BLOCK = 1, ACTION_PASS, ACTION_ERROR };
enum example_method { METHOD_REQMOD, METHOD_RESPMOD };

struct example_log {
    uint8_t level;
    bool json;
};

struct example_limits {
    uint64_t body_max;
    uint32_t header_max;
    uint16_t connections;
    uint64_t idle_ms;
    uint64_t session_ms;
};

struct example_tls {
    const char *name, *cert, *key, *pass;
};

struct example_listener {
    const char *name;
    struct config_address address;
    const char *tls;
    struct config_cidrs allow;
};

struct example_service {
    const char *name, *path;
    struct config_strings pipeline;
    uint32_t preview_max;
    uint32_t methods;
    uint8_t on[CAUSES];
    struct example_limits limits;
};

struct example_yara {
    struct config_strings rules;
    uint64_t timeout_ms;
};

struct example_engines {
    struct example_yara *yara;
    struct config_address clamd;
};

struct example_config {
    struct example_log log; /* first: shares the address of the whole */
    const char *state, *user, *banner;
    uint16_t threads;
    enum example_sandbox sandbox;
    enum example_full on_full;
    struct example_limits limits;
    struct example_tls *tls;
    size_t n_tls;
    struct example_listener *listeners;
    size_t n_listeners;
    struct example_service *services;
    size_t n_services;
    struct example_engines engines;
};

static const struct config_names example_sandboxes =
    CONFIG_NAMES({"required", SANDBOX_REQUIRED}, {"best-effort", SANDBOX_BEST_EFFORT});
static const struct config_names example_fulls =
    CONFIG_NAMES({"drop", FULL_DROP}, {"refuse", FULL_REFUSE});
static const struct config_names example_levels =
    CONFIG_NAMES({"error", 0}, {"warn", 1}, {"info", 2}, {"debug", 3});
static const struct config_names example_causes =
    CONFIG_NAMES({"infected", CAUSE_INFECTED}, {"engine-down", CAUSE_ENGINE_DOWN},
                 {"not-inspected", CAUSE_NOT_INSPECTED});
static const struct config_names example_actions =
    CONFIG_NAMES({"block", ACTION_BLOCK}, {"pass", ACTION_PASS}, {"error", ACTION_ERROR});
static const struct config_names example_methods =
    CONFIG_NAMES({"reqmod", METHOD_REQMOD}, {"respmod", METHOD_RESPMOD});

static const struct config_row example_log_rows[] = {
    CONFIG_ENUM("level", struct example_log, level, example_levels, .fallback = "info",
                .help = "how much is logged"),
    CONFIG_BOOL("json", struct example_log, json, .help = "JSON lines instead of text"),
};
static const struct config_block example_log_block =
    CONFIG_ROWS(struct example_log, example_log_rows);

static const struct config_row example_limit_rows[] = {
    CONFIG_SIZE("body", struct example_limits, body_max, .fallback = "64m", .zero = "unlimited",
                .help = "largest body of one message"),
    CONFIG_SIZE("header", struct example_limits, header_max, .min = 256, .max = 1048576,
                .fallback = "64k", .help = "largest head of one message"),
    CONFIG_COUNT("connections", struct example_limits, connections, .min = 1, .fallback = "1000",
                 .unit = "connections", .help = "open at the same time", .restart = true),
    CONFIG_DURATION("idle", struct example_limits, idle_ms, .min = 1000, .max = 86400000,
                    .fallback = "60s", .help = "a connection without a request is closed then"),
    CONFIG_DURATION("session", struct example_limits, session_ms, .max = 3600000, .fallback = "1h",
                    .help = "a log-in is good for that long. Never more than an hour"),
};
static const struct config_block example_limits_block =
    CONFIG_ROWS(struct example_limits, example_limit_rows, .help = "What a peer may use at most");

static const struct config_row example_tls_rows[] = {
    CONFIG_STRING("name", struct example_tls, name, .required = true, .min = 1,
                  .help = "what listeners call it"),
    CONFIG_PATH("cert", struct example_tls, cert, .required = true,
                .help = "PEM file with the chain"),
    CONFIG_PATH("key", struct example_tls, key, .required = true, .help = "PEM file with the key"),
    CONFIG_STRING("pass", struct example_tls, pass, .secret = true, .max = 64,
                  .help = "pass phrase of the key"),
};
static const struct config_block example_tls_block =
    CONFIG_ROWS(struct example_tls, example_tls_rows);

static const struct config_row example_listener_rows[] = {
    CONFIG_STRING("name", struct example_listener, name, .required = true, .min = 1,
                  .help = "name in records"),
    CONFIG_ADDRESS("address", struct example_listener, address, .required = true, .restart = true,
                   .help = "where to listen"),
    CONFIG_STRING("tls", struct example_listener, tls, .help = "which of the tls blocks"),
    CONFIG_CIDRS("allow", struct example_listener, allow, .fallback = "[0.0.0.0/0, \"::/0\"]",
                 .help = "who may connect"),
};
static const struct config_block example_listener_block =
    CONFIG_ROWS(struct example_listener, example_listener_rows);

static inline const char *example_path_valid(struct span text)
{
    return text.n && text.p[0] == '/' ? NULL : "start with '/'";
}

static inline enum err example_service_check(void *block, struct config_report *r)
{
    struct example_service *s = block;

    if (s->on[CAUSE_INFECTED] == ACTION_PASS)
        return config_fault(r, s, "on.infected", "infected must not be 'pass': nobody wants that");
    for (size_t i = 0; i < s->pipeline.n; i++)
        for (size_t k = 0; k < i; k++)
            if (span_eq(span_of(s->pipeline.v[i]), span_of(s->pipeline.v[k])))
                return config_fault_at(r, s, "pipeline", i, "engine '%s' is in pipeline twice",
                                       s->pipeline.v[i]);
    if (s->preview_max > s->limits.header_max)
        config_warn(r, s, "preview", "preview is larger than limits.header");
    return OK;
}

static const struct config_row example_service_rows[] = {
    CONFIG_STRING("name", struct example_service, name, .required = true, .min = 1,
                  .help = "name in records"),
    CONFIG_STRING("path", struct example_service, path, .required = true,
                  .valid = example_path_valid, .help = "path part of the service's URL"),
    CONFIG_STRINGS("pipeline", struct example_service, pipeline, .fallback = "[clamav]", .max = 8,
                   .help = "engines, in this order"),
    CONFIG_SIZE("preview", struct example_service, preview_max, .max = 65536, .fallback = "4096",
                .help = "bytes of the body that a client shows first"),
    CONFIG_SET("methods", struct example_service, methods, example_methods,
               .fallback = "[reqmod, respmod]", .help = "ICAP methods"),
    CONFIG_MAP("on", struct example_service, on, example_causes, example_actions,
               .fallback = "{infected: block, engine-down: block, not-inspected: error}",
               .help = "what happens on each cause"),
    CONFIG_BLOCK("limits", struct example_service, limits, example_limits_block,
                 .help = "own limits of this service"),
};
static const struct config_block example_service_block =
    CONFIG_ROWS(struct example_service, example_service_rows, .check = example_service_check);

static const struct config_row example_yara_rows[] = {
    CONFIG_PATHS("rules", struct example_yara, rules, .required = true, .min = 1,
                 .help = "files with rules"),
    CONFIG_DURATION("timeout", struct example_yara, timeout_ms, .min = 1, .fallback = "10s",
                    .zero = "never", .help = "a scan that takes longer is stopped"),
};
static const struct config_block example_yara_block =
    CONFIG_ROWS(struct example_yara, example_yara_rows);

static const struct config_row example_engine_rows[] = {
    CONFIG_OPTIONAL("yara", struct example_engines, yara, example_yara_block,
                    .help = "rules of your own"),
    CONFIG_UPSTREAM("clamd", struct example_engines, clamd, .help = "where clamd listens"),
};
static const struct config_block example_engines_block =
    CONFIG_ROWS(struct example_engines, example_engine_rows);

/* References between blocks: the tls of a listener. */
static inline enum err example_check(void *block, struct config_report *r)
{
    const struct example_config *c = block;

    for (size_t i = 0; i < c->n_listeners; i++) {
        const struct example_listener *l = &c->listeners[i];
        const char *words[8];
        bool found = l->tls == NULL;
        size_t n = 0;

        for (size_t k = 0; k < c->n_tls; k++) {
            found |= l->tls && span_eq(span_of(l->tls), span_of(c->tls[k].name));
            if (n < ARRAY_LEN(words))
                words[n++] = c->tls[k].name;
        }
        if (!found)
            config_fault(r, l, "tls", "tls must name one of the tls blocks, got '%s'%s", l->tls,
                         config_hint(r, span_of(l->tls), words, n));
    }
    return OK;
}

static const struct config_row example_rows[] = {
    CONFIG_PATH("state", struct example_config, state, .fallback = "/var/lib/sallyport",
                .restart = true, .help = "directory for everything that must last"),
    CONFIG_COUNT("threads", struct example_config, threads, .max = 1024, .zero = "auto",
                 .fallback = "auto", .restart = true, .help = "loop threads"),
    CONFIG_ENUM("sandbox", struct example_config, sandbox, example_sandboxes,
                .fallback = "required", .restart = true, .help = "what if a layer is missing"),
    CONFIG_STRING("user", struct example_config, user, .help = "user to become after the start"),
    CONFIG_STRING("banner", struct example_config, banner, .deprecated = "it does nothing",
                  .help = "text at the head of block pages"),
    CONFIG_BLOCK("log", struct example_config, log, example_log_block, .help = "the event log"),
    CONFIG_ENUM("on-full", struct example_config, on_full, example_fulls,
                .help = "what if the disk is full"),
    CONFIG_BLOCK("limits", struct example_config, limits, example_limits_block,
                 .help = "limits of every peer"),
    CONFIG_LIST("tls", struct example_config, tls, n_tls, example_tls_block, .unique = "name",
                .help = "certificates"),
    CONFIG_LIST("listeners", struct example_config, listeners, n_listeners, example_listener_block,
                .unique = "name", .max = 64, .help = "where clients come in"),
    CONFIG_LIST("services", struct example_config, services, n_services, example_service_block,
                .unique = "name", .help = "what clients may ask for"),
    CONFIG_BLOCK("engines", struct example_config, engines, example_engines_block,
                 .help = "who inspects"),
};
static const struct config_block example_block =
    CONFIG_ROWS(struct example_config, example_rows, .check = example_check);

#endif
