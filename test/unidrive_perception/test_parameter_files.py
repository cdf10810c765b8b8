# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Parameter files, read as ROS reads them."""

import pytest

from unidrive_perception.errors import UserError
from unidrive_perception.launching.parameter_files import fits, node_parameters, read_sections


@pytest.fixture
def files(tmp_path):
    """Write texts to files."""

    def write(*texts):
        paths = [tmp_path / f'{i}.yaml' for i in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        return paths

    return write


def section(name, **values):
    return f'{name}:\n  ros__parameters: {values}\n'


DEFAULTS = section('/**', a=1, b=1)
CASES = {
    'any node': section('/**', a=2),
    'name': section('perception', a=2),
    'name in the root': section('/perception', a=2),
    'full name': section('/front/perception', a=2),
    'namespaces as folders': 'front:\n  perception:\n    ros__parameters: {a: 2, c: 0.5}\n',
    'namespace and name': '/front:\n  perception:\n    ros__parameters: {a: 2}\n',
    'one part': section('/*/perception', a=2),
    'any parts': '/**:\n  perception:\n    ros__parameters: {a: 2}\n',
    'other node': section('/front/camera', a=2) + section('/perception2', a=2),
    'the first mentioned is beaten': section('/front/perception', a=2) + section('/**', a=3),
    'sections of a file': section('/front/perception', a=2) + section('/*/perception', a=3),
    'nested': section('/**', front={'image_topic': '/a', 'b': {'c': True}}),
    'dots': '/**:\n  ros__parameters: {front.image_topic: /a, front: {other: b}}\n',
    'lists': section('/**', cameras=['front', 'left'], tasks=['detection']),
    'texts': '/**:\n  ros__parameters: {c: "2", d: "", e: "true", f: text, g: !!str 5}\n',
    'plain': '/**:\n  ros__parameters: {c: on, d: off, e: 1e-3, f: 0x10, g: 1_0, h: -.5}\n',
    'more plain': '/**:\n  ros__parameters: {c: null, d: ~, f: y, g: 2026-01-01}\n',
}


@pytest.mark.ros
@pytest.mark.parametrize('node', ['/perception', '/front/perception', '/robot/front/perception'])
@pytest.mark.parametrize('text', CASES.values(), ids=CASES)
def test_a_node_gets_the_same(files, ros_domain, text, node):
    import rclpy

    paths = files(DEFAULTS, text, section('/**', z=9))
    arguments = [word for path in paths for word in ('--params-file', str(path))]
    context = rclpy.Context()
    rclpy.init(args=['--ros-args', *arguments], context=context)
    namespace, _, name = node.rpartition('/')
    live = rclpy.create_node(
        name,
        namespace=namespace,
        context=context,
        automatically_declare_parameters_from_overrides=True,
    )
    try:
        expected = {
            name: list(p.value) if isinstance(p.value, (list, tuple)) else p.value
            for name, p in live.get_parameters_by_prefix('').items()
            if name not in ('use_sim_time', 'start_type_description_service')
        }
    finally:
        live.destroy_node()
        context.try_shutdown()
    assert node_parameters(paths, node) == expected
    assert expected['z'] == 9


@pytest.mark.parametrize(
    ('name', 'node', 'yes'),
    [
        ('/**', '/a/b/perception', True),
        ('/*', '/perception', True),
        ('/*', '/a/perception', False),
        ('/*/perception', '/a/perception', True),
        ('/**/perception', '/perception', True),
        ('perception', '/perception', True),
        ('perception', '/a/perception', False),
        ('/a/perception', '/a/perception', True),
        ('/perc', '/perception', False),
    ],
)
def test_for_whom_a_section_is(name, node, yes):
    assert fits(name, node) == yes


def test_a_value_of_another_type_is_not_lost(files):
    """rclpy would keep the 1, and the node could not tell that the text is wrong."""
    paths = files(section('/**', a=1), '/**:\n  ros__parameters: {a: "2"}\n')
    assert node_parameters(paths, '/perception') == {'a': '2'}


def test_a_later_file_beats_an_earlier_one(files):
    first, second = files(section('/**', a=1, b=1), section('/**', b=2, c=2))
    assert node_parameters([first, second], '/perception') == {'a': 1, 'b': 2, 'c': 2}
    assert node_parameters([second, first], '/perception') == {'a': 1, 'b': 1, 'c': 2}


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('a: [1\nb: 2', 'is not YAML: .*line 2'),
        ('', 'has no parameters: they belong below a name of the node'),
        ('score_threshold: 0.5\n', 'has no parameters'),
        ('perception:\n  score_threshold: 0.5\n', 'has no parameters'),
        ('perception:\n  ros__parameters:\n', 'has no parameters'),
        ('- 1\n', 'has no parameters'),
    ],
)
def test_what_is_no_parameter_file(files, text, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        read_sections(*files(text))
    assert '0.yaml' in str(caught.value) and '\n' not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r'nowhere\.yaml cannot be read: No such file'):
        read_sections(tmp_path / 'nowhere.yaml')
    with pytest.raises(UserError, match='cannot be read: Is a directory'):
        read_sections(tmp_path)
    (tmp_path / 'picture.yaml').write_bytes(b'\x89PNG\xff')
    with pytest.raises(UserError, match='cannot be read: not UTF-8 text'):
        read_sections(tmp_path / 'picture.yaml')
