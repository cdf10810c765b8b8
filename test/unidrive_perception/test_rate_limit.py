# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Images are passed over so that results keep a rate."""

import numpy as np
import pytest

from unidrive_perception.node.rate_limit import RateLimit


def admitted(times, rate):
    limit = RateLimit()
    return [t for t in times if limit.admits(t, rate)]


@pytest.mark.parametrize('camera', [10, 12, 30, 60])
@pytest.mark.parametrize('rate', [5, 7.5, 10, 20])
def test_the_rate_is_kept(camera, rate):
    times = np.arange(camera * 60) / camera
    assert len(admitted(times, rate)) / 60 == pytest.approx(min(camera, rate), rel=0.1)


def test_jitter_costs_no_image():
    times = np.arange(600) / 10 + np.random.default_rng(0).uniform(-0.01, 0.01, 600)
    assert len(admitted(times, 10)) >= 598


def test_no_burst_after_a_pause():
    times = [0.0, 0.1, 10.0, 10.01, 10.02, 10.1, 10.2]
    assert admitted(times, 10) == [0.0, 0.1, 10.0, 10.1, 10.2]


def test_zero_is_no_limit_and_the_limit_may_change():
    limit = RateLimit()
    assert all(limit.admits(t / 1000, 0) for t in range(100))
    assert [limit.admits(t, 1) for t in (0.2, 0.4, 1.2)] == [True, False, True]
    assert limit.admits(1.21, 0)
