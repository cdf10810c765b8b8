# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The parameter table: checks with clear reasons, and a parameter file that says the same."""

import pytest
import yaml

from unidrive_perception.node.parameters import (
    PARAMETERS,
    TABLE,
    ParameterError,
    misspelt,
    of_camera,
)

SCORE = "from 0 to 1, or -1 for the model's own"


def test_the_file_has_every_parameter_with_its_default(repo_root):
    text = (repo_root / 'config' / 'perception.param.yaml').read_text()
    assert yaml.safe_load(text) == {
        '/**': {'ros__parameters': {spec.name: spec.default for spec in PARAMETERS}}
    }
    comment = ''
    for line in text.splitlines():
        name = line.strip().partition(':')[0]
        if line.strip().startswith('#'):
            comment += line
        elif name in TABLE:
            assert ('Fixed.' in comment) == TABLE[name].read_only, name
            comment = ''


def test_defaults_are_valid_and_described():
    for spec in PARAMETERS:
        assert spec.check(spec.default) == spec.default
    assert all(spec.description.endswith('.') for spec in PARAMETERS)


@pytest.mark.parametrize(
    ('name', 'value', 'result'),
    [
        ('score_threshold', 1, 1.0),
        ('score_threshold', -1, -1.0),
        ('score_threshold', 0.25, 0.25),
        ('no_image_warning_s', 3, 3.0),
        ('cameras', ('a', 'b'), ['a', 'b']),
        ('cameras', [''], ['']),
        ('tasks', ('drivable',), ['drivable']),
        ('watchdog_s', 0, 0.0),
        ('watchdog_s', 15, 15.0),
        ('max_rate', 10, 10.0),
        ('threads', 256, 256),
    ],
)
def test_good_values(name, value, result):
    checked = TABLE[name].check(value)
    assert checked == result and type(checked) is type(result)


@pytest.mark.parametrize(
    ('name', 'value', 'reason'),
    [
        ('score_threshold', 1.5, f'parameter score_threshold must be {SCORE}, not 1.5'),
        ('score_threshold', -0.5, f'{SCORE}, not -0.5'),
        ('score_threshold', -2, f'{SCORE}, not -2.0'),
        ('score_threshold', float('nan'), f'{SCORE}, not nan'),
        ('score_threshold', True, 'must be a number, not True'),
        ('score_threshold', '0.5', "must be a number, not '0.5'"),
        ('score_threshold', None, 'must be a number, not None'),
        ('no_image_warning_s', 0, 'from 0.1 to 3600, not 0'),
        ('watchdog_s', 14.9, 'must be 0, or from 15 to 3600, not 14.9'),
        ('watchdog_s', -1, 'must be 0, or from 15 to 3600, not -1.0'),
        ('watchdog_s', float('nan'), 'must be 0, or from 15 to 3600, not nan'),
        ('mask_downscale', 0, 'from 1 to 16, not 0'),
        ('mask_downscale', 2.0, 'must be a whole number, not 2.0'),
        ('threads', -1, 'from 0 to 256, not -1'),
        ('threads', True, 'must be a whole number, not True'),
        ('device', 'gpu', "one of auto, cpu, cuda, openvino-bfloat16, not 'gpu'"),
        ('image_transport', 'h264', "one of raw, compressed, not 'h264'"),
        ('image_reliability', 'BEST', 'one of best_effort, reliable'),
        ('cameras', [], 'a list of different names'),
        ('cameras', ['a', ''], "names that are not empty, where there are several, not ['a', '']"),
        ('cameras', ['a', 'a'], 'a list of different names'),
        ('cameras', ['a/b'], 'names of letters, digits and _'),
        ('cameras', ['2nd'], 'a letter first'),
        ('cameras', ['a', 'overlay'], "not 'overlay'"),
        ('cameras', 'a', "must be a list of text, not 'a'"),
        ('cameras', [1, 2], 'must be a list of text, not [1, 2]'),
        ('tasks', [], 'one or more of detection, semantic, drivable'),
        ('tasks', ['lanes'], 'one or more of detection, semantic, drivable'),
        ('tasks', ['drivable', 'drivable'], 'each once'),
        ('overlay_masks', 'all', 'one of both, semantic, drivable, none'),
        ('autostart', 1, 'must be true or false, not 1'),
        ('model_path', 3, 'must be text, not 3'),
        ('image_topic', '', "must be the name of a topic, not ''"),
    ],
)
def test_bad_values(name, value, reason):
    with pytest.raises(ParameterError) as caught:
        TABLE[name].check(value)
    assert reason in str(caught.value) and name in str(caught.value)


def test_slips_are_found_and_other_nodes_left_alone():
    names = ['score_treshold', 'devise', 'use_sim_time', 'rate', 'loop', 'model_path', 'topics']
    assert misspelt(names) == {'score_treshold': 'score_threshold', 'devise': 'device'}


def test_a_named_camera_has_parameters_of_its_own():
    topic, transport = of_camera('front', {'image_transport': 'compressed'})
    assert (topic.name, topic.default) == ('front.image_topic', 'front/image')
    assert (transport.name, transport.default) == ('front.image_transport', 'compressed')
    with pytest.raises(ParameterError, match=r'front\.image_transport must be one of raw, comp'):
        transport.check('h264')
    with pytest.raises(ParameterError, match=r'front\.image_topic must be the name of a topic'):
        topic.check('')
    assert of_camera('', {}) == ()
