/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine_filetype.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <magic.h>
#include <openssl/evp.h>

#include "worker/filetype_look.h"
#include "worker/filetype_magic.h"

#define PROSE_MAX    1024u
#define DIGEST_TEXT  16u
#define TYPE_UNKNOWN "application/octet-stream"

/* ---- scanning ---- */

/* "application/x-executable, no program header" is the first of its words; two answers written
 * without a gap, as happens, and what is no type at all, are none. */
static bool is_type(const char *answer, struct span *ret)
{
    struct span all = span_of(answer), subtype;
    size_t n = 0;

    while (n < all.n && (char_is_token((unsigned char)all.p[n]) || all.p[n] == '/'))
        n++;
    all.n = n;
    subtype = all;
    if (all.n > OBJECT_TYPE_MAX || !span_is_token(span_cut(&subtype, '/')) ||
        !span_is_token(subtype))
        return false;
    *ret = all;
    return !span_starts(all, SPAN("inode/"));
}

/* What people type into forms, and no program reads as anything else: text that begins with a
 * letter or a digit. Of thousands of such fields in a form nobody needs the type. */
static bool is_prose(const uint8_t *p, size_t n)
{
    bool letter = n > 0 && isalnum(p[0]);

    if (!letter || (n > 1 && ((p[0] == 'M' && p[1] == 'Z') || (p[0] == 'P' && p[1] == 'K') ||
                              (p[0] == 'B' && p[1] == 'Z'))))
        return false;
    for (size_t i = 0; i < n && i < PROSE_MAX; i++)
        if (p[i] < 0x20 && p[i] != '\t' && p[i] != '\r' && p[i] != '\n')
            return false;
    return n <= PROSE_MAX;
}

/* Fields of forms, of which there may be thousands and whose bytes nobody judges by type, are not
 * asked for. */
static void scan(void *ctx, const struct engine_file *file, struct scan_result *r)
{
    char type[OBJECT_TYPE_MAX + 1];
    const char *answer;
    struct span found;

    (void)r;
    if (file->role == OBJECT_FIELD && is_prose(file->p, file->n))
        return;
    answer = filetype_magic_ask(ctx, (struct span){(const char *)file->p, file->n});
    if (!is_type(answer, &found))
        found = SPAN(TYPE_UNKNOWN);
    for (size_t i = 0; i < found.n; i++)
        type[i] = char_lower(found.p[i]);
    type[found.n] = '\0';
    if (file->sniffed)
        (void)span_copy(span_of(filetype_look((struct span){(const char *)file->p, file->n}, type)),
                        file->sniffed, OBJECT_TYPE_MAX + 1);
}

/* ---- loading ---- */

struct load {
    EVP_MD_CTX *digest;
    struct buf path;    /* the files, joined as libmagic wants them */
    struct buf *errors; /* the caller's */
    bool given;         /* by the caller: each of them must be there */
};

/* Opens what libmagic will open for |name|: the compiled file beside it before itself. */
static int open_magic(const char *name)
{
    struct buf compiled;
    int fd = -1;

    buf_init(&compiled, 0);
    if (!span_ends(span_of(name), SPAN(".mgc"))) {
        buf_fmt(&compiled, "%s.mgc", name);
        fd = open(buf_cstr(&compiled), O_RDONLY | O_CLOEXEC);
    }
    buf_done(&compiled);
    return fd >= 0 ? fd : open(name, O_RDONLY | O_CLOEXEC);
}

static NODISCARD enum err fault(struct load *l, const char *name, const char *what)
{
    buf_fmt(l->errors, "%s%s%s\n", name, *name ? ": " : "", what);
    return ERR_CONFIG;
}

static NODISCARD enum err digest_fd(struct load *l, const char *name, int fd)
{
    char bytes[16384];
    ssize_t n;

    while ((n = read(fd, bytes, sizeof bytes)) > 0)
        if (EVP_DigestUpdate(l->digest, bytes, (size_t)n) != 1)
            return fault(l, name, "SHA-256 failed");
    return n == 0 ? OK : fault(l, name, strerror(errno));
}

static NODISCARD enum err add_file(struct load *l, const char *name)
{
    int fd = open_magic(name);
    enum err e;

    if (fd < 0 && errno == ENOENT && !l->given)
        return OK;
    if (fd < 0)
        return fault(l, name, strerror(errno));
    e = digest_fd(l, name, fd);
    (void)close(fd);
    buf_fmt(&l->path, "%s%s", l->path.n ? ":" : "", name);
    return e;
}

/* libmagic is content when one of several files is fine: each is tried alone. */
static NODISCARD enum err add_given(struct load *l, const char *const *v, size_t n)
{
    l->given = true;
    for (size_t i = 0; i < n; i++) {
        if (strchr(v[i], ':'))
            return fault(l, v[i], "must not have a ':' in its name");
        TRY(add_file(l, v[i]));
        TRY(filetype_magic_check(v[i], l->errors));
    }
    return OK;
}

/* 1: the system's files without those below $HOME, which is nobody's here. */
static NODISCARD enum err add_default(struct load *l)
{
    struct span rest = span_of(magic_getpath(NULL, 1));

    while (rest.n) {
        char *name = span_dup(span_cut(&rest, ':'));
        enum err e = name ? add_file(l, name) : ERR_NOMEM;

        free(name);
        TRY(e);
    }
    return OK;
}

static NODISCARD enum err load(struct load *l, const char *const *v, size_t n,
                               struct filetype_magic **ret)
{
    if (!l->digest || EVP_DigestInit_ex(l->digest, EVP_sha256(), NULL) != 1)
        return fault(l, "", "SHA-256 failed");
    TRY(n ? add_given(l, v, n) : add_default(l));
    TRY(l->path.err);
    return filetype_magic_new(buf_cstr(&l->path), ret, l->errors);
}

static NODISCARD enum err describe_to(struct load *l, struct buf *describe)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    int version = magic_version();

    if (EVP_DigestFinal_ex(l->digest, md, &n) != 1 || n < DIGEST_TEXT / 2)
        return fault(l, "", "SHA-256 failed");
    buf_fmt(describe, "filetype %d.%02d magic ", version / 100, version % 100);
    for (unsigned i = 0; i < DIGEST_TEXT / 2; i++)
        buf_fmt(describe, "%02x", md[i]);
    return describe->err;
}

enum err engine_filetype(const char *const *magic_files, size_t n, struct engine *ret,
                         struct buf *describe, struct buf *errors)
{
    struct load l = {.digest = EVP_MD_CTX_new(), .errors = errors};
    struct filetype_magic *m = NULL;
    enum err e;

    buf_init(&l.path, 0);
    /* What a library may want of the system on first use, it gets before the jail. */
    tzset();
    e = load(&l, magic_files, n, &m);
    if (e == OK)
        e = describe_to(&l, describe);
    EVP_MD_CTX_free(l.digest);
    buf_done(&l.path);
    if (e == OK)
        *ret = (struct engine){
            .name = "filetype", .bit = WIRE_ENGINE_FILETYPE, .ctx = m, .scan = scan};
    else
        filetype_magic_free(m);
    return e;
}

void engine_filetype_done(struct engine *e)
{
    filetype_magic_free(e->ctx);
    e->ctx = NULL;
}
