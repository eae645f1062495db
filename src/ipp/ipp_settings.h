/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_settings.h - the configuration of printing: what the gateway is called, how its users prove
 * themselves, and the printers behind it. */
#ifndef IPP_SETTINGS_H
#define IPP_SETTINGS_H

#include "adapt/adapt_settings.h"
#include "http/digest_server.h"
#include "http/http_engine.h"
#include "ipp/ipp_reject.h"
#include "ipp/ipp_scan.h"
#include "ipp/ipp_uri.h"
#include "sallyport/report.h"

/* TLS on a connection that began in clear text (RFC 2817): not at all; for OPTIONS, which tell and
 * change nothing; for every request that could as well be made in clear text (the draft, to the
 * letter). */
enum ipp_upgrade { IPP_UPGRADE_OFF, IPP_UPGRADE_OPTIONS, IPP_UPGRADE_ANY };
extern const struct config_names ipp_upgrade_names;

/* Of a listener. */
struct ipp_listener_settings {
    enum ipp_upgrade upgrade;
    bool takes_unlisted; /* Upgrade that Connection does not list counts, too */
};

/* Users under one name, for `allow`. */
struct ipp_group_settings {
    const char *name;
    struct config_strings users;
};

struct ipp_digest_settings {
    const char *realm;
    unsigned algorithms; /* DIGEST_BIT()s */
    enum digest_rfc2069 rfc2069;
    uint64_t lifetime_ms; /* of nonces */
    unsigned nonces_max;  /* in use at once */
};

struct ipp_settings {
    const char *host;            /* under which others reach the gateway; NULL: what they call it */
    struct config_strings names; /* further names that URIs of requests may have */
    unsigned port, secure_port;  /* as others see them; 0: those of the listeners */
    enum ipp_job_style job_style;
    struct ipp_digest_settings digest;
    struct ipp_group_settings *groups;
    size_t n_groups;
    uint64_t retention_ms; /* of records of jobs */
    uint64_t incoming_ms;  /* between Create-Job and the document */
    unsigned incoming_max; /* jobs of one client that wait so */
    unsigned requests_max; /* a second, of an address whose user is not known; 0: no limit */
    struct ipp_limits message;
    struct http_limits http;
};
extern const struct config_block ipp_block;

/* Of connections that the gateway makes itself: a sallyport_level, or this: as strong as it gets
 * where the URI has TLS from the first byte, else nothing. */
#define IPP_LEVEL_AUTO 4u

/* What `require` may name: bits 1 << value. */
enum ipp_require { IPP_REQUIRE_TLS, IPP_REQUIRE_DIGEST, IPP_REQUIRE_CERTIFICATE };
enum ipp_anonymous { IPP_ANONYMOUS_ATTRIBUTES, IPP_ANONYMOUS_NOTHING };

struct ipp_printer_settings {
    const char *name;
    const char *path;
    struct config_strings aliases;
    const char *backend;                 /* URI */
    const char *backend_ca;              /* PEM file; NULL: the system's */
    unsigned backend_require;            /* sallyport_level, or IPP_LEVEL_AUTO */
    struct config_strings backend_peers; /* who it may be; empty: whoever the CAs certify */
    unsigned require;                    /* 1 << enum ipp_require */
    bool basic;                          /* Basic is asked for, too, within TLS */
    enum ipp_anonymous anonymous;        /* what is told before anybody has proved who he is */
    struct config_strings allow;         /* user:NAME, group:NAME, tenant:NAME; empty: everybody */
    struct config_strings
        operators; /* the same: who may do to others' jobs what their owners may */
    struct config_strings operations; /* further ones that are let through */
    struct config_strings refuse;     /* and those that are not */
    struct config_strings formats;    /* globs of media types; empty: all that the printer takes */
    unsigned pipeline;
    const char *icap;    /* URL of a service that is asked after the pipeline; NULL: none */
    const char *icap_ca; /* PEM file for icaps:; NULL: the system's */
    unsigned icap_require;
    struct config_strings icap_peers;
    bool icap_plaintext_outside_loopback;
    struct type_policy_settings types;
    struct rule_settings *rules;
    size_t n_rules;
    uint8_t
        on[CAUSES]; /* enum action at each enum cause; ERROR: "later", so that clients try again */
    struct ipp_reject_settings *reject;
    size_t n_reject;
    uint64_t body_max, memory_max;
    unsigned pages_max;   /* 0: no limit */
    uint64_t deadline_ms; /* of one scan */
    uint64_t wait_ms;     /* a client waits so long for its verdict, and is then told that the job
                             is on its way */
    uint64_t backend_ms;  /* for an answer of the printer */
    unsigned connections; /* to it, of each loop */
    bool hold;            /* jobs wait at the printer until their users release them */
    const char *contact;
};
extern const struct config_block ipp_printer_block;

/* What a `backend-require` or `icap-require` stands for. |secure|: the URI has TLS from the first
 * byte. */
sallyport_level ipp_level_required(unsigned require, bool secure);

/* What of |p|'s demands is not in a URI. */
struct ipp_demand ipp_printer_demand(const struct ipp_printer_settings *p);

#endif
