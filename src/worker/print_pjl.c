/* SPDX-License-Identifier: Apache-2.0 */
/* print_pjl.c - Printer Job Language, as HP's "PJL Technical Reference Manual" has it and as
 * printers are more lenient. */
#include "worker/print_scan_int.h"

/* Which words are there, and what they are found as. */
struct pjl_row {
    struct span word;
    enum print_find find;
};

#define ROW(word, find)                    \
    {                                      \
        {(word), sizeof(word) - 1}, (find) \
    }

static const struct pjl_row commands[] = {
    ROW("FSDOWNLOAD", PRINT_PJL_FSDOWNLOAD),
    ROW("FSUPLOAD", PRINT_PJL_FSUPLOAD),
    ROW("FSAPPEND", PRINT_PJL_FSAPPEND),
    ROW("FSDELETE", PRINT_PJL_FSDELETE),
    ROW("FSMKDIR", PRINT_PJL_FSMKDIR),
    ROW("FSINIT", PRINT_PJL_FSINIT),
    ROW("FSQUERY", PRINT_PJL_FSQUERY),
    ROW("FSDIRLIST", PRINT_PJL_FSDIRLIST),
    ROW("INITIALIZE", PRINT_PJL_INITIALIZE),
    ROW("RNVRAM", PRINT_PJL_NVRAM),
    ROW("WNVRAM", PRINT_PJL_NVRAM),
    ROW("CLEARNVRAM", PRINT_PJL_NVRAM),
    ROW("NVRAMINIT", PRINT_PJL_NVRAM),
    ROW("DMCMD", PRINT_PJL_DMCMD),
    ROW("DISKLOCK", PRINT_PJL_LOCK),
    ROW("UPGRADE", PRINT_PJL_UPGRADE),
    /* Foomatic ends each job with it. */
    ROW("RESET", PRINT_PJL_RESET),
    /* HP's drivers put the time of a job into it. */
    ROW("DMINFO", PRINT_PJL_DMINFO),
    ROW("RDYMSG", PRINT_PJL_RDYMSG),
    ROW("OPMSG", PRINT_PJL_OPMSG),
    ROW("STMSG", PRINT_PJL_STMSG),
};

/* Of SET. */
static const struct pjl_row variables[] = {
    ROW("PASSWORD", PRINT_PJL_PASSWORD), ROW("SERVICEMODE", PRINT_PJL_SERVICEMODE),
    ROW("CPLOCK", PRINT_PJL_LOCK),       ROW("DISKLOCK", PRINT_PJL_LOCK),
    ROW("UPGRADE", PRINT_PJL_UPGRADE),
};

/* Of DEFAULT: with every job Samsung's drivers set the day, and Brother's when to sleep. */
static const struct pjl_row usual[] = {
    ROW("SERVICEDATE", PRINT_PJL_USUAL),
    ROW("AUTOSLEEP", PRINT_PJL_USUAL),
    ROW("TIMEOUTSLEEP", PRINT_PJL_USUAL),
};

struct pjl {
    struct print_scan *scan;
    enum print_language language;
    const char *payload; /* behind the first ENTER of a language that is read; NULL: none yet */
    const char *also;    /* the first text behind a lone CR; NULL: none yet */
};

static const struct pjl_row *row_of(const struct pjl_row *v, size_t n, struct span word)
{
    for (size_t i = 0; i < n; i++)
        if (span_ieq(v[i].word, word))
            return &v[i];
    return NULL;
}

/* ---- one command ---- */

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (char_lower(c) >= 'a' && char_lower(c) <= 'z') || c == '_' ||
           c == '-';
}

static void skip_blanks(struct span *rest)
{
    size_t n = 0;

    while (n < rest->n && print_is_blank(rest->p[n]))
        n++;
    *rest = span_sub(*rest, n, SIZE_MAX);
}

static struct span take_word(struct span *rest)
{
    struct span word;
    size_t n = 0;

    skip_blanks(rest);
    while (n < rest->n && is_word(rest->p[n]))
        n++;
    word = span_sub(*rest, 0, n);
    *rest = span_sub(*rest, n, SIZE_MAX);
    return word;
}

/* True when |c|, perhaps behind blanks, comes next; it is taken. */
static bool take_char(struct span *rest, char c)
{
    skip_blanks(rest);
    if (rest->n == 0 || rest->p[0] != c)
        return false;
    *rest = span_sub(*rest, 1, SIZE_MAX);
    return true;
}

/* "LPARM : PCL NAME" is the variable NAME of PCL. */
static struct span take_variable(struct span *rest)
{
    struct span word = take_word(rest);

    if (!span_ieq(word, SPAN("LPARM")) && !span_ieq(word, SPAN("IPARM")))
        return word;
    (void)take_char(rest, ':');
    (void)take_word(rest);
    return take_word(rest);
}

/* The first word of it, also of one in quotes. */
static struct span take_value(struct span *rest)
{
    (void)take_char(rest, '=');
    (void)take_char(rest, '"');
    return take_word(rest);
}

