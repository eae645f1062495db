/* SPDX-License-Identifier: Apache-2.0 */
/* The whole configuration: what is refused and in which words, what the derived members are, and
 * which changes need a new gateway process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/address.h"
#include "proc/settings_load.h"

#define LISTENER "listeners: [{name: a, address: \"127.0.0.1:1344\"}]\n"
#define SERVICE  "services: [{name: s, type: echo, path: /s}]\n"
#define TLS      "tls: [{name: main, certificate: /c, key: /k}]\n"
#define PRINTER(backend)                                                  \
    "listeners: [{name: a, address: \"127.0.0.1:631\", protocol: ipp}]\n" \
    "printers: [{name: p, path: /ipp/p, require: [], backend: \"" backend \
    "\", backend-require: none}]\n"
#define RULE(rule) PRINTER("ipp://h/q\", rules: [" rule "], contact: \"x")
/* |rows|: behind the others. */
#define TO(backend, rows)                                                 \
    "listeners: [{name: a, address: \"127.0.0.1:631\", protocol: ipp}]\n" \
    "printers: [{name: p, path: /ipp/p, require: [], backend: \"" backend "\", " rows "}]\n"
#define TLS_INSTEAD  "write ipps://, or ;AUTH=TLS behind the path, in backend"
#define CLAMD(rows)  LISTENER SERVICE "engines: {clamav: {" rows "}}\n"
#define BACKEND_MUST "x.yaml:2:58: backend must "
#define BACKEND_LIST BACKEND_MUST "have no list but ;AUTH=TLS, got "
#define BACKEND_URI \
    BACKEND_MUST "be the URI of a printer, as ipp://127.0.0.1:631/printers/NAME, got "

struct loaded {
    struct config_report r;
    struct arena mem;
    struct settings s;
    struct buf out;
    enum err err;
};

static struct loaded *load(const char *text)
{
    struct loaded *l = calloc(1, sizeof *l);

    assert_non_null(l);
    config_report_init(&l->r);
    arena_init(&l->mem, 0);
    buf_init(&l->out, 0);
    l->err = config_load_text(span_of(text), "x.yaml", &settings_block, &l->mem, &l->r, &l->s);
    config_report_print(&l->r, &l->out);
    return l;
}

static void unload(struct loaded *l)
{
    config_report_done(&l->r);
    arena_done(&l->mem);
    buf_done(&l->out);
    free(l);
}

/* ---- what is refused ---- */

struct row {
    const char *name;
    const char *text;
    const char *want; /* all complaints; "" for none */
};

