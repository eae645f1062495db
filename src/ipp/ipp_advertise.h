/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_advertise.h - how a printer of the gateway is to be announced by DNS-SD (RFC 6763; Bonjour
 * Printing 1.2.1; PWG 5100.14 4.2): service types, ports, and a TXT record that says what the
 * listeners really offer. The gateway announces nothing itself: whoever runs Avahi or a DNS zone
 * does.
 *
 * Engine: plain values in, text out. Any thread. */
#ifndef IPP_ADVERTISE_H
#define IPP_ADVERTISE_H

#include "ipp/ipp_translate.h"

struct ipp_advertisement {
    const struct ipp_public_printer
        *printer; /* |single|, |secure| and the host mean nothing here */
    /* The printer's own answer to Get-Printer-Attributes; NULL: it does not answer. */
    const struct ipp_message *attributes;
};

/* Ports of _ipp._tcp and _ipps._tcp; 0: the printer is not to be announced so, for a client that
 * comes that way would only be refused. The ways are those of printer-uri-supported. */
void ipp_advertise_ports(const struct ipp_advertisement *a, unsigned *ret_port,
                         unsigned *ret_secure_port);
/* Appends the TXT record, a "key=value" and LF each, in the order in which it is to be published;
 * what is not known is left out, and no line is longer than 255 bytes (RFC 6763 6.1). `rp` never
 * has an AUTH list: clients make URIs of it. `air` and `TLS` say how one has to come in. */
void ipp_advertise_txt(const struct ipp_advertisement *a, struct buf *out);

/* The names of attributes that it looks at. */
extern const char *const ipp_advertise_attributes[];
extern const size_t ipp_advertise_n_attributes;

#endif
