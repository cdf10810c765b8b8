# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""2,000 broken bags: data, a sentence of what is lost, or one line; never a crash or a hang.

Takes about 30 s on one core.
"""

from __future__ import annotations

import fuzz_bags
import pytest
from fuzzing import run_cases


@pytest.mark.parametrize(
    ('kind', 'count'),
    [
        ('mcap', 400),
        ('zstd', 300),
        ('db3', 300),
        ('bag', 400),
        ('metadata', 300),
        ('database', 250),
        ('types', 100),
    ],
)
def test_no_bag_crashes_hangs_or_fills_memory(kind, count):
    said = run_cases(fuzz_bags.__file__, kind, seed=1, count=count, timeout=300)
    assert sum(said['outcomes'].values()) == count
    assert said['outcomes']['data'] > count / 20, said
    assert said['peak_mb'] < 250
