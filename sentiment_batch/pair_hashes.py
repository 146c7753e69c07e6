"""Rows -> a hash of the key and the text of each: what tells whether an earlier output has the very same pair.

128 bits of BLAKE2b: that two others among a billion pairs share one has a chance of 1 in 10^21.
"""

from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sentiment_batch.read.texts import written_out

HASH = np.dtype("S16")  # sorted and compared as bytes; those at the end that are zero count like any other
_STRINGS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
_TIMES = (pa.types.is_date, pa.types.is_time, pa.types.is_timestamp, pa.types.is_duration)
_PLAIN = (pa.types.is_boolean, pa.types.is_decimal)


def kind_of(type: pa.DataType) -> str | None:
    """What keys of this type are compared as: with those of the same kind alone. None if they can be no keys.

    How wide integers are, and how strings lie in memory, makes no other kind.
    """
    if pa.types.is_dictionary(type):
        return kind_of(type.value_type)
    if pa.types.is_integer(type):
        return "integers"
    for kind, checks in (("strings", _STRINGS), ("bytes", _BYTES)):
        if any(check(type) for check in checks):
            return kind
    single = pa.types.is_float32(type) or pa.types.is_float64(type) or any(check(type) for check in (*_TIMES, *_PLAIN))
    return str(type) if single else None


def pair_hashes(keys: list[pa.Array], texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(int64 [pairs]: which rows have a whole key and a text, [pairs] of `HASH`); a null is equal to nothing.

    Each value of a key has its length before it, so that ("a", "b:c") and ("a:b", "c") are two.
    """
    pieces = []
    for values in map(_as_bytes, keys):
        pieces += [_of_numbers(pc.binary_length(values)), values]
    pairs = pc.binary_join_element_wise(*pieces, _as_bytes(texts), pa.scalar(b":", pa.large_binary()))
    digests = [blake2b(pair, digest_size=HASH.itemsize).digest() for pair in pairs.drop_null().to_pylist()]
    return np.flatnonzero(pairs.is_valid()), np.frombuffer(b"".join(digests), HASH)


def _as_bytes(values: pa.Array) -> pa.Array:
    """Large binary; of two values of one kind the bytes are the same if the values are."""
    values = written_out(values)
    kind = values.type
    if any(check(kind) for check in _TIMES):
        return _of_numbers(values.view(pa.int32() if kind.bit_width == 32 else pa.int64()))
    if pa.types.is_floating(kind):
        there = pc.if_else(pc.is_nan(values), pa.scalar(None, kind), values)
        return _of_numbers(there.view(pa.int32() if kind.bit_width == 32 else pa.int64()))
    if pa.types.is_integer(kind) or any(check(kind) for check in _PLAIN):
        return _of_numbers(values)
    return values.cast(pa.large_binary())


def _of_numbers(values: pa.Array) -> pa.Array:
    return values.cast(pa.large_string()).cast(pa.large_binary())
