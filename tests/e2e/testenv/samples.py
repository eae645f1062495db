# SPDX-License-Identifier: Apache-2.0
"""Files to send: bytes that can be made again from a number, what looks like a program, and the EICAR
test file, which is put together here so that no scanner takes the sources for infected."""
import functools
import hashlib
import random
import struct

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-" + rb"ANTIVIRUS-TEST-FILE!$H+H*"
BLOCK = 1 << 20

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
# What peers are tried with: nothing, little, around Squid's 64 KiB buffer, much.
SIZES = (0, 1, 1024, 65535, 65536, 10 * MIB)


@functools.lru_cache(maxsize=2)
def block(seed=1):
    return random.Random(seed).randbytes(BLOCK)


def pieces(size, seed=1):
    """|size| bytes of the same noise, piece by piece; never infected by chance in our rules."""
    whole, rest = divmod(size, BLOCK)
    for _ in range(whole):
        yield block(seed)
    if rest:
        yield block(seed)[:rest]


def noise(size, seed=1):
    return b"".join(pieces(size, seed))


@functools.lru_cache(maxsize=64)
def noise_digest(size, seed=1):
    digest = hashlib.sha256()
    for piece in pieces(size, seed):
        digest.update(piece)
    return digest.hexdigest()


def digest(data):
    return hashlib.sha256(data).hexdigest()


def portable_executable():
    return b"MZ".ljust(0x3c, b"\0") + struct.pack("<I", 0x80) + b"\0" * 64 + b"PE\0\0" + b"\x64\x86" + b"\0" * 200
