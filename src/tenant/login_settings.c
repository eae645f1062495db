/* SPDX-License-Identifier: Apache-2.0 */
#include "tenant/login_settings.h"

const struct config_names login_by_names =
    CONFIG_NAMES({"none", LOGIN_BY_NOTHING}, {"certificate", LOGIN_BY_CERTIFICATE},
                 {"password", LOGIN_BY_PASSWORD}, {"both", LOGIN_BY_BOTH});
const struct config_names login_options_names =
    CONFIG_NAMES({"required", LOGIN_OPTIONS_REQUIRED}, {"certificate", LOGIN_OPTIONS_CERTIFICATE},
                 {"open", LOGIN_OPTIONS_OPEN});

static const struct config_row login_rows[] = {
    CONFIG_COUNT("rounds", struct login_settings, rounds, .min = CREDENTIAL_ROUNDS_MIN,
                 .max = CREDENTIAL_ROUNDS_MAX, .fallback = "210000", .unit = "rounds",
                 .help =
                     "PBKDF2-HMAC-SHA-256 of passwords that are set from now on. Whoever steals "
                     "the store has to do as many for each guess, and so has the gateway for "
                     "each login: about 0.3 microseconds a round. When it rises, older ones are "
                     "made anew at their next login."),
    CONFIG_COUNT("session-rounds", struct login_settings, session_rounds,
                 .min = CREDENTIAL_ROUNDS_MIN, .max = CREDENTIAL_ROUNDS_MAX, .fallback = "100000",
                 .help = "PBKDF2 rounds of a session's key."),
    CONFIG_DURATION("session", struct login_settings, session_ms, .min = 1000,
                    .max = SESSION_MS_MAX, .fallback = "1h",
                    .help = "How long a login lasts; connections with logins last no longer. "
                            "Clients that send their password with each request are renewed "
                            "before it ends."),
    CONFIG_DURATION("remember-failure", struct login_settings, failure_ms, .max = 600000,
                    .fallback = "10s",
                    .help = "How long a wrong password is known to be wrong, so that sending it "
                            "again costs nothing."),
    CONFIG_DURATION("hold-refusals", struct login_settings, hold_ms, .max = 30000, .fallback = "1s",
                    .help = "How long the answer waits to a password that nobody looks at: one "
                            "that is known to be wrong, or of somebody who has to wait, or when "
                            "too many wait. Whoever guesses gets no faster by asking again; a "
                            "crowd is let go one after the other, 64 in that time, and waits "
                            "for up to 30 seconds."),
    CONFIG_COUNT("sessions", struct login_settings, sessions_max, .min = 16, .max = 1000000,
                 .fallback = "10000",
                 .help = "Sessions, and wrong passwords, that are kept in mind; the least recently "
                         "used go first, and have to be derived again."),
    CONFIG_COUNT("threads", struct login_settings, threads, .min = 1, .max = 64, .fallback = "2",
                 .restart = true,
                 .help = "Threads that derive keys from passwords, below everything else that "
                         "wants the processor."),
    CONFIG_COUNT("queue", struct login_settings, queue_max, .min = 8, .max = 1000000,
                 .fallback = "4096", .restart = true,
                 .help = "Logins that may wait for them; further ones are told to come later."),
    CONFIG_COUNT("failures", struct login_settings, per_source.burst, .min = 1, .max = 100000,
                 .fallback = "20",
                 .help = "Wrong passwords from one address (or with one tenant's certificate) "
                         "before it has to wait."),
    CONFIG_DURATION("failure-every", struct login_settings, per_source.every_ms, .min = 1,
                    .max = 3600000, .fallback = "1s", .help = "Then it may try again so often."),
    CONFIG_COUNT("user-failures", struct login_settings, per_user.burst, .min = 1, .max = 100000,
                 .fallback = "50",
                 .help = "Wrong passwords of one user, from everywhere, before others than "
                         "those with its tenant's certificate have to wait. Sessions go on."),
    CONFIG_DURATION("user-failure-every", struct login_settings, per_user.every_ms, .min = 1,
                    .max = 3600000, .fallback = "1s",
                    .help = "Then one more may be tried so often."),
};
const struct config_block login_block =
    CONFIG_ROWS(struct login_settings, login_rows,
                .help = "How tenants log in. Users and passwords are not here: see "
                        "sallyport tenant.");
