/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/filetype_magic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <magic.h>

#include "worker/magic_subset.h"
#include "worker/magic_text.h"

/* Nothing is executed and nothing is unpacked for an answer. */
#define FLAGS (MAGIC_MIME_TYPE | MAGIC_NO_CHECK_COMPRESS | MAGIC_NO_COMPRESS_FORK | MAGIC_ERROR)

/* Files of one kind pass the same tests: so many kinds are ready at a time. */
#define SLOTS      16u
#define COMPILED   ".mgc"
#define OTHER_KIND ".mime" /* libmagic prefers such files, in its way, when it finds them */

static const struct limit {
    int parameter;
    size_t value;
} limits[] = {
    {MAGIC_PARAM_BYTES_MAX,     MAGIC_LOOK_MAX    },
    {MAGIC_PARAM_INDIR_MAX,     20                },
    {MAGIC_PARAM_NAME_MAX,      100               },
    {MAGIC_PARAM_ELF_PHNUM_MAX, 512               },
    {MAGIC_PARAM_ELF_SHNUM_MAX, 4096              },
    {MAGIC_PARAM_ELF_NOTES_MAX, 64                },
    {MAGIC_PARAM_REGEX_MAX,     MAGIC_REGEX_MAX   },
    {MAGIC_PARAM_ENCODING_MAX,  MAGIC_ENCODING_MAX},
};

/* One libmagic with the magic file of the last files that passed these tests. */
struct slot {
    magic_t magic;
    struct magic_subset subset;
    struct magic_hits hits;
    bool has_end;
    bool loaded;
    uint64_t used; /* when, in questions */
};

/* What libmagic need not do for a file, because the answer is known: |flags|. |end|: it gets a
 * magic file with an end, which means |answer|. */
struct short_cut {
    int flags;
    bool end;
    const char *answer;
};

struct filetype_magic {
    magic_t whole;
    struct span maps[MAGIC_FILES_MAX];
    size_t n_maps;
    struct magic_base base;
    struct magic_index *index; /* NULL: everything is asked of the whole */
    struct slot slots[SLOTS];
    struct magic_hits hits;
    char *room; /* for magic_text_of() */
    uint64_t questions;
    struct filetype_magic_counts counts;
};

/* ---- libmagic ---- */

static NODISCARD magic_t open_magic(void)
{
    magic_t m = magic_open(FLAGS);

    for (size_t i = 0; m && i < ARRAY_LEN(limits); i++)
        if (magic_setparam(m, limits[i].parameter, &limits[i].value) != 0) {
            magic_close(m);
            m = NULL;
            errno = EINVAL;
        }
    return m;
}

static NODISCARD enum err load_whole(const char *path, magic_t *ret, struct buf *errors)
{
    magic_t m = open_magic();

    if (!m) {
        buf_fmt(errors, "libmagic: %s\n", strerror(errno));
        return ERR_CONFIG;
    }
    if (magic_load(m, path) == 0) {
        *ret = m;
        return OK;
    }
    buf_fmt(errors, "%s: %s\n", path, magic_error(m) ? magic_error(m) : "there is no magic in it");
    magic_close(m);
    return ERR_CONFIG;
}

enum err filetype_magic_check(const char *path, struct buf *errors)
{
    magic_t m;

    TRY(load_whole(path, &m, errors));
    magic_close(m);
    return OK;
}

/* ---- the index ---- */

/* A magic file that is text and has no tests in it, as Debian's /etc/magic. */
static bool is_comment(struct span s)
{
    while (s.n) {
        struct span line = span_cut(&s, '\n');

        if (line.n && line.p[0] != '#')
            return false;
    }
    return true;
}

static NODISCARD bool map_file(const char *name, struct span *ret)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    struct stat st = {.st_size = 0};
    void *p = NULL;

    if (fd < 0)
        return false;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
        p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    (void)close(fd);
    if (p == MAP_FAILED || (!p && st.st_size > 0))
        return false;
    *ret = (struct span){p, (size_t)st.st_size};
    return S_ISREG(st.st_mode);
}

