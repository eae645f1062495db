/* SPDX-License-Identifier: Apache-2.0 */
/* Text to typed values: one row of a table is one case, with what comes out and why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test_config_example.h"

struct loaded {
    struct config_report r;
    struct arena mem;
    struct example_config c;
    struct buf out; /* complaints, or after print() the effective configuration */
    enum err err;
};

static struct loaded *load(struct span text)
{
    struct loaded *l = calloc(1, sizeof *l);

    assert_non_null(l);
    config_report_init(&l->r);
    arena_init(&l->mem, 1024 * 1024);
    buf_init(&l->out, 0);
    l->err = config_load_text(text, "x.yaml", &example_block, &l->mem, &l->r, &l->c);
    config_report_print(&l->r, &l->out);
    return l;
}

static void print(struct loaded *l)
{
    buf_reset(&l->out);
    config_print(&example_block, &l->c, CONFIG_PRINT_SECRETS, &l->out);
}

static void unload(struct loaded *l)
{
    config_report_done(&l->r);
    arena_done(&l->mem);
    buf_done(&l->out);
    free(l);
}

/* ---- one case, one line of the table ---- */

struct row {
    const char *name;
    const char *text;
    const char *want; /* a line of the effective configuration, or of the complaints */
    const char *why;
};

static struct row values[] = {
    {"empty",            "",                                                                  "state: /var/lib/sallyport\n",  "nothing but defaults"          },
    {"comment_only",     "# nothing\n",                                                       "threads: auto\n",              "the same"                      },
    {"empty_document",   "---\n",                                                             "threads: auto\n",              "an empty text is no value"     },
    {"bom",              "\xef\xbb\xbfthreads: 2",                                            "threads: 2\n",                 "Windows editors write it"      },
    {"crlf",             "threads: 2\r\nuser: x\r\n",                                         "user: x\n",                    "Windows again"                 },
    {"bool_yes",         "log: {json: yes}",                                                  "  json: true\n",               "YAML 1.1 words for true"       },
    {"bool_on",          "log: {json: on}",                                                   "  json: true\n",               "YAML 1.1 words for true"       },
    {"bool_off",         "log: {json: off}",                                                  "  json: false\n",              "YAML 1.1 words for false"      },
    {"bool_quoted",      "log: {json: \"true\"}",                                             "  json: true\n",               "quotes do not change a type"   },
    {"count",            "threads: 1024",                                                     "threads: 1024\n",              "the upper end is in the range" },
    {"count_zero_word",  "threads: auto",                                                     "threads: auto\n",              "the word for 0"                },
    {"count_zero_digit", "threads: 0",                                                        "threads: auto\n",              "0 is that word"                },
    {"count_width",      "limits: {connections: 65535}",                                      "  connections: 65535\n",
     "the width of the field is a limit"                                                                                                                      },
    {"size_plain",       "limits: {header: 4096}",                                            "  header: 4k\n",               "bytes without a unit"          },
    {"size_k",           "limits: {header: 16k}",                                             "  header: 16k\n",              "1024"                          },
    {"size_capital",     "limits: {header: 16K}",                                             "  header: 16k\n",              "the same unit"                 },
    {"size_kib",         "limits: {header: 16KiB}",                                           "  header: 16k\n",              "the same unit"                 },
    {"size_odd",         "limits: {header: 1000}",                                            "  header: 1000\n",             "no unit divides it"            },
    {"size_g",           "limits: {body: 2g}",                                                "  body: 2g\n",                 "64 bits"                       },
    {"size_t",           "limits: {body: 3TiB}",                                              "  body: 3t\n",                 "64 bits"                       },
    {"size_unlimited",   "limits: {body: unlimited}",                                         "  body: unlimited\n",          "the word for 0"                },
    {"duration_ms",      "limits: {idle: 1500ms}",                                            "  idle: 1500ms\n",             "the smallest unit"             },
    {"duration_s",       "limits: {idle: 90s}",                                               "  idle: 90s\n",                "a minute does not divide it"   },
    {"duration_m",       "limits: {idle: 120s}",                                              "  idle: 2m\n",                 "the largest unit that fits"    },
    {"duration_d",       "limits: {idle: 1d}",                                                "  idle: 1d\n",                 "the upper end is in the range" },
    {"duration_zero",    "limits: {session: 0}",                                              "  session: 0s\n",              "0 needs no unit"               },
    {"enum",             "sandbox: best-effort",                                              "sandbox: best-effort\n",       ""                              },
    {"string_quotes",    "user: \"a: b\"",                                                    "user: \"a: b\"\n",             "needs quotes to be read again" },
    {"string_empty",     "user: \"\"",                                                        "user: \"\"\n",                 "quotes make it a value"        },
    {"string_word",      "user: \"yes\"",                                                     "user: \"yes\"\n",              "other readers see a boolean"   },
    {"string_utf8",      "user: M\xc3\xbcller",                                               "user: \"M\xc3\xbcller\"\n",    "UTF-8 stays"                   },
    {"string_escape",    "user: \"a\\x07\\u2028b\"",                                          "user: \"a\\u0007\\u2028b\"\n",
     "controls are escaped"                                                                                                                                   },
    {"string_block",     "user: |\n  a\n  b\n",                                               "user: \"a\\nb\\n\"\n",         "a block text"                  },
    {"string_tilde",     "user: ~",                                                           "user: \"~\"\n",                "there is no null, only text"   },
    {"address_v4",       "listeners: [{name: a, address: 127.0.0.1:80}]",                     "    address: 127.0.0.1:80\n",
     ""                                                                                                                                                       },
    {"address_v6",       "listeners: [{name: a, address: \"[2001:DB8:0::1]:80\"}]",
     "    address: \"[2001:db8::1]:80\"\n",                                                                                   "canonical"                     },
    {"address_any",      "listeners: [{name: a, address: \"*:0\"}]",                          "    address: \"*:0\"\n",
     "0: the system picks"                                                                                                                                    },
    {"address_unix",     "listeners: [{name: a, address: /run/x}]",                           "    address: /run/x\n",
     "a socket"                                                                                                                                               },
    {"upstream_name",    "engines: {clamd: Clam.Example:3310}",                               "  clamd: clam.example:3310\n",
     "names have no case"                                                                                                                                     },
    {"upstream_v4",      "engines: {clamd: 192.0.2.1:3310}",                                  "  clamd: 192.0.2.1:3310\n",    ""                              },
    {"cidrs",            "listeners: [{name: a, address: /x, allow: [10.0.0.0/8, \"::1\"]}]",
     "    allow: [10.0.0.0/8, \"::1/128\"]\n",                                                                                "an address is a network of one"},
    {"cidrs_empty",      "listeners: [{name: a, address: /x, allow: []}]",                    "    allow: []\n",
     "empty is not the default"                                                                                                                               },
    {"strings",          "services: [{name: a, path: /, pipeline: [b, \"c d\"]}]",
     "    pipeline: [b, \"c d\"]\n",                                                                                          ""                              },
    {"set",              "services: [{name: a, path: /, methods: [respmod]}]",                "    methods: [respmod]\n",
     "replaces the default"                                                                                                                                   },
    {"map_merge",        "services: [{name: a, path: /, on: {engine-down: pass}}]",
     "      infected: block\n      engine-down: pass\n      not-inspected: error\n",                                          "the rest keeps its default"    },
    {"inner_defaults",   "services: [{name: a, path: /}]",                                    "      idle: 1m\n",
     "a block that is absent"                                                                                                                                 },
    {"block_empty",      "limits:\nthreads: 1\n",                                             "  idle: 1m\n",                 "all its lines commented out"   },
    {"list_empty",       "services:\n",                                                       "services: []\n",               "the same for a list"           },
    {"optional_absent",  "engines: {}",                                                       "engines: {}\n",                "no yara at all"                },
    {"optional_there",   "engines: {yara: {rules: [/a]}}",                                    "    timeout: 10s\n",
     "its defaults come with it"                                                                                                                              },
    {"optional_never",   "engines: {yara: {rules: [/a], timeout: never}}",                    "    timeout: never\n",
     "0 below the minimum, by its word"                                                                                                                       },
};

