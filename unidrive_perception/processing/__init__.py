# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The parts of ``unidrive process-bag``, in the order in which they are at work.

``cameras`` and ``plan`` divide the input into shards, ``work_folder`` keeps what is finished,
``shards`` predicts them in the processes of ``workers``, ``merge`` makes one bag of them, and
``summary`` and ``chart`` say what is in it.
"""
