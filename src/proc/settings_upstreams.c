/* SPDX-License-Identifier: Apache-2.0 */
/* What printers demand of the connections that the gateway makes for them: to the printer behind
 * it, and to another scanner. */
#include "base/reader.h"
#include "net/address.h"
#include "proc/settings.h"

/* A name, or a literal without brackets. Of other names nobody knows where they lead. */
static bool is_this_machine(struct span host)
{
    char text[80];
    struct writer w = writer_of(text, sizeof text);
    bool v6 = span_find(host, ':') < host.n;
    struct address a;

    if (span_ieq(host, SPAN("localhost")))
        return true;
    write_span(&w, v6 ? SPAN("[") : SPAN_NONE);
    write_span(&w, host);
    write_span(&w, v6 ? SPAN("]:1") : SPAN(":1"));
    return !w.err && address_parse(writer_span(&w), &a) == OK && address_is_loopback(&a);
}

/* What is demanded of a connection in clear text that the gateway makes would never be met. */
static void check_clear(const struct ipp_printer_settings *v, const char *require_key,
                        unsigned require, const char *peers_key, const struct config_strings *peers,
                        const char *instead, struct config_report *r)
{
    sallyport_level level = ipp_level_required(require, false);

    if (level > SALLYPORT_NONE)
        (void)config_fault(r, v, require_key, "clear text never reaches '%s': write %s",
                           sallyport_level_name(level), instead);
    if (peers->n > 0)
        (void)config_fault(r, v, peers_key,
                           "nobody has a name in clear text that could be trusted: write %s",
                           instead);
}

static void check_backend(const struct ipp_printer_settings *v, struct config_report *r)
{
    const char *instead = "ipps://, or ;AUTH=TLS behind the path, in backend";
    struct ipp_uri_fault fault;
    struct ipp_uri uri;

    if (ipp_uri_parse(span_of(v->backend), &uri, &fault) != OK || uri.secure ||
        uri.auth & IPP_AUTH_TLS)
        return;
    if (!v->backend_ca)
        check_clear(v, "backend-require", v->backend_require, "backend-peers", &v->backend_peers,
                    instead, r);
    if (v->backend_require == IPP_LEVEL_AUTO && v->backend_peers.n == 0 &&
        !is_this_machine(uri.host))
        config_warn(r, v, "backend",
                    "documents go to the printer in clear text%s, and everybody on the way can "
                    "read them: write %s, or 'backend-require: none' to have it that way",
                    v->backend_ca ? " unless it demands TLS" : "", instead);
}

static void check_scanner(const struct ipp_printer_settings *v, struct config_report *r)
{
    const char *instead = "icaps:// in icap";
    struct icap_uri uri;
    struct fault fault;

    if (!v->icap) {
        if (v->icap_require != IPP_LEVEL_AUTO || v->icap_peers.n > 0)
            (void)config_fault(r, v, v->icap_peers.n > 0 ? "icap-peers" : "icap-require",
                               "there is no other scanner: name its service, icap");
        return;
    }
    if (icap_uri_parse(span_of(v->icap), config_report_arena(r), &uri, &fault) != OK) {
        (void)config_fault(r, v, "icap", "'%s' is no URL of an ICAP service", v->icap);
        return;
    }
    if (uri.secure)
        return;
    check_clear(v, "icap-require", v->icap_require, "icap-peers", &v->icap_peers, instead, r);
    if (!v->icap_plaintext_outside_loopback && !is_this_machine(uri.host))
        (void)config_fault(r, v, "icap",
                           "documents in clear text outside loopback: write %s, or "
                           "'icap-plaintext-outside-loopback: true' to have it that way",
                           instead);
}

void settings_check_upstreams(const struct ipp_printer_settings *v, struct config_report *r)
{
    check_backend(v, r);
    check_scanner(v, r);
}
