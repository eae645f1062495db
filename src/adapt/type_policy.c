/* SPDX-License-Identifier: Apache-2.0 */
#include "adapt/type_policy.h"

#include <stdio.h>

#include "adapt/file_name.h"
#include "adapt/rules.h"
#include "adapt/type_table.h"

#define TYPE_UNKNOWN "application/octet-stream"

/* ---- settings ---- */

static const struct config_names mismatch_names = CONFIG_NAMES(
    {"pass", TYPE_MISMATCH_PASS}, {"note", TYPE_MISMATCH_NOTE}, {"block", TYPE_MISMATCH_BLOCK});

static const char *valid_type(struct span text)
{
    struct span subtype = text;
    struct span type = span_cut(&subtype, '/');

    return span_is_token(type) && (span_is_token(subtype) || span_eq(subtype, SPAN("*")))
               ? NULL
               : "be a media type, such as image/png or image/*";
}

static const char *valid_denied(struct span text)
{
    bool is_end = text.n >= 2 && text.p[0] == '.' && span_find(text, '/') == text.n;

    if (is_end || (!span_starts(text, SPAN(".")) && !valid_type(text)))
        return NULL;
    return "be a media type (image/*) or the end of a file name (.exe)";
}

static const struct config_row policy_rows[] = {
    CONFIG_STRINGS("allow", struct type_policy_settings, allow, .valid = valid_type,
                   .help = "Media types that are taken, as the bytes look: '*' stands for any "
                           "letters. Everything else is blocked; an empty list takes every type. "
                           "Needs filetype in the pipeline."),
    CONFIG_STRINGS("deny", struct type_policy_settings, deny, .valid = valid_denied,
                   .help = "What is blocked: media types, as declared or as the bytes look, and "
                           "ends of file names such as .exe."),
    CONFIG_ENUM(
        "mismatch", struct type_policy_settings, mismatch, mismatch_names, .fallback = "note",
        .help = "Files that look like something more dangerous than what they are declared "
                "as or called, such as a program under the name of an image. note: record."),
    CONFIG_ENUM("odd-names", struct type_policy_settings, odd_names, mismatch_names,
                .fallback = "note",
                .help = "File names with tricks: NUL or control characters, text that reads in "
                        "another order, paths, names that contradict each other, spaces that hide "
                        "the end."),
};
const struct config_block type_policy_block = CONFIG_ROWS(
    struct type_policy_settings, policy_rows, .help = "Which types of files a service takes.");

/* ---- do declared and sniffed type go together? ---- */

static bool is_text_like(enum type_family f)
{
    return f == TYPE_TEXT || f == TYPE_HTML || f == TYPE_SVG || f == TYPE_SCRIPT;
}

static bool is_document(enum type_family f)
{
    return f == TYPE_OFFICE || f == TYPE_OFFICE_OLD || f == TYPE_MACROS;
}

static bool is_active(enum type_family f)
{
    return f >= TYPE_OFFICE_OLD;
}

/* Nobody looked closely: the shell is what such a file is made of. Documents that are encrypted
 * have a shell of OLE2 around them. */
static bool is_shell_of(const struct type_row *claim, const struct type_row *sniffed)
{
    struct span type = span_of(sniffed->type);

    if (claim->shell == TYPE_IN_ZIP && span_eq(type, SPAN("application/zip")))
        return true;
    if (claim->shell == TYPE_IN_GZIP && span_eq(type, SPAN("application/gzip")))
        return true;
    return is_document(claim->family) && sniffed->shell == TYPE_IN_OLE;
}

/* |sniffed| is no more than what somebody expects who was told |claim|. */
static bool goes_with(const struct type_row *claim, const struct type_row *sniffed)
{
    enum type_family told = claim->family, is = sniffed->family;

    if (!is_active(is) || told == is || told == TYPE_EXECUTABLE || is_shell_of(claim, sniffed))
        return true;
    /* What is text to a browser or an interpreter begins in the same ways. */
    if (is_text_like(told) && is_text_like(is))
        return true;
    /* One program opens them all, but whoever sends a .docx says that there are no macros in it. */
    return is_document(told) && is_document(is) && (is != TYPE_MACROS || told != TYPE_OFFICE);
}

