# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Public datasets into the BDD100K layout, one file per dataset."""
