/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

#define ERR_ROW(id, value, class, status, code, text) {id, value, ERR_CLASS_##class, status, code},
static const struct code_row {
    enum err err;
    int value;
    enum err_class class;
    unsigned status;
    const char *code;
} code_rows[] = {
#include "base/codes.def"
};
#undef ERR_ROW

static void test_codes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(code_rows); i++) {
        const struct code_row *r = &code_rows[i];

        assert_int_equal((int)r->err, r->value);
        assert_int_equal(r->value, i); /* dense: a value is never reused, none is left out */
        assert_int_equal(err_class(r->err), r->class);
        assert_int_equal(err_status(r->err), r->status);
        assert_string_equal(err_code(r->err), r->code);
        assert_true(strlen(err_text(r->err)) > 0);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(code_rows[k].code, r->code);
    }
}

static void test_unknown_value_is_a_bug(void **state)
{
    (void)state;
    for (int v = (int)ARRAY_LEN(code_rows); v < 100; v++) {
        assert_string_equal(err_code((enum err)v), "bug");
        assert_int_equal(err_class((enum err)v), ERR_CLASS_BUG);
        assert_int_equal(err_status((enum err)v), 500);
        assert_non_null(err_text((enum err)v));
    }
}

static const struct errno_row {
    int errnum;
    enum err err;
} errno_rows[] = {
    {0,          OK         },
    {EAGAIN,     ERR_AGAIN  },
    {EINTR,      ERR_AGAIN  },
    {ENOSPC,     ERR_FULL   },
    {EDQUOT,     ERR_FULL   },
    {EFBIG,      ERR_FULL   },
    {ENOMEM,     ERR_NOMEM  },
    {ENOBUFS,    ERR_NOMEM  },
    {EPIPE,      ERR_RESET  },
    {ECONNRESET, ERR_RESET  },
    {ETIMEDOUT,  ERR_TIMEOUT},
    {EMFILE,     ERR_BUSY   },
    {ENFILE,     ERR_BUSY   },
    {EIO,        ERR_IO     },
    {ENOENT,     ERR_IO     },
    {-1,         ERR_IO     },
};

static void test_errnos(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(errno_rows); i++)
        assert_int_equal(err_from_errno(errno_rows[i].errnum), errno_rows[i].err);
}

static void test_fault(void **state)
{
    struct fault f = {0};

    (void)state;
    assert_int_equal(fault_set(&f, ERR_LIMIT, 0, 7, "why"), ERR_LIMIT);
    assert_int_equal(f.err, ERR_LIMIT);
    assert_int_equal(f.status, 413); /* the error's own */
    assert_int_equal(f.off, 7);
    assert_string_equal(f.why, "why");
    assert_int_equal(fault_set(&f, ERR_LIMIT, 431, 0, "x"), ERR_LIMIT);
    assert_int_equal(f.status, 431);
    assert_int_equal(fault_set(NULL, ERR_PROTO, 0, 0, "x"), ERR_PROTO);
}

static enum err try_it(enum err e, unsigned *after)
{
    TRY(e);
    ++*after;
    return OK;
}

static void test_try(void **state)
{
    unsigned after = 0;

    (void)state;
    assert_int_equal(try_it(ERR_BUSY, &after), ERR_BUSY);
    assert_int_equal(after, 0);
    assert_int_equal(try_it(OK, &after), OK);
    assert_int_equal(after, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),  cmocka_unit_test(test_unknown_value_is_a_bug),
        cmocka_unit_test(test_errnos), cmocka_unit_test(test_fault),
        cmocka_unit_test(test_try),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
