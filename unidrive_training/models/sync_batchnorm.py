# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Batch norm whose statistics are those of all processes, on the CPU too."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class SyncBatchNorm(nn.SyncBatchNorm):
    """PyTorch's, which works on GPUs only; on the CPU the same from sums over the processes."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), normalised; B may differ between the processes."""
        alone = not dist.is_initialized() or dist.get_world_size() == 1
        if not self.training or alone or x.device.type != 'cpu':
            return super().forward(x)
        values = x.float()
        dims = [0, *range(2, x.dim())]
        count = values.new_full((1,), x.numel() / x.shape[1])
        sums = all_reduce(torch.cat((values.sum(dims), count)))
        mean, total = sums[:-1] / sums[-1], sums[-1].item()
        shape = (1, -1, *[1] * (x.dim() - 2))
        centred = values - mean.view(shape)
        variance = all_reduce(centred.square().sum(dims)) / total
        self._track(mean.detach(), variance.detach(), total)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)

    def _track(self, mean: Tensor, variance: Tensor, count: float) -> None:
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)


def synchronised(module: nn.Module) -> nn.Module:
    """The module, with every batch norm in it replaced by a synchronised one of its state."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        new = SyncBatchNorm(module.num_features, module.eps, module.momentum)
        new.load_state_dict(module.state_dict())
        return new
    for name, child in module.named_children():
        setattr(module, name, synchronised(child))
    return module
