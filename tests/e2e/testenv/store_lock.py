# SPDX-License-Identifier: Apache-2.0
"""A writer of the store besides the gateway."""
import contextlib
import ctypes
import os


NEXT = 8  # MDB_NEXT


class Value(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("data", ctypes.c_void_p)]

    def __init__(self, octets):
        self.octets = ctypes.create_string_buffer(octets, len(octets))
        super().__init__(len(octets), ctypes.addressof(self.octets))


@contextlib.contextmanager
def opened(folder):
    """(library, this LMDB environment, a transaction that writes)"""
    lmdb, environment, transaction = ctypes.CDLL("liblmdb.so.0"), ctypes.c_void_p(), ctypes.c_void_p()
    assert lmdb.mdb_env_create(ctypes.byref(environment)) == 0
    assert lmdb.mdb_env_set_maxdbs(environment, 2) == 0
    assert lmdb.mdb_env_open(environment, os.fsencode(folder), 0, 0o600) == 0
    assert lmdb.mdb_txn_begin(environment, None, 0, ctypes.byref(transaction)) == 0
    try:
        yield lmdb, environment, transaction
    finally:
        lmdb.mdb_env_close(environment)


@contextlib.contextmanager
def writing(folder):
    """Meanwhile nobody else can write to this LMDB environment."""
    with opened(folder) as (lmdb, _, transaction):
        try:
            yield
        finally:
            lmdb.mdb_txn_abort(transaction)


@contextlib.contextmanager
def taking(folder, space, key):
    """The same, and behind it there is an entry that the gateway cannot read."""
    with opened(folder) as (lmdb, _, transaction):
        items, name, value = ctypes.c_uint(), Value(space + b"\0" + key), Value(b"\0" * 7 + b"\1" + b"\0" * 8)
        assert lmdb.mdb_dbi_open(transaction, b"items", 0, ctypes.byref(items)) == 0
        assert lmdb.mdb_put(transaction, items, ctypes.byref(name), ctypes.byref(value), 0) == 0
        yield
        assert lmdb.mdb_txn_commit(transaction) == 0


def fill(folder, octets):
    """Entries of so many octets, which never end, beside those of the gateway."""
    with opened(folder) as (lmdb, _, transaction):
        items = ctypes.c_uint()
        assert lmdb.mdb_dbi_open(transaction, b"items", 0, ctypes.byref(items)) == 0
        for i in range(octets // 4000):
            key, value = Value(b"filler\0%d" % i), Value(b"\0" * 7 + b"\1" + b"\0" * 3992)
            assert lmdb.mdb_put(transaction, items, ctypes.byref(key), ctypes.byref(value), 0) == 0
        assert lmdb.mdb_txn_commit(transaction) == 0


def get(folder, space, key):
    """What is kept there: version, expiry and value."""
    name, value = Value(space + b"\0" + key), Value(b"")
    with opened(folder) as (lmdb, _, transaction):
        items = ctypes.c_uint()
        assert lmdb.mdb_dbi_open(transaction, b"items", 0, ctypes.byref(items)) == 0
        assert lmdb.mdb_get(transaction, items, ctypes.byref(name), ctypes.byref(value)) == 0
        octets = ctypes.string_at(value.data, value.size)
        lmdb.mdb_txn_abort(transaction)
    return octets


def rewrite(folder, change):
    """Every value becomes change(value); how many are others then."""
    n, found, key, value = 0, [], Value(b""), Value(b"")
    with opened(folder) as (lmdb, _, transaction):
        items, cursor, move = ctypes.c_uint(), ctypes.c_void_p(), 0
        assert lmdb.mdb_dbi_open(transaction, b"items", 0, ctypes.byref(items)) == 0
        assert lmdb.mdb_cursor_open(transaction, items, ctypes.byref(cursor)) == 0
        while lmdb.mdb_cursor_get(cursor, ctypes.byref(key), ctypes.byref(value), move) == 0:
            found.append([ctypes.string_at(v.data, v.size) for v in (key, value)])
            move = NEXT
        lmdb.mdb_cursor_close(cursor)
        for old_key, old in found:
            key, value = Value(old_key), Value(change(old))
            assert lmdb.mdb_put(transaction, items, ctypes.byref(key), ctypes.byref(value), 0) == 0
            n += change(old) != old
        assert lmdb.mdb_txn_commit(transaction) == 0
    return n
