# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Arrays that a ROS message takes without a copy."""

import array

import numpy as np
import pytest

from unidrive_perception.array_memory import array_behind, new_uint8


def test_a_new_array_lies_in_an_array_of_bytes():
    values = new_uint8((3, 5))
    assert (values.shape, values.dtype, values.any()) == ((3, 5), np.uint8, False)
    memory = array_behind(values)
    values[1, 2] = 7
    assert memory == array.array('B', bytes(7) + b'\7' + bytes(7))


@pytest.mark.parametrize(
    'values',
    [
        np.zeros((3, 5), np.uint8),
        new_uint8((3, 5))[1:],  # a part
        new_uint8((3, 5)).T,  # in another order
        np.frombuffer(bytes(15), np.uint8),
        np.frombuffer(array.array('b', bytes(15)), np.uint8),
    ],
    ids=['numpy', 'part', 'transposed', 'bytes', 'signed'],
)
def test_other_memory_is_none(values):
    assert array_behind(values) is None


def test_all_of_it_by_another_shape_is_the_same_memory():
    values = new_uint8((3, 5))
    assert array_behind(values.reshape(15)) is array_behind(values)
