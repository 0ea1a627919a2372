"""The one codec between numpy arrays and `Tensor` messages."""

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
"""Most dimensions of a tensor on the wire."""


def encode(array: np.ndarray) -> tensor_pb2.Tensor:
    """The array as a message: row-major, little-endian.

    Raises:
        InvalidInput: The dtype has no place on the wire.
    """
    message = tensor_pb2.Tensor()
    write(array, message)
    return message


def write(array: np.ndarray, message: tensor_pb2.Tensor) -> None:
    """`encode` into a message that is there, and empty.

    Raises:
        InvalidInput: The dtype has no place on the wire.
    """
    dtype = array.dtype.newbyteorder("<")
    if dtype not in _NUMBERS:
        raise InvalidInput(f"a tensor of {array.dtype} cannot be sent")
    message.dtype = _NUMBERS[dtype]
    message.shape.extend(array.shape)
    message.data = np.ascontiguousarray(array, dtype=dtype).tobytes()


def decode(message: tensor_pb2.Tensor, path: str = "tensor") -> np.ndarray:
    """The message as an array that owns nothing and cannot be written to.

    Raises:
        InvalidInput: Unknown dtype, negative, too many or too large dimensions, or bytes that do
            not fit.
    """
    dtype = _DTYPES.get(message.dtype)
    if dtype is None:
        raise InvalidInput.field(join(path, "dtype"), "must be one of the known element types")
    shape = tuple(message.shape[: MAX_DIMENSIONS + 1])
    if len(shape) > MAX_DIMENSIONS or any(length < 0 for length in shape):
        raise InvalidInput.field(
            join(path, "shape"), f"must be at most {MAX_DIMENSIONS} lengths of at least 0"
        )
    expected = math.prod(shape) * dtype.itemsize
    data = message.data  # a copy every time it is asked for
    if len(data) != expected:
        raise InvalidInput.field(
            join(path, "data"),
            f"must be {expected} bytes for shape {list(shape)} of {dtype.name}, not {len(data)}",
        )
    try:
        return np.frombuffer(data, dtype=dtype).reshape(shape)
    except ValueError:  # a length of 0 makes any others fit the bytes, but not numpy
        raise InvalidInput.field(
            join(path, "shape"), "must be lengths that memory can hold"
        ) from None
