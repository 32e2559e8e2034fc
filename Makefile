# Every target sets up what it needs first; see server/setup.sh.
.PHONY: help setup demo replay choose test test-long torture lint bench bench-quick docs clean

help:             ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' Makefile

setup:            ## PostgreSQL with PL/Python, and .venv
	@server/setup.sh

demo: setup       ## replay 69,659 real purchases: events, scores, retraining
	@.venv/bin/rescore demo

replay: setup     ## nine months learnt weekly by `rescore run`, beside training anew and never again
	@.venv/bin/python -m pip install --quiet -e '.[bench]' && .venv/bin/rescore demo --loop --plots docs

choose: setup     ## half-life and learning rate of that replay, chosen on the months before those judged
	@.venv/bin/python examples/cdnow/choice.py

test: setup       ## the test suite, on a PostgreSQL of its own
	@.venv/bin/pytest -n auto --maxprocesses 4 --dist worksteal

test-long: setup  ## all of it, also what takes long
	@.venv/bin/pytest -m "" -n auto --maxprocesses 4 --dist worksteal

torture: setup    ## minutes of writers, crashes, restores: what was done how often, what was lost
	@.venv/bin/python torture/run.py

lint: setup       ## style, types, layers
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .
	@cd .venv/src && ../bin/mypy --config-file rescore/pyproject.toml -p rescore
	@.venv/bin/lint-imports --no-cache

bench: setup      ## measurements side by side: about 15 minutes, and 4 GB of disk
	@.venv/bin/python -m pip install --quiet -e '.[bench]'
	@.venv/bin/python bench/run.py --page docs

bench-quick: setup  ## the same with little data, under 2 minutes; into build/bench
	@.venv/bin/python -m pip install --quiet -e '.[bench]'
	@.venv/bin/python bench/run.py --quick --output build/bench/latest.json

docs: setup       ## the manual, into build/docs
	@.venv/bin/python -m pip install --quiet -e '.[docs]' && .venv/bin/mkdocs build --strict

clean:            ## stop the private server, remove what was made here
	@if [ -x .venv/bin/python ]; then .venv/bin/python -Ic 'from rescore.server.private import remove; remove()'; fi
	@rm -rf .rescore .venv build dist .pytest_cache .ruff_cache .hypothesis ./*.egg-info
