/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/print_ps_names.h"

#include <assert.h>

/* Tokens. Strings are text as a rule, and text may say anything. */
#define NEAR        4u
#define NEAR_STRING 64u
#define PS_NAME_MIN 3u
#define PS_NAME_MAX 18u

static_assert(PS_NAME_MAX < PS_HEAD_MAX, "a string that is a name is seen whole");
static_assert(PRINT_FINDS <= 64, "each has its bit");

enum ps_op {
    OP_FOUND, /* what it is found as, wherever it stands */
    OP_FILE,
    OP_RUN,
    OP_GET, /* also load */
    OP_CVN, /* also token, which makes names of strings, too */
    OP_CVX,
    OP_FORALL,
    OP_LETS_GO, /* what is_let_go() in print_postscript.c goes by */
    OP_APART,   /* gives out what stands in a procedure, or operands whose operator failed */
    OP_EXEC,
    OP_CURRENTFILE,
    OP_SYSTEMDICT,
};

struct ps_row {
    struct span name;
    enum ps_op op;
    enum print_find find;
};

#define FOUND(name, find)                            \
    {                                                \
        {(name), sizeof(name) - 1}, OP_FOUND, (find) \
    }
#define OPERATOR(name, op)                            \
    {                                                 \
        {(name), sizeof(name) - 1}, (op), PRINT_FINDS \
    }

static const struct ps_row rows[] = {
    FOUND("deletefile", PRINT_PS_DELETEFILE),
    FOUND("renamefile", PRINT_PS_RENAMEFILE),
    FOUND("filenameforall", PRINT_PS_FILENAMEFORALL),
    FOUND("devformat", PRINT_PS_DISK),
    FOUND("devmount", PRINT_PS_DISK),
    FOUND("devdismount", PRINT_PS_DISK),
    FOUND("initializedisk", PRINT_PS_DISK),
    FOUND("setuserdiskpercent", PRINT_PS_DISK),
    FOUND("startjob", PRINT_PS_STARTJOB),
    FOUND("exitserver", PRINT_PS_EXITSERVER),
    FOUND("setsystemparams", PRINT_PS_SETSYSTEMPARAMS),
    FOUND("setdevparams", PRINT_PS_SETDEVPARAMS),
    FOUND("setpassword", PRINT_PS_PASSWORD),
    FOUND("checkpassword", PRINT_PS_PASSWORD),
    /* Of statusdict, what stays when the job is over; duplex, trays and timeouts of a job do not.
     */
    FOUND("setprintername", PRINT_PS_STATUSDICT),
    FOUND("sethostname", PRINT_PS_STATUSDICT),
    FOUND("setdefaulttimeouts", PRINT_PS_STATUSDICT),
    FOUND("setdostartpage", PRINT_PS_STATUSDICT),
    FOUND("setdosysstart", PRINT_PS_STATUSDICT),
    FOUND("setsccbatch", PRINT_PS_STATUSDICT),
    FOUND("setsccinteractive", PRINT_PS_STATUSDICT),
    FOUND("seteescratch", PRINT_PS_STATUSDICT),
    FOUND("sethardwareiomode", PRINT_PS_STATUSDICT),
    FOUND("setsoftwareiomode", PRINT_PS_STATUSDICT),
    FOUND("quit", PRINT_PS_QUIT),
    OPERATOR("file", OP_FILE),
    OPERATOR("run", OP_RUN),
    OPERATOR("get", OP_GET),
    OPERATOR("load", OP_GET),
    OPERATOR("cvn", OP_CVN),
    OPERATOR("token", OP_CVN),
    OPERATOR("cvx", OP_CVX),
    OPERATOR("forall", OP_FORALL),
    OPERATOR("known", OP_LETS_GO),
    OPERATOR("where", OP_LETS_GO),
    OPERATOR("def", OP_LETS_GO),
    OPERATOR("bind", OP_LETS_GO),
    OPERATOR("aload", OP_APART),
    OPERATOR("stopped", OP_APART),
    OPERATOR("errordict", OP_APART),
    OPERATOR("exec", OP_EXEC),
    OPERATOR("currentfile", OP_CURRENTFILE),
    OPERATOR("systemdict", OP_SYSTEMDICT),
};