/* A compiled file that is empty or has no tests, as a compiler leaves it that was cut short:
 * libmagic reads the text instead, which we cannot. */
static NODISCARD bool map_compiled(const char *name, struct span *ret)
{
    if (!map_file(name, ret))
        return false;
    if (!is_comment(*ret))
        return true;
    if (ret->n)
        (void)munmap((void *)(uintptr_t)ret->p, ret->n);
    return false;
}

/* What libmagic reads for |name|, as far as that is one plain file: what is compiled of it, or
 * itself. */
static NODISCARD bool map_magic(const char *name, struct span *ret)
{
    struct span stem = span_of(name);
    struct buf other;
    bool found;

    if (span_ends(stem, SPAN(COMPILED)))
        stem.n -= sizeof COMPILED - 1;
    buf_init(&other, 0);
    buf_fmt(&other, SPAN_FMT OTHER_KIND COMPILED, SPAN_ARG(stem));
    found = strstr(name, OTHER_KIND) || access(buf_cstr(&other), F_OK) == 0;
    buf_reset(&other);
    buf_fmt(&other, SPAN_FMT COMPILED, SPAN_ARG(stem));
    found = !found && other.err == OK;
    if (found && access(buf_cstr(&other), F_OK) == 0)
        found = map_compiled(buf_cstr(&other), ret);
    else if (found)
        found = map_file(name, ret);
    buf_done(&other);
    return found;
}

static NODISCARD bool map_path(struct filetype_magic *m, const char *path, struct magic_file *files,
                               size_t *ret_n)
{
    struct span rest = span_of(path);

    *ret_n = 0;
    while (rest.n) {
        char *name = span_dup(span_cut(&rest, ':'));
        bool mapped = name && m->n_maps < MAGIC_FILES_MAX && map_magic(name, &m->maps[m->n_maps]);

        free(name);
        if (!mapped)
            return false;
        struct span map = m->maps[m->n_maps++];

        if (magic_file_parse(map, &files[*ret_n]) == OK)
            ++*ret_n;
        else if (!is_comment(map))
            return false;
    }
    return *ret_n > 0;
}

static NODISCARD bool make_slots(struct filetype_magic *m)
{
    m->room = malloc(2 * MAGIC_ENCODING_MAX);
    for (size_t i = 0; i < SLOTS; i++) {
        m->slots[i].magic = open_magic();
        m->slots[i].subset.room = calloc(MAGIC_SUBSET_ROOM, sizeof *m->slots[i].subset.room);
        if (!m->slots[i].magic || !m->slots[i].subset.room)
            return false;
    }
    return m->room != NULL;
}

/* Without one everything works all the same, and slowly. */
static void make_index(struct filetype_magic *m, const char *path)
{
    struct magic_file files[MAGIC_FILES_MAX];
    size_t n;

    if (magic_version() != MAGIC_FILE_VERSION || !map_path(m, path, files, &n) || !make_slots(m) ||
        magic_base_init(&m->base, files, n) != OK ||
        magic_index_new(m->base.groups, m->base.n_groups, &m->index) != OK)
        m->index = NULL;
}

enum err filetype_magic_new(const char *path, struct filetype_magic **ret, struct buf *errors)
{
    struct filetype_magic *m = calloc(1, sizeof *m);
    enum err e = m ? load_whole(path, &m->whole, errors) : ERR_NOMEM;

    if (e != OK) {
        free(m);
        return e;
    }
    make_index(m, path);
    /* What most texts need is ready then before the first worker is. */
    (void)filetype_magic_ask(m, SPAN("text\n"));
    m->counts = (struct filetype_magic_counts){0};
    *ret = m;
    return OK;
}

void filetype_magic_free(struct filetype_magic *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < SLOTS; i++) {
        if (m->slots[i].magic)
            magic_close(m->slots[i].magic);
        free(m->slots[i].subset.room);
    }
    if (m->whole)
        magic_close(m->whole);
    magic_index_free(m->index);
    magic_base_done(&m->base);
    for (size_t i = 0; i < m->n_maps; i++)
        if (m->maps[i].n)
            (void)munmap((void *)(uintptr_t)m->maps[i].p, m->maps[i].n);
    free(m->room);
    free(m);
}