static struct row refusals[] = {
    {"unknown_key",        "adress: x",                                                            "x.yaml:1:1: unknown key 'adress'\n",                                                   "too far from all"          },
    {"unknown_near",       "theads: 1",                                                            "x.yaml:1:1: unknown key 'theads'; did you mean 'threads'?\n",
     "a letter is missing"                                                                                                                                                                                             },
    {"unknown_swapped",    "serviecs: []",                                                         "did you mean 'services'?",                                                             "two letters swapped"       },
    {"unknown_underscore", "on_full: drop",                                                        "did you mean 'on-full'?",                                                              "a common slip"             },
    {"unknown_case",       "Threads: 1",                                                           "did you mean 'threads'?",                                                              "keys have a case"          },
    {"unknown_inner",      "limits:\n  heder: 1k\n",
     "x.yaml:2:3: unknown key 'heder' in limits; did you mean 'header'?\n",                                                                                                                "the block is named"        },
    {"unknown_escaped",    "\"a\\eb\": 1",                                                         "unknown key 'a\\x1bb'",
     "no escape sequences in a terminal"                                                                                                                                                                               },
    {"range",              "services: [{name: a, path: /, preview: -1}]",
     "x.yaml:1:40: preview must be 0..65536, got '-1'\n",                                                                                                                                  "the style guide's own"     },
    {"range_above",        "services: [{name: a, path: /, preview: 65537}]",
     "preview must be 0..65536, got '65537'",                                                                                                                                              "one too many"              },
    {"range_suffix",       "services: [{name: a, path: /, preview: 65k}]",
     "preview must be 0..65536, got '65k'",                                                                                                                                                "after the suffix"          },
    {"range_below",        "limits: {header: 255}",                                                "header must be 256..1m, got '255'",                                                    ""                          },
    {"range_no_max",       "limits: {connections: 0}",                                             "connections must be 1..65535, got '0'",                                                ""                          },
    {"range_width",        "limits: {connections: 65536}",                                         "connections must be 1..65535, got '65536'",
     "the field has 16 bits"                                                                                                                                                                                           },
    {"count_text",         "threads: many",                                                        "threads must be 'auto' or 0..1024, got 'many'",
     "the word is offered"                                                                                                                                                                                             },
    {"count_unit",         "threads: 4k",                                                          "threads must be 'auto' or 0..1024, got '4k'",
     "a count is no size"                                                                                                                                                                                              },
    {"count_plus",         "threads: +4",                                                          "got '+4'",                                                                             "no signs"                  },
    {"count_float",        "threads: 4.0",                                                         "got '4.0'",                                                                            "no fractions"              },
    {"count_overflow",     "threads: 18446744073709551617",                                        "got '18446744073709551617'",                                                           "not 1"                     },
    {"count_empty",        "threads:",                                                             "x.yaml:1:9: threads must be 'auto' or 0..1024, got no value\n",
     "nothing is not 0"                                                                                                                                                                                                },
    {"size_kb",            "limits: {body: 4kB}",
     "got '4kB'; sizes end in k, m, g or t (powers of 1024) or in nothing",                                                                                                                "1000 or 1024?"             },
    {"size_overflow",      "limits: {body: 16777216t}",
     "body must be 'unlimited' or a size such as 64k, got '16777216t'",                                                                                                                    "2^64"                      },
    {"duration_no_unit",   "limits: {idle: 30}",
     "idle must be 1s..1d, got '30'; a time ends in ms, s, m, h or d",                                                                                                                     "30 what?"                  },
    {"duration_above",     "limits: {session: 61m}",                                               "session must be 0..1h, got '61m'",                                                     ""                          },
    {"bool",               "log: {json: maybe}",                                                   "json must be true or false, got 'maybe'\n",                                            ""                          },
    {"bool_near",          "log: {json: ture}",                                                    "got 'ture'; did you mean 'true'?",                                                     ""                          },
    {"enum",               "sandbox: off",                                                         "sandbox must be required or best-effort, got 'off'\n",                                 "two words"                 },
    {"enum_near",          "log: {level: debg}",
     "level must be one of error, warn, info, debug, got 'debg'; did you mean 'debug'?\n",                                                                                                 "more than two"             },
    {"enum_case",          "log: {level: INFO}",                                                   "did you mean 'info'?",                                                                 "words have a case"         },
    {"path_relative",      "state: var",                                                           "state must be an absolute path, got 'var'",
     "relative to what?"                                                                                                                                                                                               },
    {"path_control",       "state: \"/a\\nb\"",                                                    "state must be an absolute path, got '/a\\x0ab'",
     "would break log lines"                                                                                                                                                                                           },
    {"string_list",        "user: [a]",                                                            "user must be a text, got a list",                                                      ""                          },
    {"string_mapping",     "user: {a: b}",                                                         "user must be a text, got a mapping",                                                   ""                          },
    {"string_long",        "tls: [{name: '', cert: /a, key: /b}]",
     "name must be a text of at least 1 bytes, got ''",                                                                                                                                    ""                          },
    {"string_valid",       "services: [{name: a, path: b}]",                                       "path must start with '/', got 'b'",
     "the room's own rule"                                                                                                                                                                                             },
    {"string_shortened",
     "state: aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggg",              "eeffffffffff...'\n",                                                                   "60 bytes are enough"       },
    {"secret",
     "tls: [{name: a, cert: /a, key: /b, pass: "
     "0123456789012345678901234567890123456789012345678901234567890123456789}]",                   "pass must be a text of 0..64 bytes\n",                                                 "never quoted"              },
    {"address_port",       "listeners: [{name: a, address: 127.0.0.1}]",
     "got '127.0.0.1'; the port is missing",                                                                                                                                               ""                          },
    {"address_only_port",  "listeners: [{name: a, address: 1344}]",
     "got '1344'; for a port of every local address write '*:PORT'",                                                                                                                       ""                          },
    {"address_range",      "listeners: [{name: a, address: 127.0.0.1:65536}]",
     "address must be an address such as",                                                                                                                                                 ""                          },
    {"address_v6_bare",    "listeners: [{name: a, address: '2001:db8::1:80'}]",
     "; an IPv6 address stands in brackets",                                                                                                                                               "which is the port?"        },
    {"address_name",       "listeners: [{name: a, address: localhost:80}]",
     "address must be an address such as 127.0.0.1:80",                                                                                                                                    "look-ups are for upstreams"},
    {"address_octet",      "listeners: [{name: a, address: 127.0.0.01:80}]",                       "got '127.0.0.01:80'",
     "octal or not?"                                                                                                                                                                                                   },
    {"upstream_any",       "engines: {clamd: '*:1'}",                                              "clamd must be an address such as host.example:80",
     "connect to where?"                                                                                                                                                                                               },
    {"upstream_zero",      "engines: {clamd: 'a:0'}",                                              "got 'a:0'",                                                                            "connect to port 0?"        },
    {"upstream_octets",    "engines: {clamd: '192.0.2.300:1'}",                                    "got '192.0.2.300:1'",
     "no name ends in digits"                                                                                                                                                                                          },
    {"upstream_label",     "engines: {clamd: 'a..b:1'}",                                           "got 'a..b:1'",                                                                         ""                          },
    {"cidr_bits",          "listeners: [{name: a, address: /x, allow: [10.0.0.1/8]}]",
     "an element of allow must have zeros behind its prefix, got '10.0.0.1/8'",                                                                                                            "a slip"                    },
    {"cidr_prefix",        "listeners: [{name: a, address: /x, allow: [10.0.0.0/33]}]",
     "an element of allow must be a network such as",                                                                                                                                      ""                          },
    {"cidr_text",          "listeners: [{name: a, address: /x, allow: 10.0.0.0/8}]",
     "allow must be a list, got '10.0.0.0/8'",                                                                                                                                             ""                          },
    {"strings_element",    "services: [{name: a, path: /, pipeline: [[b]]}]",
     "an element of pipeline must be a text, got a list",                                                                                                                                  ""                          },
    {"strings_many",       "services: [{name: a, path: /, pipeline: [1,2,3,4,5,6,7,8,9]}]",
     "pipeline must have 0..8 elements, got 9",                                                                                                                                            ""                          },
    {"paths_few",          "engines: {yara: {rules: []}}",                                         "rules must have at least 1 elements, got 0",
     "required and empty"                                                                                                                                                                                              },
    {"paths_element",      "engines: {yara: {rules: [a]}}",
     "an element of rules must be an absolute path, got 'a'",                                                                                                                              ""                          },
    {"set_word",           "services: [{name: a, path: /, methods: [resmod]}]",
     "an element of methods must be reqmod or respmod, got 'resmod'; did you mean 'reqmod'?",                                                                                              ""                          },
    {"map_key",            "services: [{name: a, path: /, on: {infectd: block}}]",
     "unknown key 'infectd' in on; did you mean 'infected'?",                                                                                                                              ""                          },
    {"map_word",           "services: [{name: a, path: /, on: {infected: blok}}]",
     "infected must be one of block, pass, error, got 'blok'; did you mean 'block'?",                                                                                                      ""                          },
    {"map_shape",          "services: [{name: a, path: /, on: [block]}]",                          "on must be a mapping, got a list",
     ""                                                                                                                                                                                                                },
    {"block_shape",        "limits: 5",                                                            "limits must be a mapping, got '5'",                                                    ""                          },
    {"list_shape",         "services: {name: a}",                                                  "services must be a list, got a mapping",
     "a frequent slip"                                                                                                                                                                                                 },
    {"list_element",       "services: [a]",                                                        "an element of services must be a mapping, got 'a'",                                    ""                          },
    {"list_null_element",  "services:\n  -\n",
     "x.yaml:2:4: an element of services must be a mapping, got no value\n",                                                                                                               ""                          },
    {"optional_shape",     "engines:\n  yara:\n",
     "yara must be a mapping, got no value; write {} to have it with its defaults",                                                                                                        "on or off?"                },
    {"required",           "services:\n  - path: /\n",
     "x.yaml:2:5: required key 'name' is missing in services\n",                                                                                                                           ""                          },
    {"required_inner",     "engines: {yara: {}}",                                                  "required key 'rules' is missing in yara",                                              ""                          },
    {"unique",
     "tls:\n  - {name: a, cert: /a, key: /a}\n  - {name: b, cert: /a, key: /a}\n  - {name: a, "
     "cert: /a, key: /a}\n",                                                                       "x.yaml:4:12: name 'a' is used twice in tls; the first is in line 2, column 12\n",
     "both places"                                                                                                                                                                                                     },
    {"check_map",          "services:\n  - name: a\n    path: /\n    on:\n      infected: pass\n",
     "x.yaml:5:17: infected must not be 'pass': nobody wants that\n",                                                                                                                      "down into a map"           },
    {"check_element",      "services:\n  - {name: a, path: /, pipeline: [x, y, x]}\n",
     "x.yaml:2:41: engine 'x' is in pipeline twice\n",                                                                                                                                     "at an element"             },
    {"check_reference",
     "tls: [{name: main, cert: /a, key: /a}]\nlisteners: [{name: a, address: /x, tls: mian}]\n",   "x.yaml:2:41: tls must name one of the tls blocks, got 'mian'; did you mean 'main'?\n",
     "between blocks"                                                                                                                                                                                                  },
    {"root_list",          "[a]",                                                                  "the file must be a mapping of keys to values, got a list",                             ""                          },
    {"root_text",          "hello",                                                                "the file must be a mapping of keys to values, got 'hello'",                            ""                          },
};

