/* SPDX-License-Identifier: Apache-2.0 */
/* worker_main.c - sallyport-worker: the zygote that the supervisor starts, and the rule check that
 * `sallyport check` uses. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/log.h"
#include "worker/engine_filetype.h"
#include "worker/engine_printing.h"
#include "worker/engine_yara.h"
#include "worker/zygote.h"

#define EXIT_USAGE         2
#define MEMORY_DEFAULT     (512ull << 20)
#define MEMORY_MIN         (16ull << 20)
#define ERRORS_MAX         16384u
#define PRINTED_ERRORS_MAX (1u << 20)

struct options {
    struct zygote_spec zygote;
    const char **rules;
    size_t n_rules;
    const char **magic; /* none: the system's */
    size_t n_magic;
    bool check;
};

static void print_usage(FILE *to)
{
    (void)fputs(
        "usage: sallyport-worker --control FD [--sandbox required|best-effort] [--memory BYTES]\n"
        "                        [--uid N --gid N] [--rules FILE]... [--magic FILE]...\n"
        "       sallyport-worker --check --rules FILE...\n"
        "       sallyport-worker --help | --version\n"
        "The first form is started by sallyport; see sallyport-worker(8).\n",
        to);
}

static NODISCARD bool number(const char *name, const char *text, uint64_t min, uint64_t max,
                             uint64_t *ret)
{
    if (span_u64(span_of(text), max, ret) == OK && *ret >= min)
        return true;
    (void)fprintf(stderr, "sallyport-worker: --%s must be %llu..%llu, got '%s'\n", name,
                  (unsigned long long)min, (unsigned long long)max, text);
    return false;
}

static NODISCARD bool take_sandbox(const char *text, bool *ret_required)
{
    *ret_required = strcmp(text, "required") == 0;
    if (*ret_required || strcmp(text, "best-effort") == 0)
        return true;
    (void)fprintf(stderr, "sallyport-worker: --sandbox must be required or best-effort, got '%s'\n",
                  text);
    return false;
}

/* One option; false after a message. */
static NODISCARD bool take_option(struct options *o, int option, const char *arg)
{
    uint64_t v = 0;

    switch (option) {
    case 'c':
        if (!number("control", arg, 0, INT32_MAX, &v))
            return false;
        o->zygote.control = (int)v;
        return true;
    case 's': return take_sandbox(arg, &o->zygote.required);
    case 'm': return number("memory", arg, MEMORY_MIN, INT64_MAX / 2, &o->zygote.memory_max);
    case 'u':
        if (!number("uid", arg, 0, INT32_MAX, &v))
            return false;
        o->zygote.uid = (uid_t)v;
        return true;
    case 'g':
        if (!number("gid", arg, 0, INT32_MAX, &v))
            return false;
        o->zygote.gid = (gid_t)v;
        return true;
    case 'r': o->rules[o->n_rules++] = arg; return true;
    case 'M': o->magic[o->n_magic++] = arg; return true;
    case 'k': o->check = true; return true;
    default: print_usage(stderr); return false;
    }
}

/* -1: go on; else the exit code. */
static NODISCARD int parse_options(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {
        {"control", required_argument, NULL, 'c'},
        {"sandbox", required_argument, NULL, 's'},
        {"memory",  required_argument, NULL, 'm'},
        {"uid",     required_argument, NULL, 'u'},
        {"gid",     required_argument, NULL, 'g'},
        {"rules",   required_argument, NULL, 'r'},
        {"magic",   required_argument, NULL, 'M'},
        {"check",   no_argument,       NULL, 'k'},
        {"help",    no_argument,       NULL, 'h'},
        {"version", no_argument,       NULL, 'V'},
        {NULL,      0,                 NULL, 0  }
    };
    int option;

    while ((option = getopt_long(argc, argv, "hV", names, NULL)) != -1) {
        if (option == 'h') {
            print_usage(stdout);
            return EXIT_SUCCESS;
        }
        if (option == 'V') {
            (void)puts("sallyport-worker " SALLYPORT_VERSION);
            return EXIT_SUCCESS;
        }
        if (!take_option(o, option, optarg))
            return EXIT_USAGE;
    }
    for (; optind < argc; optind++)
        o->rules[o->n_rules++] = argv[optind];
    if (o->check ? o->n_rules > 0 : o->zygote.control >= 0)
        return -1;
    print_usage(stderr);
    return EXIT_USAGE;
}

