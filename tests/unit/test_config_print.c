/* SPDX-License-Identifier: Apache-2.0 */
/* What else rows are good for: the effective configuration, what a reload may change, the manual.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test_config_example.h"

struct loaded {
    struct arena mem;
    struct example_config c;
};

static struct loaded *load(struct span text)
{
    struct loaded *l = calloc(1, sizeof *l);
    struct config_report r;

    assert_non_null(l);
    config_report_init(&r);
    arena_init(&l->mem, 0);
    assert_int_equal(config_load_text(text, "x", &example_block, &l->mem, &r, &l->c), OK);
    config_report_done(&r);
    return l;
}

static void unload(struct loaded *l)
{
    arena_done(&l->mem);
    free(l);
}

static const char busy[] =
    "state: /srv\nthreads: 3\nuser: \"a\\tb # c\"\nlog: {json: yes}\n"
    "tls: [{name: t, cert: /c, key: /k, pass: 'hush: \"x\" \\'}]\n"
    "listeners: [{name: a, address: '[::1]:1'}, {name: b, address: '*:0', allow: []}]\n"
    "services:\n  - {name: 'x y', path: /, on: {infected: error}, limits: {body: unlimited}}\n"
    "  - {name: z, path: /z, pipeline: [], methods: []}\n"
    "engines: {yara: {rules: ['/a, b', /c], timeout: 90s}, clamd: /run/c}\n";

/* ---- printing ---- */

static void print_is_canonical(void **state)
{
    static const unsigned flags[] = {CONFIG_PRINT_SECRETS,
                                     CONFIG_PRINT_SECRETS | CONFIG_PRINT_COMMENTS};
    struct buf first, again;

    (void)state;
    buf_init(&first, 0);
    buf_init(&again, 0);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        struct loaded *a = load(SPAN(busy)), *b;

        config_print(&example_block, &a->c, flags[i], &first);
        b = load(buf_span(&first));
        config_print(&example_block, &b->c, flags[i], &again);
        assert_string_equal(buf_cstr(&first), buf_cstr(&again));
        assert_string_equal(b->c.user, "a\tb # c");
        assert_string_equal(b->c.tls[0].pass, "hush: \"x\" \\");
        assert_string_equal(b->c.engines.yara->rules.v[0], "/a, b");
        assert_int_equal(b->c.listeners[1].allow.n, 0);
        assert_int_equal(b->c.services[1].methods, 0);
        unload(a);
        unload(b);
        buf_reset(&first);
        buf_reset(&again);
    }
    buf_done(&first);
    buf_done(&again);
}

static void print_hides_secrets(void **state)
{
    struct loaded *l = load(SPAN(busy));
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    config_print(&example_block, &l->c, CONFIG_PRINT_COMMENTS, &out);
    assert_null(strstr(buf_cstr(&out), "hush"));
    assert_non_null(strstr(buf_cstr(&out), "    pass: \"(set)\"\n"));
    buf_done(&out);
    unload(l);
}

static void print_defaults(void **state)
{
    struct loaded *l = load(SPAN("engines: {yara: {rules: [/a]}}"));
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    config_print(&example_block, &l->c, 0, &out);
    assert_string_equal(buf_cstr(&out), "state: /var/lib/sallyport\n"
                                        "threads: auto\n"
                                        "sandbox: required\n"
                                        "# user: (not set)\n"
                                        "# banner: (not set)\n"
                                        "log:\n"
                                        "  level: info\n"
                                        "  json: false\n"
                                        "on-full: drop\n"
                                        "limits:\n"
                                        "  body: 64m\n"
                                        "  header: 64k\n"
                                        "  connections: 1000\n"
                                        "  idle: 1m\n"
                                        "  session: 1h\n"
                                        "tls: []\n"
                                        "listeners: []\n"
                                        "services: []\n"
                                        "engines:\n"
                                        "  yara:\n"
                                        "    rules: [/a]\n"
                                        "    timeout: 10s\n"
                                        "  # clamd: (not set)\n");
    buf_done(&out);
    unload(l);
}

/* ---- reload ---- */

struct change {
    const char *name;
    const char *before, *after;
    const char *key; /* NULL: may be swapped live */
};