static void value_case(void **state)
{
    const struct row *row = *state;
    struct loaded *l = load(span_of(row->text));

    if (l->err)
        fail_msg("%s: refused: %s", row->name, buf_cstr(&l->out));
    print(l);
    if (!strstr(buf_cstr(&l->out), row->want))
        fail_msg("%s (%s): wanted\n%sgot\n%s", row->name, row->why, row->want, buf_cstr(&l->out));
    unload(l);
}

static void refusal_case(void **state)
{
    static const struct example_config zero;
    const struct row *row = *state;
    struct loaded *l = load(span_of(row->text));

    assert_int_equal(l->err, ERR_CONFIG);
    assert_memory_equal(&l->c, &zero, sizeof zero);
    if (!strstr(buf_cstr(&l->out), row->want))
        fail_msg("%s (%s): wanted\n%s\ngot\n%s", row->name, row->why, row->want, buf_cstr(&l->out));
    unload(l);
}

/* ---- what does not fit a table ---- */

static void typed_fields(void **state)
{
    struct loaded *l =
        load(SPAN("sandbox: best-effort\n"
                  "limits: {body: 1g, header: 1k, idle: 2s}\n"
                  "listeners: [{name: a, address: '[::1]:443', allow: [fe80::/10]}]\n"
                  "services: [{name: s, path: /p, on: {engine-down: pass}}]\n"));
    const struct config_cidr *net;

    (void)state;
    assert_int_equal(l->err, OK);
    assert_int_equal(l->c.sandbox, SANDBOX_BEST_EFFORT);
    assert_int_equal(l->c.limits.body_max, UINT64_C(1) << 30);
    assert_int_equal(l->c.limits.header_max, 1024);
    assert_int_equal(l->c.limits.idle_ms, 2000);
    assert_int_equal(l->c.n_listeners, 1);
    assert_int_equal(l->c.listeners[0].address.kind, CONFIG_ADDRESS_IPV6);
    assert_int_equal(l->c.listeners[0].address.port, 443);
    assert_string_equal(l->c.listeners[0].address.host, "::1");
    net = &l->c.listeners[0].allow.v[0];
    assert_int_equal(net->family, 6);
    assert_int_equal(net->prefix, 10);
    assert_int_equal(net->addr[1], 0x80);
    assert_int_equal(l->c.services[0].on[CAUSE_ENGINE_DOWN], ACTION_PASS);
    assert_int_equal(l->c.services[0].on[CAUSE_INFECTED], ACTION_BLOCK);
    assert_int_equal(l->c.services[0].methods, 3);
    assert_null(l->c.user);
    assert_null(l->c.engines.yara);
    unload(l);
}

