# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive evaluate``: scores of a bundle or checkpoint, printed or written as JSON."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from unidrive_perception.bundle import Bundle
from unidrive_perception.errors import UserError
from unidrive_perception.predictor import Predictor
from unidrive_training.evaluation.evaluate import AnyPredictor, evaluate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        'model', type=Path, help='bundle folder, or run folder of `unidrive train`'
    )
    parser.add_argument(
        'data', type=Path, nargs='+', help='BDD100K-layout folders, scored one by one'
    )
    parser.add_argument('--split', default='val')
    parser.add_argument('--json', type=Path, help='also write the scores here')
    parser.add_argument('--device', default='auto', help='auto, cpu or cuda')


def run(args: argparse.Namespace) -> int:
    """Score the model on every folder."""
    if args.json:
        _check_writable(args.json)
    predictor = _load(args.model, args.device)
    names = [root.name for root in args.data]
    results = {}
    for root in args.data:
        scores = evaluate(predictor, root, args.split)
        if not scores:
            raise UserError(f'{root}: no image of {args.split} has a label of a task of the model')
        results[root.name if names.count(root.name) == 1 else str(root)] = scores
    for name, tasks in results.items():
        for task, scores in tasks.items():
            print(f'{name} {task}: {_summary(scores)}')
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + '\n')
    return 0


def _check_writable(path: Path) -> None:
    """UserError, rather than one after the whole evaluation, unless a file can be written here."""
    place = path if path.exists() else path.parent
    if path.is_dir() or not path.parent.is_dir() or not os.access(place, os.W_OK):
        raise UserError(f'--json {path} cannot be written; give a file in a folder of yours')


def _load(path: Path, device: str) -> AnyPredictor:
    if (path / 'manifest.yaml').exists() or not path.exists():
        return Predictor(Bundle.load(path), device=device, score_threshold=0.0)
    import torch

    from unidrive_training.engine.cli import check_device
    from unidrive_training.evaluation.checkpoint_predictor import CheckpointPredictor

    if device == 'auto':
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    check_device(device)
    return CheckpointPredictor(path, device)


def _summary(scores: dict) -> str:
    flat = {k: v for k, v in scores.items() if not isinstance(v, dict)}
    text = ', '.join(
        f'{k} {v:.3f}' if isinstance(v, float) else f'{k} {v}' for k, v in flat.items()
    )
    per_class = next(v for v in scores.values() if isinstance(v, dict))
    return text + ' (' + ', '.join(f'{k} {v:.2f}' for k, v in per_class.items()) + ')'
