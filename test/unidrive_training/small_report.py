# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A run folder to make a page of, and a reader of the page, for tests."""

import base64
import json
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from unidrive_perception.labels import DETECTION, SEMANTIC
from unidrive_training.evaluation.evaluate import Evaluation
from unidrive_training.evaluation.metrics_file import write_metrics

FIRST, LAST = (250, 10, 10), (10, 10, 250)  # RGB of the pictures in the log
NAN = float('nan')


def evaluation() -> Evaluation:
    """Two tasks with numbers that occur nowhere else."""
    road, sky = SEMANTIC.names.index('road'), SEMANTIC.names.index('sky')
    pixels = np.zeros((19, 20), int)
    pixels[road, [road, sky, 19]] = 610, 290, 100
    pixels[sky, sky] = 50
    boxes = np.zeros((11, 11), int)
    boxes[2, [2, 3, 10]] = 13, 4, 3
    boxes[10, 2] = 7
    masks = {'images': 31, 'mean_iou': 0.7123, 'pixel_accuracy': 0.8234}
    scores = {
        'detection': {
            'images': 29,
            'ap': 0.2345,
            'ap_small': NAN,
            'ap50_per_class': {'car': 0.4567, 'bus': 0.1357},
            'truths': {'car': 1234, 'bus': 5},
        },
        'semantic': {**masks, 'iou': {'road': 0.6789, 'sky': NAN}},
        'drivable': {**masks, 'bdd_mean_iou': 0.5432, 'drivable_iou': 0.9321},
    }
    falling = [1.0 - i / 200 if i <= 50 else 0.0 for i in range(101)]
    details = {
        'detection': {
            'classes': DETECTION.names,
            'confusion': boxes.tolist(),
            'precision_recall': {'car': falling, 'bus': [-1.0] * 101},
            'worst': [{'image': 'stored', 'score': 0.0123}, {'image': 'gone', 'score': 0.2}],
        },
        'semantic': {'classes': SEMANTIC.names, 'confusion': pixels.tolist(), 'worst': []},
    }
    return Evaluation(scores, details)


def write_log(folder: Path) -> None:
    with SummaryWriter(folder / 'tensorboard') as writer:
        for step in range(0, 300, 10):
            writer.add_scalar('loss/detection/box', 9 * 0.98**step, step)
            writer.add_scalar('loss/detection', 10 * 0.98**step, step)
            writer.add_scalar('loss/total', 20 * 0.98**step, step)
            writer.add_scalar('learning_rate', 1e-3, step)
            writer.add_scalar('speed/images_per_second', 8.0, step)
            writer.add_scalar('phase', step // 150, step)
        for step, color in ((100, FIRST), (200, (10, 250, 10)), (290, LAST)):
            writer.add_scalar('validation/tiny/semantic/mean_iou', step / 1000, step)
            writer.add_image('pictures/0', color_image(color), step, dataformats='HWC')


def color_image(rgb, height=30, width=120):
    return np.full((height, width, 3), rgb, np.uint8)


def write_run(folder: Path) -> Path:
    """A run folder as the trainer leaves it."""
    folder.mkdir()
    write_log(folder)
    facts = {'iterations': 12345, 'seconds': 3725.0, 'parameters': 4_560_000, 'commit': 'abc123'}
    facts |= {'machine': {'cpu': 'Abacus', 'cores': 3, 'gpus': ['H', 'H']}, 'seed': 7}
    write_metrics(folder, 'a run', {'tiny': evaluation()}, facts)
    weights = 'loss_weights: {detection: 1.5, drivable: 0.7}'
    text = f'name: a config\nmodel: {{fpn: {{channels: 64}}}}\n{weights}\n'
    (folder / 'config.yaml').write_text(text)
    versions = {'versions': {'torch': '9.9.9', 'unidrive': None}}
    (folder / 'environment.json').write_text(json.dumps(versions))
    pictures = folder / 'worst' / 'tiny' / 'detection'
    pictures.mkdir(parents=True)
    cv2.imwrite(str(pictures / 'stored.jpg'), color_image((0, 200, 0), 400, 1284))
    return folder


@pytest.fixture
def run(tmp_path) -> Path:
    return write_run(tmp_path / 'run')


class Page(HTMLParser):
    """A page's elements and text; fails where elements are not closed in order."""

    VOID = ('meta', 'img', 'br', 'link')

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.figures: dict[str, str] = {}  # what an SVG shows → the text in it
        self.rows: list[list[str]] = []
        self.text = ''
        self._open: list[str] = []
        self.feed(path.read_text())
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)
        if tag == 'svg':
            self.figures[dict(attrs)['aria-label']] = ''
        if tag == 'tr':
            self.rows.append([])
        if tag in ('td', 'th'):
            self.rows[-1].append('')

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if 'svg' in self._open and data.strip():
            label = list(self.figures)[-1]
            self.figures[label] += f'{data}\n'
        elif self._open[-1:] in (['td'], ['th']):
            self.rows[-1][-1] += data

    def attributes(self, *names):
        return [a[n] for _, a in self.elements for n in names if n in a]

    def pictures(self):
        """RGB of the middle pixel, and size, of every picture."""
        found = []
        for address in self.attributes('src'):
            encoded = base64.b64decode(address.removeprefix('data:image/jpeg;base64,'))
            image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
            middle = image[image.shape[0] // 2, image.shape[1] // 2, ::-1]
            found.append((middle.astype(int), image.shape[:2]))
        return found