static void networks(void **state)
{
    static const uint8_t in[4] = {10, 1, 2, 3}, out[4] = {10, 1, 16, 0};
    static const uint8_t in6[16] = {0xfe, 0xbf}, out6[16] = {0xfe, 0xc0};
    const struct config_cidr v4 = {
        .family = 4, .prefix = 20, .addr = {10, 1}
    };
    const struct config_cidr v6 = {
        .family = 6, .prefix = 10, .addr = {0xfe, 0x80}
    };
    const struct config_cidr all = {.family = 4};
    const struct config_cidr one = {
        .family = 4, .prefix = 32, .addr = {10, 1, 2, 3}
    };
    const struct config_cidr nets[] = {v6, one};
    const struct config_cidrs both = {nets, 2}, none = {NULL, 0};

    (void)state;
    assert_true(config_cidr_has(&v4, 4, in));
    assert_false(config_cidr_has(&v4, 4, out));
    assert_true(config_cidr_has(&v6, 6, in6));
    assert_false(config_cidr_has(&v6, 6, out6));
    assert_false(config_cidr_has(&v4, 6, in6));
    assert_true(config_cidr_has(&all, 4, out));
    assert_true(config_cidr_has(&one, 4, in));
    assert_true(config_cidrs_have(&both, 4, in));
    assert_false(config_cidrs_have(&both, 4, out));
    assert_false(config_cidrs_have(&none, 4, in));
}