/* Declarations that say no more than "save this". */
static bool says_nothing(struct span declared)
{
    static const char *const types[] = {TYPE_UNKNOWN,
                                        "binary/octet-stream",
                                        "application/x-download",
                                        "application/force-download",
                                        "application/download",
                                        "application/binary"};

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (span_ieq(declared, span_of(types[i])))
            return true;
    return declared.n == 0;
}

static bool is_mismatch(struct type_memo *memo, struct span declared, const struct file_name *plain,
                        struct span sniffed, const char **ret_kind)
{
    const struct type_row *is = type_recall(memo, sniffed), *told, *called;
    char extension[16];

    if (!is)
        return false;
    told = says_nothing(declared) ? NULL : type_recall(memo, declared);
    file_name_extension(plain, extension);
    called = type_recall(memo, span_of(extension));
    if ((!told || goes_with(told, is)) && (!called || goes_with(called, is)))
        return false;
    *ret_kind = type_family_word(is->family);
    return true;
}

bool type_mismatch(struct span declared, struct span name, struct span sniffed,
                   const char **ret_kind)
{
    struct type_memo memo = {.next = 0};
    struct file_name plain;

    file_name_plain(name, &plain);
    return is_mismatch(&memo, declared, &plain, sniffed, ret_kind);
}

/* ---- judging ---- */

struct judge {
    struct type_walk *walk;
    const struct object *o;
    const struct file_name *plain; /* NULL: a field has no name */
    const char *where;
    struct scan_result *r;
};

/* One finding "|what|.|which|", cut to fit. */
static void find(const struct judge *j, const char *what, struct span which, bool note,
                 struct finding *ret)
{
    size_t n;

    *ret = (struct finding){.engine = "filetype", .note = note};
    n = span_copy(span_of(what), ret->name, sizeof ret->name - 2);
    ret->name[n] = '.';
    (void)span_copy(which, ret->name + n + 1, sizeof ret->name - n - 1);
    (void)span_copy(span_of(j->where), ret->where, sizeof ret->where);
    scan_result_find(j->r, ret);
}

static void block(const struct judge *j, const char *what, struct span which, const char *why)
{
    struct finding f;

    find(j, what, which, false, &f);
    scan_result_judge(j->r, VERDICT_BLOCK, CAUSE_DENIED, OK, "%s (%s)", why, f.name);
}

static void act(const struct judge *j, enum type_mismatch how, const char *what, struct span which,
                const char *why)
{
    struct finding f;

    switch (how) {
    case TYPE_MISMATCH_PASS: break;
    case TYPE_MISMATCH_NOTE: find(j, what, which, true, &f); break;
    case TYPE_MISMATCH_BLOCK: block(j, what, which, why); break;
    }
}

/* Under the name that it has, or another of the same type. */
static bool any_matches(const struct judge *j, const struct config_strings *list, struct span type)
{
    const struct type_row *row = list->n ? type_recall(&j->walk->memo, type) : NULL;

    for (size_t i = 0; i < list->n && type.n; i++) {
        struct span pattern = span_of(list->v[i]);

        if (!span_starts(pattern, SPAN(".")) &&
            (glob_match(pattern, type) || (row && type_has_name(row, pattern))))
            return true;
    }
    return false;
}

static size_t count_dots(struct span s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == '.';
    return n;
}

/* ".exe", ".tar.*": as many extensions of the name as the pattern has dots. */
static bool name_ends(struct span pattern, struct span name)
{
    size_t dots = count_dots(pattern), at;

    while (name.n && (name.p[name.n - 1] == '.' || name.p[name.n - 1] == ' '))
        name.n--;
    for (at = name.n; at > 0 && dots > 0; at--)
        dots -= name.p[at - 1] == '.';
    return dots == 0 && glob_match(pattern, span_sub(name, at, SIZE_MAX));
}