static bool is_op(struct ps_token t, enum ps_op op)
{
    return t.kind == PS_NAME && t.row && t.row->op == op;
}

static bool is_naming(struct ps_token t)
{
    return t.kind == PS_LITERAL || t.kind == PS_STRING;
}

static void push(struct ps_names *n, enum ps_kind kind, const struct ps_row *row)
{
    n->before = n->last;
    n->last = (struct ps_token){kind, row};
    n->near_systemdict -= n->near_systemdict > 0;
    n->near_string -= n->near_string > 0;
    if (n->near_string == 0)
        n->lately = 0;
    if (is_op(n->last, OP_SYSTEMDICT))
        n->near_systemdict = NEAR;
}

void ps_names_push(struct ps_names *n, enum ps_kind kind)
{
    push(n, kind, NULL);
}

/* ---- names ---- */

/* (name) (access) file: of a stream of the job it is harmless. */
static void judge_file(struct ps_names *n, const char *at)
{
    bool access = n->last.kind == PS_STRING || n->last.kind == PS_STANDARD;

    if (access && n->before.kind == PS_STANDARD)
        return;
    print_found(n->scan,
                access && n->before.kind == PS_STRING ? PRINT_PS_FILE : PRINT_PS_FILE_UNSEEN, at);
}

static void judge_run(struct ps_names *n, const char *at)
{
    if (n->last.kind == PS_STANDARD || is_op(n->last, OP_CURRENTFILE))
        return;
    print_found(n->scan, n->last.kind == PS_STRING ? PRINT_PS_RUN : PRINT_PS_RUN_UNSEEN, at);
}

static uint64_t bit_of(const struct ps_row *row)
{
    return row && row->op == OP_FOUND ? UINT64_C(1) << row->find : 0;
}

static void found_all(const struct ps_names *n, uint64_t bits, const char *at)
{
    for (unsigned i = 0; i < PRINT_FINDS && bits >> i; i++)
        if (bits >> i & 1)
            print_found(n->scan, (enum print_find)i, at);
}

/* Hold is taken of something that is not seen here: of whichever of |named| is meant, or of what
 * comes later, where this stands in a procedure. */
static void judge_held(struct ps_names *n, uint64_t named, const char *at)
{
    found_all(n, named, at);
    n->taken = true;
}

/* What literals named, to be taken hold of by anything from here on, or by what did so before. */
static void hold(struct ps_names *n, uint64_t bits, const char *at)
{
    n->held |= bits;
    if (n->taken)
        found_all(n, bits, at);
}

/* From here on, and from here back, nothing is let go. */
static void judge_doubt(struct ps_names *n, const char *at)
{
    n->doubt = true;
    hold(n, n->let_go, at);
    n->let_go = 0;
}

/* An operator is named, not executed: it can be called by another name now, or be another one. */
static void judge_named(struct ps_names *n, uint64_t named, const char *at)
{
    switch (n->last.row ? n->last.row->op : OP_FOUND) {
    case OP_GET:
    case OP_CVN:
    case OP_CVX:
    case OP_FORALL:
        judge_doubt(n, at);
        judge_held(n, named | n->held, at);
        break;
    case OP_LETS_GO:
    case OP_APART: judge_doubt(n, at); break;
    case OP_FOUND:
    case OP_FILE:
    case OP_RUN:
    case OP_EXEC:
    case OP_CURRENTFILE:
    case OP_SYSTEMDICT: break;
    }
}

/* { ... } 0 get, /name load 0 get. */
static bool is_of_procedure(const struct ps_names *n)
{
    return n->before.kind == PS_SEEN || is_op(n->before, OP_GET);
}

/* An operator is taken hold of, to be called by another name: /deletefile load, systemdict
 * (deletefile) get, also with tokens between: /deletefile dup pop load. Or one that nobody can read
 * here: systemdict exch get; or, by that, one that takes hold in its turn: /load load. */
