# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Durations in words."""

import pytest

from unidrive_perception.durations import in_words


@pytest.mark.parametrize(
    ('seconds', 'words'),
    [
        (0.0, '0.00 s'),
        (119.994, '119.99 s'),
        (120.0, '2 minutes'),
        (7_199.0, '120 minutes'),
        (7_200.0, '2 hours'),
        (172_800.0, '2 days'),
        (1.7e9, '54 years'),
    ],
)
def test_in_words(seconds, words):
    assert in_words(seconds) == words