/* All complaints of a file in one go, by place. */
static void collects_all(void **state)
{
    struct loaded *l = load(SPAN("threads: x\n"
                                 "foo: 1\n"
                                 "limits: {idle: 1}\n"
                                 "services: [{}, {name: a, path: /}, {name: a, path: b}]\n"));

    (void)state;
    assert_int_equal(l->err, ERR_CONFIG);
    assert_string_equal(
        buf_cstr(&l->out),
        "x.yaml:1:10: threads must be 'auto' or 0..1024, got 'x'\n"
        "x.yaml:2:1: unknown key 'foo'\n"
        "x.yaml:3:16: idle must be 1s..1d, got '1'; a time ends in ms, s, m, h or d\n"
        "x.yaml:4:12: required key 'name' is missing in services\n"
        "x.yaml:4:12: required key 'path' is missing in services\n"
        "x.yaml:4:43: name 'a' is used twice in services; the first is in line 4, column 23\n"
        "x.yaml:4:52: path must start with '/', got 'b'\n");
    unload(l);
}

static void counts_the_rest(void **state)
{
    struct buf text;
    struct loaded *l;

    (void)state;
    buf_init(&text, 0);
    for (unsigned i = 0; i < 60; i++)
        buf_fmt(&text, "key%u: x\n", i);
    l = load(buf_span(&text));
    assert_int_equal(l->r.n, CONFIG_ERRORS_MAX);
    assert_int_equal(l->r.n_errors, 60);
    assert_non_null(strstr(buf_cstr(&l->out), "x.yaml: 10 more of them\n"));
    unload(l);
    buf_done(&text);
}

