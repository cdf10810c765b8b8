# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
#
# PYTHON=python3.12   the interpreter to set up with (3.10 to 3.13); else that of .venv, else python3
# INPUT=path          what `make demo` runs on: a bag, a video or a folder of images
# TOPIC=name          the camera, where INPUT is a bag with several

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format clean

SETUP_PYTHON = $(or $(PYTHON),$(shell test -x .venv/bin/python && echo .venv/bin/python || echo python3))
IN_VENV = . .venv/bin/activate &&

help: ## list these targets
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: ## make .venv, or bring it up to date
	@test "$$($(SETUP_PYTHON) -c 'import sys; print(sys.version_info[0])' 2> /dev/null)" = 3 || { \
		echo "set-up: error: there is no Python 3 called $(SETUP_PYTHON) here: install Python 3.10 to 3.13" \
		"(sudo apt install python3 python3-venv python3-dev g++) or name one with PYTHON=" >&2; exit 2; }
	@$(SETUP_PYTHON) config/setup/bootstrap.py

demo: setup ## node + player on generated scenes, or on INPUT=bag|video|folder
	@$(IN_VENV) unidrive demo $(if $(INPUT),--input "$(INPUT)") $(if $(TOPIC),--topic "$(TOPIC)")

# Models as small as those of the tests are faster on one thread. Live nodes have the machine
# for themselves; all others are dealt to two processes, file by file.
PYTEST = OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} UNIDRIVE_REQUIRE_ROS=1 python -m pytest --timeout 900
UNIT = test/unidrive_perception test/unidrive_training

test: setup lint ## ruff and every test
	@$(IN_VENV) failed=0; \
	$(PYTEST) --numprocesses 2 --dist loadfile $(UNIT) || failed=1; \
	$(PYTEST) $(UNIT:%=--ignore %) || failed=1; \
	exit $$failed

lint: setup ## ruff check and ruff format --check
	@$(IN_VENV) ruff check
	@$(IN_VENV) ruff format --check

format: setup ## rewrite the code the way ruff wants it
	@$(IN_VENV) ruff check --fix
	@$(IN_VENV) ruff format

clean: ## delete .venv, out and whatever colcon built
	rm -rf .venv build install log out *.egg-info
