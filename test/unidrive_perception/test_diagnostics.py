# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Counters, rates and verdicts of one camera."""

import pytest

from unidrive_perception.node.diagnostics import (
    ERROR,
    OK,
    STALE,
    WARN,
    CameraHealth,
    Report,
    resident_mb,
)

STAGES = {'decode': 1.0, 'inference': 7.4, 'publish': 1.6}


@pytest.fixture
def health():
    return CameraHealth('/camera', now=100.0)


def second(health, now, received=0, dropped=0, processed=0, bad=0, failed=0, lost=0, late=0):
    """One second of camera life and the report at its end."""
    for _ in range(received):
        health.received(now - 0.1)
    for _ in range(dropped):
        health.dropped()
    for i in range(processed):
        health.processed(now + i / 100, 20.0, STAGES, latency_ms=15.0 + i)
    for _ in range(late):
        health.late(0.7)
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
    assert report.message.endswith('the slowest stage is inference 7 ms')
    assert report.values['slowest stage'] == 'inference 7 ms'
    assert report.values['work per image [ms]'] == '10.0'


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
    assert health.received(101.0) == 1
    assert health.received(101.1) == 2
    health.dropped()
    counters = health.processed(101.2, 1.0, STAGES, 3.0)
    assert counters == health.counters
    assert (counters.received, counters.dropped, counters.processed) == (2, 1, 1)


def test_latency_percentiles(health):
    report = second(health, 101.0, received=11, processed=11)
    assert report.values['latency p50 [ms]'] == '20.0'  # of 15, 16, ... 25
    assert report.values['latency p95 [ms]'] == '24.5'
    assert CameraHealth('/other', 0.0).report(1.0, 5.0).values['latency p99 [ms]'] == 'nan'


def test_late_images(health):
    report = second(health, 101.0, received=9, processed=6, late=3)
    said = '3 of 9 images were older than max_age, the last one 0.70 s'
    assert (report.level, report.message) == (WARN, said)
    assert report.values['late'] == '3'
    alone = second(CameraHealth('/other', 100.0), 101.0, received=4, late=4)
    assert alone.level == ERROR and '4 of 4 images' in alone.message


def test_nobody_listens_is_no_trouble(health):
    report = health.report(200.0, 5.0, instead=Report(OK, 'idle: nobody listens', {}))
    assert (report.level, report.message) == (OK, 'idle: nobody listens')
    health.resumed(200.0)
    assert health.silence(201.0) == 1.0


def test_status_line(health):
    assert health.status_line('nano') == '0 dropped · nano'
    second(health, 101.0, received=3, dropped=1, processed=2)
    assert health.status_line('nano') == '16 ms · 100.0 Hz · 1 dropped · nano'
    health.resumed(3700.0)  # nobody had listened for an hour
    health.processed(3700.1, 1.0, STAGES, 50.0)
    assert health.status_line('nano') == '1 dropped · nano'
    health.processed(3700.2, 1.0, STAGES, 50.0)
    assert health.status_line('nano') == '50 ms · 10.0 Hz · 1 dropped · nano'


def test_memory_of_this_process():
    before = resident_mb()
    kept = bytearray(b'x') * 50_000_000
    assert 40 < resident_mb() - before < 80
    del kept
