# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Layouts for Foxglove and RViz: they show topics and fields that there are, as what they are."""

import json
import re
from pathlib import Path

import pytest
import yaml

from unidrive_perception.labels import DETECTION
from unidrive_perception.launching.plan import NODE_NAME
from unidrive_perception.message_types import default_typestore
from unidrive_perception.node.diagnostics import CameraHealth
from unidrive_perception.node.frame_messages import TOPIC_TYPES
from unidrive_perception.overlay.colors import line_color

VIEWERS = Path(__file__).resolve().parents[2] / 'config' / 'viewers'
CAMERAS = ('front', 'left', 'right', 'rear')
FOXGLOVE = {'foxglove.json': ('',), 'foxglove_multi_camera.json': CAMERAS}
RVIZ = {'perception.rviz': ('',), 'perception_multi_camera.rviz': CAMERAS}
IMAGES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
ANNOTATIONS = 'foxglove.ImageAnnotations'
STORE = default_typestore()


def known_topics(cameras):
    """Topic -> type of everything that a layout for these cameras may name."""
    results = {**TOPIC_TYPES, 'timing': 'unidrive_msgs/msg/FrameTiming'}
    known = {
        '/'.join(('', NODE_NAME, camera, topic)).replace('//', '/'): kind
        for camera in cameras
        for topic, kind in results.items()
    }
    return known | {
        f'/{NODE_NAME}/transition_event': 'lifecycle_msgs/msg/TransitionEvent',
        '/diagnostics': 'diagnostic_msgs/msg/DiagnosticArray',
        '/rosout': 'rcl_interfaces/msg/Log',
        '/image': 'sensor_msgs/msg/Image',
    }


def field_type(kind, path):
    """Type of a Foxglove message path like ``.status[:]{name=="x"}.level`` in a message type."""
    for name in re.sub(r'\[[^]]*\]|\{[^}]*\}', '', path).split('.')[1:]:
        _, descriptor = dict(STORE.fielddefs[kind][1])[name]
        while isinstance(descriptor, tuple) and isinstance(descriptor[0], tuple):  # of an array
            descriptor = descriptor[0][1]
        kind = descriptor if isinstance(descriptor, str) else descriptor[0]
    return kind


def panels_of(tree):
    """The panels of a tree of splits."""
    if isinstance(tree, str):
        return [tree]
    assert tree['direction'] in ('row', 'column') and 0 < tree['splitPercentage'] < 100
    return panels_of(tree['first']) + panels_of(tree['second'])


@pytest.fixture(params=FOXGLOVE)
def foxglove(request):
    return json.loads((VIEWERS / request.param).read_text()), FOXGLOVE[request.param]


def test_foxglove_has_each_panel_once(foxglove):
    layout, _ = foxglove
    assert set(layout) == {
        *('configById', 'globalVariables', 'userNodes', 'playbackConfig', 'layout')
    }
    configs = layout['configById']
    shown = panels_of(layout['layout'])
    for panel in shown:
        for tab in configs[panel].get('tabs', ()):
            shown.extend(panels_of(tab['layout']))
    assert sorted(shown) == sorted(configs)


def test_foxglove_shows_images_and_numbers(foxglove):
    layout, cameras = foxglove
    topics = known_topics(cameras)
    scripts = [node['sourceCode'] for node in layout['userNodes'].values()]
    made = {re.search(r'output = "(\S+)"', script)[1]: ANNOTATIONS for script in scripts}
    kinds = set()
    for panel, config in layout['configById'].items():
        kind = panel.split('!')[0]
        kinds.add(kind)
        if kind == 'Image':
            assert topics[config['imageMode']['imageTopic']] in IMAGES
            for topic in config['imageMode'].get('annotations', ()):
                assert made[topic] == ANNOTATIONS
        elif kind in ('Plot', 'StateTransitions'):
            for path in config['paths']:
                topic, dot, fields = path['value'].partition('.')
                assert path['enabled'] and field_type(topics[topic], dot + fields) in (
                    *('float32', 'uint8', 'uint64', 'string'),
                )
        elif kind == 'RawMessages':
            assert config['topicPath'] in topics
        elif kind.startswith('Diagnostic'):
            assert topics[config['topicToRender']] == 'diagnostic_msgs/msg/DiagnosticArray'
        elif kind == 'RosOut':
            assert topics[config['topicToRender']] == 'rcl_interfaces/msg/Log'
        else:
            assert kind == 'Tab'
    assert {'Image', 'Plot', 'DiagnosticSummary', 'RawMessages', 'RosOut'} <= kinds


def test_foxglove_plots_diagnostics_that_there_are(foxglove):
    layout, _ = foxglove
    keys = set(re.findall(r'key==\\"([^"]+)\\"', json.dumps(layout)))
    assert keys <= set(CameraHealth('/image', 0.0).report(1.0, 5.0).values)


def test_foxglove_at_first_hears_pictures_as_jpeg_only(foxglove):
    """Raw pictures of every camera would fill a network; they are one click away."""
    layout, cameras = foxglove
    configs = layout['configById']
    first = panels_of(layout['layout'])
    for panel in first:
        tabs = configs[panel].get('tabs')
        if tabs:
            first.extend(panels_of(tabs[configs[panel]['activeTabIdx']]['layout']))
    images = [configs[panel]['imageMode']['imageTopic'] for panel in first if 'Image!' in panel]
    assert len(images) == len(cameras)
    assert all(topic.endswith('/overlay/compressed') for topic in images)


def test_foxglove_script_reads_fields_that_there_are():
    layout = json.loads((VIEWERS / 'foxglove.json').read_text())
    (script,) = (node['sourceCode'] for node in layout['userNodes'].values())
    (source,) = set(re.findall(r'Input<"(\S+)">', script))
    assert f'inputs = ["{source}"]' in script
    assert known_topics(('',))[source] == 'unidrive_msgs/msg/DetectionArray'
    fields = {name for name, _ in STORE.fielddefs['unidrive_msgs/msg/Detection'][1]}
    for names in re.findall(r'detections\.map\(\(\{ ([\w, ]+) \}\)', script):
        assert set(names.split(', ')) <= fields
    box = {name for name, _ in STORE.fielddefs['unidrive_msgs/msg/BoundingBox'][1]}
    assert set(re.findall(r'box\.(\w+)', script)) == box
    *colors, _ = re.findall(r'\[(\d+), (\d+), (\d+)\]', script)  # the last is for other models
    assert [tuple(map(int, c)) for c in colors] == [line_color(i.color) for i in DETECTION.classes]


@pytest.mark.parametrize('name', RVIZ)
def test_rviz_shows_images_with_a_quality_of_service_that_hears_them(name):
    layout = yaml.safe_load((VIEWERS / name).read_text())
    displays = layout['Visualization Manager']['Displays']
    topics = known_topics(RVIZ[name])
    assert len(displays) == {'perception.rviz': 3}.get(name, len(CAMERAS))
    for display in displays:
        assert display['Class'] == 'rviz_default_plugins/Image' and display['Enabled']
        topic = display['Topic']
        assert topics[topic['Value']] == 'sensor_msgs/msg/Image'
        assert topic['Reliability Policy'] == 'Best Effort'
        assert topic['Durability Policy'] == 'Volatile'
    geometry = layout['Window Geometry']
    docks = [display['Name'] for display in displays] + ['Displays']
    state = bytes.fromhex(geometry['QMainWindow State'])
    assert all(dock.encode('utf-16-be') in state and dock in geometry for dock in docks)
    assert [panel['Name'] for panel in layout['Panels']] == ['Displays']
