# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs side by side: which is best, by how much, over how many seeds, and what was set."""

import json
import math
import re
from pathlib import Path

import pytest
import yaml

from unidrive_perception.errors import UserError
from unidrive_training.cli import main
from unidrive_training.evaluation.evaluate import Evaluation
from unidrive_training.evaluation.metrics_file import write_metrics
from unidrive_training.report.compare import compare
from unidrive_training.report.compare_text import text_table


def write_run(folder: Path, ap, config=None, dataset='kitti', images=50, **scores) -> Path:
    folder.mkdir(parents=True)
    found = {'images': images, 'ap': ap, 'ap50_per_class': {'car': ap}, **scores}
    facts = {'iterations': 600, 'seconds': 61.4, 'config': (config or {}).get('name')}
    write_metrics(folder, folder.name, {dataset: Evaluation({'detection': found}, {})}, facts)
    if config:
        (folder / 'config.yaml').write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture
def runs(tmp_path) -> list[Path]:
    """Two recipes with two and three seeds."""
    scores = {'joint_seed0': 0.1, 'joint_seed1': 0.3, 'zero_seed0': 0.2, 'zero_seed1': 0.6}
    scores['zero_seed2'] = 0.1
    return [
        write_run(
            tmp_path / name,
            ap,
            {'name': name[:-6], 'seed': int(name[-1]), 'phases': [{'schedule': name[:-6]}]},
        )
        for name, ap in scores.items()
    ]


def row(comparison, metric, dataset='kitti'):
    return next(r for r in comparison.rows if (r.dataset, r.metric) == (dataset, metric))