static const struct row rows[] = {
    {"smallest",                           LISTENER SERVICE,                                                        ""                                                      },
    {"a chain without records",            "records: {enabled: false, chain: true}\n" LISTENER SERVICE,
     "x.yaml:1:34: there are no records to seal: enabled says false\n"                                                                                                      },
    {"nothing",                            "",
     "x.yaml: at least one listener is needed\n"
     "x.yaml: warning: no service: every request will be answered 404\n"                                                                                                    },
    {"no service",                         LISTENER,
     "x.yaml:1:1: warning: no service: every request will be answered 404\n"                                                                                                },
    {"tls without files",                  LISTENER SERVICE "tls: [{name: main}]\n",
     "x.yaml:3:7: certificate is missing: name certificate and key, or a directory\n"                                                                                       },
    {"tls without a key",                  LISTENER SERVICE "tls: [{name: main, certificate: /c}]\n",
     "x.yaml:3:7: key is missing: name certificate and key, or a directory\n"                                                                                               },
    {"tls with both",                      LISTENER SERVICE "tls: [{name: main, directory: /d, key: /k}]\n",
     "x.yaml:3:31: directory stands for certificate, key and client-ca: use either the one or the "
     "others\n"                                                                                                                                                             },
    {"what a directory says already",
     LISTENER SERVICE "tls: [{name: main, directory: /d, key: /d/tls-server-key}]\n",                               ""                                                      },
    {"peers with a directory",
     "listeners: [{name: a, address: \"*:1344\", tls: main, peers: [\"dns:a\"]}]\n" SERVICE
     "tls: [{name: main, directory: /d}]\n",                                                                        ""                                                      },
    {"tls that is not there",
     "listeners: [{name: a, address: \"0.0.0.0:11344\", tls: man}]\n" SERVICE TLS,
     "x.yaml:1:54: no entry of tls has the name 'man'; did you mean 'main'?\n"                                                                                              },
    {"clear text outside loopback",        "listeners: [{name: a, address: \"0.0.0.0:1344\"}]\n" SERVICE,
     "x.yaml:1:32: clear text outside loopback: name a tls entry, or write "
     "'plaintext-outside-loopback: true' to have it that way\n"                                                                                                             },
    {"clear text on every address",        "listeners: [{name: a, address: \"*:1344\"}]\n" SERVICE,
     "x.yaml:1:32: clear text outside loopback: name a tls entry, or write "
     "'plaintext-outside-loopback: true' to have it that way\n"                                                                                                             },
    {"clear text that is wanted",
     "listeners: [{name: a, address: \"*:1344\", plaintext-outside-loopback: true}]\n" SERVICE,
     "x.yaml:1:70: warning: everybody on the way can read and change what 'a' inspects\n"                                                                                   },
    {"each request without logins",
     "listeners: [{name: a, address: \"127.0.0.1:1\", login-each-request: true}]\n" SERVICE,
     "x.yaml:1:67: a request says whose it is by a password: 'login: password', or 'both'\n"                                                                                },
    {"clear text on ::1",                  "listeners: [{name: a, address: \"[::1]:1344\"}]\n" SERVICE,             ""                                                      },
    {"clear text on 127.9.9.9",            "listeners: [{name: a, address: \"127.9.9.9:1\"}]\n" SERVICE,            ""                                                      },
    {"strong without tls",
     "listeners: [{name: a, address: \"127.0.0.1:1344\", require: strong}]\n" SERVICE,
     "x.yaml:1:59: a listener without tls never reaches 'strong'; name a tls entry\n"                                                                                       },
    {"strong with tls",
     "listeners: [{name: a, address: \"*:1344\", require: strong, tls: main}]\n" SERVICE TLS,                       ""                                                      },
    {"no socket path",                     "listeners: [{name: a, address: /run/x}]\n" SERVICE,
     "x.yaml:1:32: a listener needs an IP address and a port\n"                                                                                                             },
    {"one address twice",
     "listeners: [{name: a, address: \"127.0.0.1:1\"}, {name: b, address: "
     "\"127.0.0.1:1\"}]\n" SERVICE,
     "x.yaml:1:67: listener 'a' has the same address\n"                                                                                                                     },
    {"port 0 twice",
     "listeners: [{name: a, address: \"127.0.0.1:0\"}, {name: b, address: "
     "\"127.0.0.1:0\"}]\n" SERVICE,
     ""                                                                                                                                                                     },
    {"admin's address",                    "listeners: [{name: a, address: \"127.0.0.1:9344\"}]\n" SERVICE,
     "x.yaml:1:32: the admin listener has the same address\n"                                                                                                               },
    {"admin's address without admin",
     "admin: {enabled: false}\nlisteners: [{name: a, address: \"127.0.0.1:9344\"}]\n" SERVICE,                      ""                                                      },
    {"admin on a path",                    "admin: {address: /run/x}\n" LISTENER SERVICE,
     "x.yaml:1:18: the admin listener needs an IP address and a port\n"                                                                                                     },
    {"name of our own",                    "listeners: [{name: control, address: \"127.0.0.1:1\"}]\n" SERVICE,
     "x.yaml:1:20: name must not be 'admin' or 'control', which Sallyport uses itself, got "
     "'control'\n"                                                                                                                                                          },
    {"one path twice",
     LISTENER "services: [{name: s, type: echo, path: /s}, {name: t, type: echo, path: /s}]\n",
     "x.yaml:2:73: service 's' has the path '/s' already\n"                                                                                                                 },
    {"alias of another",
     LISTENER "services: [{name: s, type: echo, path: /s}, {name: t, type: echo, path: /t, "
              "aliases: [/u, /s]}]\n",                                                                              "x.yaml:2:91: service 's' has the path '/s' already\n"  },
    {"alias of its own",                   LISTENER "services: [{name: s, type: echo, path: /s, aliases: [/s]}]\n",
     "x.yaml:2:54: service 's' has the path '/s' already\n"                                                                                                                 },
    {"certificate of two tenants",
     LISTENER SERVICE "tenants: [{name: a, certificates: ['dns:x.example']}, {name: b, "
                      "certificates: ['dns:y.example', 'DNS:X.Example']}]\n",                                       "x.yaml:3:97: tenant 'a' has this certificate already\n"},
    {"too few rounds",                     LISTENER SERVICE "login: {rounds: 99999}\n",
     "x.yaml:3:17: rounds must be 100000..10000000, got '99999'\n"                                                                                                          },
    {"inspection without engine",
     LISTENER "services: [{name: s, type: inspect, path: /s, pipeline: []}]\n",
     "x.yaml:2:47: an inspect service needs at least one engine\n"                                                                                                          },
    {"inspection that chooses its answer",
     LISTENER "services: [{name: s, type: inspect, path: /s, answer: partial}]\n",
     "x.yaml:2:55: only an echo can choose its answer: the inspection decides it here\n"                                                                                    },
    {"echo that chooses its answer",
     LISTENER "services: [{name: s, type: echo, path: /s, answer: whole}]\n",                                       ""                                                      },
    {"answer that there is not",
     LISTENER "services: [{name: s, type: echo, path: /s, answer: 206}]\n",
     "x.yaml:2:52: answer must be one of no-change, partial, whole, got '206'\n"                                                                                            },
    {"service without method",
     LISTENER "services: [{name: s, type: echo, path: /s, methods: []}]\n",
     "x.yaml:2:44: a service needs REQMOD, RESPMOD or both\n"                                                                                                               },
    {"two of one name",
     "listeners: [{name: a, address: \"127.0.0.1:1\"}, {name: a, address: "
     "\"127.0.0.1:2\"}]\n" SERVICE,
     "x.yaml:1:55: name 'a' is used twice in listeners; the first is in line 1, column 20\n"                                                                                },
    {"word for the sandbox",               "sandbox: none\n" LISTENER SERVICE,
     "x.yaml:1:10: sandbox must be best-effort or required, got 'none'\n"                                                                                                   },
    {"printer's rule",                     RULE("{name: r, user: [bob], then: block}"),                             ""                                                      },
    {"printer's rule with a pipeline",
     RULE("{name: r, user: [bob], then: pipeline, pipeline: [yara]}"),
     "x.yaml:2:108: rules of printers are asked after the engines, which a pipeline would "
     "have to choose before: use the printer's pipeline\n"                                                                                                                  },
    {"printer's rule with a list",         RULE("{name: r, url-list: [no-such], then: block}"),
     "x.yaml:2:89: documents have no URL that could be on a list\n"                                                                                                         },
    {"printer's rule with a host",         RULE("{name: r, host: [example.test], then: block}"),
     "x.yaml:2:89: documents have no URL with a host\n"                                                                                                                     },
    {"printer's rule for both methods",    RULE("{name: r, method: [RESPMOD, REQMOD], then: block}"),
     ""                                                                                                                                                                     },
    {"printer's rule for answers",         RULE("{name: r, method: [RESPMOD], then: block}"),
     "x.yaml:2:89: documents that are printed are requests: REQMOD\n"                                                                                                       },
    {"backend in clear text",              PRINTER("ipp://h/q"),                                                    ""                                                      },
    {"backend by upgrade",                 PRINTER("ipp://h/q;AUTH=TLS"),                                           ""                                                      },
    {"backend within tls",                 PRINTER("ipps://h/q"),                                                   ""                                                      },
    {"backend that wants digest",          PRINTER("ipp://h/q;AUTH=DAA"),
     BACKEND_LIST "'ipp://h/q;AUTH=DAA'\n"                                                                                                                                  },
    {"backend that wants more than tls",   PRINTER("ipp://h/q;AUTH=TLS,DAA"),
     BACKEND_LIST "'ipp://h/q;AUTH=TLS,DAA'\n"                                                                                                                              },
    {"backend with two ways to tls",       PRINTER("ipp://h/q;AUTH=TLS,SSL3"),
     BACKEND_LIST "'ipp://h/q;AUTH=TLS,SSL3'\n"                                                                                                                             },
    {"backend with tls of old",            PRINTER("ipp://h/q;AUTH=SSL3"),
     BACKEND_LIST "'ipp://h/q;AUTH=SSL3'\n"                                                                                                                                 },
    {"backend with tls twice",             PRINTER("ipps://h/q;AUTH=TLS"),
     BACKEND_LIST "'ipps://h/q;AUTH=TLS'\n"                                                                                                                                 },
    {"backend with a user",                PRINTER("ipp://u@h/q"),
     BACKEND_MUST "have no user and password, got 'ipp://u@h/q'\n"                                                                                                          },
    {"backend with a password",            PRINTER("ipp://u:secret@h/q"),
     BACKEND_MUST "have no user and password, got 'ipp://u:***@h/q'\n"                                                                                                      },
    {"backend with a password with @",     PRINTER("ipp://u:se@cr:et@h/q"),
     BACKEND_URI "'ipp://u:***@h/q'\n"                                                                                                                                      },
    {"backend of http with a user",        PRINTER("http://u@h/q"),
     BACKEND_MUST "have no user and password, got 'http://u@h/q'\n"                                                                                                         },
    {"backend with a user and a list",     PRINTER("ipp://u@h/q;AUTH=DAA"),
     BACKEND_MUST "have no user and password, got 'ipp://u@h/q;AUTH=DAA'\n"                                                                                                 },
    {"backend with an unheard-of kind",    PRINTER("ipp://h/q;AUTH=KERB"),
     BACKEND_URI "'ipp://h/q;AUTH=KERB'\n"                                                                                                                                  },
    {"backend with an empty list",         PRINTER("ipp://h/q;AUTH="),                                              BACKEND_URI "'ipp://h/q;AUTH='\n"                       },
    {"backend of another kind",            PRINTER("socket://h/q"),                                                 BACKEND_URI "'socket://h/q'\n"                          },
};

