# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The soak of ``benchmarks/soak.py`` for some seconds, and that it would notice what is wrong."""

import contextlib
import csv
import signal
import subprocess
import sys
from dataclasses import astuple
from types import SimpleNamespace

import numpy as np
import pytest
from live_node import REPO
from tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.ros


def test_a_short_soak_finds_nothing(ros_domain, tmp_path):
    model = write_tiny_bundle(tmp_path / 'tiny')
    command = [sys.executable, 'benchmarks/soak.py', '--minutes', '0.2', '--cycles', '6']
    command += ['--model', model, '--keep', tmp_path / 'logs', '--report', tmp_path / 'report.md']
    done = subprocess.run(
        list(map(str, command)), cwd=REPO, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = (tmp_path / 'report.md').read_text()
    rows = dict(line.strip('| ').split(' | ')[:2] for line in report.splitlines() if '|' in line)
    assert rows['violations'] == '0'
    # six full cycles, one that keeps the model, and after each of them results
    assert rows['cleanup'] == rows['configure'] == '6'
    assert rows['deactivate'] == rows['activate'] == '7'
    assert rows['cycles after which each camera was heard'] == '7'
    assert int(rows['images processed']) > 20 and int(rows['results heard and checked']) > 20
    with (tmp_path / 'logs' / 'states.csv').open() as file:
        states = [(row['state'], float(row['heap'])) for row in csv.DictReader(file)]
    assert [state for state, _ in states] == ['unconfigured', 'full'] * 6
    assert all(a < b for (_, a), (_, b) in zip(states[::2], states[1::2], strict=True))


@pytest.fixture
def soaking(monkeypatch):
    """Where the parts of the soak are."""
    monkeypatch.syspath_prepend(REPO / 'benchmarks')


def test_full_cycles_with_quick_ones_among_them(soaking):
    from soaking.disturbance import lifecycle_plan

    plan = [' '.join(labels) for labels in lifecycle_plan(100)]
    assert plan.count('deactivate cleanup configure activate') == 100
    assert plan.count('deactivate activate') == 25 and len(plan) == 125
    assert plan.index('deactivate activate') == 4


@pytest.mark.parametrize('is_heard', [True, False])
def test_what_is_compared(soaking, is_heard):
    """Results that a stopped listener is to take are there, and no image is in work."""
    from soaking import disturbance

    done = []

    class Recorder:
        """Whatever is called is noted; the listener is one too."""

        def __getattr__(self, name):
            def call(*arguments):
                done.append((name, *arguments))
                if name == 'hear_timings' and not is_heard and ('send', signal.SIGSTOP) in done:
                    raise TimeoutError
                return Recorder()

            return call

        calm = contextlib.nullcontext
        listeners = ()

    recorder = Recorder()
    soak = disturbance.Disturbance(
        **dict.fromkeys(('node', 'services', 'crowd', 'states'), recorder),
        **{'models': (), 'damaged': None, 'cameras': ('front',), 'seed': 0},
    )
    with contextlib.nullcontext() if is_heard else pytest.raises(TimeoutError):
        soak._compare()
    stopped, going_on = (done.index(('send', n)) for n in (signal.SIGSTOP, signal.SIGCONT))
    ready = [('one_that_hears', disturbance.TOPICS), ('hear_timings', ('front',), 10)]
    assert [done[0], done[stopped - 1], done[stopped + 1]] == [*ready, ready[1]]
    assert done[stopped + 2 : going_on] == ([('enable', False), ('full',)] if is_heard else [])
    assert done[going_on + 1] == ('enable', True)


@pytest.mark.parametrize(
    ('deaf', 'hears', 'found'),
    [
        (0, 'heard something\nheard everything', True),
        (2, 'heard something\nheard everything', True),
        (3, '', False),
        (1, 'heard something', False),
    ],
)
def test_a_deaf_listener_is_replaced(soaking, monkeypatch, tmp_path, deaf, hears, found):
    from soaking import processes

    class Listener:
        is_running = True

        def __init__(self, log, *arguments):
            started.append(self)
            self.log = 'listening' if len(started) <= deaf else f'listening\n{hears}'
            self.pid = 0

        def stop(self, number):
            self.is_running = False
            return -number, 0.0

    started = []
    monkeypatch.setattr(processes, 'Process', Listener)
    monkeypatch.setattr(processes, 'HEARING_S', 0.2)
    monkeypatch.setattr(processes, 'shared_segments', lambda pid: set())
    crowd = processes.Crowd(tmp_path, ('front',), (), 20.0)
    with contextlib.nullcontext() if found else pytest.raises(TimeoutError):
        assert crowd.one_that_hears(['timing']) is started[-1]
    assert crowd.deaf == deaf and not crowd.violations
    assert [listener.is_running for listener in started[:deaf]] == [False] * deaf
    assert crowd.listeners == started[deaf:]


@pytest.fixture
def checks(capsys, soaking):
    """The checks of a listener; gives what it says of some results."""
    from soaking.listener import Checks

    def checks(topic, *messages):
        listener = Checks('front', topic)
        for message in messages:
            listener.hear(message)
        assert listener.heard == len(messages)
        return capsys.readouterr().out

    return checks


def result(stamp, frame_id=None, size=(48, 64), epoch=1, **fields):
    header = SimpleNamespace(
        stamp=SimpleNamespace(sec=stamp, nanosec=0),
        frame_id=frame_id or f'front/{stamp}000000000/48x64/{epoch}',
    )
    height, width = size
    return SimpleNamespace(header=header, image_height=height, image_width=width, **fields)


def timing(stamp, received, processed, dropped=0, failed=0):
    message = result(stamp, received=received, processed=processed, dropped=dropped)
    message.late = message.limited = message.bad = 0
    message.failed = failed
    del message.image_height, message.image_width
    return message


@pytest.mark.parametrize(
    ('messages', 'sentence'),
    [
        ([result(1), result(2), result(5)], ''),
        ([result(1), result(1)], 'came twice'),
        ([result(2), result(1)], 'came after'),
        ([result(2), result(1, epoch=2)], ''),  # stamps that jump back
        ([result(1, epoch=2), result(2)], 'came after'),
        ([result(1, frame_id='broken')], 'no such image was sent'),
        ([result(1, frame_id='left/1000000000/48x64/1')], 'no such image was sent'),
        ([result(1, frame_id='front/2000000000/48x64/1')], 'no such image was sent'),
        ([result(1, size=(48, 65))], '48x65, the image was 48x64'),
    ],
)
def test_a_listener_notices_wrong_results(checks, messages, sentence):
    said = checks('semantic_mask', *messages)
    assert sentence in said and bool(said) == bool(sentence)


@pytest.mark.parametrize(
    ('messages', 'sentence'),
    [
        ([timing(1, 1, 1), timing(2, 4, 2, dropped=1), timing(3, 1, 1)], ''),
        ([timing(1, 4, 1)], '3 images are underway'),
        ([timing(1, 1, 1, dropped=1)], '-1 images are underway'),
        ([timing(1, 2, 1, failed=1)], '1 images failed'),
    ],
)
def test_a_listener_notices_wrong_counts(checks, messages, sentence):
    said = checks('timing', *messages)
    assert sentence in said and bool(said) == bool(sentence)


LOADED = '[INFO] model nano from /m: detection; on cpu, warm after 0.10 s\n'
CONFIGURED = '[INFO] [1.0] [perception]: configured\n'
SWAPPED = f'{LOADED}{CONFIGURED}{LOADED}'


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ({}, ''),
        ({'exit_code': 1}, 'ended with 1'),
        ({'ending_seconds': 2.5}, 'after 2.5 s'),
        ({'segments_left': ['/dev/shm/fastdds_0']}, 'left in /dev/shm: /dev/shm/fastdds_0'),
        ({'threads': 20}, 'threads of the unconfigured node: 19 before, 20 after'),
        ({'leak': {'full': {'own': 0.03}}}, 'memory [MB], full: +3.0 %, more than 2 %'),
        ({'leak': {'unconfigured': {'own': 0.03}}}, 'memory [MB], unconfigured: +3.0 %, more'),
        ({'leak': {'unconfigured': {'heap': 0.04}}}, 'heap in use [MB], unconfigured: +4.0 %'),
        ({'leak': {'full': {'blocks': 0.05}}}, 'Python blocks, full: +5.0 %, more than 2 %'),
        ({'leak': {'full': {'own': 0.01, 'heap': 0.015}, 'unconfigured': {'own': -0.05}}}, ''),
        ({'leak': {'full': {'own': 0.5}}, 'seconds': 300.0}, ''),
        ({'node_log': f'{SWAPPED}[ERROR] oh'}, 'log of the node: [ERROR] oh'),
        ({'node_log': f'{SWAPPED}[ERROR] needs a step of 3 bytes'}, ''),
        ({'heard': 0}, 'no results were heard'),
        ({'deaf': 3}, ''),
        ({'deaf': 4}, '4 listeners heard nothing'),
        ({'damaged': 0}, 'no damaged models that were not taken'),
        ({'node_log': '[INFO] fine'}, 'no models swapped'),
        ({'node_log': f'{CONFIGURED}{LOADED}'}, 'no models swapped'),
        ({'node_log': f'{SWAPPED}[ERROR] cannot load it; /m stays in use'}, 'cannot load it'),
        ({'node_log': f'{SWAPPED}[ERROR] the file is damaged or not of this bundle'}, ''),
    ],
)
def test_the_verdict(soaking, change, sentence):
    from collections import Counter

    from soaking.disturbance import NOT_TAKEN
    from soaking.report import Soak, report, unsure, violations
    from soaking.sampling import Sample, StateSample

    def sample(own=330.0, seconds=0.0, threads=19):
        return Sample(seconds, own + 70.0, 200.0, 70.0, threads, 26, 5)

    def leaking(state, t):
        steady = {'own': 330.0, 'heap': 50.0, 'blocks': 350.0}
        if t < 0:  # warming up: not judged
            return StateSample(*astuple(sample(100.0, t)), 10.0, 100)
        held = {  # the middle of a slope is its median
            what: value * (1 + leak.get(state, {}).get(what, 0.0) * (t / seconds - 0.5))
            for what, value in steady.items()
        }
        return StateSample(*astuple(sample(held['own'], t)), held['heap'], held['blocks'])

    seconds, leak = change.get('seconds', 1800.0), change.pop('leak', {})
    times = np.linspace(-seconds / 9, seconds, 100)
    nobody = SimpleNamespace(violations=[], started=Counter())
    crowd = SimpleNamespace(
        **vars(nobody), deaf=change.pop('deaf', 0), heard=Counter(timing=change.pop('heard', 9))
    )
    done = Counter({NOT_TAKEN: change.pop('damaged', 1)})
    disturbance = SimpleNamespace(violations=[], done=done, images=Counter(processed=9))
    facts = {
        'seconds': seconds,
        'samples': [sample(900.0)] * 90 + [sample()] * 810,
        'states': {
            state: [leaking(state, t) for t in times] for state in ('unconfigured', 'full')
        },
        'before': sample(),
        'after': sample(threads=change.pop('threads', 19)),
        'exit_code': 0,
        'ending_seconds': 0.4,
        'segments_left': [],
        'node_log': SWAPPED,
    }
    soak = Soak(**{**facts, **change}, disturbance=disturbance, crowd=crowd)
    found = violations(soak)
    assert found == ([] if not sentence else [f for f in found if sentence in f][:1])
    text = report(soak)
    assert f'| violations | {len(found)} |' in text
    rows = {'own': 'memory [MB] | 90 | 330.0', 'heap': 'heap in use [MB] | 90 | 50.0'}
    rows['blocks'] = 'Python blocks | 90 | 350'
    grown = [
        f'| {state} | {rows[what]} | {100 * by:+.1f} %' in text
        for state, changes in leak.items()
        for what, by in changes.items()
    ]
    assert all(grown) if seconds > 600 else 'cannot be told' in text
    assert not unsure(soak)