static int check(const struct options *o)
{
    struct yara_rules rules = {0};
    struct buf errors, warnings;
    int code = EXIT_FAILURE;

    buf_init(&errors, PRINTED_ERRORS_MAX);
    buf_init(&warnings, PRINTED_ERRORS_MAX);
    enum err e = yara_rules_load(o->rules, o->n_rules, &rules, &errors, &warnings);

    (void)fputs(buf_cstr(&warnings), stderr);
    (void)fputs(buf_cstr(&errors), stderr);
    if (e == OK) {
        (void)printf("OK: %zu rules in %zu files, digest %s\n", rules.n_rules, o->n_rules,
                     rules.digest);
        code = fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    yara_rules_done(&rules);
    buf_done(&errors);
    buf_done(&warnings);
    return code;
}

static void log_lines(enum log_level level, const struct buf *text)
{
    struct span rest = buf_span(text);

    while (rest.n) {
        struct span line = span_cut(&rest, '\n');

        log_event(level, "rules", SPAN_FMT, SPAN_ARG(line));
    }
}

static void send_broken(int control, const struct buf *errors)
{
    struct wire_message m = {.kind = WIRE_BROKEN};

    (void)span_copy(buf_span(errors), m.broken.text, sizeof m.broken.text);
    log_lines(LOG_LEVEL_ERROR, errors);
    if (wire_send(control, &m, -1) != OK)
        log_error("rules", "and the supervisor is gone");
}

static NODISCARD enum err load_yara(const struct options *o, struct yara_rules *rules,
                                    struct engines *engines, struct buf *text, struct buf *errors)
{
    struct buf warnings;

    buf_init(&warnings, ERRORS_MAX);
    enum err e = yara_rules_load(o->rules, o->n_rules, rules, errors, &warnings);

    if (e == OK)
        engines->list[engines->n++] = engine_yara(rules, text);
    log_lines(LOG_LEVEL_WARN, &warnings);
    buf_done(&warnings);
    return e;
}

static NODISCARD enum err load_filetype(const struct options *o, struct engines *engines,
                                        struct buf *text, struct buf *errors)
{
    if (text->n)
        buf_char(text, ' ');
    TRY(engine_filetype(o->magic, o->n_magic, &engines->list[engines->n], text, errors));
    engines->n++;
    return OK;
}

static void add_printing(struct engines *engines, struct buf *text)
{
    buf_char(text, ' ');
    engines->list[engines->n++] = engine_printing(text);
}

/* Without rules there is no YARA engine, and every JOB that asks for it is answered with
 * ENGINE_DOWN. File types are always told: a zygote that cannot is broken. */
static NODISCARD enum err load_engines(const struct options *o, struct yara_rules *rules,
                                       struct engines *engines)
{
    struct buf errors, text;
    enum err e = OK;

    buf_init(&errors, ERRORS_MAX);
    buf_init(&text, sizeof engines->text - 1);
    if (o->n_rules)
        e = load_yara(o, rules, engines, &text, &errors);
    if (e == OK)
        e = load_filetype(o, engines, &text, &errors);
    if (e == OK)
        add_printing(engines, &text);
    if (e != OK)
        send_broken(o->zygote.control, &errors);
    (void)span_copy(buf_span(&text), engines->text, sizeof engines->text);
    buf_done(&errors);
    buf_done(&text);
    return e;
}

static void free_engines(struct engines *engines)
{
    for (unsigned i = 0; i < engines->n; i++)
        if (engines->list[i].bit == WIRE_ENGINE_FILETYPE)
            engine_filetype_done(&engines->list[i]);
}

/* A gateway that wakes a worker goes on with its other connections instead of giving way to it at
 * once, and is not kept waiting by one that computes. Where the kernel does not have the policy
 * everything works as without it. */
static void give_way(void)
{
    const struct sched_param none = {0};

    (void)sched_setscheduler(0, SCHED_BATCH, &none);
}

static int serve(const struct options *o)
{
    struct zygote_spec spec = o->zygote;
    struct yara_rules rules = {0};
    struct engines engines = {0};
    int code = EXIT_FAILURE;

    log_setup(STDERR_FILENO, LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "worker");
    give_way();
    /* What libc (for dates of certificates) and OpenSSL would read on first use: in a worker they
     * no longer can. */
    tzset();
    (void)OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG | OPENSSL_INIT_LOAD_CRYPTO_STRINGS |
                                  OPENSSL_INIT_ADD_ALL_CIPHERS | OPENSSL_INIT_ADD_ALL_DIGESTS,
                              NULL);
    if (load_engines(o, &rules, &engines) == OK) {
        spec.engines = &engines;
        code = zygote_run(&spec);
    }
    free_engines(&engines);
    yara_rules_done(&rules);
    return code;
}

/* Descriptors 0 to 2 exist, so that none of ours is taken for one of them. */
static NODISCARD bool fill_standard_fds(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    return fd >= 0 && close(fd) == 0;
}

int main(int argc, char **argv)
{
    struct options o = {
        .zygote = {.control = -1, .required = true, .memory_max = MEMORY_DEFAULT}
    };
    int code;

    if (!fill_standard_fds())
        return EXIT_FAILURE;
    /* No more files than arguments. */
    o.rules = calloc((size_t)argc + 1, sizeof *o.rules);
    o.magic = calloc((size_t)argc + 1, sizeof *o.magic);
    code = o.rules && o.magic ? parse_options(argc, argv, &o) : EXIT_FAILURE;
    if (code < 0)
        code = o.check ? check(&o) : serve(&o);
    free(o.rules);
    free(o.magic);
    return code;
}
