# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/models.md are what the code says, and the parts have their official sizes."""

import importlib.util
from pathlib import Path

import pytest

from unidrive_training.config import load_config
from unidrive_training.engine import describe

REPO = Path(__file__).parents[2]
DOC = (REPO / 'docs' / 'models.md').read_text()
SPEC = importlib.util.spec_from_file_location('sizes', REPO / 'benchmarks' / 'model_sizes.py')
sizes = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(sizes)


def test_every_part_has_its_official_number_of_parameters():
    rows = sizes.part_rows()
    assert len(rows) == len(sizes.PARTS)
    for row in rows:
        ours, official = (cell.strip() for cell in row.split('|')[2:4])
        assert ours == official
        assert row in DOC


def test_pro_tuning_trains_as_many_parameters_as_the_paper_says():
    rows = sizes.prompt_rows()
    for row in rows:
        backbone, plan, ours, paper = (cell.strip() for cell in row.split('|')[1:5])
        exact = plan != 'prompt-blocks' or backbone.startswith('resnet')
        assert float(ours) == pytest.approx(float(paper), abs=0.005 if exact else 0.09)
        assert row in DOC


@pytest.mark.parametrize('path', sizes.training_configs(), ids=lambda path: path.stem)
def test_the_document_has_every_config(path):
    assert sizes.config_row(path) in DOC


@pytest.mark.parametrize('name', ['nano', 'teacher_semantic'])
def test_the_document_has_the_operations(name):
    assert sizes.full_config_row(REPO / 'config' / 'training' / f'{name}.yaml') in DOC


@pytest.mark.parametrize('name', ['resnet18', 'resnet50'])
def test_the_document_has_the_classifiers(name):
    (row,) = sizes.classifier_rows([name])
    _, millions, published, giga, published_giga = row.strip('| ').split(' | ')
    assert millions == published and giga == published_giga
    assert row in DOC


def test_describe_prints_the_parts_beside_the_papers_count(repo_root):
    description = describe.description(
        load_config(repo_root / 'config' / 'training' / 'pro_tuning_resnet50.yaml')
    )
    blocks = next(line for line in description.splitlines() if 'prompt blocks' in line)
    assert blocks.split()[2:4] == ['3.612', 'M'] and blocks.endswith('(the paper: 3.61 M)')
    assert 'one image of 1280x736' in description