def test_the_table_has_values_differences_and_the_best(runs, capsys):
    assert main(['compare', *map(str, runs[:3])]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = [re.split(r' {2,}', line.strip()) for line in lines]
    assert cells[:4] == [
        ['joint_seed0', 'joint_seed1', 'zero_seed0'],
        ['kitti · detection'],
        ['AP', '0.100', '0.300* (+0.200)', '0.200', '(+0.100)'],
        ['images', '50', '50', '50'],
    ]
    assert ['training time', '0:01:01', '0:01:01', '0:01:01'] in cells
    settings = cells[cells.index(['settings that differ']) + 1 :]
    assert ['seed', '0', '1', '0'] in settings
    assert ['phases.0.schedule', 'joint', 'joint', 'zero'] in settings
    starts = {
        line.index('joint') if 'joint_' in line else line.index('0.1') for line in lines[:3:2]
    }
    assert len(starts) == 1, 'columns are not aligned'


def test_seeds_are_merged_only_when_asked(runs):
    assert [column.name for column in compare(runs).columns] == [run.name for run in runs]
    for group in (r'_seed\d+$', 'config'):
        comparison = compare(runs, group)
        assert [(c.name, len(c.runs)) for c in comparison.columns] == [('joint', 2), ('zero', 3)]
        joint, zero = row(comparison, 'ap').cells
        assert (joint.mean, joint.deviation) == pytest.approx((0.2, math.sqrt(0.02)))
        assert (zero.mean, zero.deviation) == pytest.approx((0.3, math.sqrt(0.07)))
        assert row(comparison, 'ap').best == {1}
        assert row(comparison, 'ap').difference(1) == pytest.approx(0.1)
        assert comparison.settings['seed'] == ['0, 1', '0, 1, 2']
        text = text_table(comparison)
        assert 'joint (n = 2)' in text and '0.300* ± 0.265 (+0.100)' in text


def test_a_group_of_one_has_no_deviation(runs):
    text = text_table(compare(runs[1:3], r'_seed\d+'))
    assert '± ' not in text.replace('±: ', '') and '0.300*' in text


def test_what_only_some_runs_were_scored_on(runs, tmp_path):
    other = write_run(tmp_path / 'joint_seed2', 0.9, dataset='scenes', ap75=0.5)
    comparison = compare([runs[0], other])
    assert [cell.runs for cell in row(comparison, 'ap').cells] == [1, 0]
    assert not row(comparison, 'ap').best
    assert any('no score is common' in warning for warning in comparison.warnings)
    assert any('no config.yaml' in warning for warning in comparison.warnings)
    assert not comparison.settings
    assert re.search(r'AP +– +0\.900\n', text_table(comparison))
    warnings = '\n'.join(comparison.warnings)
    assert 'kitti detection: not scored for joint_seed2\n' in warnings
    assert 'scenes detection: not scored for joint_seed0\n' in warnings
    grouped = compare([*runs[:2], other], r'_seed\d+')
    assert row(grouped, 'ap').cells[0].mean == pytest.approx(0.2)
    assert any('only 2 of 3 runs of joint' in warning for warning in grouped.warnings)


def test_scores_of_other_splits_are_not_compared_silently(runs, tmp_path):
    splits = {'train': 'train', 'same': 'val', 'other': 'val'}
    train, *others = (
        write_run(tmp_path / name, 0.3, {'name': 'joint'}, split=split)
        for name, split in splits.items()
    )
    assert not compare([*others, runs[0]]).warnings  # runs[0] is older and does not say
    for group in (None, 'config'):  # in two columns, and in one
        (warning,) = compare([*others, train], group).warnings
        assert warning.startswith('kitti detection: scored on different splits (train, val)')


def test_where_all_runs_tie_none_is_best(tmp_path):
    runs = [write_run(tmp_path / name, ap) for name, ap in {'a': 0.3, 'b': 0.3, 'c': 0.2}.items()]
    assert not row(compare(runs[:2]), 'ap').best
    assert '*' not in text_table(compare(runs[:2])).partition('Best of')[0]
    assert row(compare(runs), 'ap').best == {0, 1}


def test_scores_of_other_images_are_not_compared_silently(runs, tmp_path):
    fewer = write_run(tmp_path / 'joint_seed2', 0.9, {'name': 'joint'}, images=20)
    for group in (None, 'config'):  # in two columns, and in one
        (warning,) = compare([runs[0], fewer], group).warnings
        assert warning.startswith('kitti detection: not scored on the same number of images')
    assert not compare(runs).warnings


def test_an_undefined_score_is_no_best(runs, tmp_path):
    undefined = write_run(tmp_path / 'undefined', float('nan'), {'name': 'x'})
    comparison = compare([runs[0], undefined])
    assert not row(comparison, 'ap').best and math.isnan(row(comparison, 'ap').difference(1))


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    runs = [write_run(tmp_path / f'seed{i}' / 'student', 0.1 * i) for i in (1, 2)]
    names = [column.name for column in compare(runs).columns]
    assert names == ['seed1/student', 'seed2/student']
    assert [column.name for column in compare(runs, r'seed\d/').columns] == ['student']


def test_json_and_page(runs, tmp_path, capsys):
    files = tmp_path / 'table.json', tmp_path / 'table.html'
    bad = write_run(tmp_path / 'undefined', float('nan'), {'name': '<script>', 'seed': '<b>'})
    chosen = [*map(str, runs), str(bad)]
    arguments = ['--group', r'_seed\d+', '--json', str(files[0]), '--html', str(files[1])]
    assert main(['compare', *chosen, *arguments]) == 0
    content = json.loads(files[0].read_text())
    assert [column['name'] for column in content['columns']] == ['joint', 'zero', 'undefined']
    assert content['columns'][0]['runs'] == chosen[:2]
    (ap,) = [r for r in content['rows'] if r['metric'] == 'ap']
    assert (ap['dataset'], ap['task'], ap['best']) == ('kitti', 'detection', [1])
    assert ap['values'][2] == {'mean': None, 'deviation': None, 'runs': 0}
    assert ap['values'][1]['mean'] == pytest.approx(0.3)
    assert ap['differences'][1:] == [pytest.approx(0.1), None]
    assert content['settings']['seed'] == ['0, 1', '0, 1, 2', '<b>']
    html = files[1].read_text()
    assert '0.300* ± 0.265 (+0.100)' in html and 'class="best"' in html
    assert 'kitti · detection: AP' in html and '&lt;b&gt;' in html and '<b>' not in html


def test_what_cannot_be_compared_is_one_sentence(runs, tmp_path, capsys):
    def refused(*arguments):
        assert main(['compare', *map(str, arguments)]) == 2
        sentence = capsys.readouterr().err
        assert sentence.count('\n') == 1
        return sentence

    assert 'no run folder' in refused(runs[0], tmp_path)
    assert 'given twice' in refused(runs[0], runs[0])
    assert 'no regular expression' in refused(*runs, '--group', '_seed(')
    assert 'there is no folder' in refused(*runs, '--json', tmp_path / 'no' / 'x.json')
    (runs[0] / 'metrics.json').unlink()
    assert f'{runs[0]}: metrics.json is missing' in refused(*runs)
    with pytest.raises(UserError, match='unidrive evaluate'):
        compare(runs)
