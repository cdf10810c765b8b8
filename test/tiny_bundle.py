# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A real model bundle without weights, whose right answers a test can read off the image.

Detection boxes the red, green and blue pixels (scores 0.9, 0.2, 0.6), semantic tells the strongest
colour channel, drivable tells bright from dark. A wrong channel order, scale, letterbox or padding
therefore changes the answer.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from unidrive_perception.bundle import (
    Bundle,
    InputSpec,
    Manifest,
    ProgramSpec,
    TaskSpec,
    write_manifest,
)
from unidrive_perception.labels import ClassInfo, LabelTable

RED, GREEN, BLUE = (230, 20, 30), (20, 230, 30), (20, 30, 230)
DARK, BRIGHT = 1, 0  # drivable ids
SCORES = {0: 0.9, 1: 0.2, 2: 0.6}
COLOURS = (('red', RED), ('green', GREEN), ('blue', BLUE))

LABELS = {
    'detection': LabelTable('detection', tuple(ClassInfo(i, *c) for i, c in enumerate(COLOURS))),
    'semantic': LabelTable('semantic', tuple(ClassInfo(i, *c) for i, c in enumerate(COLOURS))),
    'drivable': LabelTable(
        'drivable', (ClassInfo(0, 'bright', (240, 240, 240)), ClassInfo(1, 'dark', (0, 0, 0)))
    ),
}


