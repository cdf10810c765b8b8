# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Prompts that begin alike, packed so that a causal transformer computes each beginning once."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PrefixTree(nn.Module):
    """K sequences of symbols as one sequence of the N nodes of their prefix tree.

    The state of a causal transformer at a token depends on the tokens before it only, so equal
    beginnings have equal states. [SOT] and the 16 contexts of a task, which all its classes
    share, become 17 tokens instead of 17 per class: the 32 BDD100K prompts are 147 tokens, not
    32 × 77.

    ``symbols`` (N,) of the nodes; ``depths`` (N,) their places in the sequences; ``visible``
    (N, N) bool, [n, m] is true where m is n or before it; ``ends`` (K,) their last nodes.
    """

    symbols: Tensor
    depths: Tensor
    visible: Tensor
    ends: Tensor

    def __init__(self, sequences: list[list[int]]) -> None:
        super().__init__()
        nodes: dict[tuple[int, ...], int] = {}  # beginning → its last node
        paths = []  # of each node: itself and those before it
        ends = []
        for sequence in sequences:
            path: list[int] = []
            for depth in range(len(sequence)):
                node = nodes.setdefault(tuple(sequence[: depth + 1]), len(nodes))
                path.append(node)
                if node == len(paths):
                    paths.append(path.copy())
            ends.append(path[-1])
        visible = torch.zeros(len(nodes), len(nodes), dtype=torch.bool)
        for node, path in enumerate(paths):
            visible[node, path] = True
        buffers = {
            'symbols': torch.tensor([beginning[-1] for beginning in nodes]),
            'depths': torch.tensor([len(beginning) - 1 for beginning in nodes]),
            'visible': visible,
            'ends': torch.tensor(ends),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)
