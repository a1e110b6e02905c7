# make run    the default workflow, from nothing to tables and figures in results/
# make test   the tests        make lint   format and lint checks        make lock   renew requirements.lock
# make test-slow     tests that take minutes and 16 GB of memory
# make benchmark, make benchmark-gpu    how fast it is beside the loops one would write, on an idle machine
# make test-slurm    the smoke preset through a Slurm of one node, which it installs and starts: as root, on Debian

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: run test test-slow test-slurm lint lock benchmark benchmark-gpu clean

run: $(VENV)/installed
	$(BIN)/diffmia run --cores all

# a worker for each core; a file's tests stay together, for what they share is made once by the worker that has the file
test: $(VENV)/installed
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow -rs

test-slurm: $(VENV)/installed
	$(BIN)/python -m pytest -m slurm -rs tests/cluster

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

benchmark: $(VENV)/installed
	$(BIN)/python tests/benchmarks/residual_pass.py
	$(BIN)/python tests/benchmarks/gradient_norms.py
	$(BIN)/python tests/benchmarks/training.py
	$(BIN)/python tests/benchmarks/scoring.py
	$(BIN)/python -m tests.benchmarks.text_to_image
	$(BIN)/python tests/benchmarks/linear_cost.py
	$(BIN)/python tests/benchmarks/dag.py

benchmark-gpu: ON_CARD := --device cuda --arithmetic float32 tf32 bfloat16 bfloat16+compile
benchmark-gpu: $(VENV)/installed
	$(BIN)/python tests/benchmarks/training.py --target ddpm_cifar10 --images 1280 $(ON_CARD)
	$(BIN)/python tests/benchmarks/scoring.py --samples 512 $(ON_CARD)
	$(BIN)/python tests/benchmarks/gradient_norms.py --device cuda --digits 0 --cifar10 8

$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "diffmia needs Python 3.11 or newer; this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

lock:
	$(PYTHON) -m venv $(VENV).lock
	$(VENV).lock/bin/python -m pip install --quiet '.[cluster,dev]' setuptools
	(sed '/^[^#]/d' requirements.lock; $(VENV).lock/bin/python -m pip freeze --all --exclude diffmia --exclude pip \
	  | sed 's/+cpu//' | LC_ALL=C sort -f) > requirements.lock.new
	mv requirements.lock.new requirements.lock
	rm -rf $(VENV).lock

clean:
	rm -rf results/* .snakemake
