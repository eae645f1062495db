/* SPDX-License-Identifier: Apache-2.0 */
/* Tenants and their users. A password never leaves this process: what the gateway gets, and keeps,
 * is a verifier, and for users of Digest what is as good as the password in one realm. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/ask.h"
#include "cli/login.h"
#include "cli/password.h"
#include "proc/supervisor.h"
#include "tenant/credential.h"

enum {
    OPTION_STATE = 256,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_USER,
    OPTION_FILE,
    OPTION_GENERATE,
    OPTION_DIGEST,
    OPTION_DIGEST_MD5,
    OPTION_YES,
};

/* clang-format off */
static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"state", required_argument, NULL, OPTION_STATE},
    {"json", no_argument, NULL, OPTION_JSON},
    {"user", required_argument, NULL, OPTION_USER},
    {"password-file", required_argument, NULL, OPTION_FILE},
    {"generate", no_argument, NULL, OPTION_GENERATE},
    {"digest", required_argument, NULL, OPTION_DIGEST},
    {"digest-md5", no_argument, NULL, OPTION_DIGEST_MD5},
    {"yes", no_argument, NULL, OPTION_YES},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};
/* clang-format on */

struct arguments {
    struct ask ask;
    bool json, yes;
    const char *user;
    struct password_source password;
    const char *realm; /* for Digest; NULL: none is wanted */
    bool md5;
    const char *name; /* behind the verb */
    const struct verb *verb;
};

struct verb {
    const char *name, *command, *done;
    int (*run)(struct arguments *a);
    bool wants_name, user, password, generates, digest, yes; /* words and options that go with it */
};

/* ---- changes ---- */

static void tell_digest(const struct arguments *a, const json_t *answer, struct buf *out)
{
    if (a->realm)
        buf_fmt(out, "Digest: %s in the realm '%s'\n", a->md5 ? "SHA-256 and MD5" : "SHA-256",
                a->realm);
    if (json_is_true(json_object_get(answer, "digest_removed")))
        buf_text(out, "Digest: none any more, for it was of the old password; say --digest REALM "
                      "to have it with the new one\n");
}

/* What was done, and the password when it was generated: nobody sees it again. */
static void tell(const struct arguments *a, json_t *answer, const struct buf *generated)
{
    struct buf out;

    buf_init(&out, 0);
    if (a->json) {
        if (generated)
            (void)json_object_set_new(answer, "password", json_stringn(generated->p, generated->n));
        (void)json_dumpf(answer, stdout, JSON_COMPACT);
        (void)putchar('\n');
        return;
    }
    if (*ask_text(answer, "user"))
        buf_fmt(&out, "user '%s' of tenant '%s' %s\n", ask_text(answer, "user"),
                ask_text(answer, "tenant"), a->verb->done);
    else
        buf_fmt(&out, "tenant '%s' %s\n", ask_text(answer, "tenant"), a->verb->done);
    tell_digest(a, answer, &out);
    if (generated)
        buf_fmt(&out, "password: " SPAN_FMT "\n", SPAN_ARG(buf_span(generated)));
    ask_print(&out);
    password_done(&out);
}

/* {"command":...,"tenant":...,"user":...} and the members of |verifier|, if there is one. */
static int ask_change(const struct arguments *a, const char *tenant, const char *user,
                      const struct credential *verifier, const struct buf *generated)
{
    struct buf text;
    struct json j;
    json_t *answer;

    buf_init(&text, 0);
    j = json_to(&text);
    json_open(&j, NULL, '{');
    json_text(&j, "command", a->verb->command);
    if (tenant)
        json_text(&j, "tenant", tenant);
    if (user)
        json_text(&j, "user", user);
    if (verifier) {
        credential_verifier_json(verifier, &j);
        digest_verifier_json(&verifier->digest, &j);
    }
    json_close(&j, '}');
    int code = ask_json(&a->ask, json_loadb(text.p, text.n, 0, NULL), &answer);

    password_done(&text);
    if (code != EXIT_FINE)
        return code;
    tell(a, answer, generated);
    json_decref(answer);
    return code;
}