/* Printers, and the listeners that lead to them. */
/* clang-format off */
#define IPP(rows) \
    TLS "listeners: [{name: a, address: \"127.0.0.1:631\", protocol: ipp, tls: main, " rows "}]\n" \
    "printers: [{name: p, path: /ipp/p, require: [], backend: \"ipp://[::1]/q\"}]\n"
static const struct row print_rows[] = {
    {"upgrade without connection", IPP("upgrade-without-connection: true"),
     "x.yaml:2:103: warning: 'a' begins TLS also with a hop in between that hands Upgrade on and did not ask for it: for test "
     "clients only\n"},
    {"upgrade of any, and tls at once", IPP("upgrade: any"),
     "x.yaml:2:84: warning: with 'any', somebody on the way can answer a client that begins with TLS at 'a' with what he asked "
     "himself: give that a listener and a certificate (tls) of its own, or write 'upgrade: options'\n"},
    {"upgrade of any, and nothing else", IPP("upgrade: any, tls-begins: by-upgrade"), ""},
    {"upgrade without connection, and none", IPP("upgrade-without-connection: true, upgrade: off"),
     "x.yaml:2:103: no request asks for TLS at this listener\n"},
    {"upgrade without connection, and ipps", IPP("upgrade-without-connection: true, tls-begins: at-once"),
     "x.yaml:2:103: no request asks for TLS at this listener\n"},
    {"upgrade without connection, and no tls",
     "listeners: [{name: a, address: \"127.0.0.1:631\", protocol: ipp, upgrade-without-connection: true}]\n"
     "printers: [{name: p, path: /ipp/p, require: [], backend: \"ipp://[::1]/q\"}]\n",
     "x.yaml:1:92: no request asks for TLS at this listener\n"},
    {"upgrade without connection, of icap",
     TLS "listeners: [{name: a, address: \"127.0.0.1:1344\", tls: main, upgrade-without-connection: true}]\n" SERVICE,
     "x.yaml:2:89: no request asks for TLS at this listener\n"},
    {"printer that CUPS prints at for ever",
     TO("ipp://localhost/q", "reject-status: [{status: client-error-forbidden}]"),
     "x.yaml:2:104: clients of CUPS send a Print-Job again for ever after 'client-error-forbidden', or hold it: let an earlier "
     "row answer 'agent: CUPS/' with client-error-document-format-not-supported, client-error-attributes-or-values-not-supported "
     "or server-error-job-canceled, or write 'operation: Send-Document', or other agents\n"},
};
/* clang-format on */

