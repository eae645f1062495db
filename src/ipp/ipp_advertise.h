/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_advertise.h - how a printer of the gateway is to be announced by DNS-SD (RFC 6763; Bonjour
 * Printing 1.2.1; PWG 5100.14 4.2): service types, ports, and a TXT record that says what the
 * listeners really offer. The gateway announces nothing itself: whoever runs Avahi or a DNS zone
 * does.
 *
 * Engine: plain values in, text out. Any thread. */
#ifndef IPP_ADVERTISE_H
#define IPP_ADVERTISE_H

#include "ipp/ipp_message.h"
#include "ipp/ipp_settings.h"

struct ipp_advertisement {
    const struct ipp_printer_settings *set;
    const char *uuid;     /* urn:uuid:... */
    unsigned port;        /* clear, perhaps with TLS by Upgrade; 0: none */
    unsigned secure_port; /* TLS from the first byte; 0: none */
    /* The printer's own answer to Get-Printer-Attributes; NULL: it does not answer. */
    const struct ipp_message *attributes;
};

/* Appends the TXT record, a "key=value" and LF each, in the order in which it is to be published;
 * what is not known is left out, and no line is longer than 255 bytes (RFC 6763 6.1). `rp` never
 * has an AUTH list: clients make URIs of it. `air` and `TLS` say how one has to come in. */
void ipp_advertise_txt(const struct ipp_advertisement *a, struct buf *out);

/* The names of attributes that it looks at. */
extern const char *const ipp_advertise_attributes[];
extern const size_t ipp_advertise_n_attributes;

#endif
