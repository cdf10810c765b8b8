# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Language priors: CLIP's frozen text encoder, prompts, and the adapters that bring them in."""
