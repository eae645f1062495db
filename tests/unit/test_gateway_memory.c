/* SPDX-License-Identifier: Apache-2.0 */
/* When memory goes back to the system: after a crowd has left, once, and not for a few who come and
 * go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proc/gateway_int.h"

struct look_row {
    const char *name;
    unsigned connections[6];
    unsigned due; /* bit i: after the i-th look */
};

static void looks(void **state)
{
    const struct look_row *row = *state;
    struct gateway_memory m = {0};
    unsigned due = 0;

    for (unsigned i = 0; i < ARRAY_LEN(row->connections); i++)
        due |= (unsigned)gateway_memory_is_due(&m, row->connections[i]) << i;
    assert_int_equal(due, row->due);
}

#define ROW(label, ...)                                          \
    {                                                            \
        .name = "looks: " label, .test_func = looks,             \
        .initial_state = &(struct look_row){label, __VA_ARGS__}, \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW("nobody ever comes", {0, 0, 0, 0, 0, 0}, 0),
        ROW("a few come and go", {10, 255, 0, 200, 3, 255}, 0),
        ROW("a crowd stays", {15000, 15000, 14000, 9000, 8000, 7501}, 0),
        ROW("a crowd leaves", {15000, 0, 0, 0, 0, 0}, 1u << 1),
        ROW("a crowd leaves by halves", {16000, 8000, 4000, 2000, 1000, 500},
            1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5),
        ROW("a crowd comes back", {1000, 100, 1000, 1000, 100, 100}, 1u << 1 | 1u << 4),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
