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
    struct span text; /* in locked memory unless |is_list| */
    bool is_list;     /* no secret, maybe large */
    struct stat stat; /* of the file when it was read: has it changed since? */
};

struct settings_loaded {
    struct arena mem;
    struct settings settings;
    const char *file;        /* as it was named */
    struct span config_text; /* in locked memory, too: some keys are secrets */
    struct settings_file *files;
    unsigned n_files;
    uid_t uid; /* of settings.user; 0 without one */
    gid_t gid;
};

/* Reads and checks |path|; |state|, when not NULL, replaces the configured state directory. Every
 * complaint goes to |r|, fresh from config_report_init(). On failure nothing is left in *ret. */
NODISCARD enum err settings_load(const char *path, const char *state, struct config_report *r,
                                 struct settings_loaded **ret);
/* The same text again, with the files as they are now: for a certificate that was renewed while the
 * configuration is being edited. */
NODISCARD enum err settings_load_again(const struct settings_loaded *old, struct config_report *r,
                                       struct settings_loaded **ret);
/* NULL is fine. */
void settings_loaded_free(struct settings_loaded *l);

#endif
