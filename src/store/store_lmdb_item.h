/* SPDX-License-Identifier: Apache-2.0 */
/* store_lmdb_item.h - how entries look in the environment, and one operation in a transaction. Two
 * databases: "items", from names (namespace, NUL, key) to version, expiry and value; "expiry", from
 * expiry and name to nothing, so that what is over is found without a search. For store_lmdb.c. */
#ifndef STORE_STORE_LMDB_ITEM_H
#define STORE_STORE_LMDB_ITEM_H

#include <lmdb.h>

#include "store/store_int.h"

struct lmdb_view {
    MDB_txn *txn;
    MDB_dbi items, expiry;
    uint64_t now_wall_ms;
    uint64_t version; /* the next change's */
    bool full;        /* nothing may be added, only taken out */
};

/* Of LMDB's answers the one that the operation's own outcome is not: the transaction is to be
 * aborted then. *ret_err is the outcome. */
int lmdb_run(struct lmdb_view *v, struct store_op *op, enum err *ret_err);
/* Is the entry of "expiry" at |key| over? Also one that is damaged. */
bool lmdb_expiry_is_over(const struct lmdb_view *v, const MDB_val *key);
/* Takes out at most |max| entries that are over; *ret_n how many. */
int lmdb_sweep(struct lmdb_view *v, unsigned max, unsigned *ret_n);
/* MDB_MAP_FULL and ENOSPC are ERR_FULL, anything else ERR_IO or ERR_NOMEM. */
enum err lmdb_err(int rc);

#endif