/* What connections that the gateway makes itself need. */
/* clang-format off */
static const struct row upstream_rows[] = {
    {"clear backend elsewhere",
     TO("ipp://h/q", "contact: x"),
     "x.yaml:2:58: warning: documents go to the printer in clear text, and everybody on the way can read them: "
     TLS_INSTEAD ", or 'backend-require: none' to have it that way\n"},
    {"clear backend elsewhere, perhaps",
     TO("ipp://192.0.2.7/q", "backend-ca: /ca"),
     "x.yaml:2:58: warning: documents go to the printer in clear text unless it demands TLS, and everybody on the way can "
     "read them: " TLS_INSTEAD ", or 'backend-require: none' to have it that way\n"},
    {"clear backend here",                  TO("ipp://LocalHost/q", "contact: x"), ""},
    {"clear backend here by address",       TO("ipp://[::1]:631/q", "contact: x"), ""},
    {"clear backend that is to be strong",
     TO("ipp://h/q", "backend-require: strong"),
     "x.yaml:2:88: clear text never reaches 'strong': " TLS_INSTEAD "\n"},
    {"clear backend of somebody",
     TO("ipp://h/q", "backend-peers: [\"dns:h\"]"),
     "x.yaml:2:71: nobody has a name in clear text that could be trusted: " TLS_INSTEAD "\n"},
    {"backend that is to be strong, and upgrades", TO("ipp://h/q", "backend-ca: /ca, backend-require: strong"), ""},
    {"backend of somebody",                 TO("ipps://h/q", "backend-peers: [\"dns:h\"]"), ""},
    {"backend of somebody by upgrade",      TO("ipp://h/q;AUTH=TLS", "backend-peers: [\"dns:h\"]"), ""},
    {"backend of nobody",
     TO("ipps://h/q", "backend-peers: [h]"),
     "x.yaml:2:88: an element of backend-peers must be dns:NAME (or dns:*.DOMAIN), uri:URI (or uri:URI/*), email:ADDRESS, ip:ADDRESS, "
     "dn:SUBJECT or key:SHA-256, got 'h'\n"},
    {"backend of no level",
     TO("ipps://h/q", "backend-require: medium"),
     "x.yaml:2:89: backend-require must be one of auto, none, integrity, weak, strong, got 'medium'\n"},
    {"scanner elsewhere",
     TO("ipps://h/q", "icap: \"icaps://h/s\", icap-require: strong, icap-peers: [\"dns:h\"]"), ""},
    {"clear scanner elsewhere",
     TO("ipps://h/q", "icap: \"icap://h/s\""),
     "x.yaml:2:78: documents in clear text outside loopback: write icaps:// in icap, or "
     "'icap-plaintext-outside-loopback: true' to have it that way\n"},
    {"clear scanner elsewhere, meant",
     TO("ipps://h/q", "icap: \"icap://192.0.2.7/s\", icap-plaintext-outside-loopback: true"), ""},
    {"clear scanner here",                  TO("ipps://h/q", "icap: \"icap://[::1]:1/s\""), ""},
    {"clear scanner that is to be weak",
     TO("ipps://h/q", "icap: \"icap://localhost/s\", icap-require: weak"),
     "x.yaml:2:114: clear text never reaches 'weak': write icaps:// in icap\n"},
    {"clear scanner of somebody",
     TO("ipps://h/q", "icap: \"icap://localhost/s\", icap-peers: [\"dns:h\"]"),
     "x.yaml:2:100: nobody has a name in clear text that could be trusted: write icaps:// in icap\n"},
    {"peers of no scanner",
     TO("ipps://h/q", "icap-peers: [\"dns:h\"]"),
     "x.yaml:2:72: there is no other scanner: name its service, icap\n"},
    {"level of no scanner",
     TO("ipps://h/q", "icap-require: weak"),
     "x.yaml:2:86: there is no other scanner: name its service, icap\n"},
    {"scanner that is none",
     TO("ipps://h/q", "icap: \"icap://h:port/s\""),
     "x.yaml:2:78: 'icap://h:port/s' is no URL of an ICAP service\n"},
    {"clamd elsewhere",
     CLAMD("address: \"192.0.2.7:3310\""),
     "x.yaml:3:29: warning: every file goes to clamd at 192.0.2.7:3310 in clear text, and its verdict comes back so: who is "
     "on the way can read files and have them called clean. Use clamd's socket or a tunnel, or write "
     "'plaintext-outside-loopback: true' to have it that way\n"},
    {"clamd elsewhere, meant",              CLAMD("address: \"192.0.2.7:3310\", plaintext-outside-loopback: true"), ""},
    {"clamd here",                          CLAMD("address: \"127.0.0.2:3310\""), ""},
    {"clamd here over IPv6",                CLAMD("address: \"[::1]:3310\""), ""},
    {"clamd's socket",                      CLAMD("address: /run/clamd"), ""},
};
/* clang-format on */