/* With as many rounds as the gateway wants, which takes some tenths of a second. */
static int make_verifier(const struct arguments *a, struct span password, struct credential *ret)
{
    json_t *answer;
    int code = ask_json(&a->ask, json_pack("{s:s}", "command", "tenant-rounds"), &answer);

    if (code != EXIT_FINE)
        return code;
    json_int_t rounds = ask_number(answer, "rounds");
    bool sane = rounds >= CREDENTIAL_ROUNDS_MIN && rounds <= CREDENTIAL_ROUNDS_MAX;

    json_decref(answer);
    if (!sane)
        return ask_complain(&a->ask, EXIT_REFUSED, "the gateway does not say how many rounds");
    if (credential_set_password(ret, password, (uint32_t)rounds) != OK)
        return ask_complain(&a->ask, EXIT_REFUSED, "no memory or no randomness");
    return EXIT_FINE;
}

static int make_digest(const struct arguments *a, struct span user, struct span password,
                       struct digest_verifier *ret)
{
    if (!a->realm)
        return EXIT_FINE;
    enum digest_err e = digest_verifier_make(user, span_of(a->realm), password, a->md5, ret);

    if (!e)
        return EXIT_FINE;
    return ask_complain(&a->ask, EXIT_REFUSED, "for Digest: %s%s", digest_err_text(e),
                        a->md5 ? "; where MD5 is not allowed, leave --digest-md5 out" : "");
}

static int check_realm(const struct arguments *a)
{
    if (a->md5 && !a->realm)
        return command_wrong(a->ask.command, "--digest-md5 adds MD5 to Digest: say --digest REALM, "
                                             "too");
    if (!a->realm)
        return EXIT_FINE;
    if (strncmp(a->realm, "--", 2) == 0)
        return command_wrong(a->ask.command,
                             "the realm of --digest is missing: say --digest REALM, "
                             "the name with which the server asks for the password");
    if (!digest_verifier_realm_is_valid(span_of(a->realm)))
        return command_wrong(a->ask.command,
                             "the realm of --digest has to be what the server asks with: 1 to %u "
                             "bytes of UTF-8 without control characters, '\"' and '\\'",
                             DIGEST_VERIFIER_REALM_MAX);
    return EXIT_FINE;
}

static int change_password(struct arguments *a, const char *tenant, const char *user)
{
    struct credential c = {0};
    struct buf password;

    if (!credential_user_is_valid(span_of(user)))
        return command_wrong(a->ask.command,
                             "a user's name is at most 128 bytes of UTF-8 without colons and "
                             "control characters");
    int code = check_realm(a);

    if (code != EXIT_FINE)
        return code;
    buf_init(&password, 0);
    code = password_read(a->ask.command, &a->password, &password);
    if (code == EXIT_FINE)
        code = make_verifier(a, buf_span(&password), &c);
    if (code == EXIT_FINE)
        code = make_digest(a, span_of(user), buf_span(&password), &c.digest);
    if (code == EXIT_FINE)
        code = ask_change(a, tenant, user, &c, a->password.generate ? &password : NULL);
    password_done(&password);
    explicit_bzero(&c, sizeof c);
    return code;
}

static int run_add(struct arguments *a)
{
    if (a->user)
        return change_password(a, a->name, a->user);
    if (a->password.file || a->password.generate)
        return command_wrong(a->ask.command, "a password belongs to a user: say --user");
    if (a->realm || a->md5)
        return command_wrong(a->ask.command, "Digest is for a user: say --user");
    return ask_change(a, a->name, NULL, NULL, NULL);
}

static int run_passwd(struct arguments *a)
{
    return change_password(a, NULL, a->name);
}

static int run_rotate(struct arguments *a)
{
    a->password.generate = true;
    return change_password(a, NULL, a->name);
}

static int run_able(struct arguments *a)
{
    return ask_change(a, a->name, a->user, NULL, NULL);
}

