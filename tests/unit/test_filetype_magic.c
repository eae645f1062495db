/* SPDX-License-Identifier: Apache-2.0 */
/* libmagic asked for the tests that can hold, held against libmagic asked for all of them: on files
 * of the system, on files that are made so that a test holds, and on what is left of both after a
 * few bytes have changed. SALLYPORT_TEST_SECONDS: how long each of these may take (5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ftw.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <magic.h>

#include "base/clock.h"
#include "test_filetype_samples.h"
#include "test_magic_compiled.h"
#include "worker/filetype_magic.h"

#define ROOM         (96u << 10)
#define FILE_MAX     (64u << 10)
#define FILES_MAX    20000u
#define SECONDS      5u
#define ANSWER_MAX   256u
#define MISMATCH_MAX 10u

static struct filetype_magic *magic;
static char bytes[ROOM];

/* ---- asking both ---- */

static struct {
    unsigned asked, differ;
    struct filetype_magic_counts before;
} tally;

static void keep(const char *answer, char ret[ANSWER_MAX])
{
    (void)snprintf(ret, ANSWER_MAX, "%s", answer ? answer : "(it failed)");
}

static void ask_both(struct span file, const char *what)
{
    char whole[ANSWER_MAX], part[ANSWER_MAX];

    keep(filetype_magic_ask_whole(magic, file), whole);
    keep(filetype_magic_ask(magic, file), part);
    tally.asked++;
    if (strcmp(whole, part) == 0)
        return;
    tally.differ++;
    print_error("%s (%zu bytes): %s, but %s\n", what, file.n, whole, part);
    if (tally.differ >= MISMATCH_MAX)
        fail();
}

static uint64_t deadline_ms(void)
{
    const char *text = getenv("SALLYPORT_TEST_SECONDS");
    uint64_t s = SECONDS;

    if (text)
        assert_int_equal(span_u64(span_of(text), 86400, &s), OK);
    return clock_mono_ms(&clock_system) + 1000 * s;
}

static bool is_over(uint64_t deadline)
{
    return clock_mono_ms(&clock_system) >= deadline;
}

/* Of this test. */
static struct filetype_magic_counts counts(void)
{
    struct filetype_magic_counts n = filetype_magic_counts(magic);

    n.whole -= tally.before.whole + tally.asked; /* that was the test */
    n.part -= tally.before.part;
    n.made -= tally.before.made;
    return n;
}

static void report(const char *what)
{
    struct filetype_magic_counts n = counts();

    print_message("%s: %u files, %llu asked of all, %llu of a part, %llu parts made\n", what,
                  tally.asked, (unsigned long long)n.whole, (unsigned long long)n.part,
                  (unsigned long long)n.made);
    assert_int_equal(tally.differ, 0);
}

static uint32_t seed;

static uint32_t next_random(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(seed ^ seed >> 15) * below) >> 32);
}

/* ---- files of the system ---- */

static struct {
    char *v[FILES_MAX];
    size_t n;
} files;

static int take_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)at;
    if (type == FTW_F && S_ISREG(st->st_mode) && st->st_size > 0 && files.n < FILES_MAX)
        files.v[files.n++] = strdup(path);
    return 0;
}

static void list_files(void)
{
    static const char *const folders[] = {"/usr/bin", "/etc", "/usr/lib", "/usr/include",
                                          "/usr/share"};

    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        size_t before = files.n;

        (void)nftw(folders[i], take_file, 16, FTW_PHYS | FTW_MOUNT);
        /* Every folder gets its share. */
        while (files.n - before > FILES_MAX / ARRAY_LEN(folders) && i + 1 < ARRAY_LEN(folders)) {
            size_t k = before + next_random((uint32_t)(files.n - before));

            free(files.v[k]);
            files.v[k] = files.v[--files.n];
        }
    }
}

static void free_files(void)
{
    for (size_t i = 0; i < files.n; i++)
        free(files.v[i]);
    files.n = 0;
}

static struct span read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    size_t n;

    if (!f)
        return SPAN_NONE;
    n = fread(bytes, 1, FILE_MAX, f);
    (void)fclose(f);
    return (struct span){bytes, n};
}