static void row_case(void **state)
{
    const struct row *row = *state;
    struct loaded *l = load(row->text);
    bool fails = false;

    for (size_t i = 0; i < l->r.n; i++)
        fails |= !l->r.v[i].warning;
    assert_string_equal(buf_cstr(&l->out), row->want);
    assert_int_equal(l->err, fails ? ERR_CONFIG : OK);
    unload(l);
}

/* ---- what comes out ---- */

/* But for REQMOD and RESPMOD, which are capitals in RFC 3507 and so in the file. */
static void rows_are_sound(void **state)
{
    struct config_report r;

    (void)state;
    config_report_init(&r);
    assert_int_not_equal(config_rows_check(&settings_block, &r), ERR_NOMEM);
    for (size_t i = 0; i < r.n; i++)
        if (!strstr(r.v[i].text, "word 'REQMOD'") && !strstr(r.v[i].text, "word 'RESPMOD'"))
            fail_msg("%s", r.v[i].text);
    config_report_done(&r);
}

static void defaults(void **state)
{
    struct loaded *l = load(LISTENER SERVICE);
    const struct settings *s = &l->s;

    (void)state;
    assert_int_equal(l->err, OK);
    assert_string_equal(s->state, "/var/lib/sallyport");
    assert_true(s->sandbox_required);
    assert_null(s->user);
    assert_int_equal(s->drain_ms, 30000);
    assert_int_equal(s->limits.memory, 512u << 20);
    assert_int_equal(s->limits.scans, 64);
    assert_int_equal(s->limits.connections, 10000);
    assert_int_equal(s->limits.descriptors, 65536);
    assert_int_equal(s->spool.memory, 1u << 20);
    assert_true(s->spool.total == UINT64_C(8) << 30);
    assert_int_equal(s->spool.reserve, 64u << 20);
    assert_true(s->records.enabled);
    assert_false(s->records.chain);
    assert_int_equal(s->records.on_full, RECORD_DROP);
    assert_int_equal(s->records.buffer, 8u << 20);
    assert_int_equal(s->admin.address.port, 9344);
    assert_string_equal(s->admin.address.host, "127.0.0.1");
    assert_int_equal(s->listeners[0].backlog, 4096);
    assert_int_equal(s->listeners[0].handshake_ms, 10000);
    assert_int_equal(s->listeners[0].require, SALLYPORT_NONE);
    unload(l);
}

