/* SPDX-License-Identifier: Apache-2.0 */
/* settings.h - the whole configuration: the rows of every room in one tree. Loaded by the
 * supervisor (which checks it and the files that it names) and, from the same text, by each gateway
 * process. Immutable. */
#ifndef PROC_SETTINGS_H
#define PROC_SETTINGS_H

#include "base/log.h"
#include "icap/icap_settings.h"
#include "observe/record.h"
#include "protect/tls_context.h"
#include "sallyport/report.h"

struct log_settings {
    enum log_level level;
    enum log_format format;
};

struct limit_settings {
    uint64_t memory; /* blocks and memfds of one gateway process */
    unsigned scans;  /* open scans of one gateway process */
    uint64_t scan_wait_ms;
    uint64_t decision_steps; /* adapt/steps.h */
    unsigned connections;    /* of one listener */
    unsigned descriptors;    /* RLIMIT_NOFILE to ask for */
};

struct spool_config {
    const char *path; /* NULL: STATE/spool */
    uint64_t memory;  /* of one body in a memfd */
    uint64_t total;   /* of all bodies */
    uint64_t reserve;
};

struct record_settings {
    const char *path; /* NULL: STATE/records.jsonl */
    enum record_on_full on_full;
    uint64_t buffer;
    bool enabled;
};

struct admin_config {
    bool enabled;
    struct config_address address; /* NONE when not enabled */
};

struct tls_config {
    const char *name, *certificate, *key, *client_ca;
    enum tls_version minimum;
};

enum listener_protocol { LISTENER_ICAP };

struct listener_config {
    const char *name;
    struct config_address address;
    enum listener_protocol protocol;
    const char *tls; /* name of a tls entry, or NULL */
    sallyport_level require;
    struct config_strings peers;     /* sallyport_want_peer_text(); empty: all with a certificate */
    bool plaintext_outside_loopback; /* the row whose name says it */
    struct config_cidrs proxy_from;
    struct config_cidrs allow;          /* empty: everybody may connect */
    struct config_cidrs client_ip_from; /* peers whose X-Client-IP and user are believed */
    uint64_t handshake_ms;
    unsigned connections; /* 0: limits.connections */
    int backlog;
};

#define SETTINGS_THREADS_MAX 64u

struct settings {
    const char *state;
    unsigned threads; /* 0: one per core */
    bool sandbox_required;
    const char *user; /* NULL: stay */
    uint64_t drain_ms;
    struct log_settings log;
    struct limit_settings limits;
    struct spool_config spool;
    struct record_settings records;
    struct admin_config admin;
    struct tls_config *tls;
    size_t n_tls;
    struct listener_config *listeners;
    size_t n_listeners;
    struct icap_limits icap;
    struct icap_service_settings *services;
    size_t n_services;
    struct engines_settings engines;
    /* Filled by the check: */
    const char *spool_path, *records_path, *control_path, *exceptions_path;
    unsigned n_threads;
};
extern const struct config_block settings_block;

/* Fills the derived members again, after |state| was changed. ERR_NOMEM. */
NODISCARD enum err settings_derive(struct settings *s, struct arena *mem);

/* The tls entry that |listener| names, or NULL (none, or clear). */
const struct tls_config *settings_tls(const struct settings *s,
                                      const struct listener_config *listener);
struct address;
/* For an address row; false for names and paths. */
bool settings_address(const struct config_address *c, struct address *ret);

#endif