static enum print_language language_of(struct span name)
{
    if (span_istarts(name, SPAN("POSTSCRIPT")) || span_ieq(name, SPAN("PS")) ||
        span_ieq(name, SPAN("KPDL")))
        return PRINT_LANGUAGE_PS;
    return span_ieq(name, SPAN("PDF")) ? PRINT_LANGUAGE_PDF : PRINT_LANGUAGE_NONE;
}

/* What text is in before which no language is entered. Of one that is not read the printer may know
 * nothing, and stays with the one before. */
static void set_personality(struct pjl *p, struct span rest)
{
    enum print_language language = language_of(take_value(&rest));

    if (language != PRINT_LANGUAGE_NONE)
        p->scan->personality = language;
}

static void set(struct pjl *p, struct span rest, const char *at)
{
    struct span name = take_variable(&rest);
    const struct pjl_row *row = row_of(variables, ARRAY_LEN(variables), name);

    if (row)
        print_found(p->scan, row->find, at);
    if (span_ieq(name, SPAN("PERSONALITY")))
        set_personality(p, rest);
}

/* Asking for the values of variables, and this one is to be nobody's. */
static void ask(struct pjl *p, struct span rest, const char *at)
{
    if (span_ieq(take_variable(&rest), SPAN("PASSWORD")))
        print_found(p->scan, PRINT_PJL_PASSWORD, at);
}

/* What lasts. */
static void set_default(struct pjl *p, struct span rest, const char *at)
{
    const struct pjl_row *row = row_of(usual, ARRAY_LEN(usual), take_variable(&rest));

    print_found(p->scan, row ? row->find : PRINT_PJL_DEFAULT, at);
}

/* |end|: of the command. */
static void enter(struct pjl *p, struct span rest, const char *at, const char *end)
{
    enum print_language language;
    struct span name;

    if (!span_ieq(take_word(&rest), SPAN("LANGUAGE")))
        return;
    name = take_value(&rest);
    language = language_of(name);
    if (span_ieq(name, SPAN("ACL")) || span_istarts(name, SPAN("FWUPDATE")))
        print_found(p->scan, PRINT_PJL_UPGRADE, at);
    if (p->scan->entered.n && !span_ieq(p->scan->entered, name))
        print_found(p->scan, PRINT_PJL_LANGUAGE, at);
    p->scan->entered = name;
    /* Of two the first that we read counts, because its text may hold the second. */
    if (!p->payload && language != PRINT_LANGUAGE_NONE) {
        p->language = language;
        p->payload = end;
    }
}

/* |command|: from "@PJL" on. */
static void read_command(struct pjl *p, struct span command)
{
    struct span rest = span_sub(command, 4, SIZE_MAX), word = take_word(&rest);
    const struct pjl_row *row = row_of(commands, ARRAY_LEN(commands), word);

    if (row)
        print_found(p->scan, row->find, command.p);
    else if (span_ieq(word, SPAN("SET")))
        set(p, rest, command.p);
    else if (span_ieq(word, SPAN("DEFAULT")))
        set_default(p, rest, command.p);
    else if (span_ieq(word, SPAN("INQUIRE")) || span_ieq(word, SPAN("DINQUIRE")) ||
             span_ieq(word, SPAN("INFO")))
        ask(p, rest, command.p);
    else if (span_ieq(word, SPAN("ENTER")))
        enter(p, rest, command.p, command.p + command.n);
    if (span_ieq(word, SPAN("RESET")))
        p->scan->personality = PRINT_LANGUAGE_NONE;
}

/* ---- lines ---- */

static bool is_command(struct span s)
{
    return span_istarts(s, SPAN("@PJL"));
}

/* A line ends with LF. To some printers a CR ends it, too; what then stands there and is no command
 * is the payload to them, and to others the rest of the one before. */
static void read_line(struct pjl *p, struct span line)
{
    while (line.p) {
        struct span piece = span_cut(&line, '\r');

        skip_blanks(&piece);
        if (is_command(piece))
            read_command(p, piece);
        else if (piece.n && !p->payload && !p->also)
            p->also = piece.p;
    }
}

static struct span from(struct span segment, const char *at)
{
    return at ? span_sub(segment, (size_t)(at - segment.p), SIZE_MAX) : SPAN_NONE;
}

/* A printer that does not know a language stays in PJL when it is entered: so this reads on. */
void print_pjl(struct print_scan *s, struct span segment, struct print_rest *ret)
{
    struct pjl p = {.scan = s};
    struct span rest = segment, line = segment;

    for (;;) {
        skip_blanks(&line);
        if (!is_command(line))
            break;
        rest = line;
        read_line(&p, span_cut(&rest, '\n'));
        if (!rest.p) { /* no LF: it was the last */
            rest = span_sub(segment, segment.n, 0);
            break;
        }
        line = rest;
    }
    ret->payload = from(segment, p.payload ? p.payload : rest.p);
    ret->also = from(segment, p.also);
    ret->language = p.language != PRINT_LANGUAGE_NONE ? p.language : s->personality;
}
