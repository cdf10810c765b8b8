# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive doctor``: the command line, and the order of the checks."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
import time
from collections.abc import Iterator

from unidrive_perception.devices import DEVICES
from unidrive_perception.doctor.examination import Examination
from unidrive_perception.doctor.findings import (
    Finding,
    as_json,
    as_text,
    exit_code,
    skipped,
    summary,
    warn,
)
from unidrive_perception.doctor.image_load import BITS_PER_PIXEL
from unidrive_perception.doctor.trials import Trials

TOTAL_S, QUICK_S = 18.5, 4.5  # with the start of Python and the ends of trials: 20 and 5

MOST_PIXELS = 64_000_000

# The trials go by the parameters, so these come first; what takes long comes last.
TOPICS = {
    'Parameters': 'parameter_checks',
    'Python': 'python_checks',
    'ROS': 'ros_checks',
    'Machine': 'machine_checks',
    'Clock': 'clock_checks',
    'Live graph': 'graph_checks',
    'Transport': 'transport_checks',
    'Model': 'model_checks',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        '--image-topic',
        action='append',
        type=_topic,
        default=[],
        metavar='TOPIC',
        help='camera topic to examine, may be repeated (default: those of a running perception '
        'node, else every topic with images)',
    )
    parser.add_argument(
        '--params-file', metavar='FILE', help='parameter file of the node: checked, and used'
    )
    parser.add_argument('--model', metavar='BUNDLE', help='model bundle (default: as configured)')
    parser.add_argument('--device', choices=DEVICES, help='default: as configured')
    parser.add_argument(
        '--size',
        type=_size,
        metavar='WxH',
        help='image size for the measured transport (default: that of the live camera, else '
        '1280x720)',
    )
    parser.add_argument(
        '--encoding',
        choices=sorted(BITS_PER_PIXEL),
        default='rgb8',
        help='encoding of those images (default: rgb8)',
    )
    parser.add_argument('--quick', action='store_true', help='without measurements, within 5 s')
    parser.add_argument('--json', action='store_true', help='print JSON')


def run(args: argparse.Namespace) -> int:
    """Run the command; 1 where something fails, else 0."""
    shown: dict[str, list[Finding]] = {}
    remedies: dict[str, str] = {}
    colour = sys.stdout.isatty() and not os.environ.get('NO_COLOR')
    with Trials(QUICK_S if args.quick else TOTAL_S) as trials:
        examination = Examination(args, trials)
        for topic, module in TOPICS.items():
            if topic == 'Parameters' and not args.params_file:
                continue
            if topic == 'Python' and args.quick:  # nothing is measured, so all may run at once
                examination.start_graph()
                examination.start_model(images=0)
            shown[topic] = []
            for finding in findings_of(module, examination):
                if not args.json:
                    title = '' if shown[topic] else f'{topic}\n'
                    print(title + as_text(finding, colour, remedies), flush=True)
                    if finding.remedy:
                        remedies.setdefault(finding.remedy, finding.check)
                shown[topic].append(finding)
        seconds = time.monotonic() - trials.began
    findings = [finding for group in shown.values() for finding in group]
    print(as_json(shown, seconds) if args.json else f'\n{summary(findings, seconds)}')
    return exit_code(findings)


def findings_of(module: str, examination: Examination) -> Iterator[Finding]:
    """The findings of one module of checks; one that breaks does not take the others along."""
    name = module.removesuffix('_checks')
    try:
        yield from importlib.import_module(f'{__package__}.{module}').check(examination)
    except ImportError as error:
        yield skipped(name, f'{sys.executable} lacks what this needs: {error}')
    except Exception as error:
        found = f'this check itself failed ({type(error).__name__}: {error})'
        yield warn(name, found, 'report it with the output of `unidrive doctor --json`')


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r'(\d{1,5})[x×](\d{1,5})', text)
    if not found or not int(found[1]) or not int(found[2]):
        raise argparse.ArgumentTypeError(f'{text!r} is no size like 1280x720')
    width, height = int(found[1]), int(found[2])
    if width * height > MOST_PIXELS:
        raise argparse.ArgumentTypeError(
            f'{text!r} is more than {MOST_PIXELS // 10**6} megapixels; give the size of the camera'
        )
    return width, height


def _topic(text: str) -> str:
    """The full name of a topic; a shell has no namespace for ``~`` or ``{node}``."""
    if not re.fullmatch(r'/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*', text, re.ASCII):
        raise argparse.ArgumentTypeError(f'{text!r} is no topic like /camera/image_raw')
    return f'/{text.lstrip("/")}'
