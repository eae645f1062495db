/* SPDX-License-Identifier: Apache-2.0 */
/* settings_load.h - a configuration together with the files that it names, checked against this
 * machine: certificates that a TLS context takes, lists that compile, rule and magic files that can
 * be read, a user that exists.
 * For the supervisor and for `sallyport check`. */
#ifndef PROC_SETTINGS_LOAD_H
#define PROC_SETTINGS_LOAD_H

#include <sys/stat.h>

#include "proc/settings.h"

struct settings_file {
    const char *path;
    unsigned owner;   /* 0: a list. Else 1 + the index of the tls entry that it is a file of: each
                         has copies of its own, so that what was read together stays together */
    struct span text; /* in locked memory unless |is_list| */
    bool is_list;     /* no secret, maybe large */
    struct stat stat; /* of the file when it was read: has it changed since? */
};

/* What became of a tls entry's files. */
struct settings_tls {
    const char *refused;                /* why those on the disk are not in use; NULL: they are */
    struct tls_certificate certificate; /* the one in use; zeroed while the entry waits */
    struct tls_certificate crl;         /* tls_crls_read() of those in use; zeroed: none */
};

struct settings_loaded {
    struct arena mem;
    struct settings settings;
    const char *file;        /* as it was named */
    struct span config_text; /* in locked memory, too: some keys are secrets */
    struct settings_file *files;
    unsigned n_files;
    struct settings_tls *tls;   /* one per settings.tls */
    bool has_policy;            /* of the machine, among |files| */
    const char *lists_refused;  /* settings_load_again(): why those of before are kept; NULL: not */
    const char *policy_refused; /* the same of the policy */
    const char *trust_refused;  /* the same of CAs of printers and of their scanners */
    int directory_fd;           /* of the set that is being read; -1: none */
    /* From CERTIFICATE__VerificationFlags and the like in the environment, for tls entries that say
     * nothing of flags: the gateway gets them with the files. */
    unsigned environment_flags;
    uid_t uid; /* of settings.user; 0 without one */
    gid_t gid;
};

/* Reads and checks |path|; |state|, when not NULL, replaces the configured state directory. Every
 * complaint goes to |r|, fresh from config_report_init(). On failure nothing is left in *ret. */
NODISCARD enum err settings_load(const char *path, const char *state, struct config_report *r,
                                 struct settings_loaded **ret);
/* The same for a reload. Where an entry with `directory` has nothing good on the disk it keeps what
 * it has in |old|; a listener that is open in |old| has to stay so. */
NODISCARD enum err settings_reload(const struct settings_loaded *old, const char *path,
                                   const char *state, struct config_report *r,
                                   struct settings_loaded **ret);
/* The same text again, with the files as they are now: for a certificate that was renewed while the
 * configuration is being edited. A tls entry whose files cannot be used keeps those of |old|, and
 * so do the policy, the lists together, and each CA file of a printer. What belongs to other
 * changes (rule files, the user) is not looked at. */
NODISCARD enum err settings_load_again(const struct settings_loaded *old, struct config_report *r,
                                       struct settings_loaded **ret);
/* Has each listener that is open in |old| what it needs in |l|? ERR_CONFIG and complaints. */
NODISCARD enum err settings_check_open(const struct settings_loaded *l,
                                       const struct settings_loaded *old, struct config_report *r);
/* The directory whose files |t| has now, which a swap does not change any more: what "..data" in
 * t->directory points to, if that is there. -1: there is none. */
int settings_tls_open(const struct tls_config *t);
/* The file of tls entry |i| that is called |path|; NULL: there is none. */
const struct settings_file *settings_tls_file(const struct settings_loaded *l, size_t i,
                                              const char *path);
/* Has entry |i| of |l| the same files as entry |k| of |m|, as they were read? */
bool settings_tls_is_same(const struct settings_loaded *l, size_t i,
                          const struct settings_loaded *m, size_t k);
/* NULL is fine. */
void settings_loaded_free(struct settings_loaded *l);

#endif
