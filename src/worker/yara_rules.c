/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/yara_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <yara.h>

#define RULE_FILE_MAX   (64u << 20)
#define ERRORS_PER_FILE 8u

const char *const yara_variables[YARA_VARIABLES] = {
    [YARA_FILENAME] = "filename", [YARA_DECLARED_TYPE] = "declared_type",
    [YARA_FILEPATH] = "filepath", [YARA_EXTENSION] = "extension",
    [YARA_FILETYPE] = "filetype", [YARA_OWNER] = "owner",
};

/* One run of the compiler over all files. After a fault a YARA compiler must not be used again;
 * |broken| then makes the next file start with a new one, so that its faults are found, too. */
struct load {
    YR_COMPILER *compiler;
    EVP_MD_CTX *digest;
    const char *file; /* the one at hand */
    unsigned faults;  /* in it */
    bool broken;      /* any fault in any file */
    struct buf *errors, *warnings;
};

PRINTF(3, 4) static void fault(struct load *l, int line, const char *fmt, ...)
{
    va_list ap;

    l->broken = true;
    if (++l->faults > ERRORS_PER_FILE)
        return;
    buf_text(l->errors, l->file);
    if (line > 0)
        buf_fmt(l->errors, ":%d", line);
    buf_text(l->errors, ": ");
    va_start(ap, fmt);
    buf_vfmt(l->errors, fmt, ap);
    va_end(ap);
    buf_char(l->errors, '\n');
}

static void on_message(int level, const char *file, int line, const YR_RULE *rule,
                       const char *message, void *ctx)
{
    struct load *l = ctx;

    (void)file; /* NULL: we hand over text, and includes are off */
    (void)rule;
    if (level == YARA_ERROR_LEVEL_ERROR)
        fault(l, line, "%s", message);
    else
        buf_fmt(l->warnings, "%s:%d: warning: %s\n", l->file, line, message);
}

static NODISCARD bool fresh_compiler(struct load *l)
{
    int rc;

    if (l->compiler)
        yr_compiler_destroy(l->compiler);
    l->compiler = NULL;
    rc = yr_compiler_create(&l->compiler);
    if (rc != ERROR_SUCCESS)
        return false;
    yr_compiler_set_callback(l->compiler, on_message, l);
    /* A rule file names no other files: what is loaded is what the configuration lists. */
    yr_compiler_set_include_callback(l->compiler, NULL, NULL, NULL);
    for (size_t i = 0; i < YARA_VARIABLES && rc == ERROR_SUCCESS; i++)
        rc = yr_compiler_define_string_variable(l->compiler, yara_variables[i], "");
    return rc == ERROR_SUCCESS;
}

static NODISCARD bool read_all(int fd, char *p, size_t n)
{
    while (n) {
        ssize_t got = read(fd, p, n);

        if (got <= 0)
            return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

/* The file's text with a closing NUL, or NULL after fault(). The caller frees it. */
static char *read_file(struct load *l, size_t *ret_n)
{
    int fd = open(l->file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    char *text = NULL;

    if (fd < 0 || fstat(fd, &st) != 0) {
        fault(l, 0, "%s", strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        fault(l, 0, "not a regular file");
    } else if (st.st_size > RULE_FILE_MAX) {
        fault(l, 0, "larger than %u MiB", RULE_FILE_MAX >> 20);
    } else {
        *ret_n = (size_t)st.st_size;
        text = calloc(1, *ret_n + 1);
        if (!text || !read_all(fd, text, *ret_n)) {
            fault(l, 0, "%s", text ? "cannot be read" : "out of memory");
            free(text);
            text = NULL;
        }
    }
    if (fd >= 0)
        (void)close(fd);
    return text;
}

static void add_file(struct load *l, const char *file)
{
    size_t n = 0;

    l->file = file;
    l->faults = 0;
    if ((!l->compiler || l->broken) && !fresh_compiler(l)) {
        fault(l, 0, "out of memory");
        return;
    }
    char *text = read_file(l, &n);

    if (!text)
        return;
    /* The length goes in, too: two files are not one that is their sum. */
    uint64_t len = n;

    if (EVP_DigestUpdate(l->digest, &len, sizeof len) != 1 ||
        EVP_DigestUpdate(l->digest, text, n) != 1)
        fault(l, 0, "SHA-256 failed");
    else if (strlen(text) != n)
        fault(l, 0, "holds a NUL byte");
    else if (yr_compiler_add_string(l->compiler, text, file) && l->faults == 0)
        fault(l, 0, "cannot be compiled");
    free(text);
}

static void check_rule(struct load *l, YR_RULE *rule)
{
    YR_META *meta;

    l->file = rule->ns->name;
    l->faults = 0;
    yr_rule_metas_foreach(rule, meta)
    {
        if (strcmp(meta->identifier, "action") != 0)
            continue;
        if (meta->type != META_TYPE_STRING ||
            (strcmp(meta->string, "note") != 0 && strcmp(meta->string, "block") != 0))
            fault(l, 0, "rule %s: meta action must be \"block\" or \"note\"", rule->identifier);
    }
}

static void check_rules(struct load *l, struct yara_rules *ret)
{
    YR_RULE *rule;

    if (yr_compiler_get_rules(l->compiler, &ret->compiled) != ERROR_SUCCESS) {
        fault(l, 0, "out of memory");
        return;
    }
    yr_rules_foreach(ret->compiled, rule)
    {
        check_rule(l, rule);
        ret->n_rules++;
    }
    if (ret->n_rules == 0)
        fault(l, 0, "holds no rule");
}

static void finish_digest(struct load *l, struct yara_rules *ret)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    if (EVP_DigestFinal_ex(l->digest, md, &n) != 1 || n < YARA_DIGEST_TEXT / 2) {
        fault(l, 0, "SHA-256 failed");
        return;
    }
    for (size_t i = 0; i < YARA_DIGEST_TEXT; i++)
        ret->digest[i] = "0123456789abcdef"[(i % 2 ? md[i / 2] : md[i / 2] >> 4) & 15];
}

enum err yara_rules_load(const char *const *files, size_t n, struct yara_rules *ret,
                         struct buf *errors, struct buf *warnings)
{
    struct load l = {.file = "rules", .errors = errors, .warnings = warnings};
    struct yara_rules rules = {0};

    l.digest = EVP_MD_CTX_new();
    if (yr_initialize() != ERROR_SUCCESS || !l.digest ||
        EVP_DigestInit_ex(l.digest, EVP_sha256(), NULL) != 1)
        fault(&l, 0, "libyara or libcrypto cannot be started");
    for (size_t i = 0; i < n && l.digest; i++)
        add_file(&l, files[i]);
    if (!l.broken && l.compiler)
        check_rules(&l, &rules);
    if (!l.broken)
        finish_digest(&l, &rules);
    if (l.compiler)
        yr_compiler_destroy(l.compiler);
    EVP_MD_CTX_free(l.digest);
    if (l.broken || !rules.compiled) {
        yara_rules_done(&rules);
        return ERR_CONFIG;
    }
    *ret = rules;
    return OK;
}

void yara_rules_drop_scanner(struct yara_rules *r)
{
    if (r->scanner)
        yr_scanner_destroy(r->scanner);
    r->scanner = NULL;
}

void yara_rules_done(struct yara_rules *r)
{
    yara_rules_drop_scanner(r);
    if (r->compiled)
        (void)yr_rules_destroy(r->compiled);
    *r = (struct yara_rules){0};
}