/* ---- asking ---- */

static bool is_for(const struct slot *s, const struct magic_hits *hits, bool end)
{
    return s->loaded && s->has_end == end &&
           span_eq((struct span){(const char *)s->hits.group, s->hits.n * sizeof *hits->group},
                   (struct span){(const char *)hits->group, hits->n * sizeof *hits->group});
}

/* The one that has these tests, or the one that was not used for longest. */
static struct slot *find_slot(struct filetype_magic *m, bool end)
{
    struct slot *oldest = &m->slots[0];

    for (size_t i = 0; i < SLOTS; i++) {
        struct slot *s = &m->slots[i];

        if (is_for(s, &m->hits, end))
            return s;
        if (s->used < oldest->used)
            oldest = s;
    }
    oldest->loaded = false;
    return oldest;
}

static NODISCARD bool fill_slot(struct filetype_magic *m, struct slot *s, bool end)
{
    if (magic_subset_make(&m->base, &m->hits, end, &s->subset) != OK ||
        magic_load_buffers(s->magic, s->subset.files, s->subset.sizes, s->subset.n_files) != 0)
        return false;
    s->hits.n = m->hits.n;
    memcpy(s->hits.group, m->hits.group, m->hits.n * sizeof *m->hits.group);
    s->has_end = end;
    s->loaded = true;
    m->counts.made++;
    return true;
}

/* Text on which no test for text can hold is text/plain, if no test for bytes said something else:
 * libmagic would make UTF-8 of it, count its lines, and say so. What is no text it need not try to
 * read as EBCDIC, twice. */
static struct short_cut short_cut_of(enum magic_text_kind kind, const struct magic_hits *hits)
{
    if (kind == MAGIC_TEXT_NONE)
        return (struct short_cut){.flags = MAGIC_NO_CHECK_TEXT | MAGIC_NO_CHECK_ENCODING};
    if (!(hits->flags & MAGIC_FLAG_TEXTTEST))
        return (struct short_cut){
            .flags = MAGIC_NO_CHECK_TEXT, .end = true, .answer = "text/plain"};
    return (struct short_cut){.flags = 0};
}

/* NULL: the whole has to be asked. */
static const char *ask_part(struct filetype_magic *m, struct span file)
{
    struct span text = SPAN_NONE;
    enum magic_text_kind kind = magic_text_of(file, m->room, &text);
    struct short_cut cut;
    const char *answer;
    struct slot *s;

    if (kind == MAGIC_TEXT_UNKNOWN || magic_index_find(m->index, file, text, &m->hits) != OK)
        return NULL;
    cut = short_cut_of(kind, &m->hits);
    s = find_slot(m, cut.end);
    if ((!s->loaded && !fill_slot(m, s, cut.end)) ||
        magic_setflags(s->magic, FLAGS | cut.flags) != 0)
        return NULL;
    s->used = ++m->questions;
    answer = magic_buffer(s->magic, file.p, file.n);
    if (!cut.end || !answer || !strstr(answer, MAGIC_SUBSET_END))
        return answer;
    return strcmp(answer, MAGIC_SUBSET_END) == 0 ? cut.answer : NULL;
}

const char *filetype_magic_ask_whole(struct filetype_magic *m, struct span file)
{
    m->counts.whole++;
    return magic_buffer(m->whole, file.p, file.n < MAGIC_LOOK_MAX ? file.n : MAGIC_LOOK_MAX);
}

/* A file of one byte libmagic does not look at. */
const char *filetype_magic_ask(struct filetype_magic *m, struct span file)
{
    const char *answer;

    file = span_sub(file, 0, MAGIC_LOOK_MAX);
    answer = m->index && file.n > 1 ? ask_part(m, file) : NULL;
    if (!answer)
        return filetype_magic_ask_whole(m, file);
    m->counts.part++;
    return answer;
}

struct filetype_magic_counts filetype_magic_counts(const struct filetype_magic *m)
{
    return m->counts;
}
