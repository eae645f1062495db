/* SPDX-License-Identifier: Apache-2.0 */
/* settings.h - the whole configuration: the rows of every room in one tree. Loaded by the
 * supervisor (which checks it and the files that it names) and, from the same text, by each gateway
 * process. Immutable. */
#ifndef PROC_SETTINGS_H
#define PROC_SETTINGS_H

#include "base/log.h"
#include "icap/icap_settings.h"
#include "ipp/ipp_settings.h"
#include "net/listener.h"
#include "observe/record.h"
#include "protect/tls_context.h"
#include "sallyport/report.h"
#include "tenant/login_settings.h"
#include "tenant/tenants.h"

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

struct store_config {
    uint64_t size;
};

struct record_settings {
    const char *path; /* NULL: STATE/records.jsonl */
    enum record_on_full on_full;
    uint64_t buffer;
    bool enabled, chain;
};

struct admin_config {
    bool enabled;
    struct config_address address; /* NONE when not enabled */
};

enum tls_clients { TLS_CLIENTS_AUTO, TLS_CLIENTS_OFF, TLS_CLIENTS_REQUEST, TLS_CLIENTS_REQUIRE };

struct tls_config {
    const char *name, *certificate, *key;
    const char *directory;       /* the check makes certificate, key and client_ca files of it */
    const char *ocsp;            /* NULL: none */
    struct config_strings names; /* empty: those of the certificate */
    const char *client_ca;
    enum tls_clients verify_client;
    struct config_strings client_crl;
    unsigned client_depth;
    struct config_strings flags_text, insecure_flags_text;
    enum tls_version minimum;
    bool tickets;
    const char *ticket_secret; /* NULL: one that the supervisor made up */
    /* Filled by the check: */
    enum tls_clients clients; /* never AUTO */
    unsigned flags;           /* of both texts */
    /* Filled by the load: there is nothing to serve with yet, and the listeners stay closed. */
    bool waits;
};

extern const struct config_block settings_tls_block; /* settings_tls.c */

/* One file of an entry, for those who treat all alike. */
struct tls_file {
    const char *key; /* its row */
    const char *path;
};
#define SETTINGS_CRLS_MAX 64u
#define TLS_FILES_MAX     (5u + SETTINGS_CRLS_MAX)

enum listener_protocol { LISTENER_ICAP, LISTENER_IPP };

struct listener_config {
    const char *name;
    struct config_address address;
    enum listener_protocol protocol;
    const char *tls;                    /* name of a tls entry, or NULL */
    enum listener_handshake tls_begins; /* of ipp */
    struct ipp_listener_settings ipp;
    struct config_strings also_tls;
    sallyport_level require;
    struct config_strings peers;     /* sallyport_want_peer_text(); empty: all with a certificate */
    bool plaintext_outside_loopback; /* the row whose name says it */
    struct login_policy login;
    bool insecure_plaintext_login; /* another one */
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
    const char *policy; /* of the machine; NULL: SALLYPORT_POLICY_PATH, if it is there */
    unsigned threads;   /* 0: one per core */
    bool sandbox_required;
    const char *user; /* NULL: stay */
    uint64_t drain_ms;
    struct log_settings log;
    struct limit_settings limits;
    struct spool_config spool;
    struct store_config store;
    struct record_settings records;
    struct admin_config admin;
    struct tls_config *tls;
    size_t n_tls;
    struct listener_config *listeners;
    size_t n_listeners;
    struct icap_limits icap;
    struct icap_service_settings *services;
    size_t n_services;
    struct login_settings login;
    struct tenant_settings *tenants;
    size_t n_tenants;
    struct engines_settings engines;
    struct ipp_settings ipp;
    struct ipp_printer_settings *printers;
    size_t n_printers;
    /* Filled by the check: */
    const char *spool_path, *records_path, *control_path, *exceptions_path, *store_path;
    unsigned n_threads;
};
extern const struct config_block settings_block;

/* settings_upstreams.c: complains about what |v| demands of connections to its printer and its
 * scanner. */
void settings_check_upstreams(const struct ipp_printer_settings *v, struct config_report *r);

/* Fills the derived members again, after |state| was changed. ERR_NOMEM. */
NODISCARD enum err settings_derive(struct settings *s, struct arena *mem);

/* Where the policy of the machine is, if there is one. */
const char *settings_policy_path(const struct settings *s);
/* The tls entry that |listener| names, or NULL (none, or clear). */
const struct tls_config *settings_tls(const struct settings *s,
                                      const struct listener_config *listener);
/* Is TLS there from the first byte, on a connection that begins so? */
bool settings_listener_is_secure(const struct listener_config *l);
const struct tls_config *settings_tls_named(const struct settings *s, const char *name);
/* The first entry that |listener| waits for, be it in tls or in also-tls; NULL: it does not wait.
 */
const struct tls_config *settings_listener_waits(const struct settings *s,
                                                 const struct listener_config *listener);
/* The flags of |t|, or |elsewhere| (from the environment) when it says nothing of flags. */
unsigned settings_tls_flags(const struct tls_config *t, unsigned elsewhere);
/* The files that |t| is made of, in the order in which a load reads them; returns how many. */
unsigned settings_tls_files(const struct tls_config *t, struct tls_file ret[TLS_FILES_MAX]);
/* How |path| is called inside of t->directory; NULL: it does not lie in it, or there is none. */
const char *settings_tls_name(const struct tls_config *t, const char *path);
/* "DIR/NAME" in |mem|; NULL: no memory. */
const char *settings_below(struct arena *mem, const char *dir, const char *name);
struct address;
/* For an address row; false for names and paths. */
bool settings_address(const struct config_address *c, struct address *ret);

#endif
