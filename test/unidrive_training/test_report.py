# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The result page of a run: everything that should be in it is, whatever the run looks like."""

import base64
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import yaml
from torch.utils.tensorboard import SummaryWriter

from unidrive_perception.errors import UserError
from unidrive_perception.labels import DETECTION, SEMANTIC
from unidrive_training.cli import main
from unidrive_training.evaluation.evaluate import Evaluation
from unidrive_training.evaluation.metrics_file import write_metrics
from unidrive_training.report import write_report
from unidrive_training.report.curves import read_log, smooth

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


@pytest.fixture(scope='module')
def whole(tmp_path_factory) -> Path:
    """The page of a run that lacks nothing."""
    return write_report(write_run(tmp_path_factory.mktemp('report') / 'run'))


@pytest.fixture
def page(whole) -> 'Page':
    return Page(whole)


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


def test_the_page_needs_no_other_file(whole, page):
    assert not {'script', 'link', 'iframe'} & {tag for tag, _ in page.elements}
    addresses = page.attributes('src', 'href', 'xlink:href')
    assert addresses and all(address.startswith(('data:', '#')) for address in addresses)
    assert not re.search(r'url\((?!#)|@import', whole.read_text())
    ids = page.attributes('id')
    assert len(ids) == len(set(ids)) > 10
    assert {a[1:] for a in addresses if a[0] == '#'} <= set(ids)
    assert not list(whole.parent.glob('.*'))


def test_the_page_has_facts_and_scores(page):
    for fact in ('a run', 'a config', 'abc123', '12,345', '1:02:05', '4.56 M', '9.9.9'):
        assert fact in page.text
    assert '2 × H, Abacus, 3 cores' in page.text
    assert 'unidrive None' not in page.text and 'missing' not in page.text
    assert ['dataset', 'images', 'AP', 'AP small'] in page.rows
    assert ['tiny', '29', '0.234', '–'] in page.rows
    readings = ['mIoU, three classes', 'mIoU, BDD100K toolkit', 'road IoU', 'pACC, three classes']
    assert ['dataset', 'images', *readings] in page.rows
    assert ['tiny', '31', '0.712', '0.543', '0.932', '0.823'] in page.rows
    assert 'channels: 64' in page.text.partition('Config\n')[2]


def test_the_page_has_every_figure(page):
    figures = page.figures
    assert set(figures) == {
        *(f'{name} over iterations' for name in ('Loss', 'Progress', 'Validation')),
        'tiny detection: scores of the classes',
        'tiny detection: precision-recall',
        'tiny detection: confusion',
        'tiny semantic: scores of the classes',
        'tiny semantic: confusion',
    }
    losses = set(figures['Loss over iterations'].split('\n'))
    assert {'weighted total, and tasks', 'detection'} <= losses
    assert 'the sum of the tasks, each times its weight (detection 1.5).' in page.text
    assert '0.1\n' in figures['Loss over iterations']  # a power of ten: the axis is logarithmic
    progress = figures['Progress over iterations']
    assert 'learning rate' in progress and 'images per second' in progress
    assert 'semantic: mIoU' in figures['Validation over iterations']
    classes = figures['tiny detection: scores of the classes'].split('\n')
    assert {'car (1,234)', '0.457', 'bus (5)', '0.136'} <= set(classes)
    assert 'car 0.457' in figures['tiny detection: precision-recall']
    assert '0.679' in figures['tiny semantic: scores of the classes']


def test_confusions_are_shares_of_rows_without_the_empty_ones(page):
    axis = 'truth, % of each row'
    boxes = ['car', 'truck', 'missed', 'car', 'nothing there', axis, '65', '20', '15', '100', '']
    assert page.figures['tiny detection: confusion'].split('\n') == boxes
    pixels = ['road', 'sky', 'no class', 'road', 'sky', axis, '61', '29', '10', '100', '']
    assert page.figures['tiny semantic: confusion'].split('\n') == pixels


def test_pictures_are_the_first_and_the_last_and_the_worst(page):
    (first, _), (last, _), (worst, size) = page.pictures()
    assert np.abs(first - FIRST).max() < 20 and np.abs(last - LAST).max() < 20
    assert np.abs(worst - (0, 200, 0)).max() < 20 and size == (199, 640)
    assert 'iteration 100' in page.text and 'iteration 290' in page.text
    assert '0.012 stored' in page.text and '0.200 gone' in page.text
    assert page.text.count('no picture was stored') == 1


def test_a_log_is_that_of_the_run_that_went_on(tmp_path):
    """What was logged after the checkpoint that a resume went on from is not part of the run."""
    write_log(tmp_path)
    with SummaryWriter(tmp_path / 'tensorboard', purge_step=151, filename_suffix='.z') as writer:
        writer.add_scalar('loss/total', 5.0, 160)
        writer.add_image('pictures/0', color_image(FIRST), 160, dataformats='HWC')
    last = max((tmp_path / 'tensorboard').iterdir())
    last.write_bytes(last.read_bytes()[:-7])  # cut off by a kill
    log = read_log(tmp_path / 'tensorboard')
    assert log.curves['loss/total'].steps == [*range(0, 160, 10), 160]
    assert log.curves['loss/total'].values[-1] == 5.0
    assert log.curves['loss/detection'].steps[-1] == 150
    assert [picture.step for picture in log.pictures['pictures/0']] == [100]


