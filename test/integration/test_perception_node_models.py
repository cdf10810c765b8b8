# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Another model while the node works: taken over, or told why not."""

import shutil
import time

import pytest
from live_node import number_of, wait_until
from running_node import answer, bundle, camera_for, graph, listen, set_parameter, start  # noqa: F401
from tiny_bundle import write_tiny_bundle

from unidrive_perception.bundle import file_sha256

pytestmark = pytest.mark.ros


def test_another_model_takes_over_between_two_images(start, graph, tmp_path):
    from unidrive_msgs.msg import LabelTable

    node = start()
    labels = graph.listen(LabelTable, '/perception/labels')
    heard = listen(graph, 'result')
    camera = camera_for(graph)
    assert len(answer(camera, heard, 1).detections.detections) == 2
    other = write_tiny_bundle(tmp_path / 'other', tasks=('semantic', 'drivable'), stride=4)
    refused = set_parameter(graph, 'model_path', str(tmp_path / 'nothing'))
    assert not refused.successful and 'no such model bundle folder' in refused.reason
    before = len(labels)
    assert set_parameter(graph, 'model_path', str(other)).successful
    number = 2
    while 'model tiny from ' + str(other) not in node.log:
        answer(camera, heard, number)  # images go on meanwhile
        number += 1
    assert answer(camera, heard, number + 1).detections.detections == []
    wait_until(lambda: len(labels) > before, 'the new label table')
    assert list(labels[-1].detection) == []
    numbers = [number_of(m) for m in heard]
    assert numbers == sorted(numbers)


def test_a_model_that_breaks_leaves_the_old_one_in_use(start, graph, bundle, tmp_path):
    from rcl_interfaces.srv import GetParameters

    node = start()
    heard = listen(graph, 'result')
    camera = camera_for(graph)
    broken = shutil.copytree(bundle, tmp_path / 'broken')
    (broken / 'model.onnx').write_bytes(b'no program')  # as its manifest says, but no program
    manifest = broken / 'manifest.yaml'
    digests = file_sha256(bundle / 'model.onnx'), file_sha256(broken / 'model.onnx')
    manifest.write_text(manifest.read_text().replace(*digests))
    assert set_parameter(graph, 'model_path', str(broken)).successful
    node.wait_for('stays in use')
    assert 'onnxruntime cannot load it' in node.log
    request = GetParameters.Request(names=['model_path'])
    reply = graph.call(GetParameters, '/perception/get_parameters', request)
    assert reply.values[0].string_value == str(bundle)
    assert len(answer(camera, heard, 1).detections.detections) == 2


def test_a_model_with_another_program_than_its_manifest_names_is_told_of(
    start, graph, bundle, tmp_path
):
    node = start()
    heard = listen(graph, 'result')
    camera = camera_for(graph)
    damaged = shutil.copytree(bundle, tmp_path / 'damaged')
    with (damaged / 'model.onnx').open('ab') as program:
        program.write(b'damage')
    (damaged / 'manifest.yaml').write_text(
        (damaged / 'manifest.yaml').read_text().replace('name: tiny', 'name: other')
    )
    assert set_parameter(graph, 'model_path', str(damaged)).successful
    node.wait_for('stays in use')
    assert 'the file is damaged or not of this bundle' in node.log
    assert len(answer(camera, heard, 1).detections.detections) == 2


def test_a_program_that_breaks_in_the_folder_in_use_is_refused_once(start, graph, tmp_path):
    """A failed export over the model that runs: the parameter goes back and nothing is tried."""
    folder = write_tiny_bundle(tmp_path / 'mine')
    node = start(model_path=folder)
    heard = listen(graph, 'result')
    camera = camera_for(graph)
    answer(camera, heard, 1)
    digest = file_sha256(folder / 'model.onnx')
    (folder / 'model.onnx').write_bytes(b'no program')
    manifest = folder / 'manifest.yaml'
    manifest.write_text(manifest.read_text().replace(digest, file_sha256(folder / 'model.onnx')))
    assert set_parameter(graph, 'model_path', str(folder)).successful
    node.wait_for('stays in use')
    time.sleep(1.0)
    assert node.log.count('stays in use') == 1
    answer(camera, heard, 2)