def write_tiny_bundle(
    folder: Path,
    input_size: tuple[int, int] = (96, 160),
    stride: int = 2,
    cost: int = 0,
    tasks: tuple[str, ...] = ('detection', 'semantic', 'drivable'),
) -> Path:
    """Write the bundle; ``cost`` adds that many 1024² matrix products, some 20 ms each."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / 'model.onnx'
    onnx.save(_model(input_size, stride, cost, tasks), str(program))
    manifest = Manifest(
        name='tiny',
        input=InputSpec(*input_size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        tasks={t: TaskSpec(LABELS[t], 0.5 if t == 'detection' else None) for t in tasks},
        program=ProgramSpec.of_file(program),
    )
    write_manifest(folder, manifest)
    return folder


def tiny_bundle(folder: Path, **options) -> Bundle:
    return Bundle.load(write_tiny_bundle(folder, **options))


def street(height: int = 720, width: int = 1280) -> np.ndarray:
    """Dark picture with a red, a green and a blue rectangle at tenths of its size."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[:, :, 0] += 10  # red is the strongest channel of the background
    for colour, x0, y0, x1, y1 in ((RED, 1, 2, 3, 5), (GREEN, 4, 4, 6, 8), (BLUE, 7, 1, 9, 9)):
        image[height * y0 // 10 : height * y1 // 10, width * x0 // 10 : width * x1 // 10] = colour
    image[height * 9 // 10 :] = (255, 240, 240)  # bright, red strongest
    return image


class _Graph:
    """A list of ONNX nodes that are written like function calls."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: np.ndarray) -> str:
        name = f'c{len(self.constants)}'
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def __call__(self, op: str, *inputs: str, name: str = '', outputs: int = 1, **attributes):
        names = [name or f'v{len(self.nodes)}_{i}' for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names


def _model(input_size, stride, cost, tasks) -> onnx.ModelProto:
    height, width = input_size
    g = _Graph()
    image = g('Cast', 'images', to=TensorProto.FLOAT)
    outputs = []
    if 'detection' in tasks:
        _detection(g, image, cost)
        outputs += [
            helper.make_tensor_value_info('boxes', TensorProto.FLOAT, ['N', 3, 4]),
            helper.make_tensor_value_info('scores', TensorProto.FLOAT, ['N', 3]),
            helper.make_tensor_value_info('class_ids', TensorProto.INT64, ['N', 3]),
        ]
    mask_shape = ['N', height // stride, width // stride]
    if 'semantic' in tasks:
        strongest = g('ArgMax', image, axis=3, keepdims=0)
        _mask(g, strongest, stride, 'semantic')
        outputs.append(helper.make_tensor_value_info('semantic', TensorProto.UINT8, mask_shape))
    if 'drivable' in tasks:
        brightness = g('ReduceMean', image, g.ints(3), keepdims=0)
        dark = g('Less', brightness, g.constant(np.float32(127)))
        _mask(g, dark, stride, 'drivable')
        outputs.append(helper.make_tensor_value_info('drivable', TensorProto.UINT8, mask_shape))
    images = helper.make_tensor_value_info('images', TensorProto.UINT8, ['N', height, width, 3])
    graph = helper.make_graph(g.nodes, 'tiny', [images], outputs, g.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)


def _mask(g: _Graph, ids: str, stride: int, name: str) -> None:
    half, end = stride // 2, np.iinfo(np.int64).max
    sampled = g(
        'Slice', ids, g.ints(half, half), g.ints(end, end), g.ints(1, 2), g.ints(stride, stride)
    )
    g('Cast', sampled, to=TensorProto.UINT8, name=name)


def _detection(g: _Graph, image: str, cost: int) -> None:
    channels = g('Split', image, outputs=3, axis=3, num_outputs=3)
    boxes, scores = [], []
    for class_id in range(3):
        found = _pixels_of(g, channels, class_id)
        boxes.append(_box_around(g, found))
        present = g('ReduceMax', found, g.ints(1, 2, 3), keepdims=0)  # (N,)
        score = g('Mul', present, g.constant(np.float32(SCORES[class_id])))
        scores.append(g('Unsqueeze', score, g.ints(1)))
    all_scores = g('Concat', *scores, axis=1)
    if cost:
        all_scores = g('Add', all_scores, _waste_time(g, image, cost))
    _, order = g('TopK', all_scores, g.ints(3), outputs=2, axis=1)
    g('GatherElements', all_scores, order, axis=1, name='scores')
    g('Identity', order, name='class_ids')
    index = g('Expand', g('Unsqueeze', order, g.ints(2)), g.ints(1, 1, 4))
    g('GatherElements', g('Concat', *boxes, axis=1), index, axis=1, name='boxes')


def _pixels_of(g: _Graph, channels: list[str], class_id: int) -> str:
    """(N, H, W, 1) float, 1 where only this channel is strong."""
    high, low = g.constant(np.float32(150)), g.constant(np.float32(100))
    tests = [
        g('Greater', channel, high) if i == class_id else g('Less', channel, low)
        for i, channel in enumerate(channels)
    ]
    both = g('And', g('And', tests[0], tests[1]), tests[2])
    return g('Cast', both, to=TensorProto.FLOAT)


def _box_around(g: _Graph, found: str) -> str:
    """(N, 1, 4) float: the smallest xyxy box around the ones of (N, H, W, 1)."""
    one = g.ints(1)
    first, last = [], []
    for axis in (1, 2):  # over rows: columns (x); over columns: rows (y)
        line = g('ReduceMax', found, g.ints(axis, 3), keepdims=0)
        first.append(g('ArgMax', line, axis=1))
        last.append(g('Add', g('ArgMax', line, axis=1, select_last_index=1), one))
    box = g('Cast', g('Concat', *first, *last, axis=1), to=TensorProto.FLOAT)
    return g('Unsqueeze', box, one)


def _waste_time(g: _Graph, image: str, cost: int) -> str:
    """Zero, after ``cost`` matrix products that depend on the image."""
    mean = g('ReduceMean', image, g.ints(0, 1, 2, 3), keepdims=0)
    product = g('Mul', mean, g.constant(np.ones((1024, 1024), np.float32)))
    averaging = g.constant(np.full((1024, 1024), 1 / 1024, np.float32))
    for _ in range(cost):
        product = g('MatMul', product, averaging)
    total = g('ReduceMean', product, g.ints(0, 1), keepdims=0)
    return g('Mul', total, g.constant(np.float32(0)))
