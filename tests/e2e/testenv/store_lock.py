# SPDX-License-Identifier: Apache-2.0
"""A writer of the store besides the gateway."""
import contextlib
import ctypes
import os


@contextlib.contextmanager
def writing(folder):
    """Meanwhile nobody else can write to this LMDB environment."""
    lmdb, environment, transaction = ctypes.CDLL("liblmdb.so.0"), ctypes.c_void_p(), ctypes.c_void_p()
    assert lmdb.mdb_env_create(ctypes.byref(environment)) == 0
    assert lmdb.mdb_env_open(environment, os.fsencode(folder), 0, 0o600) == 0
    assert lmdb.mdb_txn_begin(environment, None, 0, ctypes.byref(transaction)) == 0
    try:
        yield
    finally:
        lmdb.mdb_txn_abort(transaction)
        lmdb.mdb_env_close(environment)
