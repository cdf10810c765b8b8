# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""RoIAlign (He et al., 2017) over all levels of a pyramid in one gather.

Values equal ``torchvision.ops.roi_align`` on the level of each box. Bilinear
sampling is written as a weighted sum of rows of one table that holds the cells of every level. So
a box costs the same whatever its level, shapes stay static (the graph exports), and on a CPU the
backward pass, which torchvision runs in one thread, takes a fraction of the time
(``benchmarks/training_layers.py``).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PyramidTable(NamedTuple):
    """P2..P5 as one table, so that several poolings share it: (B · cells, C) cells of all levels,
    image by image, and the (h, w) of each level.
    """

    cells: Tensor
    sizes: list[tuple[int, int]]

    @classmethod
    def of(cls, pyramid: list[Tensor]) -> PyramidTable:
        """From maps (B, C, h, w)."""
        rows = [level.float().flatten(2).transpose(1, 2) for level in pyramid]  # (B, h·w, C)
        return cls(torch.cat(rows, dim=1).flatten(0, 1), [p.shape[-2:] for p in pyramid])


class PyramidRoIAlign(nn.Module):
    """Pools each box from the level that fits its size (FPN, Eq. 1), on P2..P5 (strides 4..32).

    ``canonical_size``: square root of the box area, in input pixels, that belongs to P4 (224 for
    inputs of about 800 pixels height; smaller nets see smaller boxes). ``sampling_ratio``: samples
    per bin and axis. ``aligned=False`` is the older definition, half a cell off and with boxes of
    at least one cell, which torchvision's Faster R-CNN keeps.
    """

    def __init__(
        self, resolution: int, canonical_size: float, sampling_ratio: int, aligned: bool = True
    ) -> None:
        super().__init__()
        self.resolution, self.sampling_ratio = resolution, sampling_ratio
        self.canonical_size, self.aligned = canonical_size, aligned

    def forward(self, table: PyramidTable, boxes: Tensor) -> Tensor:
        """P2..P5 of a batch, boxes (B, N, 4) xyxy input pixels → (B·N, C, r, r)."""
        level = self._levels(boxes)  # (B, N)
        sizes = torch.tensor(table.sizes, device=boxes.device)  # (L, 2) h, w
        cells = sizes.prod(1)
        first = F.pad(cells.cumsum(0), (1, 0))[:-1]
        heights, widths = sizes[level].unbind(-1)  # (B, N)
        boxes = boxes / (2.0 ** (level + 2))[..., None]
        if self.aligned:
            boxes = boxes - 0.5
        else:
            low, high = boxes.split(2, dim=-1)
            boxes = torch.cat((low, torch.maximum(high, low + 1)), dim=-1)
        y, wy, iny = self._axis(boxes[..., 1], boxes[..., 3], heights)
        x, wx, inx = self._axis(boxes[..., 0], boxes[..., 2], widths)

        image = torch.arange(boxes.shape[0], device=boxes.device)[:, None] * cells.sum()
        start = (image + first[level])[..., None, None, None, None]
        rows = y[:, :, :, None, :, None] * widths[..., None, None, None, None]
        index = start + rows + x[:, :, None, :, None, :]  # (B, N, S, S, 2, 2), S samples per axis
        weight = wy[:, :, :, None, :, None] * wx[:, :, None, :, None, :]
        weight = weight * (iny[:, :, :, None] & inx[:, :, None, :])[..., None, None]
        return self._gather(table.cells, index, weight / self.sampling_ratio**2)

    def _levels(self, boxes: Tensor) -> Tensor:
        area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
        level = torch.floor(4 + torch.log2(area.clamp(min=0).sqrt() / self.canonical_size + 1e-8))
        return torch.nan_to_num(level, nan=2.0).clamp(2, 5).long() - 2

    def _axis(self, low: Tensor, high: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Samples along one axis: two cells (B, N, S, 2), their weights, and which lie inside."""
        sample = torch.arange(self.resolution * self.sampling_ratio, device=low.device)
        first, inner = sample // self.sampling_ratio, sample % self.sampling_ratio
        size = ((high - low) / self.resolution)[..., None]  # of a bin
        # In torchvision's order of rounding: a rounding error at the edge of a map's cell grows.
        position = low[..., None] + first * size + (inner + 0.5) * size / self.sampling_ratio
        length = length[..., None]
        inside = (position >= -1) & (position <= length)
        position = torch.minimum(position.clamp(min=0), (length - 1).to(position.dtype))
        cell = torch.minimum(position.floor(), (length - 2).clamp(min=0).to(position.dtype))
        part = position - cell
        cell = torch.nan_to_num(cell).long()  # a diverged model: let the loss report it
        following = torch.minimum(cell + 1, length - 1)
        return torch.stack((cell, following), -1), torch.stack((1 - part, part), -1), inside

    def _gather(self, cells: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        """Weighted sums of cells, one per bin."""
        r, s = self.resolution, self.sampling_ratio

        def per_bin(x: Tensor) -> Tensor:  # (B, N, r·s, r·s, 2, 2) → (B·N·r·r, s·s·4)
            x = x.flatten(0, 1).unflatten(2, (r, s)).unflatten(1, (r, s))
            return x.permute(0, 1, 3, 2, 4, 5, 6).reshape(-1, s * s * 4)

        index, weight = per_bin(index), per_bin(weight)
        if torch.compiler.is_exporting():  # ONNX has no embedding bag
            pooled = (cells[index] * weight[..., None]).sum(1)
        else:
            pooled = F.embedding_bag(index, cells, per_sample_weights=weight, mode='sum')
        return pooled.view(-1, r, r, cells.shape[1]).permute(0, 3, 1, 2)
