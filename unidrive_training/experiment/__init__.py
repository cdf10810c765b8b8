# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A whole experiment, from data to report, as one run file and a list of commands."""
