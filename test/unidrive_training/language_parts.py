# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Small language adapters, texts and inputs for tests."""

import torch

from unidrive_perception.labels import BDD100K_LABELS
from unidrive_training.models.language import (  # noqa: F401 (register)
    class_maps,
    l2v,
    post_prompting,
)
from unidrive_training.models.language.text_sources import (
    FileText,
    LearnedText,
    TemplateText,
    build_text,
)
from unidrive_training.models.registry import LANGUAGE

SMALL = {'width': 32, 'heads': 2, 'layers': 2, 'embed_dim': 24}
LEARNED = {'source': 'learned', 'contexts': 4, 'encoder': SMALL}
ADAPTERS = {
    'l2v': {'layers': 1, 'heads': 2, 'feedforward': 32},
    'class_maps': {},
    'post_prompting': {'context_decoder': {'width': 16, 'heads': 2, 'layers': 1}},
}
CHANNELS = 16
TABLES = dict(BDD100K_LABELS)
NAMES = [name for table in TABLES.values() for name in table.names]


def build(name, text=LEARNED, tables=TABLES, seed=0):
    torch.manual_seed(seed)
    spec = {'name': name, 'text': text, **ADAPTERS[name]}
    return LANGUAGE.build(spec, channels=CHANNELS, tables=tables)


def source(text=LEARNED, tables=TABLES, seed=0):
    torch.manual_seed(seed)
    config = {'learned': LearnedText, 'template': TemplateText, 'file': FileText}[text['source']]
    return build_text(config.model_validate(text), tables)


def text_of(adapter):
    return adapter.prompting.text if hasattr(adapter, 'prompting') else adapter.text


def inputs(batch=2, size=(3, 5), seed=0):
    generator = torch.Generator().manual_seed(seed)
    pyramid = [
        torch.randn(batch, CHANNELS, size[0] * s, size[1] * s, generator=generator)
        for s in (8, 4, 2, 1)
    ]
    tokens = torch.randn(batch, 1 + size[0] * size[1], SMALL['embed_dim'], generator=generator)
    return pyramid, tokens


def close(actual, expected, **tolerance):
    torch.testing.assert_close(actual, expected, **{'rtol': 1e-4, 'atol': 1e-5} | tolerance)
