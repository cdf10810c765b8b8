# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Image classification with frozen or finetuned backbones: the protocols of Pro-tuning."""