static void derived(void **state)
{
    struct loaded *l = load("state: /s\nthreads: 3\n" LISTENER SERVICE);

    (void)state;
    assert_int_equal(l->err, OK);
    assert_string_equal(l->s.spool_path, "/s/spool");
    assert_string_equal(l->s.records_path, "/s/records.jsonl");
    assert_string_equal(l->s.control_path, "/s/control.sock");
    assert_string_equal(l->s.store_path, "/s/store");
    assert_int_equal(l->s.n_threads, 3);
    l->s.state = "/other";
    assert_int_equal(settings_derive(&l->s, &l->mem), OK);
    assert_string_equal(l->s.control_path, "/other/control.sock");
    unload(l);
    l = load("spool: {path: /a}\nrecords: {path: /b}\nadmin: {enabled: false}\n" LISTENER SERVICE);
    assert_string_equal(l->s.spool_path, "/a");
    assert_string_equal(l->s.records_path, "/b");
    assert_true(l->s.n_threads >= 1 && l->s.n_threads <= SETTINGS_THREADS_MAX);
    assert_int_equal(l->s.admin.address.kind, CONFIG_ADDRESS_NONE);
    unload(l);
}

static void lookups(void **state)
{
    struct loaded *l =
        load("listeners: [{name: a, address: \"*:1\", tls: main}, {name: b, address: "
             "\"127.0.0.1:2\"}]\n" SERVICE TLS);
    struct address a;

    (void)state;
    assert_int_equal(l->err, OK);
    assert_ptr_equal(settings_tls(&l->s, &l->s.listeners[0]), &l->s.tls[0]);
    assert_null(settings_tls(&l->s, &l->s.listeners[1]));
    assert_true(settings_address(&l->s.listeners[0].address, &a));
    assert_int_equal(address_port(&a), 1);
    assert_int_equal(a.ss.ss_family, AF_INET6);
    assert_false(settings_address(&(struct config_address){.kind = CONFIG_ADDRESS_NONE}, &a));
    unload(l);
}

/* ---- which change needs a new process ---- */

struct change {
    const char *name;
    const char *text; /* against LISTENER SERVICE TLS */
    const char *key;  /* "" when it can be swapped live */
};

static const struct change changes[] = {
    {"same",           LISTENER SERVICE TLS,                                                  ""                  },
    {"drain",          "drain: 1s\n" LISTENER SERVICE TLS,                                    ""                  },
    {"service",        LISTENER "services: [{name: t, type: inspect, path: /t}]\n" TLS,       ""                  },
    {"certificate",    LISTENER SERVICE "tls: [{name: main, certificate: /c2, key: /k}]\n",   ""                  },
    {"listener's tls",
     "listeners: [{name: a, address: \"127.0.0.1:1344\", tls: main}]\n" SERVICE TLS,          ""                  },
    {"level",          "log: {level: debug}\n" LISTENER SERVICE TLS,                          ""                  },
    {"memory",         "limits: {memory: 64m}\n" LISTENER SERVICE TLS,                        ""                  },
    {"threads",        "threads: 7\n" LISTENER SERVICE TLS,                                   "threads"           },
    {"state",          "state: /other\n" LISTENER SERVICE TLS,                                "state"             },
    {"sandbox",        "sandbox: best-effort\n" LISTENER SERVICE TLS,                         "sandbox"           },
    {"user",           "user: nobody\n" LISTENER SERVICE TLS,                                 "user"              },
    {"records",        "records: {enabled: false}\n" LISTENER SERVICE TLS,                    "records.enabled"   },
    {"chain",          "records: {chain: true}\n" LISTENER SERVICE TLS,                       "records.chain"     },
    {"spool",          "spool: {path: /x}\n" LISTENER SERVICE TLS,                            "spool.path"        },
    {"descriptors",    "limits: {descriptors: 1000}\n" LISTENER SERVICE TLS,                  "limits.descriptors"},
    {"admin",          "admin: {enabled: false}\n" LISTENER SERVICE TLS,                      "admin.enabled"     },
    {"address",        "listeners: [{name: a, address: \"127.0.0.1:1345\"}]\n" SERVICE TLS,
     "listeners.a.address"                                                                                        },
    {"listener",
     "listeners: [{name: a, address: \"127.0.0.1:1344\"}, {name: b, address: "
     "\"127.0.0.1:1\"}]\n" SERVICE TLS,
     "listeners.b"                                                                                                },
    {"cache",          "engines: {cache: {size: 1m, ttl: 5m}}\n" LISTENER SERVICE TLS,        ""                  },
    {"allow",
     "listeners: [{name: a, address: \"127.0.0.1:1344\", allow: [127.0.0.1]}]\n" SERVICE TLS, ""                  },
    {"clamav",         "engines: {clamav: {}}\n" LISTENER SERVICE TLS,                        "engines.clamav"    },
    {"url list",
     "engines: {url: {lists: [{name: a, file: /a, action: deny}]}}\n" LISTENER SERVICE TLS,   ""                  },
    {"worker memory",  "engines: {workers: {memory: 1g}}\n" LISTENER SERVICE TLS,
     "engines.workers.memory"                                                                                     },
};

