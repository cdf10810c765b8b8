# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Camera topic names, and advice where no image arrives."""

from enum import Enum
from types import SimpleNamespace

import pytest

from unidrive_perception.image_topics import (
    COMPRESSED,
    IMAGE,
    are_known,
    image_topic,
    incompatible_qos,
    no_image,
)

Reliability = Enum('Reliability', 'RELIABLE BEST_EFFORT')


def publisher(name='driver', namespace='/', kind=IMAGE, reliability=Reliability.RELIABLE):
    qos = SimpleNamespace(reliability=reliability)
    return SimpleNamespace(
        node_name=name, node_namespace=namespace, topic_type=kind, qos_profile=qos
    )


@pytest.mark.parametrize(
    ('name', 'transport', 'expected'),
    [
        ('/cam/image', 'raw', ('/cam/image', 'raw')),
        ('/cam/image', 'compressed', ('/cam/image/compressed', 'compressed')),
        ('/cam/image/compressed', 'compressed', ('/cam/image/compressed', 'compressed')),
        ('/cam/image/compressed', 'raw', ('/cam/image/compressed', 'compressed')),
    ],
)
def test_topic_of_a_transport(name, transport, expected):
    assert image_topic(name, transport) == expected


def test_nothing_there():
    sentence = no_image('/image', IMAGE, 'best_effort', 5.2, [], {'/rosout': ['x']})
    assert 'no image received for 5 s on /image' in sentence and 'publishers: none' in sentence
    assert 'is the camera or player running, in this ROS_DOMAIN_ID?' in sentence


def test_images_elsewhere():
    topics = {'/b': [IMAGE], '/a/compressed': [COMPRESSED], '/c': ['std_msgs/msg/String']}
    topics['/unidrive_doctor_7_0/reliable'] = [IMAGE]  # what a doctor sends to itself
    sentence = no_image('/image', IMAGE, 'best_effort', 5, [], topics)
    assert 'Topics with images: /a/compressed, /b; remap image' in sentence


@pytest.mark.parametrize(
    ('topic', 'kind', 'other', 'transport'),
    [('/i', IMAGE, '/i/compressed', 'compressed'), ('/i/compressed', COMPRESSED, '/i', 'raw')],
)
def test_the_other_transport_is_there(topic, kind, other, transport):
    sentence = no_image(topic, kind, 'best_effort', 5, [], {other: ['x']})
    assert (
        f'{other} exists; start the node with the parameter image_transport:={transport}'
        in sentence
    )


def test_the_type_is_wrong():
    sentence = no_image('/i', IMAGE, 'best_effort', 5, [publisher(kind=COMPRESSED)], {})
    remedy = 'start the node with the parameter image_transport:=compressed'
    assert f'They publish {COMPRESSED}; {remedy}' in sentence


def test_a_camera_of_several_has_parameters_of_its_own():
    found = [publisher(kind=COMPRESSED)]
    sentence = no_image('/left/image', IMAGE, 'best_effort', 5, found, {}, camera='left')
    assert sentence.endswith('start the node with the parameter left.image_transport:=compressed')
    topics = {'/b': [IMAGE]}
    sentence = no_image('/left/image', IMAGE, 'best_effort', 5, [], topics, camera='left')
    assert sentence.endswith('start the node with the parameter left.image_topic:=/b')
    topics['/c'] = [IMAGE]
    sentence = no_image('/left/image', IMAGE, 'best_effort', 5, [], topics, camera='left')
    assert sentence.endswith('the parameter left.image_topic:=… one of them')


def test_images_that_came_before_are_not_said_to_be_lost_on_the_way():
    killed = [publisher()]  # DDS lists it for some 20 s
    sentence = no_image('/i', IMAGE, 'best_effort', 6, killed, {}, were_there=True)
    assert sentence.endswith('Images came until then: has it stopped, or ended without a word?')
    gone = no_image('/i', IMAGE, 'best_effort', 6, [], {}, were_there=True)
    assert 'is the camera or player running' in gone


def test_the_reliability_is_wrong():
    camera = publisher('cam', '/front', reliability=Reliability.BEST_EFFORT)
    sentence = no_image('/i', IMAGE, 'reliable', 5, [camera], {})
    assert '/front/cam (best_effort)' in sentence
    assert '. Start the node with the parameter image_reliability:=best_effort' in sentence
    sentence = incompatible_qos('/i', 'reliable', [camera])
    assert '/front/cam (best_effort), while this node asks for reliable' in sentence
    assert '; start the node with the parameter image_reliability:=best_effort' in sentence


def test_publishers_are_known_once_their_nodes_are():
    assert are_known([publisher()])
    assert not are_known([])
    assert not are_known([publisher(), publisher('_NODE_NAME_UNKNOWN_')])


def test_a_silent_publisher():
    sentence = no_image('/i', IMAGE, 'best_effort', 5, [publisher()], {})
    assert 'publishers: /driver (reliable). They publish nothing, or large images' in sentence
