# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What ``benchmarks/overload.py`` makes of the timings that it hears."""

from types import SimpleNamespace

import pytest

from unidrive_perception.node.diagnostics import ENDS, STAGES

pytest.importorskip('rclpy')


@pytest.fixture
def overload(monkeypatch, repo_root):
    monkeypatch.syspath_prepend(repo_root / 'benchmarks')
    import overload

    return overload


def timing(number, stage_ms, dropped):
    """The timing of image ``number`` of those worked on: ten a second, six stages alike."""
    counts = dict.fromkeys(ENDS, 0) | {'processed': number, 'dropped': dropped * number}
    seconds, tenths = divmod(number, 10)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=seconds, nanosec=tenths * 10**8)),
        received=sum(counts.values()),
        age_ms=50.0,
        **counts,
        **{f'{stage}_ms': stage_ms for stage in STAGES},
    )


def heard(overload, latencies, stage_ms=10.0, dropped=9):
    timings = [timing(number, stage_ms, dropped) for number in range(len(latencies))]
    return {'front': overload.Heard(latencies, timings)}


def test_service_time_is_of_all_stages_and_the_rate_of_all_cameras(overload):
    one = heard(overload, [50.0] * 50)
    found = overload.service({**one, 'left': one['front']})
    assert found.ms == 60.0 and found.rate == pytest.approx(20)
    assert found.capacity == pytest.approx(1000 / 60)
    assert found.bound_ms(10.0) == 130.0


@pytest.mark.parametrize(
    ('before_ms', 'stage_ms', 'slow', 'kept', 'verdicts'),
    [
        (60.0, 10.0, 129.0, True, ['130 ms, kept', '130 ms, kept']),
        (60.0, 10.0, 131.0, False, ['130 ms, NOT KEPT', '130 ms, NOT KEPT']),
        # overload made the work itself slower: of the two bounds one is kept, which is not all
        (50.0, 10.0, 120.0, False, ['110 ms, NOT KEPT', '130 ms, kept']),
        (60.0, 5.0, 120.0, False, ['130 ms, kept', '70 ms, NOT KEPT']),
    ],
)
def test_both_bounds_must_hold(overload, capsys, before_ms, stage_ms, slow, kept, verdicts):
    latencies = [40.0] * 95 + [slow] * 5
    before = overload.Service(before_ms, 10.0)
    assert overload.report(heard(overload, latencies, stage_ms), before, each=100.0) == kept
    cells = capsys.readouterr().out.strip(' |\n').split(' | ')
    assert len(cells) == len(overload.COLUMNS)
    assert cells[-2:] == verdicts
    assert cells[3:6] == ['990 (10.0 ×)', '99', '891']
    waited = 50.0 - 6 * stage_ms
    assert cells[-4:-2] == [f'{waited:.0f} ms', f'{6 * stage_ms:.0f} ms']


def test_an_image_without_an_end_is_noticed(overload, capsys):
    camera = heard(overload, [40.0] * 100)
    camera['front'].timings[-1].received += 3
    assert not overload.report(camera, overload.Service(60.0, 10.0), each=100.0)


def test_cameras_that_start_slowly_are_not_measured_while_starting(
    overload, monkeypatch, tmp_path
):
    """Results of the run before neither stand for new ones nor are kept, not even late ones."""
    cameras = heard(overload, [50.0] * 50)
    first = cameras['front'].timings[0]
    spins = []

    def spin(listener, seconds):
        spins.append(seconds)
        if len(spins) == 1 or len(spins) > 4:  # the last of the run before; its own after a while
            cameras['front'].timings.append(first)

    def film(folder, name, **options):
        assert not cameras[name].timings and not cameras[name].latencies_ms
        return SimpleNamespace(is_running=True, log='', stop=lambda: None)

    monkeypatch.setattr(overload, 'spin', spin)
    monkeypatch.setattr(overload, 'film', film)
    overload.flood(None, tmp_path, cameras, {'size': '64x48'}, rate=10.0, seconds=7.0)
    assert spins == [overload.LATE_S, 0.1, 0.1, 0.1, 0.1, overload.WARM_UP_S, 7.0]
    assert cameras['front'].timings == [first]  # heard during the 7 s, not before