static void change_case(void **state)
{
    const struct change *c = *state;
    struct loaded *a = load(LISTENER SERVICE TLS), *b = load(c->text);
    bool restart = false;
    struct buf key;

    buf_init(&key, 0);
    assert_int_equal(a->err, OK);
    assert_int_equal(b->err, OK);
    assert_int_equal(config_diff_restart(&settings_block, &a->s, &b->s, &restart, &key), OK);
    assert_string_equal(restart ? buf_cstr(&key) : "", c->key);
    buf_done(&key);
    unload(a);
    unload(b);
}

/* ---- with the machine ---- */

struct machine {
    const char *name;
    const char *text;
    const char *want; /* behind the file's name */
};

static const struct machine machines[] = {
    {"fine",           LISTENER SERVICE,                                                            ""                                                                },
    {"no certificate",
     LISTENER SERVICE "tls: [{name: t, certificate: /nonexistent/c, key: "
                      "/nonexistent/k}]\n",                                                         ":3:30: cannot read '/nonexistent/c': No such file or directory\n"},
    {"a directory",    LISTENER SERVICE "tls: [{name: t, certificate: /tmp, key: /tmp}]\n",
     ":3:30: cannot read '/tmp': not a regular file, or being written\n"                                                                                              },
    {"no PEM",
     LISTENER SERVICE "tls: [{name: t, certificate: /proc/self/status, key: /proc/self/status}]\n",
     ":3:30: "                                                                                                                                                        },
    {"no rules",       LISTENER SERVICE "engines: {yara: {rules: [/nonexistent/r]}}\n",
     ":3:26: cannot read '/nonexistent/r': No such file or directory\n"                                                                                               },
    {"no magic",       LISTENER SERVICE "engines: {filetype: {magic: [/nonexistent/m]}}\n",
     ":3:30: cannot read '/nonexistent/m': No such file or directory\n"                                                                                               },
    {"no list",
     LISTENER SERVICE "engines: {url: {lists: [{name: l, file: /nonexistent/l, action: deny}]}}\n",
     "cannot read '/nonexistent/l': No such file or directory\n"                                                                                                      },
    {"no user",        "user: no-such-user-here\n" LISTENER SERVICE,
     ":1:7: no user 'no-such-user-here' on this machine\n"                                                                                                            },
    {"root",           "user: root\n" LISTENER SERVICE,
     ":1:7: 'root' is root: name a user without privileges\n"                                                                                                         },
    {"no YAML",        "]",                                                                         ":1:1: "                                                          },
};

static void machine_case(void **state)
{
    const struct machine *m = *state;
    char path[] = "/tmp/test_settings-XXXXXX";
    int fd = mkstemp(path);
    struct settings_loaded *l = NULL;
    struct config_report r;
    struct buf out;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, m->text, strlen(m->text)), strlen(m->text));
    (void)close(fd);
    config_report_init(&r);
    buf_init(&out, 0);
    enum err e = settings_load(path, "/override", &r, &l);

    config_report_print(&r, &out);
    assert_int_equal(e, *m->want ? ERR_CONFIG : OK);
    if (e) {
        assert_null(l);
        assert_true(span_starts(buf_span(&out), span_of(path)));
        assert_non_null(strstr(buf_cstr(&out), m->want));
    } else {
        assert_string_equal(l->settings.control_path, "/override/control.sock");
        assert_true(span_eq(l->config_text, span_of(m->text)));
    }
    settings_loaded_free(l);
    buf_done(&out);
    config_report_done(&r);
    (void)unlink(path);
}

static void no_file(void **state)
{
    struct settings_loaded *l;
    struct config_report r;

    (void)state;
    config_report_init(&r);
    assert_int_equal(settings_load("/nonexistent/x.yaml", NULL, &r, &l), ERR_CONFIG);
    assert_int_equal(r.n_errors, 1);
    config_report_done(&r);
}

