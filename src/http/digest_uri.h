/* SPDX-License-Identifier: Apache-2.0 */
/* digest_uri.h - do credentials belong to this request-target (RFC 7616 3.4.6)? Pure; any thread.
 */
#ifndef HTTP_DIGEST_URI_H
#define HTTP_DIGEST_URI_H

#include "base/span.h"

/* Is |uri| of credentials the |target| of the request-line? Absolute-form counts as its path and
 * query, whatever its host; percent-encoding makes no difference, except of / ? # ; and %, whose
 * encoded form means something else (RFC 3986 2.2); one parameter ";AUTH=..." in the last segment
 * of the path, in letters of any case, may be missing on either side. Everything else (* and the
 * host and port of CONNECT) is compared as it stands. Takes no memory. */
bool digest_uri_is(struct span uri, struct span target);

#endif