/* clang-format off */
#define L "listeners: "
static struct change changes[] = {
    {"nothing",          busy,                                 busy,                                 NULL},
    {"spelled_otherwise", "limits: {connections: 1000}",       "",                                   NULL},
    {"live_value",       "user: a",                            "user: b",                            NULL},
    {"live_inner",       "limits: {idle: 1m}",                 "limits: {idle: 2m}",                 NULL},
    {"scalar",           "threads: 1",                         "threads: 2",                         "threads"},
    {"first_of_many",    "threads: 1\nstate: /a",              "threads: 2\nstate: /b",              "state"},
    {"inner",            "limits: {connections: 1}",           "limits: {connections: 2}",           "limits.connections"},
    {"element",          L "[{name: a, address: /a}]",         L "[{name: a, address: /b}]",         "listeners.a.address"},
    {"element_live",     L "[{name: a, address: /a}]",         L "[{name: a, address: /a, allow: []}]", NULL},
    {"element_order",    L "[{name: a, address: /a}, {name: b, address: /b}]", L "[{name: b, address: /b}, {name: a, address: /a}]", NULL},
    {"element_came",     L "[{name: a, address: /a}]",         L "[{name: a, address: /a}, {name: b, address: /b}]", "listeners.b"},
    {"element_went",     L "[{name: a, address: /a}]",         "",                                   "listeners.a"},
    {"element_renamed",  L "[{name: a, address: /a}]",         L "[{name: b, address: /a}]",         "listeners.a"},
    {"element_inner",    "services: [{name: a, path: /, limits: {connections: 1}}]", "services: [{name: a, path: /, limits: {connections: 2}}]", "services.a.limits.connections"},
    {"element_of_live",  "tls: [{name: a, cert: /a, key: /b}]", "",                                  NULL},
    {"optional_live",    "engines: {yara: {rules: [/a]}}",     "",                                   NULL},
};
#undef L
/* clang-format on */

static void change_case(void **state)
{
    const struct change *change = *state;
    struct loaded *a = load(span_of(change->before)), *b = load(span_of(change->after));
    bool restart = !change->key;
    struct buf key;

    buf_init(&key, 0);
    assert_int_equal(config_diff_restart(&example_block, &a->c, &b->c, &restart, &key), OK);
    assert_int_equal(restart, change->key != NULL);
    assert_string_equal(buf_cstr(&key), change->key ? change->key : "");
    assert_int_equal(config_diff_restart(&example_block, &b->c, &a->c, &restart, NULL), OK);
    assert_int_equal(restart, change->key != NULL);
    buf_done(&key);
    unload(a);
    unload(b);
}

/* A list without names is paired by position; a block behind a pointer comes and goes. */
static void change_by_position(void **state)
{
    struct plain {
        struct example_listener *listeners;
        size_t n_listeners;
        struct example_listener *extra;
    };
    static const struct config_row rows[] = {
        CONFIG_LIST("listeners", struct plain, listeners, n_listeners, example_listener_block,
                    .help = "x"),
        CONFIG_OPTIONAL("extra", struct plain, extra, example_listener_block, .help = "x"),
    };
    static const struct config_block block = CONFIG_ROWS(struct plain, rows);
    static const struct {
        const char *text, *key;
    } steps[] = {
        {"listeners: [{name: a, address: /a}]",                         "listeners"        },
        {"listeners: [{name: a, address: /a}, {name: b, address: /b}]", "listeners.address"},
        {"listeners: [{name: b, address: /b}, {name: a, address: /a}]", "extra"            },
        {"{listeners: [{name: b, address: /b}, {name: a, address: /a}], extra: {name: c, address: "
         "/c}}",                                               "extra.address"    },
        {"{listeners: [{name: b, address: /b}, {name: a, address: /a}], extra: {name: c, address: "
         "/d}}",                                               NULL               },
    };
    struct plain v[ARRAY_LEN(steps)];
    struct config_report r;
    struct arena mem;
    struct buf key;

    (void)state;
    config_report_init(&r);
    arena_init(&mem, 0);
    buf_init(&key, 0);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        assert_int_equal(config_load_text(span_of(steps[i].text), "x", &block, &mem, &r, &v[i]),
                         OK);
    for (size_t i = 0; i + 1 < ARRAY_LEN(steps); i++) {
        bool restart = false;

        assert_int_equal(config_diff_restart(&block, &v[i], &v[i + 1], &restart, &key), OK);
        assert_true(restart);
        assert_string_equal(buf_cstr(&key), steps[i].key);
        buf_reset(&key);
    }
    buf_done(&key);
    config_report_done(&r);
    arena_done(&mem);
}