/* The text that was read counts, whatever the file says by now. */
static void again(void **state)
{
    char path[] = "/tmp/test_settings-XXXXXX";
    int fd = mkstemp(path);
    struct settings_loaded *l = NULL, *m = NULL;
    struct config_report r;

    (void)state;
    assert_true(fd >= 0);
    assert_true(write(fd, LISTENER SERVICE, strlen(LISTENER SERVICE)) > 0);
    config_report_init(&r);
    assert_int_equal(settings_load(path, "/override", &r, &l), OK);
    config_report_done(&r);
    assert_int_equal(ftruncate(fd, 0), 0);
    config_report_init(&r);
    assert_int_equal(settings_load_again(l, &r, &m), OK);
    config_report_done(&r);
    assert_int_equal(m->settings.n_listeners, 1);
    assert_string_equal(m->settings.state, "/override");
    settings_loaded_free(l);
    settings_loaded_free(m);
    (void)close(fd);
    (void)unlink(path);
}

/* Lists are compiled at once, and are no secrets. */
static void lists(void **state)
{
    char path[] = "/tmp/test_settings-XXXXXX", list[] = "/tmp/test_settings-XXXXXX", text[512];
    int fd = mkstemp(path), list_fd = mkstemp(list);
    struct settings_loaded *l = NULL, *m = NULL;
    struct config_report r;
    struct buf out;

    (void)state;
    (void)snprintf(
        text, sizeof text,
        LISTENER SERVICE "engines: {url: {lists: [{name: l, file: %s, action: deny}]}}\n", list);
    assert_true(write(fd, text, strlen(text)) > 0);
    assert_int_equal(write(list_fd, "host.example\n", 13), 13);
    config_report_init(&r);
    assert_int_equal(settings_load(path, NULL, &r, &l), OK);
    assert_int_equal(l->n_files, 1);
    assert_true(l->files[0].is_list);
    config_report_done(&r);
    assert_int_equal(write(list_fd, "~(\n", 3), 3);
    config_report_init(&r);
    /* A mistake leaves the lists as they were: certificates go on. */
    assert_int_equal(settings_load_again(l, &r, &m), OK);
    (void)snprintf(text, sizeof text, "%s:2: ", list);
    assert_non_null(strstr(m->lists_refused, text));
    assert_int_equal(r.n_errors, 0);
    assert_int_equal(m->n_files, 1);
    assert_true(span_eq(m->files[0].text, SPAN("host.example\n")));
    assert_true(m->files[0].is_list);
    config_report_done(&r);
    settings_loaded_free(m);
    /* A start has nothing else. */
    m = NULL;
    config_report_init(&r);
    assert_int_equal(settings_load(path, NULL, &r, &m), ERR_CONFIG);
    buf_init(&out, 0);
    config_report_print(&r, &out);
    assert_non_null(strstr(buf_cstr(&out), text));
    assert_int_equal(r.n_errors, 1);
    buf_done(&out);
    config_report_done(&r);
    settings_loaded_free(l);
    (void)close(fd);
    (void)close(list_fd);
    (void)unlink(path);
    (void)unlink(list);
}

#define N_ROWS     ARRAY_LEN(rows)
#define N_PRINT    ARRAY_LEN(print_rows)
#define N_UPSTREAM ARRAY_LEN(upstream_rows)
#define N_CHANGES  ARRAY_LEN(changes)
#define N_MACHINES ARRAY_LEN(machines)

/* cmocka hands the state on as void *; the rows are constant. */
static struct CMUnitTest one(const char *name, CMUnitTestFunction f, const void *row)
{
    return (struct CMUnitTest){
        .name = name, .test_func = f, .initial_state = (void *)(uintptr_t)row};
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(rows_are_sound), cmocka_unit_test(defaults), cmocka_unit_test(derived),
        cmocka_unit_test(lookups),        cmocka_unit_test(no_file),  cmocka_unit_test(again),
        cmocka_unit_test(lists),
    };
    static struct CMUnitTest
        tests[N_ROWS + N_PRINT + N_UPSTREAM + N_CHANGES + N_MACHINES + ARRAY_LEN(others)];
    size_t n = 0;

    for (size_t i = 0; i < N_ROWS; i++)
        tests[n++] = one(rows[i].name, row_case, &rows[i]);
    for (size_t i = 0; i < N_PRINT; i++)
        tests[n++] = one(print_rows[i].name, row_case, &print_rows[i]);
    for (size_t i = 0; i < N_UPSTREAM; i++)
        tests[n++] = one(upstream_rows[i].name, row_case, &upstream_rows[i]);
    for (size_t i = 0; i < N_CHANGES; i++)
        tests[n++] = one(changes[i].name, change_case, &changes[i]);
    for (size_t i = 0; i < N_MACHINES; i++)
        tests[n++] = one(machines[i].name, machine_case, &machines[i]);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        tests[n++] = others[i];
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
