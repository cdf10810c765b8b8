# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The result page of a run: everything that should be in it is."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from small_report import (
    FIRST,
    LAST,
    NAN,
    Page,
    color_image,
    run,  # noqa: F401
    write_log,
    write_run,
)
from torch.utils.tensorboard import SummaryWriter

from unidrive_training.report import write_report
from unidrive_training.report.curves import read_log, smooth


@pytest.fixture(scope='module')
def whole(tmp_path_factory) -> Path:
    """The page of a run that lacks nothing."""
    return write_report(write_run(tmp_path_factory.mktemp('report') / 'run'))


@pytest.fixture
def page(whole) -> Page:
    return Page(whole)


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
    (first,) = (tmp_path / 'tensorboard').iterdir()
    first.rename(first.with_name('events.out.tfevents.1'))  # those of one second have no order
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
