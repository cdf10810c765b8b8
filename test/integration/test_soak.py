# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The soak of ``benchmarks/soak.py`` for some seconds, and that it would notice what is wrong."""

import subprocess
import sys
from types import SimpleNamespace

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
    assert '| violations | 0 |' in report and '| deactivate | 6 |' in report
    rows = dict(line.strip('| ').split(' | ')[:2] for line in report.splitlines() if '|' in line)
    assert int(rows['images processed']) > 20 and int(rows['results heard and checked']) > 20


@pytest.fixture
def checks(capsys, monkeypatch):
    """The checks of a listener; gives what it says of some results."""
    monkeypatch.syspath_prepend(REPO / 'benchmarks')
    from soaking.listener import Checks

    def checks(topic, *messages):
        listener = Checks('front', topic)
        for message in messages:
            listener.hear(message)
        assert listener.heard == len(messages)
        return capsys.readouterr().out

    return checks


def result(stamp, frame_id=None, size=(48, 64), **fields):
    header = SimpleNamespace(
        stamp=SimpleNamespace(sec=stamp, nanosec=0),
        frame_id=frame_id or f'front/{stamp}000000000/48x64',
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
        ([result(1, frame_id='broken')], 'no such image was sent'),
        ([result(1, frame_id='left/1000000000/48x64')], 'no such image was sent'),
        ([result(1, frame_id='front/2000000000/48x64')], 'no such image was sent'),
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


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ({}, ''),
        ({'exit_code': 1}, 'ended with 1'),
        ({'ending_seconds': 2.5}, 'after 2.5 s'),
        ({'segments_left': ['/dev/shm/fastdds_0']}, 'left in /dev/shm: /dev/shm/fastdds_0'),
        ({'threads': 20}, 'threads of the unconfigured node: 19 before, 20 after'),
        ({'last_rss': 409}, 'memory: 330 MB in the first fifth, 339 MB in the last'),
        ({'last_rss': 391}, 'memory: 330 MB in the first fifth, 321 MB in the last'),
        ({'last_rss': 406}, ''),
        ({'node_log': '[ERROR] oh'}, 'log of the node: [ERROR] oh'),
        ({'node_log': '[ERROR] needs a step of 3 bytes'}, ''),
        ({'heard': 0}, 'no results were heard'),
    ],
)
def test_the_verdict(monkeypatch, change, sentence):
    monkeypatch.syspath_prepend(REPO / 'benchmarks')
    from collections import Counter

    from soaking.report import Soak, report, violations
    from soaking.sampling import Sample

    def sample(rss=400.0, threads=19):
        return Sample(0.0, rss, 200.0, 70.0, threads, 26, 5)

    last = sample(change.pop('last_rss', 400.0))
    nobody = SimpleNamespace(violations=[], started=Counter())
    crowd = SimpleNamespace(**vars(nobody), heard=Counter(timing=change.pop('heard', 9)))
    disturbance = SimpleNamespace(
        violations=[], done=Counter(), images=Counter(processed=9), comparable=[]
    )
    facts = {
        'seconds': 1800.0,
        'samples': [sample(900.0)] * 90 + [sample()] * 400 + [last] * 410,
        'before': sample(),
        'after': sample(threads=change.pop('threads', 19)),
        'exit_code': 0,
        'ending_seconds': 0.4,
        'segments_left': [],
        'node_log': '[INFO] fine',
    }
    soak = Soak(**{**facts, **change}, disturbance=disturbance, crowd=crowd)
    found = violations(soak)
    assert found == ([] if not sentence else [f for f in found if sentence in f][:1])
    assert f'| violations | {len(found)} |' in report(soak)
