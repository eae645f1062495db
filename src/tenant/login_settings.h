/* SPDX-License-Identifier: Apache-2.0 */
/* login_settings.h - how clients prove whose they are, as the configuration says it. */
#ifndef TENANT_LOGIN_SETTINGS_H
#define TENANT_LOGIN_SETTINGS_H

#include "config/config.h"
#include "tenant/logins.h"

/* BOTH: certificate and password of the same tenant. */
enum login_by { LOGIN_BY_NOTHING, LOGIN_BY_CERTIFICATE, LOGIN_BY_PASSWORD, LOGIN_BY_BOTH };
/* OPTIONS without a password: never; with the certificate of a tenant; always. Many proxies cannot
 * send one there. */
enum login_options { LOGIN_OPTIONS_REQUIRED, LOGIN_OPTIONS_CERTIFICATE, LOGIN_OPTIONS_OPEN };

/* A listener's. */
struct login_policy {
    enum login_by by;
    enum login_options options;
    bool each_request;        /* what was said earlier on a connection does not count */
    bool proxy_authorization; /* Proxy-Authorization is the client's, too, and not its user's */
};
extern const struct config_names login_by_names, login_options_names;

extern const struct config_block login_block; /* struct login_settings */

#endif
