# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Public datasets into the BDD100K layout, one file per dataset."""

from unidrive_perception.errors import UserError


class MissingSplit(UserError):
    """The source does not have the split that was asked for."""
