# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Counters, rates and verdicts of one camera."""

import pytest

from unidrive_perception.diagnostics import ERROR, OK, STALE, WARN, CameraHealth


@pytest.fixture
def health():
    return CameraHealth('/camera', now=100.0)


def second(health, now, received=0, dropped=0, processed=0, bad=0, failed=0, lost=0):
    """One second of camera life and the report at its end."""
    for i in range(received):
        health.received(now - 0.1, dropped=i < dropped)
    for _ in range(processed):
        health.processed(age_ms=20.0, work_ms=10.0)
    for _ in range(bad):
        health.bad('a bad image')
    for _ in range(failed):
        health.failed('KeyError: 3')
    if lost:
        health.lost(lost)
    return health.report(now, stale_after=5.0)


def test_all_is_well(health):
    for t in range(1, 9):
        report = second(health, 100.0 + t, received=10, processed=10)
    assert (report.level, report.message) == (OK, 'images are processed')
    assert report.values['input rate [Hz]'] == report.values['output rate [Hz]'] == '10.0'
    assert report.values['received'] == '80' and report.values['dropped'] == '0'
    assert report.values['age of last result [ms]'] == '20.0'


def test_before_the_first_image_and_after_the_last(health):
    assert second(health, 101.0).message == 'waiting for the first image'
    assert second(health, 105.5).level == STALE
    assert second(health, 106.5, received=3, processed=3).level == OK
    report = second(health, 112.0)
    assert report.level == STALE and report.message == 'no image for 6 s on /camera'


def test_a_drop_now_and_then_is_fine_many_are_not(health):
    assert second(health, 101.0, received=30, dropped=2, processed=28).level == OK
    report = second(health, 102.0, received=30, dropped=20, processed=10)
    assert report.level == WARN and '22 of 60 images dropped' in report.message


def test_bad_images(health):
    report = second(health, 101.0, received=4, bad=4)
    assert report.level == ERROR and 'none of 4 images could be decoded' in report.message
    assert 'a bad image' in report.message
    report = second(health, 102.0, received=10, processed=9, bad=1)
    assert report.level == WARN and '5 images could not be decoded' in report.message


def test_own_failures_and_losses(health):
    assert second(health, 101.0, received=9, processed=9, lost=3).level == WARN
    report = second(health, 102.0, received=10, processed=9, failed=1)
    assert report.level == ERROR and report.message == '1 images failed; last: KeyError: 3'
    assert report.values['lost in transport'] == '3'


def test_trouble_is_forgotten(health):
    second(health, 101.0, received=5, bad=5, failed=1, lost=1)
    for t in range(2, 8):
        report = second(health, 100.0 + t, received=5, processed=5)
    assert report.level == OK and report.values['bad'] == '5'


def test_counters_are_returned_with_the_frame(health):
    assert health.received(101.0, dropped=False) == 1
    assert health.received(101.1, dropped=True) == 2
    counters = health.processed(1.0, 2.0)
    assert (counters.received, counters.dropped, counters.processed) == (2, 1, 1)