/* The pattern of |list| that the name ends like, or NULL. */
static const char *denied_name(const struct config_strings *list, const struct file_name *plain)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->v[i][0] == '.' && name_ends(span_of(list->v[i]), span_of(plain->text)))
            return list->v[i];
    return NULL;
}

static bool names_ends(const struct config_strings *list)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->v[i][0] == '.')
            return true;
    return false;
}

/* Prose in a field comes without a look (worker/engine_filetype.c). A name that nobody can read may
 * end in any way. */
static void judge_deny(const struct judge *j, unsigned tricks, const struct config_strings *deny)
{
    const char *pattern = j->plain ? denied_name(deny, j->plain) : NULL;

    if (any_matches(j, deny, j->o->sniffed))
        block(j, "Type.Denied", j->o->sniffed, "files of this type are not taken");
    else if (pattern)
        block(j, "Type.Denied", span_of(pattern + 1), "files of this name are not taken");
    else if (any_matches(j, deny, j->o->declared))
        block(j, "Type.Denied", j->o->declared, "files of this type are not taken");
    else if (j->plain && file_name_is_unknown(tricks) && names_ends(deny))
        block(j, "Type.Denied", SPAN("unknown-name"),
              "the file's name cannot be read, and files of some names are not taken");
}

/* What nobody can tell the type of is on no list but one that says so; nothing has no type. */
static void judge_allow(const struct judge *j, const struct config_strings *allow)
{
    struct span type = j->o->sniffed.n ? j->o->sniffed : SPAN(TYPE_UNKNOWN);

    if (allow->n && j->o->len && !any_matches(j, allow, type))
        block(j, "Type.NotAllowed", type, "files of this type are not on the list");
}

static void judge_name(const struct judge *j, unsigned tricks, enum type_mismatch how)
{
    struct buf words;

    if (!tricks || how == TYPE_MISMATCH_PASS)
        return;
    buf_init(&words, 0);
    file_name_tricks_text(tricks, &words);
    for (size_t i = 0; i < words.n; i++)
        if (words.p[i] == ' ')
            words.p[i] = '+';
    act(j, how, "Name.Odd", span_of(buf_cstr(&words)), "the file's name has tricks in it");
    buf_done(&words);
}

/* Of making the name plain, and of one look into the table of types. */
#define BYTE_STEPS   8u
#define LOOKUP_STEPS 1000u

/* Each list's patterns against the three texts, once. */
static uint64_t steps_for(const struct type_policy_settings *p, const struct object *o)
{
    size_t bytes = o->name.n + o->declared.n + o->sniffed.n;

    return bytes * BYTE_STEPS + (p->allow.n + p->deny.n) * (bytes + 16);
}

static void judge(const struct judge *j, const struct type_policy_settings *p, unsigned tricks)
{
    const char *kind;

    judge_deny(j, tricks, &p->deny);
    if (!j->plain)
        return;
    judge_allow(j, &p->allow);
    if (is_mismatch(&j->walk->memo, j->o->declared, j->plain, j->o->sniffed, &kind))
        act(j, p->mismatch, "Type.Mismatch", span_of(kind),
            "the file is something else than it is said to be");
    judge_name(j, tricks, p->odd_names);
}

bool type_policy_judge(struct type_walk *w, const struct object *o, unsigned tricks,
                       const char *where, struct scan_result *r)
{
    struct file_name plain;
    struct judge j = {.walk = w, .o = o, .where = where, .r = r};
    unsigned before = w->memo.n_lookups;

    if (!steps_take(&w->steps, steps_for(w->policy, o)))
        return false;
    if (o->role != OBJECT_FIELD) {
        file_name_plain(o->name, &plain);
        tricks |= plain.tricks;
        j.plain = &plain;
    }
    judge(&j, w->policy, tricks);
    (void)steps_take(&w->steps, LOOKUP_STEPS * (w->memo.n_lookups - before));
    return true;
}