static int run_remove(struct arguments *a)
{
    struct buf question;
    bool yes = a->yes;
    int code = EXIT_FINE;

    if (!a->name && !a->user)
        return command_wrong(a->ask.command, "remove what? NAME of a tenant, or --user USER");
    if (!yes) {
        buf_init(&question, 0);
        if (a->user)
            buf_fmt(&question, "Remove the user '%s'?", a->user);
        else
            buf_fmt(&question,
                    "Remove the tenant '%s' with all its users? Its key is lost for good.",
                    a->name);
        code = password_confirm(a->ask.command, buf_cstr(&question), &yes);
        buf_done(&question);
    }
    if (code != EXIT_FINE)
        return code;
    if (!yes)
        return ask_complain(&a->ask, EXIT_REFUSED, "nothing was changed");
    return ask_change(a, a->name, a->user, NULL, NULL);
}

/* ---- list ---- */

static void describe_user(const json_t *u, struct buf *out)
{
    const json_t *digest = json_object_get(u, "digest");

    buf_fmt(out, "    %-24s %7lld rounds  set %s", ask_text(u, "user"),
            (long long)ask_number(u, "rounds"), ask_text(u, "changed"));
    if (json_is_object(digest))
        buf_fmt(out, "  Digest SHA-256%s in '%s'",
                json_is_true(json_object_get(digest, "md5")) ? " and MD5" : "",
                ask_text(digest, "realm"));
    if (json_is_true(json_object_get(u, "disabled")))
        buf_text(out, "  DISABLED");
    buf_char(out, '\n');
}

static void describe(const json_t *t, struct buf *out)
{
    const json_t *users = json_object_get(t, "users"), *u;
    size_t i;

    buf_fmt(out, "%s%s%s\n", ask_text(t, "name"),
            json_is_true(json_object_get(t, "disabled")) ? "  DISABLED" : "",
            json_is_true(json_object_get(t, "configured")) ? "" : "  not in the configuration");
    buf_fmt(out, "    now %lld connections, %lld scans; so far %lld requests, %lld refused\n",
            (long long)ask_number(t, "connections"), (long long)ask_number(t, "scans"),
            (long long)ask_number(t, "requests"), (long long)ask_number(t, "refused"));
    json_array_foreach(users, i, u)
    {
        describe_user(u, out);
    }
}

static int run_list(struct arguments *a)
{
    json_t *answer;
    struct buf out;
    size_t i;
    const json_t *t;
    int code = ask_json(&a->ask, json_pack("{s:s}", "command", "tenant-list"), &answer);

    if (code != EXIT_FINE)
        return code;
    const json_t *list = json_object_get(answer, "tenants");

    if (a->json) {
        (void)json_dumpf(answer, stdout, JSON_COMPACT);
        (void)putchar('\n');
    } else {
        buf_init(&out, 0);
        json_array_foreach(list, i, t)
        {
            describe(t, &out);
        }
        if (json_array_size(list) == 0)
            buf_text(&out, "no tenants\n");
        ask_print(&out);
        buf_done(&out);
    }
    json_decref(answer);
    return code;
}

/* ---- command line ---- */

static const struct verb verbs[] = {
    {"add",     "tenant-add",     "was added",            run_add,    true,  true,  true,  true,  true,  false},
    {"list",    NULL,             NULL,                   run_list,   false, false, false, false, false, false},
    {"disable", "tenant-disable", "is disabled",          run_able,   true,  true,  false, false, false, false},
    {"enable",  "tenant-enable",  "is enabled",           run_able,   true,  true,  false, false, false, false},
    {"passwd",  "tenant-passwd",  "has another password", run_passwd, true,  false, true,  true,  true,
     false                                                                                                    },
    {"rotate",  "tenant-passwd",  "has another password", run_rotate, true,  false, false, false, true,
     false                                                                                                    },
    {"remove",  "tenant-remove",  "was removed",          run_remove, false, true,  false, false, false, true },
};