static void shuffle_files(void)
{
    for (size_t i = files.n; i > 1; i--) {
        size_t k = next_random((uint32_t)i);
        char *swap = files.v[k];

        files.v[k] = files.v[i - 1];
        files.v[i - 1] = swap;
    }
}

static void test_files(void **state)
{
    uint64_t end = deadline_ms();

    (void)state;
    for (size_t i = 0; i < files.n && !is_over(end); i++) {
        struct span file = read_file(files.v[i]);

        if (file.n)
            ask_both(file, files.v[i]);
    }
    report("files");
    /* The speed is in the part: of plain files hardly one needs the whole. */
    if (tally.asked > 100)
        assert_true(counts().part > tally.asked * 9ull / 10);
}

static void test_samples(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(filetype_samples); i++)
        ask_both(filetype_samples[i].in, filetype_samples[i].name);
    report("samples");
}

/* JPEG XR's number is asked for beyond the end, and "ends" what it said with the next test that
 * holds, which is one that says nothing of its own: no subset shows that. */
static void test_early_end(void **state)
{
    (void)state;
    memset(bytes, ' ', 97);
    memcpy(bytes, "aaaamoov", 8);
    memcpy(bytes + 60, "RINEX", 5);
    memcpy(bytes + 90, "WMPHOTO", 7);
    ask_both((struct span){bytes, 97}, "early end");
    report("early end");
}

/* ---- changes ---- */

/* Each returns the new length of what is in |bytes|. */
typedef size_t change(size_t n);

static size_t turn_bytes(size_t n)
{
    for (unsigned i = 1 + next_random(4); n && i > 0; i--)
        bytes[next_random((uint32_t)(n < 512 ? n : 512))] = (char)next_random(256);
    return n;
}

static size_t cut_end(size_t n)
{
    return n ? next_random((uint32_t)n) : 0;
}

static size_t cut_front(size_t n)
{
    size_t by = n ? next_random((uint32_t)(n < 64 ? n : 64)) : 0;

    memmove(bytes, bytes + by, n - by);
    return n - by;
}

static size_t change_case(size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((bytes[i] | 0x20) >= 'a' && (bytes[i] | 0x20) <= 'z' && next_random(8) == 0)
            bytes[i] ^= 0x20;
    return n;
}

static size_t add_space(size_t n)
{
    static const char spaces[] = " \t\n\r\v\f\n \n ";

    for (unsigned i = 0; n && n < FILE_MAX && i < 6; i++) {
        size_t at = next_random((uint32_t)(n < 256 ? n : 256));

        memmove(bytes + at + 1, bytes + at, n - at);
        bytes[at] = spaces[next_random(sizeof spaces - 1)];
        n++;
    }
    return n;
}

static size_t add_nuls(size_t n)
{
    size_t more = 1 + next_random(9);

    memset(bytes + n, 0, more);
    return n + more;
}

static size_t add_mark(size_t n)
{
    static const struct span marks[] = {SPAN("\xef\xbb\xbf"), SPAN("\xff\xfe"),
                                        SPAN("\xfe\xff"),     SPAN("+/v8"),
                                        SPAN("\0\0\xfe\xff"), SPAN("\xff\xfe\0\0")};
    struct span mark = marks[next_random(ARRAY_LEN(marks))];

    memmove(bytes + mark.n, bytes, n);
    memcpy(bytes, mark.p, mark.n);
    return n + mark.n;
}

/* UTF-16, little end first. */
static size_t widen(size_t n)
{
    n = n < FILE_MAX / 2 - 2 ? n : FILE_MAX / 2 - 2;
    for (size_t i = n; i > 0; i--) {
        bytes[2 * i + 1] = '\0';
        bytes[2 * i] = bytes[i - 1];
    }
    memcpy(bytes, "\xff\xfe", 2);
    return 2 * n + 2;
}

static size_t make_latin(size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i] == 'e' && next_random(3) == 0)
            bytes[i] = (char)(0x80 + next_random(128));
    return n;
}

