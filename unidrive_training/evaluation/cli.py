# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive evaluate``: scores of a checkpoint or bundle, as tables, JSON and pictures."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from unidrive_perception.bundle import Bundle
from unidrive_perception.errors import UserError
from unidrive_perception.labels import BDD100K_LABELS
from unidrive_perception.predictor import Predictor
from unidrive_training import distributed
from unidrive_training.aside import write_json
from unidrive_training.data.bdd100k import Record
from unidrive_training.environment import environment
from unidrive_training.evaluation.checkpoint_predictor import CheckpointPredictor
from unidrive_training.evaluation.dataset_names import name_datasets
from unidrive_training.evaluation.evaluate import (
    WORKERS,
    AnyPredictor,
    Evaluation,
    evaluate,
    labelled_records,
)
from unidrive_training.evaluation.metrics_file import add_metrics, check_model
from unidrive_training.evaluation.tables import score_table
from unidrive_training.evaluation.worst import write_worst_pictures


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        'model', type=Path, help='run folder or checkpoint of `unidrive train`, or bundle folder'
    )
    parser.add_argument(
        'data', type=Path, nargs='+', help='BDD100K-layout folders, scored one by one'
    )
    parser.add_argument('--split', default='val')
    parser.add_argument(
        '--tasks', nargs='+', choices=list(BDD100K_LABELS), help='only these (default: all it has)'
    )
    parser.add_argument('--json', type=Path, help='also write the scores here')
    parser.add_argument(
        '--out',
        type=Path,
        help='folder for metrics.json, details.json and pictures of the worst images; may be the '
        'run folder. What it has of other datasets and tasks stays',
    )
    parser.add_argument('--device', default='auto', help='auto, cpu or cuda')
    parser.add_argument('--workers', type=int, default=WORKERS, help='threads that read images')


def run(args: argparse.Namespace) -> int:
    """Score the model on every folder; under torchrun, all processes together."""
    if args.workers < 0:
        raise UserError(f'--workers {args.workers}: give 0 or more')
    if args.json:
        _check_writable(args.json)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
    predictor = _load(args.model, args.device)
    tasks = _tasks(args, predictor)
    if args.out:
        check_model(args.out, *_facts(predictor))
    datasets = name_datasets(args.data)
    records = {name: _records(root, args.split, tasks) for name, root in datasets.items()}
    results = {}
    for name, root in datasets.items():
        results[name] = evaluate(predictor, root, args.split, tasks, args.workers, records[name])
        if distributed.rank() == 0:
            _print(name, results[name])
    if distributed.rank() == 0:
        _write(args, predictor, records, results)
    if dist.is_initialized():
        dist.destroy_process_group()
    return 0


def _check_writable(path: Path) -> None:
    """UserError, rather than one after the whole evaluation, unless a file can be written here."""
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise UserError(f'--json {path} cannot be written; give a file in a folder of yours')


def _load(path: Path, device: str) -> AnyPredictor:
    if not path.exists():
        raise UserError(f'{path}: no such bundle, run folder or checkpoint')
    if (path / 'manifest.yaml').exists():
        distributed.start('cpu')
        return Predictor(Bundle.load(path), device=device, score_threshold=0.0)
    from unidrive_training.engine.cli import check_device

    if device == 'auto':
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    check_device(device)
    return CheckpointPredictor(path, distributed.start(device))


def _tasks(args: argparse.Namespace, predictor: AnyPredictor) -> list[str]:
    """The tasks to score, those asked for or all of the model."""
    missing = [task for task in args.tasks or () if task not in predictor.labels]
    if missing:
        raise UserError(
            f'--tasks {missing[0]}: {args.model} has only {", ".join(predictor.labels)}'
        )
    return args.tasks or list(predictor.labels)


def _records(root: Path, split: str, tasks: list[str]) -> list[Record]:
    if records := labelled_records(root, split, tasks):
        return records
    raise UserError(f'{root}: no image of {split} has a label of {" or ".join(tasks)}')


def _print(name: str, evaluation: Evaluation) -> None:
    for task, scores in evaluation.scores.items():
        print(score_table(name, task, scores), end='\n\n')


def _write(
    args: argparse.Namespace,
    predictor: AnyPredictor,
    records: Mapping[str, list[Record]],
    results: Mapping[str, Evaluation],
) -> None:
    if args.json:
        write_json(args.json, {name: result.scores for name, result in results.items()})
    if not args.out:
        return
    for name, result in results.items():
        write_worst_pictures(args.out, name, result, predictor, records[name])
    model_name, facts = _facts(predictor)
    add_metrics(args.out, model_name, results, facts)
    print(f'scores and pictures of the worst images → {args.out}')


def _facts(predictor: AnyPredictor) -> tuple[str, dict[str, Any]]:
    """The model's name and what is known of it and of this evaluation."""
    if isinstance(predictor, Predictor):
        manifest = predictor.bundle.manifest
        trained, name = dict(manifest.training), manifest.name
        facts = {'seed': trained.get('config', {}).get('seed')}
    else:
        trained, name = predictor.facts, predictor.config.name
        parameters = sum(p.numel() for p in predictor.model.parameters())
        facts = {'seed': predictor.config.seed, 'parameters': parameters}
    facts |= {'config': name, 'iterations': trained.get('iteration')}
    facts |= {'seconds': trained.get('seconds')}
    known = {key: value for key, value in facts.items() if value is not None}
    return name, known | environment()
