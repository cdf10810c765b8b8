# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What the demo reads from a bag of results, without a graph."""

import re

import numpy as np
import pytest

from unidrive_perception.bags.reader import BagWriter
from unidrive_perception.errors import UserError
from unidrive_perception.labels import BDD100K_LABELS
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.messages import (
    labels_message,
    make_header,
    timing_message,
)
from unidrive_perception.node.diagnostics import STAGES, Counters
from unidrive_perception.node.frame_messages import FrameMessages
from unidrive_perception.predictor import Prediction
from unidrive_perception.sources import open_source
from unidrive_training.demo.report import read_outcome, table, with_results
from unidrive_training.scenes.dataset import SceneSet, write_bag


def write_results(path, stamps, age_ms=80.0):
    """A bag as the node's, one result per stamp; result i has i boxes."""
    with BagWriter(path, 'mcap') as bag:
        make = BagFactory(bag.typestore)
        header = make_header(make, 1, 'camera')
        labels = labels_message(make, header, 'tiny', '', BDD100K_LABELS)
        bag.write('/perception/labels', labels, 1)
        for i, stamp in enumerate(stamps):
            header = make_header(make, stamp, 'camera')
            boxes, mask = np.zeros((i, 4), np.float32), np.zeros((360, 640), np.uint8)
            ids = np.zeros(i, np.int64)
            prediction = Prediction((360, 640), boxes, boxes[:, 0], ids, mask, mask)
            messages = FrameMessages(make, header, None, prediction, BDD100K_LABELS, {})
            bag.write('/perception/result', messages.result, i + 1)
            counters = Counters(*[i + 1] * 8)
            stages_ms = dict.fromkeys(STAGES, 1.0)
            timing = timing_message(make, header, stages_ms, age_ms, 1, counters)
            bag.write('/perception/timing', timing, i + 1)
    return path


def test_what_has_no_partner_is_left_out(tmp_path):
    results = write_results(tmp_path / 'results', [20, 30, 50])
    things = [(stamp, str(stamp)) for stamp in (10, 20, 25, 30, 30, 40, 50, 60)]
    pairs = [(thing, len(result.boxes)) for thing, result in with_results(things, results)]
    assert pairs == [('20', 0), ('30', 1), ('30', 1), ('50', 2)]


def test_times_are_those_of_the_wall_clock_whatever_the_rate(tmp_path):
    recording = tmp_path / 'drive'
    write_bag(recording, SceneSet(drives=1, frames=3, seed=5), 'mcap', compressed=False)
    with open_source(recording) as source:
        stamps = [frame.stamp_ns for frame in source]
        results = write_results(tmp_path / 'results', stamps[:2], age_ms=80.0)
        outcome = read_outcome(results, recording, source, rate=2.0)
    assert outcome.stamps == stamps[:2] and outcome.frames == 3
    assert (outcome.times['age'] == 40).all()
    assert set(outcome.scores) == {
        'AP50 of the published boxes',
        'semantic mIoU',
        'drivable mIoU, BDD100K toolkit',
        'drivable mIoU, plain',
    }
    text = table(outcome)
    assert '40 ms median' in text and 'warning' not in text
    outcome.scores = {'AP50 of the published boxes': 0.2861, 'semantic mIoU': 1.0}
    rows = dict(re.split(' {2,}', row, maxsplit=1) for row in table(outcome).splitlines())
    assert rows['AP50 of the published boxes'] == '28.6 %'
    assert rows['semantic mIoU'] == '100.0 %'


def test_stamps_that_do_not_rise_are_told(tmp_path):
    recording = tmp_path / 'drive'
    write_bag(recording, SceneSet(drives=1, frames=3, seed=5), 'mcap', compressed=False)
    with open_source(recording) as source:
        results = write_results(tmp_path / 'results', [0, 0, 0])
        assert 'do not rise' in table(read_outcome(results, recording, source, rate=1.0))


def test_no_result_is_an_error(tmp_path):
    recording = tmp_path / 'drive'
    write_bag(recording, SceneSet(drives=1, frames=1, seed=5), 'mcap', compressed=False)
    with open_source(recording) as source, pytest.raises(UserError, match='published no result'):
        read_outcome(write_results(tmp_path / 'results', []), recording, source, rate=1.0)
    (tmp_path / 'logs').mkdir()
    (tmp_path / 'logs' / 'player.log').write_text('played\nbag_player: warning: it is cut off\n')
    sentence = rf'{recording}: the node published no result; it is cut off$'
    with open_source(recording) as source, pytest.raises(UserError, match=sentence):
        read_outcome(tmp_path / 'results', recording, source, rate=1.0)