/* -1: go on. */
static int read_options(struct arguments *a, int argc, char **argv)
{
    int c;

    while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        switch (c) {
        case 'c': a->ask.config = optarg; break;
        case OPTION_STATE: a->ask.state = optarg; break;
        case OPTION_JSON: a->json = true; break;
        case OPTION_USER: a->user = optarg; break;
        case OPTION_FILE: a->password.file = optarg; break;
        case OPTION_GENERATE: a->password.generate = true; break;
        case OPTION_DIGEST: a->realm = optarg; break;
        case OPTION_DIGEST_MD5: a->md5 = true; break;
        case OPTION_YES: a->yes = true; break;
        case 'h':
        case OPTION_HELP: return command_usage(a->ask.command, false);
        default: return command_usage(a->ask.command, true);
        }
    return -1;
}

static const char *option_that_does_not_fit(const struct arguments *a)
{
    const struct verb *v = a->verb;
    const struct {
        const char *name;
        bool given, fits;
    } rows[] = {
        {"--user",          a->user != NULL,          v->user     },
        {"--password-file", a->password.file != NULL, v->password },
        {"--generate",      a->password.generate,     v->generates},
        {"--digest",        a->realm != NULL,         v->digest   },
        {"--digest-md5",    a->md5,                   v->digest   },
        {"--yes",           a->yes,                   v->yes      },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].given && !rows[i].fits)
            return rows[i].name;
    return NULL;
}

static int run_verb(struct arguments *a, int n, char **words)
{
    int wanted = strcmp(a->verb->name, "list") == 0 ? 1 : 2;
    const char *option = option_that_does_not_fit(a);

    if (option)
        return command_wrong(a->ask.command, "%s does not go with %s", option, a->verb->name);
    if (n > wanted)
        return command_wrong(a->ask.command, "unexpected argument '%s'", words[wanted]);
    if (n < 2 && a->verb->wants_name)
        return command_wrong(a->ask.command, "%s whom? A name is missing", a->verb->name);
    a->name = n > 1 ? words[1] : NULL;
    return a->verb->run(a);
}

static int run(int argc, char **argv)
{
    struct arguments a = {.ask.command = &command_tenant};
    int code = read_options(&a, argc, argv);
    const char *name = optind < argc ? argv[optind] : NULL;

    if (code >= 0)
        return code;
    for (size_t i = 0; name && i < ARRAY_LEN(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            a.verb = &verbs[i];
    if (a.verb)
        return run_verb(&a, argc - optind, argv + optind);
    if (name)
        return command_wrong(&command_tenant, "there is no '%s'", name);
    return command_wrong(&command_tenant,
                         "say what to do: add, list, disable, enable, passwd, rotate or remove");
}

const struct command command_tenant = {
    .name = "tenant",
    .summary = "tenants, their users and passwords",
    .usage =
        "sallyport tenant add NAME [--user USER [--password-file FILE | --generate] [DIGEST]]\n"
        "       sallyport tenant list\n"
        "       sallyport tenant disable|enable NAME [--user USER]\n"
        "       sallyport tenant passwd USER [--password-file FILE | --generate] [DIGEST]\n"
        "       sallyport tenant rotate USER [DIGEST]\n"
        "       sallyport tenant remove [NAME] [--user USER] [--yes]\n"
        "DIGEST: --digest REALM [--digest-md5]\n\n"
        "  --user USER           a user of the tenant\n"
        "  --password-file FILE  the password is FILE's first line; - is standard input\n"
        "  --generate            make one up, and print it once\n"
        "  --digest REALM        also keep what Digest logins need, for servers that ask with "
        "REALM.\n"
        "                        Whoever steals it needs no password there. Without this option\n"
        "                        it is not kept, and what was kept before is removed\n"
        "  --digest-md5          also for clients that know no SHA-256\n"
        "  --yes                 remove without asking\n"
        "  --json                answer as JSON\n" ASK_USAGE
        "\nOtherwise the password comes from $" LOGIN_VARIABLE
        ", or is asked for on the terminal.\n"
        "Exit code 0: done, 1: refused, 2: usage, 4: nobody answers.\n",
    .run = run,
};