static void change_without_memory(void **state)
{
    struct loaded *a = load(SPAN("threads: 1")), *b = load(SPAN("threads: 2"));
    bool restart = false;

    (void)state;
    mem_fail_after(2);
    assert_int_equal(config_diff_restart(&example_block, &a->c, &b->c, &restart, NULL), ERR_NOMEM);
    mem_fail_after(0);
    assert_false(restart);
    unload(a);
    unload(b);
}

/* ---- manual ---- */

static void man_escapes(void **state)
{
    struct tricky {
        const char *s;
        uint8_t n;
    };
    static const struct config_row rows[] = {
        CONFIG_STRING("no", struct tricky, s, .fallback = "a \"b\" \\ 'c'",
                      .help = ".so evil. 'Tis \\fB ~ ^ ` text. Last"),
        CONFIG_COUNT("n", struct tricky, n, .min = 1, .max = 9, .fallback = "3", .unit = "things",
                     .zero = "off", .restart = true, .help = "how many"),
    };
    static const struct config_block block = CONFIG_ROWS(struct tricky, rows);
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    config_man(&block, &out);
    assert_string_equal(buf_cstr(&out), ".Bl -tag -width Ds\n"
                                        ".It Ic \"\\&no\" : Ar \"\\&text\"\n"
                                        "\\&.so evil.\n"
                                        "\\(aqTis \\efB \\(ti \\(ha \\(ga text.\n"
                                        "Last.\n"
                                        "Default:\n"
                                        ".Ql \"\\&a \\(dqb\\(dq \\e \\(aqc\\(aq\" .\n"
                                        ".It Ic \"\\&n\" : Ar \"\\&number\"\n"
                                        "How many.\n"
                                        "Value: 1..9 things.\n"
                                        "Or\n"
                                        ".Cm \"\\&off\" .\n"
                                        "Default:\n"
                                        ".Ql \"\\&3\" .\n"
                                        "A change starts a new generation of the gateway.\n"
                                        ".El\n");
    buf_done(&out);
}

static void man_is_clean(void **state)
{
    char name[] = "/tmp/config_man_XXXXXX.5", command[128];
    struct buf out;
    FILE *page;
    int fd;

    (void)state;
    if (system("command -v mandoc >/dev/null") != 0)
        skip();
    buf_init(&out, 0);
    buf_text(&out, ".Dd November 21, 2024\n.Dt X.YAML 5\n.Os\n.Sh NAME\n.Nm x.yaml\n"
                   ".Nd test\n.Sh DESCRIPTION\n");
    config_man(&example_block, &out);
    fd = mkstemps(name, 2);
    assert_true(fd >= 0);
    page = fdopen(fd, "w");
    assert_non_null(page);
    assert_int_equal(fwrite(out.p, 1, out.n, page), out.n);
    assert_int_equal(fclose(page), 0);
    (void)snprintf(command, sizeof command, "mandoc -T lint -W style %s >&2", name);
    assert_int_equal(system(command), 0);
    (void)remove(name);
    buf_done(&out);
}

static void markdown(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    config_markdown(&example_block, &out);
    assert_non_null(strstr(
        buf_cstr(&out),
        "| `threads` | number, 0..1024 or `auto` | `auto` | loop threads (new generation) |"));
    assert_non_null(strstr(buf_cstr(&out), "\n### services.limits\n\nWhat a peer"));
    assert_non_null(strstr(buf_cstr(&out), "| `cert` | path | required | PEM file"));
    buf_done(&out);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(print_is_canonical),    cmocka_unit_test(print_hides_secrets),
        cmocka_unit_test(print_defaults),        cmocka_unit_test(man_escapes),
        cmocka_unit_test(change_without_memory), cmocka_unit_test(change_by_position),
        cmocka_unit_test(man_is_clean),          cmocka_unit_test(markdown),
    };
    static struct CMUnitTest tests[ARRAY_LEN(changes) + ARRAY_LEN(others)];
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(changes); i++)
        tests[n++] = (struct CMUnitTest){
            .name = changes[i].name, .test_func = change_case, .initial_state = &changes[i]};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        tests[n++] = others[i];
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("config_print", tests, NULL, NULL);
}