def test_a_smooth_curve_is_the_mean_around_each_value():
    assert smooth(np.arange(10.0)).tolist() == list(range(10))
    values = np.arange(100.0)
    values[[10, 50]] = NAN, 80
    found = smooth(values)
    assert found[[0, 9, 10, 50, 99]].tolist() == [0.5, 8.5, 10, (49 + 80 + 51) / 3, 98.5]


@pytest.mark.parametrize(
    ('only', 'figures'),
    [
        ('metrics.json', {'tiny detection: scores of the classes'}),
        ('details.json', {'tiny detection: precision-recall', 'tiny detection: confusion'}),
        (
            'tensorboard',
            {f'{name} over iterations' for name in ('Loss', 'Progress', 'Validation')},
        ),
        ('config.yaml', set()),
    ],
)
def test_what_is_missing_is_said(run, only, figures):
    (run / only).rename(run.parent / only)
    shutil.rmtree(run)
    run.mkdir()
    (run.parent / only).rename(run / only)
    page = Page(write_report(run))
    files = {'metrics.json', 'details.json', 'config.yaml', 'environment.json'}
    assert {name for name in files if f'{name} is missing' in page.text} == files - {only}
    assert ('There is no TensorBoard log' in page.text) == (only != 'tensorboard')
    assert {name for name in page.figures if 'semantic' not in name} == figures


def test_validation_comes_from_the_metrics_where_the_log_is_gone(run):
    metrics = json.loads((run / 'metrics.json').read_text())
    metrics['history'] = [{'iteration': i, 'scores': metrics['scores']} for i in (100, 200)]
    (run / 'metrics.json').write_text(json.dumps(metrics))
    shutil.rmtree(run / 'tensorboard')
    (run / 'details.json').unlink()
    figures = Page(write_report(run)).figures
    assert 'detection: AP\n' in figures['Validation over iterations']


def test_nothing_of_a_run_is_an_error(tmp_path, capsys):
    with pytest.raises(UserError, match='no run folder'):
        write_report(tmp_path)
    assert main(['report', str(tmp_path / 'nowhere')]) == 2
    assert capsys.readouterr().err.count('\n') == 1
    assert not list(tmp_path.iterdir())


def test_broken_data_cost_their_part_of_the_page_only(run):
    details = json.loads((run / 'details.json').read_text())
    details['tiny']['detection'] |= {'confusion': 'none', 'precision_recall': [1]}
    details['tiny']['semantic'] = details['more'] = 3
    (run / 'details.json').write_text(json.dumps(details))
    (run / 'config.yaml').write_bytes(b'\xff\xfe: [')
    (run / 'environment.json').write_text('{')
    (run / 'worst' / 'tiny' / 'detection' / 'stored.jpg').write_text('no picture')
    (run / 'tensorboard' / 'events.out.tfevents.9999999999').write_bytes(b'\x01' * 300)
    page = Page(write_report(run))
    for said in (
        'tiny detection: confusion: cannot be shown',
        'tiny detection: precision-recall: cannot be shown',
        'config.yaml cannot be read',
        'environment.json cannot be read',
    ):
        assert said in page.text
    assert {'Loss over iterations', 'tiny detection: scores of the classes'} <= set(page.figures)
    (run / 'metrics.json').write_text('[1, 2')
    assert 'metrics.json cannot be read' in Page(write_report(run)).text


def test_names_are_text_and_nothing_else(run):
    hostile = '</svg><script>alert(1)</script>"\'<img src=x onerror=alert(2)> $\\frac{ 道路'
    (run.parent / 'secret.jpg').write_bytes(cv2.imencode('.jpg', color_image(FIRST))[1])
    result = evaluation()
    result.scores['detection']['ap50_per_class'] = {hostile: 0.4567}
    details = result.details['detection']
    details['classes'] = [hostile] * 10
    details['precision_recall'] = {hostile: [1.0] * 101}
    details['worst'] = [
        {'image': '../../../../secret', 'score': 0.1},
        {'image': hostile, 'score': 0},
    ]
    write_metrics(
        run, hostile, {hostile: result, 'tiny': result}, {'machine': hostile, hostile: '\ud800'}
    )
    (run / 'config.yaml').write_text(yaml.safe_dump({'name': '<script>alert(3)</script>'}))
    page = Page(write_report(run))
    assert not {'script', 'x'} & {tag for tag, _ in page.elements}
    assert not page.attributes('onerror')
    assert len(page.pictures()) == 2  # of the log only
    assert '<script>alert(1)</script>' in page.text and '<script>alert(3)</script>' in page.text
    assert hostile in page.figures[f'{hostile} detection: precision-recall']


def test_figures_do_not_depend_on_what_the_user_set_up(run):
    """A style is the user's for other figures; and two pages of one run are the same."""
    shutil.rmtree(run / 'tensorboard')
    first = write_report(run).read_text()
    with matplotlib.rc_context(
        {'axes.titlesize': 30, 'svg.fonttype': 'path', 'text.color': 'red'}
    ):
        assert write_report(run).read_text() == first
        assert matplotlib.rcParams['text.color'] == 'red'


def test_the_templates_are_installed(tmp_path):
    repo = Path(__file__).resolve().parents[2]
    command = [sys.executable, 'setup.py', '-q', 'build', '--build-base', str(tmp_path)]
    subprocess.run(command, cwd=repo, check=True, capture_output=True, timeout=60)
    templates = Path('unidrive_training', 'report', 'templates')
    built = {path.name for path in (tmp_path / 'lib' / templates).iterdir()}
    assert built == {path.name for path in (repo / templates).iterdir()}
