# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The result page of a run whose data are missing, broken or hostile."""

import json
import shutil

import cv2
import pytest
import yaml
from small_report import (
    FIRST,
    Page,
    color_image,
    evaluation,
    run,  # noqa: F401
)

from unidrive_perception.errors import UserError
from unidrive_training.cli import main
from unidrive_training.evaluation.metrics_file import write_metrics
from unidrive_training.report import write_report
from unidrive_training.report.curves import read_log
from unidrive_training.report.run_folder import read_run
from unidrive_training.report.training_curves import curve_sections


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


def test_validation_has_the_last_scores_wherever_they_are(run):
    """A kill after the last checkpoint leaves its scores to the run that goes on, which logs none;
    and a run that goes on after its end has them in the log.
    """

    def shown():
        sections = curve_sections(read_log(run / 'tensorboard'), read_run(run))
        return next(s['svg'] for s in sections if s['title'] == 'Validation')

    def history(*iterations):
        metrics = json.loads((run / 'metrics.json').read_text())
        scores = {'tiny': {'semantic': {'mean_iou': 0.9}}, 'new': {'semantic': {'mean_iou': 0.9}}}
        metrics['history'] = [{'iteration': i, 'scores': scores} for i in iterations]
        (run / 'metrics.json').write_text(json.dumps(metrics))

    history(100, 200, 290, 300)
    assert 'new' in shown()
    history(100)
    assert 'new' not in shown()


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
