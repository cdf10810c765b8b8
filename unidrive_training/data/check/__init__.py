# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What does not fit in a BDD100K-layout folder; never stopped by what it finds there."""
