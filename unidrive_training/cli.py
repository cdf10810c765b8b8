# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive COMMAND``: every offline command, each imported only when it is asked for."""

from __future__ import annotations

import importlib
import sys

from unidrive_perception.command_line import Parser
from unidrive_perception.errors import UserError

COMMANDS = {
    'run': ('unidrive_training.experiment.cli', 'do a whole experiment from one file'),
    'scenes': ('unidrive_training.scenes.cli', 'generate street scenes: dataset and/or bag'),
    'convert': (
        'unidrive_training.data.convert.cli',
        'convert a public dataset to BDD100K layout',
    ),
    'check-data': ('unidrive_training.data.check.cli', 'list what does not fit in a data folder'),
    'frames': ('unidrive_training.data.frames', 'camera frames of bags as unlabelled images'),
    'setting': (
        'unidrive_training.data.setting_cli',
        'which training labels a setting leaves, and the lists of their names',
    ),
    'train': ('unidrive_training.engine.cli', 'train a model from a config'),
    'describe': (
        'unidrive_training.engine.describe',
        'parameters and operations of a config, and what learns in each phase',
    ),
    'crops': (
        'unidrive_training.classification.generated',
        'generate long-tailed small images to classify',
    ),
    'classify': (
        'unidrive_training.classification.cli',
        'train an image classifier: Pro-tuning and its rivals',
    ),
    'pseudo-label': (
        'unidrive_training.engine.pseudo_label',
        'let teachers label what is missing',
    ),
    'evaluate': ('unidrive_training.evaluation.cli', 'score a checkpoint or bundle on a dataset'),
    'report': ('unidrive_training.report.cli', 'write the result page of a run'),
    'compare': ('unidrive_training.report.compare_cli', 'print runs side by side'),
    'export': ('unidrive_training.export', 'write the model bundle that the node runs'),
    'process-bag': ('unidrive_perception.process_bag', 'run a bundle over a bag, video or folder'),
    'predict': ('unidrive_perception.predict', 'pictures, boxes and masks of images and videos'),
    'doctor': (
        'unidrive_perception.doctor.command',
        'check this machine for the node and say what to change',
    ),
    'demo': (
        'unidrive_training.demo.cli',
        'node and player in a live ROS 2 graph, scored and drawn',
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status (2 for an error the user can mend)."""
    argv = sys.argv[1:] if argv is None else argv
    parser = Parser(prog='unidrive', description='Driving perception, offline side.')
    subparsers = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for name, (module_name, summary) in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if argv[:1] == [name]:
            try:
                module = importlib.import_module(module_name)
            except ImportError as error:
                print(
                    f'unidrive: error: {sys.executable} lacks what `{name}` needs ({error}); '
                    'install config/setup/requirements.lock, or use the .venv of `make setup`',
                    file=sys.stderr,
                )
                return 2
            module.add_arguments(subparser)
    args, rest = parser.parse_known_args(argv)
    if hasattr(args, 'overrides'):  # KEY=VALUE behind an option, which argparse leaves
        args.overrides += [word for word in rest if not word.startswith('-')]
        rest = [word for word in rest if word.startswith('-')]
    if rest:
        subparsers.choices[args.command].refuse(rest)
    try:
        return module.run(args)
    except UserError as error:
        # From a worker process the sentence comes as the last line of a traceback.
        sentence = str(error).splitlines()[-1].removeprefix(f'{UserError.__module__}.UserError: ')
        print(f'unidrive: error: {sentence}', file=sys.stderr)
        return 2
    except OSError as error:  # a folder that cannot be written, a full disk
        where = f'{error.filename}: ' if error.filename else ''
        print(f'unidrive: error: {where}{error.strerror or error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('unidrive: interrupted', file=sys.stderr)
        return 130


if __name__ == '__main__':
    sys.exit(main())