SEEDS = 300


def independent(chance, count):
    """Noise of up to 6 % up or down, as between one cycle of the lifecycle and the next."""
    return chance.uniform(-6, 6, count)


def resembling(chance, count):
    """Noise of as much, that of a sample is mostly that of the one before."""
    noise = [chance.normal(0, 2.4)]
    while len(noise) < count:
        noise.append(0.6 * noise[-1] + chance.normal(0, 2.4))
    return np.array(noise)


@pytest.fixture
def shares(soaking):
    """How many of many series with a slope (% over the run) and noise grow, and hold."""
    from soaking.trend import trend

    def shares(slope, noise, count=100):
        times = np.linspace(0, 1800, count)
        found = []
        for seed in range(SEEDS):
            percent = slope * times / 1800 + noise(np.random.default_rng(seed), count)
            found.append(trend(times, 390 * (1 + percent / 100)))
        return (np.mean([getattr(t, verdict) for t in found]) for verdict in ('grows', 'holds'))

    return shares


@pytest.mark.parametrize('noise', [independent, resembling])
@pytest.mark.parametrize('slope', [0.0, -1.0, -5.0, -50.0])
def test_memory_that_does_not_grow_is_hardly_ever_called_growing(shares, slope, noise):
    grows, _ = shares(slope, noise)
    assert grows <= (0.05 if slope == 0 else 0.01)


