# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of published weights, and where their authors publish them."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.error import URLError

import torch
from torchvision.models import get_model_weights, list_models

from unidrive_perception.errors import UserError
from unidrive_training.typed import Typed


class WeightFile(Typed):
    """Weights in the format of those who published them.

    Without a ``file`` those of the official site, which are downloaded once.
    """

    format: str
    file: Path | None = None


def weight_path(file: WeightFile, backbone: str, what: str) -> Path:
    """The file, downloaded if the config leaves it to the official site.

    ``what``: the setting, for the sentence of the UserError.
    """
    if file.file:
        return file.file
    url = official_url(file.format, backbone)
    if url is None:
        raise UserError(
            f'{what}: no official site is known for {backbone or what} in the format '
            f'{file.format!r}; give its file, or one of the formats in docs/models.md'
        )
    path = Path(torch.hub.get_dir()) / 'checkpoints' / url.rpartition('/')[2]
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            digest = re.search(r'-([0-9a-f]{8})\.', path.name)  # of the contents, in its name
            torch.hub.download_url_to_file(url, str(path), digest and digest[1])
        except (URLError, OSError, RuntimeError) as error:
            raise UserError(
                f'{url} could not be downloaded ({error}); fetch it on another machine '
                f'and set {what}.file'
            ) from error
    return path


def official_url(format: str, backbone: str) -> str | None:
    """Where the authors publish ImageNet or CLIP weights of a backbone; None where they do not."""
    deit = {'deit_s': 'small', 'deit_b': 'base'}
    if format == 'torchvision' and backbone in list_models():
        return get_model_weights(backbone).IMAGENET1K_V1.url
    if format == 'deit' and backbone in deit:
        from timm import get_pretrained_cfg

        return get_pretrained_cfg(f'deit_{deit[backbone]}_patch16_224.fb_in1k').url
    if format == 'clip' and backbone == 'clip_rn50':
        from open_clip.pretrained import get_pretrained_url

        return get_pretrained_url('RN50', 'openai')
    return None