static void warnings_do_not_fail(void **state)
{
    struct loaded *l =
        load(SPAN("banner: hi\n"
                  "services: [{name: a, path: /, preview: 1k, limits: {header: 256}}]"));

    (void)state;
    assert_int_equal(l->err, OK);
    assert_int_equal(l->r.n_warnings, 2);
    assert_string_equal(buf_cstr(&l->out),
                        "x.yaml:1:1: warning: banner is deprecated: it does nothing\n"
                        "x.yaml:2:40: warning: preview is larger than limits.header\n");
    unload(l);
}

/* A driver that cannot open a certificate still knows the line. */
static void places_outlive_the_load(void **state)
{
    struct loaded *l = load(SPAN("tls:\n  - name: a\n    cert: /no\n    key: /x\n"
                                 "log: {level: info}\n"));

    (void)state;
    assert_int_equal(l->err, OK);
    assert_int_equal(config_fault(&l->r, &l->c.tls[0], "cert", "cannot be opened"), ERR_CONFIG);
    (void)config_fault(&l->r, &l->c.tls[0], NULL, "the block");
    (void)config_fault(&l->r, &l->c.tls[0], "pass", "not in the text: the block");
    (void)config_fault(&l->r, &l->c, "log.level", "down into a block");
    (void)config_fault(&l->r, &l->c.log, "level", "shares the address of the root");
    (void)config_fault(&l->r, &l->c.limits, "idle", "a block that is all defaults");
    (void)config_fault(&l->r, &l->mem, "x", "nothing that was loaded");
    assert_true(config_is_set(&l->r, &l->c, "log.level"));
    assert_false(config_is_set(&l->r, &l->c, "log.json"));
    assert_false(config_is_set(&l->r, &l->c.tls[0], "pass"));
    buf_reset(&l->out);
    config_report_print(&l->r, &l->out);
    assert_string_equal(buf_cstr(&l->out), "x.yaml: nothing that was loaded\n"
                                           "x.yaml:1:1: a block that is all defaults\n"
                                           "x.yaml:2:5: the block\n"
                                           "x.yaml:2:5: not in the text: the block\n"
                                           "x.yaml:3:11: cannot be opened\n"
                                           "x.yaml:5:14: down into a block\n"
                                           "x.yaml:5:14: shares the address of the root\n");
    unload(l);
}

