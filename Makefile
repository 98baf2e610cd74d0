# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

SHELL := /bin/sh
.DEFAULT_GOAL := help

# The tools find one another, and no other version of themselves, through PATH.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# The link to this checkout, ahead of any installed copy of the collection
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/collections
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# Each of the many Pythons here would compile the library again.
unexport PYTHONDONTWRITEBYTECODE

TEST_PARTS ?= unit playbooks lint docs-check sanity molecule zfs
# Those that only need processor time run while the lab waits.
BESIDE_PARTS := playbooks lint docs-check sanity
LINT_PARTS := lint-python lint-types lint-yaml lint-ansible
PYTEST_ARGS ?=
SANITY_ARGS ?=
# schedule first: a pair that has just taken over has nothing due
SCENARIOS ?= schedule default
BENCH_ARGS ?=

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: test
test: venv ## Every check; TEST_PARTS="unit lint" for some of them
	@SAMPLE=$(or $(SAMPLE),2) tests/tools/parts.py $(TEST_PARTS) $(addprefix --beside=,$(BESIDE_PARTS))

# pytest rewrites the asserts of each file once: all its processes would do so at the same time, each for itself. What cannot be
# read is said by those.
.cache/asserts:
	@find tests/unit -path tests/unit/playbooks -prune -o -name 'test_*.py' -print \
		| xargs -P $$(nproc) -n 40 python -m pytest --collect-only --quiet -p no:xdist > /dev/null 2>&1 || true
	@mkdir -p .cache && touch $@

.PHONY: unit
unit: venv .cache/asserts ## Unit tests, in seconds, on all cores; PYTEST_ARGS="-k name", "-n 0" for one process
	@python -m pytest --quiet --numprocesses $$((3 * $$(nproc))) --dist worksteal --ignore tests/unit/playbooks $(PYTEST_ARGS)

.PHONY: playbooks
playbooks: venv ## Playbooks and roles, by ansible-playbook, with modules that only say what they are told; a made-up AWX
	@python -m pytest --quiet --numprocesses auto --dist worksteal tests/unit/playbooks $(PYTEST_ARGS)

.PHONY: lint
lint: venv ## ruff, mypy, yamllint, ansible-lint
	@tests/tools/parts.py $(LINT_PARTS)

.PHONY: lint-python
lint-python: venv
	@ruff check --quiet --output-format concise .

.PHONY: lint-types
lint-types: venv
	@mypy -p ansible_collections.hvm.pair.plugins

.PHONY: lint-yaml
lint-yaml: venv
	@yamllint --strict .

.PHONY: lint-ansible
lint-ansible: venv
	@ansible-lint --offline --profile production $(if $(MAKE_TERMOUT),,--nocolor)

.PHONY: docs-check
docs-check: venv ## Documentation of modules and roles; changelog
	@antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=self .
	@antsibull-changelog lint

.PHONY: sanity
sanity: venv ## ansible-test sanity on what the collection ships; SANITY_ARGS="--test pep8"
	@tests/tools/sanity.py $(SANITY_ARGS)

.PHONY: molecule
molecule: venv ## The scenarios, one after the other on two hosts of the lab, bare at first; SCENARIOS=name; SAMPLE=2 faults by chance on what they leave
	@SAMPLE=$(SAMPLE) tests/tools/lab-session tests/tools/scenario $(SCENARIOS)

.PHONY: zfs
zfs: venv ## Replication in bad weather, on the lab; PYTEST_ARGS="-k name", HVM_LONG=1 for all of it, HVM_CUTS=50 for more cuts
	@tests/tools/lab-session $(CURDIR)/.venv/bin/python -m pytest tests/zfs $(PYTEST_ARGS)

.PHONY: vms
vms: venv ## VMs in bad weather, on the lab; PYTEST_ARGS="-k name", HVM_LONG=1 for all of it, HVM_CHECKPOINTS=20 for more checkpoints
	@tests/lab/lab.py build --linux
	@HVM_SAMPLE=$${HVM_SAMPLE:-3} tests/tools/lab-session $(CURDIR)/.venv/bin/python -m pytest tests/vms $(PYTEST_ARGS)

.PHONY: faults
faults: venv ## Each step meets each fault, on the lab: hours; SAMPLE=6 of them by chance, CELLS="name" for some, VMS="delta echo", REST=1, RECORD=1
	@HVM_SAMPLE=$(SAMPLE) HVM_FAULTS_REST=$(REST) HVM_FAULTS_VMS="$(VMS)" tests/tools/lab-session \
		$(CURDIR)/.venv/bin/python -m pytest tests/faults $(if $(CELLS),-k "$(CELLS)") $(PYTEST_ARGS)
	@$(if $(RECORD),tests/faults/_table.py)

.PHONY: demo
demo: venv ## See it work, on the two hosts of the lab
	@tests/tools/demo

.PHONY: bench-zfs
bench-zfs: venv ## hvm_zfs_sync beside other tools, on the lab; BENCH_ARGS="--rounds 5 --record"
	@tests/bench/bench_zfs.py $(BENCH_ARGS)

.PHONY: bench-vms
bench-vms: venv ## How long VMs stand still for a backup, on the lab; BENCH_ARGS="--rounds 5 --record"
	@tests/bench/bench_vms.py $(BENCH_ARGS)

.PHONY: bench-status
bench-status: venv ## `hvm status` beside `ansible localhost -m ping`, on the lab; BENCH_ARGS="--record"
	@tests/bench/bench_status.py $(BENCH_ARGS)

.PHONY: bench-moves
bench-moves: venv ## How long VMs stand still for a migration, on the lab; BENCH_ARGS="--rounds 5 --secure 2 --record"
	@tests/bench/bench_moves.py $(BENCH_ARGS)

.PHONY: build
build: venv ## The collection's archive, in build/
	@ansible-galaxy collection build --force --output-path build .

.PHONY: venv
venv: ## What the checks need, in .venv
	@tests/tools/bootstrap

.PHONY: clean
clean: ## Remove what the checks left; .venv stays
	@rm -rf build tests/output .ansible .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache changelogs/.plugin-cache.yaml
	@find . -path ./.venv -prune -o -path ./.git -prune -o -name __pycache__ -type d -exec rm -rf {} +