def test_a_leak_of_five_percent_is_found_in_noise_of_six(shares):
    grows, holds = shares(5.0, independent)
    assert grows >= 0.95 and holds == 0


def test_a_larger_leak_is_found_in_noise_that_lasts(shares):
    grows, holds = shares(10.0, resembling)
    assert grows >= 0.95 and holds == 0


def test_without_noise_the_limit_is_sharp(shares):
    def silence(chance, count):
        return np.zeros(count)

    assert [*shares(1.9, silence)] == [0, 1]
    assert [*shares(2.1, silence)] == [1, 0]


def test_what_is_not_shown_is_told(soaking, monkeypatch):
    from soaking import report
    from soaking.trend import Trend

    unsure = Trend(growth=1.0, low=-2.0, high=4.0)
    trends = {'full': unsure, 'unconfigured': None, 'calm': Trend(0.0, -1.0, 1.0)}
    trends = {(state, 'own'): trend for state, trend in trends.items()}
    monkeypatch.setattr(report, '_trends', lambda soak: trends)
    assert report.unsure(SimpleNamespace(seconds=1800.0)) == [
        'memory [MB], full: NOT SHOWN to hold, up to +4.0 % is possible',
        'memory [MB], unconfigured: cannot be told',
    ]
    assert report.unsure(SimpleNamespace(seconds=60.0)) == []


def test_what_the_c_library_does_not_tell_is_not_judged(soaking):
    from soaking.report import _trend

    told = [SimpleNamespace(seconds=t, heap=50.0) for t in range(40)]
    assert _trend(told, 'heap').holds
    told[7].heap = float('nan')
    assert _trend(told, 'heap') is None


def test_the_verdict_is_undecided_where_noise_hides_the_limit(soaking):
    from soaking.trend import trend

    found = trend(np.arange(40), 390 + np.random.default_rng(0).normal(0, 20, 40))
    assert not found.grows and not found.holds
    assert found.verdict == f'NOT SHOWN to hold, up to {found.high:+.1f} % is possible'
    assert trend(np.arange(29), np.arange(29)) is None


def test_an_interval_has_the_truth_in_95_of_100_runs(soaking):
    from soaking.trend import trend

    times = np.linspace(0, 1800, 100)
    kept = 0
    for seed in range(SEEDS):
        noise = np.random.default_rng(seed).normal(0, 4, 100)
        found = trend(times, 400 + 20 * (times / 1800 - 0.5) + noise)
        kept += found.low <= 5 <= found.high
    assert 0.9 <= kept / SEEDS <= 0.99
