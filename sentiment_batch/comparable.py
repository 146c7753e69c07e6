"""Columns -> Python values that say exactly what is in them, and can be compared.

Strings are strings, UTF-8 or not: of bytes that are no UTF-8 they have Python's escapes, others for other bytes.
"""

from typing import Any

import pyarrow as pa


def plain_values(column: pa.ChunkedArray | pa.Array) -> list[Any]:
    """The column as Python values that can be compared: points in time as whole numbers, not a number as a word."""
    return _comparable(column.type, _python_values(column))


def exact_values(column: pa.ChunkedArray, coarse: pa.ChunkedArray) -> list[Any]:
    """As `plain_values`, with INT96 timestamps as they are; in `coarse` these are seconds, which hold them all."""
    pairs = zip(_python_values(column), _python_values(coarse), strict=True)
    return _comparable(column.type, [_exact(coarse.type, *pair) for pair in pairs])


def _exact(type: pa.DataType, fine: Any, seconds: Any) -> Any:
    """The value with its INT96 timestamps in nanoseconds, however many; `fine` has them modulo 2 ** 64."""
    if fine is None:
        return None
    if pa.types.is_timestamp(type) and type.unit == "s":  # Parquet itself knows no seconds
        return seconds * 10**9 + (fine - seconds * 10**9) % 2**64
    if pa.types.is_struct(type):
        return {field.name: _exact(field.type, fine[field.name], seconds[field.name]) for field in type}
    if pa.types.is_map(type):
        kinds = (type.key_type, type.item_type)
        return [tuple(map(_exact, kinds, *entries)) for entries in zip(fine, seconds, strict=True)]
    if pa.types.is_nested(type):
        return [_exact(type.value_type, *pair) for pair in zip(fine, seconds, strict=True)]
    return fine


def _python_values(column: pa.ChunkedArray | pa.Array) -> list[Any]:
    return list(column.cast(_plain_type(column.type)).to_pylist())


def _comparable(type: pa.DataType, values: list[Any]) -> list[Any]:
    if pa.types.is_nested(type):
        return list(map(repr, values))
    if pa.types.is_large_binary(_plain_type(type)):
        return [None if value is None else str(value, "utf-8", "surrogateescape") for value in values]
    return ["nan" if value != value else value for value in values]


def _plain_type(type: pa.DataType) -> pa.DataType:
    """The type that says the same in numbers and bytes: Python has no nanoseconds, and strings may be no UTF-8."""
    if isinstance(type, pa.BaseExtensionType):
        return _plain_type(type.storage_type)
    if pa.types.is_dictionary(type):
        return _plain_type(type.value_type)
    if pa.types.is_string(type) or pa.types.is_large_string(type) or pa.types.is_string_view(type):
        return pa.large_binary()
    if pa.types.is_temporal(type) and not pa.types.is_interval(type):
        return pa.int32() if pa.types.is_date32(type) or pa.types.is_time32(type) else pa.int64()
    if pa.types.is_struct(type):
        return pa.struct([field.with_type(_plain_type(field.type)) for field in type])
    if pa.types.is_map(type):
        return pa.map_(type.key_field.with_type(_plain_type(type.key_type)), _plain_type(type.item_type))
    if pa.types.is_fixed_size_list(type):
        return pa.list_(_plain_type(type.value_type), type.list_size)
    if pa.types.is_list(type) or pa.types.is_large_list(type):
        make = pa.list_ if pa.types.is_list(type) else pa.large_list
        return make(type.value_field.with_type(_plain_type(type.value_type)))
    return type
