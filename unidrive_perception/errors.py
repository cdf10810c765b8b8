# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The one base class of errors that a user can mend."""


class UserError(Exception):
    """Something outside the program is wrong; the message is one sentence with the remedy."""
