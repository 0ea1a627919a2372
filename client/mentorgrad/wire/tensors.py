"""Codec between numpy arrays and `Tensor` messages."""

from __future__ import annotations

import math

import numpy as np

from mentorgrad.errors import InvalidInput
from mentorgrad.schema import join
from mentorgrad.v1 import tensor_pb2

_DTYPES: dict[tensor_pb2.Dtype, np.dtype] = {
    tensor_pb2.DTYPE_FLOAT32: np.dtype("<f4"),
    tensor_pb2.DTYPE_FLOAT64: np.dtype("<f8"),
    tensor_pb2.DTYPE_FLOAT16: np.dtype("<f2"),
    tensor_pb2.DTYPE_INT32: np.dtype("<i4"),
    tensor_pb2.DTYPE_INT64: np.dtype("<i8"),
}
_NUMBERS = {dtype: number for number, dtype in _DTYPES.items()}

MAX_DIMENSIONS = 8
"""Maximum dimensions of a tensor on the wire."""


def encode(array: np.ndarray) -> tensor_pb2.Tensor:
    """Encodes an array: row-major, little-endian.

    Raises:
        InvalidInput: The dtype is not supported.
    """
    message = tensor_pb2.Tensor()
    write(array, message)
    return message


def write(array: np.ndarray, message: tensor_pb2.Tensor) -> None:
    """Encodes an array into an existing, empty message.

    Raises:
        InvalidInput: The dtype is not supported.
    """
    dtype = array.dtype.newbyteorder("<")
    if dtype not in _NUMBERS:
        raise InvalidInput(f"tensors of dtype {array.dtype} are not supported")
    message.dtype = _NUMBERS[dtype]
    message.shape.extend(array.shape)
    message.data = np.ascontiguousarray(array, dtype=dtype).tobytes()


def decode(message: tensor_pb2.Tensor, path: str = "tensor") -> np.ndarray:
    """Decodes a message to a read-only array, a view of its bytes.

    Raises:
        InvalidInput: The dtype is unknown, a dimension is negative or too large, there are too
            many dimensions, or the number of bytes does not match the shape.
    """
    dtype = _DTYPES.get(message.dtype)
    if dtype is None:
        raise InvalidInput.field(join(path, "dtype"), "must be a known element type")
    shape = tuple(message.shape[: MAX_DIMENSIONS + 1])
    if len(shape) > MAX_DIMENSIONS or any(length < 0 for length in shape):
        raise InvalidInput.field(
            join(path, "shape"), f"must have at most {MAX_DIMENSIONS} dimensions, each at least 0"
        )
    expected = math.prod(shape) * dtype.itemsize
    data = message.data  # each access copies
    if len(data) != expected:
        raise InvalidInput.field(
            join(path, "data"),
            f"must be {expected} bytes for shape {list(shape)} of {dtype.name}, not {len(data)}",
        )
    try:
        return np.frombuffer(data, dtype=dtype).reshape(shape)
    except ValueError:  # with a 0, other dimensions may be too large for numpy
        raise InvalidInput.field(
            join(path, "shape"), "must have dimensions that fit into memory"
        ) from None