static void judge_taken(struct ps_names *n, enum ps_op by, const char *at)
{
    bool named = is_naming(n->last);
    const struct ps_row *row = named ? n->last.row : NULL;

    if (!named && by == OP_GET && is_of_procedure(n))
        judge_doubt(n, at);
    if (!named)
        judge_held(n, n->held | n->lately, at);
    if (row && row->op == OP_FOUND)
        print_found(n->scan, row->find, at);
    else if (row && row->op == OP_FILE)
        print_found(n->scan, PRINT_PS_FILE_UNSEEN, at);
    else if (row && row->op == OP_RUN)
        print_found(n->scan, PRINT_PS_RUN_UNSEEN, at);
    else if (named)
        judge_named(n, n->lately, at);
    else if (is_op(n->last, OP_CVN) || (by == OP_GET && n->near_systemdict))
        print_found(n->scan, PRINT_PS_HIDDEN, at);
}

static void judge(struct ps_names *n, const struct ps_row *row, const char *at)
{
    switch (row->op) {
    case OP_FOUND: print_found(n->scan, row->find, at); break;
    case OP_FILE: judge_file(n, at); break;
    case OP_RUN: judge_run(n, at); break;
    case OP_GET:
    case OP_CVN:
    case OP_CVX: judge_taken(n, row->op, at); break;
    case OP_FORALL: /* of a procedure, or of a dictionary with names to compare */
        judge_doubt(n, at);
        judge_held(n, n->held | n->lately, at);
        break;
    case OP_APART: judge_doubt(n, at); break;
    case OP_EXEC:
        if (is_op(n->last, OP_CVX) && n->before.kind != PS_SEEN)
            print_found(n->scan, PRINT_PS_HIDDEN, at);
        break;
    case OP_LETS_GO:
    case OP_CURRENTFILE:
    case OP_SYSTEMDICT: break;
    }
}

static const struct ps_row *row_of(struct span name)
{
    if (name.n < PS_NAME_MIN || name.n > PS_NAME_MAX)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].name.n == name.n && span_eq(rows[i].name, name))
            return &rows[i];
    return NULL;
}

void ps_names_name(struct ps_names *n, struct span name, const char *at)
{
    const struct ps_row *row = row_of(name);

    if (row)
        judge(n, row, at);
    push(n, row ? PS_NAME : PS_OTHER, row);
}

bool ps_names_literal(struct ps_names *n, struct span name, const char *at)
{
    push(n, PS_LITERAL, row_of(name));
    judge_named(n, n->lately, at);
    return bit_of(n->last.row) != 0;
}

void ps_names_keep(struct ps_names *n, bool let_go, const char *at)
{
    if (let_go && !n->doubt)
        n->let_go |= bit_of(n->last.row);
    else
        hold(n, bit_of(n->last.row), at);
}

/* ---- strings ---- */

/* 3.8.2: a file's name begins with that of its device. */
static bool is_on_device(struct span name, const struct span *v, size_t n)
{
    for (size_t i = 0; i < n && name.n && name.p[0] == '%'; i++)
        if (span_starts(name, v[i]))
            return true;
    return false;
}

static enum ps_kind kind_of(struct span head)
{
    static const struct span standard[] = {
        {"%std",           4 },
        {"%lineedit",      9 },
        {"%statementedit", 14},
    };

    if (is_on_device(head, standard, ARRAY_LEN(standard)))
        return PS_STANDARD;
    /* PPD files write (<<)cvx exec, so that interpreters of level 1 can read on. */
    return span_eq(head, SPAN("<<")) || span_eq(head, SPAN(">>")) ? PS_SEEN : PS_STRING;
}

void ps_names_string(struct ps_names *n, struct span head, const char *at)
{
    static const struct span disks[] = {
        {"%disk",      5 },
        {"%flash",     6 },
        {"%ram",       4 },
        {"%cartridge", 10},
        {"%os%",       4 },
    };

    if (is_on_device(head, disks, ARRAY_LEN(disks)))
        print_found(n->scan, PRINT_PS_DISK, at);
    if (span_starts(head, SPAN("%pipe")))
        print_found(n->scan, PRINT_PS_PIPE, at);
    push(n, kind_of(head), row_of(head));
    judge_named(n, 0, at);
    if (bit_of(n->last.row)) {
        n->lately |= bit_of(n->last.row);
        n->near_string = NEAR_STRING;
    }
}