static size_t add_utf8(size_t n)
{
    static const struct span letters[] = {SPAN("\xc3\xa4"),         SPAN("\xe2\x82\xac"),
                                          SPAN("\xf0\x9f\x98\x80"), SPAN("\xc2\x85"),
                                          SPAN("\xed\xa0\x80"),     SPAN("\xc3")};
    struct span letter = letters[next_random(ARRAY_LEN(letters))];
    size_t at = n ? next_random((uint32_t)n) : 0;

    memmove(bytes + at + letter.n, bytes + at, n - at);
    memcpy(bytes + at, letter.p, letter.n);
    return n + letter.n;
}

static size_t shift_lines(size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i] == '\n' && next_random(4) == 0)
            bytes[i] = '\r';
    return n;
}

static change *const changes[] = {turn_bytes, cut_end,  cut_front,  change_case,
                                  add_space,  add_nuls, add_mark,   widen,
                                  make_latin, add_utf8, shift_lines};

static struct span change_some(size_t n)
{
    for (unsigned i = 1 + next_random(3); i > 0; i--)
        n = changes[next_random(ARRAY_LEN(changes))](n < FILE_MAX ? n : FILE_MAX);
    return (struct span){bytes, n < FILE_MAX ? n : FILE_MAX};
}

static void test_changed_files(void **state)
{
    uint64_t end = deadline_ms();

    (void)state;
    while (files.n && !is_over(end)) {
        const char *path = files.v[next_random((uint32_t)files.n)];
        struct span file = read_file(path);
        size_t n = file.n < 4096 || next_random(4) == 0 ? file.n : 4096;

        file = change_some(n);
        if (file.n)
            ask_both(file, path);
    }
    report("changed files");
}

/* ---- files in which a test holds ---- */

/* Something to stand around what is planted. */
static size_t plant_ground(void)
{
    static const struct span words[] = {SPAN("the quick "),      SPAN("brown\n"),
                                        SPAN("\tfox = 1;\n"),    SPAN("class Jump("),
                                        SPAN("import over\r\n"), SPAN("<a b>")};
    unsigned kind = next_random(4);
    size_t n = 1 + next_random(kind == 3 ? 64 : 1400), at = 0;

    while (kind < 2 && at < n) {
        struct span word = words[next_random(ARRAY_LEN(words))];

        memcpy(bytes + at, word.p, word.n);
        at += word.n;
    }
    if (kind == 2)
        memset(bytes, 0, n);
    for (size_t i = 0; kind == 3 && i < n; i++)
        bytes[i] = (char)next_random(256);
    return kind < 2 ? at : n;
}

static void test_planted(void **state)
{
    struct magic_compiled m;
    uint64_t end = deadline_ms();

    (void)state;
    MAGIC_COMPILED_NEED(&m);
    for (unsigned i = 0; !is_over(end); i++) {
        size_t n = plant_ground();
        char what[64];
        uint32_t group;

        group = next_random(m.base.n_groups);
        n = magic_compiled_plant(&m, group, bytes, n, FILE_MAX, next_random);
        if (next_random(3) == 0)
            n = magic_compiled_plant(&m, next_random(m.base.n_groups), bytes, n, FILE_MAX,
                                     next_random);
        (void)snprintf(what, sizeof what, "test of line %u", m.base.groups[group].v->line);
        ask_both((struct span){bytes, n}, what);
        if (n && next_random(2) == 0)
            ask_both(change_some(n), what);
    }
    magic_compiled_close(&m);
    report("planted");
}

/* ---- other magic files ---- */

static const char folder_template[] = "/tmp/sallyport-magic-XXXXXX";