static void file_missing(void **state)
{
    struct config_report r;
    struct example_config c;
    struct arena mem;

    (void)state;
    config_report_init(&r);
    arena_init(&mem, 0);
    assert_int_equal(config_load_file("/nonexistent/x", &example_block, &mem, &r, &c), ERR_CONFIG);
    assert_string_equal(r.v[0].text, "the file cannot be read: No such file or directory");
    assert_int_equal(config_load_file("/", &example_block, &mem, &r, &c), ERR_CONFIG);
    assert_string_equal(r.v[1].text, "the file cannot be read: Is a directory");
    assert_int_equal(config_load_file("/dev/zero", &example_block, &mem, &r, &c), ERR_CONFIG);
    assert_non_null(strstr(r.v[2].text, "must be at most 1048576 bytes"));
    assert_int_equal(config_load_file("/dev/null", &example_block, &mem, &r, &c), OK);
    config_report_done(&r);
    arena_done(&mem);
}

static void budget(void **state)
{
    struct config_report r;
    struct example_config c;
    struct arena mem;

    (void)state;
    config_report_init(&r);
    arena_init(&mem, 32);
    assert_int_equal(
        config_load_text(SPAN("state: /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), "x",
                         &example_block, &mem, &r, &c),
        ERR_NOMEM);
    config_report_done(&r);
    arena_done(&mem);
}

/* Every allocation fails once: an error, no leak (the sanitizer looks), nothing half done. */
static void failing_allocations(void **state)
{
    static const char text[] = "threads: 2\nfoo: 1\nfoo: 2\n"
                               "services: [{name: a, path: /, pipeline: [a, b]}]\n"
                               "listeners: [{name: a, address: '[::1]:1', allow: [10.0.0.0/8]}]\n"
                               "engines: {yara: {rules: [/a]}, clamd: a:1}\n";
    struct span good = {text + 25, sizeof text - 26};
    bool failed = true;

    (void)state;
    for (unsigned i = 1; failed; i++) {
        struct loaded *l;

        assert_true(i < 1000);
        mem_fail_after(i);
        l = load(good);
        failed = l->err == ERR_NOMEM;
        mem_fail_after(0);
        if (l->err)
            assert_int_equal(l->err, ERR_NOMEM);
        unload(l);
        mem_fail_after(i);
        l = load(SPAN(text));
        mem_fail_after(0);
        assert_true(l->err == ERR_NOMEM || l->err == ERR_CONFIG);
        unload(l);
    }
}

static enum err silent_check(void *block, struct config_report *r)
{
    (void)block;
    (void)r;
    return ERR_CONFIG;
}

static enum err broken_check(void *block, struct config_report *r)
{
    (void)block;
    return config_report_arena(r) ? ERR_FULL : ERR_BUG;
}

static void check_results(void **state)
{
    static const struct config_block silent =
        CONFIG_ROWS(struct example_log, example_log_rows, .check = silent_check);
    static const struct config_block broken =
        CONFIG_ROWS(struct example_log, example_log_rows, .check = broken_check);
    struct example_log log;
    struct config_report r;
    struct arena mem;

    (void)state;
    config_report_init(&r);
    arena_init(&mem, 0);
    assert_int_equal(config_load_text(SPAN(""), "x", &silent, &mem, &r, &log), ERR_CONFIG);
    assert_string_equal(r.v[0].text, "the configuration is not valid");
    assert_int_equal(config_load_text(SPAN(""), "x", &broken, &mem, &r, &log), ERR_FULL);
    config_report_done(&r);
    arena_done(&mem);
}

/* ---- rows that lie ---- */

struct odd {
    uint8_t n;
    const char *s;
    uint8_t on[2];
    struct example_log *logs;
    size_t n_logs;
};

static const struct config_row odd_rows[] = {
    CONFIG_COUNT("wide", struct odd, n, .max = 300, .help = "x"),
    CONFIG_COUNT("low", struct odd, n, .min = 1, .help = "x"),
    CONFIG_COUNT("default", struct odd, n, .max = 5, .fallback = "6", .help = "x"),
    CONFIG_COUNT("twice", struct odd, n, .help = "x"),
    CONFIG_COUNT("twice", struct odd, n, .help = "x"),
    CONFIG_STRING("No Word", struct odd, s, .help = "x"),
    CONFIG_STRING("helpless", struct odd, s),
    CONFIG_STRING("both", struct odd, s, .required = true, .fallback = "x", .help = "x"),
    CONFIG_STRING("zero", struct odd, s, .zero = "off", .help = "x"),
    CONFIG_ENUM("no-zero", struct odd, n, example_actions, .help = "x"),
    CONFIG_MAP("small", struct odd, on, example_causes, example_actions, .help = "x"),
    CONFIG_LIST("logs", struct odd, logs, n_logs, example_log_block, .unique = "level",
                .help = "x"),
};

static void rows_that_lie(void **state)
{
    static const struct config_block odd = CONFIG_ROWS(struct odd, odd_rows);
    struct config_report r;
    struct buf out;

    (void)state;
    config_report_init(&r);
    buf_init(&out, 0);
    assert_int_equal(config_rows_check(&odd, &r), ERR_BUG);
    config_report_print(&r, &out);
    assert_string_equal(buf_cstr(&out),
                        "rows: row wide: its range does not fit its field\n"
                        "rows: row low: 0 is out of range, so it needs a default\n"
                        "rows: built-in default: default must be 0..5, got '6'\n"
                        "rows: row twice: there twice\n"
                        "rows: row No Word: its name is no lower case word\n"
                        "rows: row helpless: no help\n"
                        "rows: row both: required, and yet a default\n"
                        "rows: row zero: a word for 0 is for numbers\n"
                        "rows: row no-zero: no word for 0, so it needs a default\n"
                        "rows: row small: the value of 'not-inspected' does not fit its field\n"
                        "rows: row logs: its unique key must be a required text\n");
    config_report_done(&r);
    buf_done(&out);
}

static void rows_that_are_sound(void **state)
{
    struct config_report r;

    (void)state;
    config_report_init(&r);
    assert_int_equal(config_rows_check(&example_block, &r), OK);
    assert_int_equal(r.n, 0);
    config_report_done(&r);
}

static void default_that_lies(void **state)
{
    static const struct config_row row[] = {
        CONFIG_STRINGS("on", struct example_service, pipeline, .fallback = "{", .help = "x")};
    static const struct config_block block = CONFIG_ROWS(struct example_service, row);
    struct example_service s;
    struct config_report r;
    struct arena mem;

    (void)state;
    config_report_init(&r);
    arena_init(&mem, 0);
    assert_int_equal(config_load_text(SPAN(""), "x", &block, &mem, &r, &s), ERR_BUG);
    config_report_done(&r);
    arena_done(&mem);
}

/* A text alone is a list of one where the row says so. */
static void one_for_a_list(void **state)
{
    static const struct config_row row[] = {
        CONFIG_STRINGS("on", struct example_service, pipeline, .single = true, .max = 2)};
    static const struct config_block block = CONFIG_ROWS(struct example_service, row);
    static const struct {
        const char *text;
        size_t n; /* 0: refused */
        const char *said;
    } cases[] = {
        {"on: a",         1, ""                                                   },
        {"on: 'a, b'",    1, ""                                                   },
        {"on: [a, b]",    2, ""                                                   },
        {"on: [a, b, c]", 0, "x:1:5: on must have 0..2 elements, got 3\n"         },
        {"on: {a: b}",    0, "x:1:5: on must be a text or a list, got a mapping\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct example_service s = {0};
        struct config_report r;
        struct arena mem;
        struct buf said;

        config_report_init(&r);
        arena_init(&mem, 0);
        buf_init(&said, 0);
        enum err e = config_load_text(span_of(cases[i].text), "x", &block, &mem, &r, &s);

        config_report_print(&r, &said);
        assert_string_equal(buf_cstr(&said), cases[i].said);
        assert_int_equal(e, cases[i].n ? OK : ERR_CONFIG);
        assert_int_equal(s.pipeline.n, cases[i].n);
        if (cases[i].n == 2)
            assert_string_equal(s.pipeline.v[1], "b");
        buf_done(&said);
        config_report_done(&r);
        arena_done(&mem);
    }
}

/* ---- all of them ---- */

#define N_VALUES   ARRAY_LEN(values)
#define N_REFUSALS ARRAY_LEN(refusals)

int main(int argc, char **argv)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(typed_fields),         cmocka_unit_test(networks),
        cmocka_unit_test(collects_all),         cmocka_unit_test(counts_the_rest),
        cmocka_unit_test(warnings_do_not_fail), cmocka_unit_test(places_outlive_the_load),
        cmocka_unit_test(file_missing),         cmocka_unit_test(budget),
        cmocka_unit_test(failing_allocations),  cmocka_unit_test(check_results),
        cmocka_unit_test(rows_that_lie),        cmocka_unit_test(rows_that_are_sound),
        cmocka_unit_test(default_that_lies),    cmocka_unit_test(one_for_a_list),
    };
    static struct CMUnitTest tests[N_VALUES + N_REFUSALS + ARRAY_LEN(others)];
    size_t n = 0;

    for (size_t i = 0; i < N_VALUES; i++)
        tests[n++] = (struct CMUnitTest){
            .name = values[i].name, .test_func = value_case, .initial_state = &values[i]};
    for (size_t i = 0; i < N_REFUSALS; i++)
        tests[n++] = (struct CMUnitTest){
            .name = refusals[i].name, .test_func = refusal_case, .initial_state = &refusals[i]};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        tests[n++] = others[i];
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("config_rows", tests, NULL, NULL);
}
