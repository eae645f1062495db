/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_record_chain.c - sealed records. A seal that is read is written as it was; any file is
 * walked to its end in bounded steps; and whatever is cut out of a sealed file or put into it is
 * said. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/record_verify.h"
#include "observe/record_chain.h"

#define BATCHES 5u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t key[RECORD_MAC_LEN] = {0x42};

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* ---- lines and files by themselves ---- */

static void parse_line(struct span line)
{
    struct record_seal s, kept;
    char back[RECORD_SEAL_MAX];

    memset(&s, 0x5a, sizeof s);
    kept = s;
    if (record_seal_parse(line, &s) != OK) {
        check(memcmp(&s, &kept, sizeof s) == 0);
        return;
    }
    size_t n = record_seal_format(&s, back);

    check(n <= sizeof back && span_eq((struct span){back, n - 1}, line));
    check(record_seal_parse(span_sub(line, 0, line.n - 1), &s) != OK);
}

static void parse_state(struct span in)
{
    struct record_chain c;
    char back[RECORD_CHAIN_STATE_LEN];

    if (record_chain_decode(in, &c) != OK)
        return;
    record_chain_encode(&c, back);
    check(span_eq((struct span){back, sizeof back}, in));
}

static void parse_key(struct span in)
{
    uint8_t k[RECORD_MAC_LEN];
    char back[RECORD_KEY_TEXT_LEN];

    if (record_key_parse(in, k) != OK)
        return;
    record_key_format(k, back);
    check(span_starts((struct span){back, sizeof back}, in));
}

/* ---- walking ---- */

struct said {
    uint64_t faults, notes;
    uint64_t lines; /* in the file */
};

static void on_say(void *arg, enum verify_kind kind, const char *name, uint64_t line,
                   const char *text)
{
    struct said *s = arg;

    check(text[0] != '\0' && (name != NULL) == (line > 0) && line <= s->lines + 1);
    *(kind == VERIFY_FAULT ? &s->faults : &s->notes) += 1;
}

static int file_of(struct span text, unsigned i)
{
    static int fds[2] = {-1, -1};

    if (fds[i] < 0)
        fds[i] = memfd_create("fuzz", MFD_CLOEXEC);
    check(fds[i] >= 0 && ftruncate(fds[i], 0) == 0);
    check(pwrite(fds[i], text.p, text.n, 0) == (ssize_t)text.n);
    return fds[i];
}

/* As one file, or cut at |cut| in two. */
static struct said walk(struct span text, size_t cut, const struct record_chain *state,
                        struct record_verify_counts *ret)
{
    struct said said = {0};
    const struct record_verify_settings set = {
        .key = key, .state = state, .steps_max = 300, .say = on_say, .arg = &said};
    const struct span first = span_sub(text, 0, cut), second = span_sub(text, cut, SIZE_MAX);
    const struct record_verify_file files[] = {
        {"f", file_of(first,  0), first.n },
        {"g", file_of(second, 1), second.n},
    };
    struct record_verify_counts one, both = {0};
    const struct record_verify_file *file;
    struct record_verify *v;
    int errnum;

    for (size_t i = 0; i < text.n; i++)
        said.lines += text.p[i] == '\n';
    check(record_verify_new(&set, files, 2, &v) == OK);
    for (unsigned i = 0; i < 2; i++) {
        check(record_verify_next(v, &file, &one, &errnum) == OK && file == &files[i]);
        both.faults += one.faults;
        both.seals += one.seals;
        both.records += one.records;
    }
    check(record_verify_next(v, &file, &one, &errnum) == ERR_EOF);
    check(both.faults == said.faults && both.seals + both.records <= said.lines);
    check(record_verify_end(v, ret) == OK);
    check(ret->faults == said.faults && ret->good <= ret->seals && both.seals == ret->seals);
    record_verify_free(v);
    return said;
}

/* ---- a sealed file, changed ---- */

static struct {
    struct buf text;
    struct record_chain state;
} sealed;

static void make_sealed(void)
{
    struct record_mac *m;

    if (sealed.text.n)
        return;
    buf_init(&sealed.text, 0);
    record_chain_begin(key, &sealed.state);
    check(record_mac_new(&m) == OK);
    for (unsigned i = 0; i < BATCHES; i++) {
        struct record_seal s = {.time_wall_ms = UINT64_C(784111777000) + i, .n = i};
        char line[RECORD_SEAL_MAX];
        size_t at = sealed.text.n;

        for (unsigned k = 0; k <= i % 3; k++)
            buf_fmt(&sealed.text, "{\"id\":\"%u.%u\"}\n", i, k);
        struct span batch = {sealed.text.p + at, sealed.text.n - at};

        s.octets = batch.n;
        check(record_mac_begin(m, &sealed.state, &s) == OK);
        check(record_mac_add(m, batch) == OK && record_mac_end(m, s.mac) == OK);
        check(record_chain_next(m, &sealed.state) == OK);
        buf_add(&sealed.text, (struct span){line, record_seal_format(&s, line)});
    }
    record_mac_free(m);
}

/* Four octets say what is cut out and from where the piece comes that is put in before the rest of
 * the input. */
static void change(const uint8_t *data, size_t size)
{
    const struct span text = buf_span(&sealed.text);
    struct record_verify_counts c;
    struct buf out;

    if (size < 6)
        return;
    size_t at = (data[0] | (size_t)data[1] << 8) % (text.n + 1);
    size_t cut = data[2] * (size_t)4, from = data[3] * (size_t)8, n = data[4] * (size_t)2;

    buf_init(&out, 0);
    buf_add(&out, span_sub(text, 0, at));
    if (data[5] & 1)
        buf_add(&out, span_sub(text, from, n));
    buf_add(&out, (struct span){(const char *)data + 6, size - 6});
    buf_add(&out, span_sub(text, at + cut, SIZE_MAX));
    struct said said = walk(buf_span(&out), SIZE_MAX, &sealed.state, &c);
    bool same = span_eq(buf_span(&out), text);

    check(same == (said.faults + said.notes == 0));
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct span in = {(const char *)data, size};
    struct record_verify_counts c;

    make_sealed();
    parse_line(in);
    parse_state(in);
    parse_key(in);
    (void)walk(in, SIZE_MAX, NULL, &c);
    (void)walk(in, size ? data[size - 1] * size / 256 : 0, &sealed.state, &c);
    change(data, size);
    return 0;
}