/* A folder with own.magic in it, to be taken away by remove_folder(). */
static void make_folder(char folder[sizeof folder_template], const char *text)
{
    FILE *f;

    memcpy(folder, folder_template, sizeof folder_template);
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    f = fopen("own.magic", "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void remove_folder(const char *folder)
{
    static const char *const names[] = {"own.magic", "own.magic.mgc", "own.mime.mgc", "own.mgc"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        (void)unlink(names[i]);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* libmagic puts it beside the text, in the folder where it works. */
static void compile_own(void)
{
    magic_t m = magic_open(0);

    assert_non_null(m);
    assert_int_equal(magic_compile(m, "own.magic"), 0);
    magic_close(m);
}

static struct filetype_magic *load(const char *path)
{
    struct filetype_magic *m = NULL;
    struct buf errors;

    buf_init(&errors, 0);
    if (filetype_magic_new(path, &m, &errors) != OK)
        fail_msg("%s", buf_cstr(&errors));
    buf_done(&errors);
    return m;
}

#define OWN "0\tstring\tSALLY\tSally's own\n!:mime\tapplication/x-sally\n"

static void expect_counts(const struct filetype_magic *m, uint64_t whole, uint64_t part)
{
    assert_int_equal(filetype_magic_counts(m).whole, whole);
    assert_int_equal(filetype_magic_counts(m).part, part);
}

/* A magic file that is text is asked as a whole, with the same answers. */
static void test_text(void **state)
{
    char folder[sizeof folder_template];
    struct filetype_magic *m;

    (void)state;
    make_folder(folder, OWN);
    m = load("own.magic");
    assert_string_equal(filetype_magic_ask(m, SPAN("SALLY says")), "application/x-sally");
    assert_string_equal(filetype_magic_ask(m, SPAN("she says")), "text/plain");
    expect_counts(m, 2, 0);
    filetype_magic_free(m);
    remove_folder(folder);
}

/* One that is compiled, by its own name or found beside the text; and one that is a comment. */
static void test_compiled(void **state)
{
    static const char *const paths[] = {"own.magic.mgc", "own.magic", "/etc/magic:own.magic"};
    char folder[sizeof folder_template];
    struct filetype_magic *m;

    (void)state;
    make_folder(folder, OWN);
    compile_own();
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        m = load(paths[i]);
        assert_string_equal(filetype_magic_ask(m, SPAN("SALLY says")), "application/x-sally");
        assert_string_equal(filetype_magic_ask(m, SPAN("she says")), "text/plain");
        assert_string_equal(filetype_magic_ask(m, SPAN("she\1")), "application/octet-stream");
        assert_string_equal(filetype_magic_ask(m, SPAN("{\"a\": 1}")), "application/json");
        expect_counts(m, 0, 4);
        assert_string_equal(filetype_magic_ask(m, SPAN("x")), "application/octet-stream");
        expect_counts(m, 1, 4);
        filetype_magic_free(m);
    }
    remove_folder(folder);
}

/* A compiler that was cut short leaves a compiled file without tests: libmagic reads the text, and
 * what is in there must not be missing. */
static void test_compiled_without_tests(void **state)
{
    static const char *const contents[] = {"", "# nothing\n"};
    char folder[sizeof folder_template];

    (void)state;
    make_folder(folder, OWN);
    for (size_t i = 0; i < ARRAY_LEN(contents); i++) {
        FILE *f = fopen("own.magic.mgc", "w");
        struct filetype_magic *m;

        assert_non_null(f);
        assert_true(fputs(contents[i], f) >= 0);
        assert_int_equal(fclose(f), 0);
        m = load("own.magic:" MAGIC_COMPILED);
        assert_string_equal(filetype_magic_ask(m, SPAN("SALLY says")), "application/x-sally");
        expect_counts(m, 1, 0);
        filetype_magic_free(m);
    }
    remove_folder(folder);
}

/* Where libmagic may read something else than the file of that name, it is asked as a whole. */
static void test_odd_names(void **state)
{
    char folder[sizeof folder_template];
    struct filetype_magic *m;

    (void)state;
    make_folder(folder, OWN);
    compile_own();
    assert_int_equal(rename("own.magic.mgc", "own.mgc"), 0);
    m = load("own.mgc");
    assert_string_equal(filetype_magic_ask(m, SPAN("SALLY says")), "application/x-sally");
    expect_counts(m, 0, 1);
    filetype_magic_free(m);
    assert_int_equal(link("own.mgc", "own.mime.mgc"), 0);
    m = load("own.mgc");
    assert_string_equal(filetype_magic_ask(m, SPAN("SALLY says")), "application/x-sally");
    expect_counts(m, 1, 0);
    filetype_magic_free(m);
    m = load("own.mime.mgc");
    assert_string_equal(filetype_magic_ask(m, SPAN("SALLY says")), "application/x-sally");
    expect_counts(m, 1, 0);
    filetype_magic_free(m);
    remove_folder(folder);
}

/* Two of them: the first that says something is right, and each has names that the other uses. */
static void test_two(void **state)
{
    static const struct span both[] = {
        SPAN("SALLY says"), SPAN("%PDF-1.7 ab"), SPAN("GIF89a\1\0\1\0\0"),
        SPAN("USE me"),     SPAN("she says"),    SPAN("\x89PNG\r\n\x1a\n\0\0\0\rIHDR")};
    struct filetype_magic *m, *kept = magic;
    char folder[sizeof folder_template];
    struct magic_compiled system;

    (void)state;
    MAGIC_COMPILED_NEED(&system);
    magic_compiled_close(&system);
    make_folder(folder, OWN "0\tstring\t%PDF\tnot yours\n!:mime\tapplication/x-mine\n"
                            "0\tstring\tUSE\n>0\tuse\tgif\n>3\tuse\town\n"
                            "0\tname\town\n>1\tstring\tme\tMine\n!:mime\tapplication/x-me\n"
                            "0\tname\tgif\n>0\tstring\tGIF\tMine\n!:mime\tapplication/x-gif\n");
    compile_own();
    for (unsigned order = 0; order < 2; order++) {
        m = load(order ? MAGIC_COMPILED ":own.magic" : "own.magic:" MAGIC_COMPILED);
        magic = m;
        assert_string_equal(filetype_magic_ask(m, SPAN("SALLY says")), "application/x-sally");
        assert_string_equal(filetype_magic_ask(m, SPAN("USE me")), "application/x-me");
        assert_string_equal(filetype_magic_ask(m, SPAN("%PDF-1.7 ab")),
                            order ? "application/pdf" : "application/x-mine");
        for (size_t i = 0; i < ARRAY_LEN(both); i++)
            ask_both(both[i], "one of two");
        assert_int_equal(tally.differ, 0);
        assert_int_equal(filetype_magic_counts(m).whole, ARRAY_LEN(both));
        magic = kept;
        filetype_magic_free(m);
    }
    remove_folder(folder);
}

/* More than there is room for. */
static void test_many(void **state)
{
    char folder[sizeof folder_template];
    struct filetype_magic *m;
    struct buf path;

    (void)state;
    make_folder(folder, OWN);
    compile_own();
    buf_init(&path, 0);
    for (unsigned i = 0; i < 9; i++)
        buf_fmt(&path, "%sown.magic", i ? ":" : "");
    m = load(buf_cstr(&path));
    assert_string_equal(filetype_magic_ask(m, SPAN("SALLY says")), "application/x-sally");
    expect_counts(m, 1, 0);
    filetype_magic_free(m);
    buf_done(&path);
    remove_folder(folder);
}

static int set_up(void **state)
{
    struct buf errors;
    enum err e;

    (void)state;
    buf_init(&errors, 0);
    e = filetype_magic_new(magic_getpath(NULL, 1), &magic, &errors);
    buf_done(&errors);
    list_files();
    shuffle_files();
    return e == OK ? 0 : -1;
}

static int set_up_one(void **state)
{
    (void)state;
    memset(&tally, 0, sizeof tally);
    tally.before = filetype_magic_counts(magic);
    seed = 20;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    filetype_magic_free(magic);
    free_files();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_early_end),
        cmocka_unit_test_setup(test_samples, set_up_one),
        cmocka_unit_test_setup(test_files, set_up_one),
        cmocka_unit_test_setup(test_changed_files, set_up_one),
        cmocka_unit_test_setup(test_planted, set_up_one),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_compiled),
        cmocka_unit_test(test_compiled_without_tests),
        cmocka_unit_test(test_odd_names),
        cmocka_unit_test_setup(test_two, set_up_one),
        cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
