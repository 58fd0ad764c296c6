# SPEX chat. `make run` starts the chat, `make test` tests everything; both set themselves up first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help run serve test check clean
.DEFAULT_GOAL := help

help:
	@echo "make run    install, build the model and open the chat on http://127.0.0.1:7860"
	@echo "make test   every test: fast ones, the real model, the real server, the page in a browser"
	@echo "make check  lint, format, types and the fast tests"
	@echo "make serve  the chat with vLLM behind it; fails where vLLM can't be installed"
	@echo "make clean  remove what was installed and built here"

$(VENV)/.created:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is needed; install it, or name another: make run PYTHON=python3.12"; exit 1; }
	@echo "[1/4] Making the Python environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.created requirements.lock
	@echo "[2/4] Installing the pinned packages (some minutes the first time)"
	@$(PIP) install --no-deps --progress-bar on -r requirements.lock
	@$(BIN)/python -c "import torch" 2>/dev/null || { \
		echo "This build of torch brings no libraries of its own; fetching them (some GB)"; \
		$(PIP) install "$$(grep '^torch==' requirements.lock)"; }
	@touch $@

$(VENV)/.vllm: $(VENV)/.installed requirements-vllm.lock
	@echo "[3/4] Installing vLLM"
	@if $(PIP) install --no-deps --progress-bar on -r requirements-vllm.lock; then echo served > $@; else \
		echo "vLLM can't be installed on this machine; the model will run inside the chat instead"; \
		echo embedded > $@; fi

$(VENV)/.registered: $(VENV)/.vllm pyproject.toml
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

run: $(VENV)/.registered
	@echo "[4/4] Building the language model (once)"
	@$(BIN)/python -m spex_model.model.weights
	@if $(BIN)/python -c "import vllm" 2>/dev/null; then \
		echo "Starting vLLM, the mask service and the chat (about a minute)"; \
		$(BIN)/python -m spex_model.serving || { \
			echo "vLLM can't serve here; starting the chat with the model inside it"; $(BIN)/python app.py; }; \
	else echo "Starting the chat with the model inside it"; $(BIN)/python app.py; fi

serve: $(VENV)/.registered
	@echo "Starting vLLM, the mask service and the chat"
	@$(BIN)/python -m spex_model.serving

test: $(VENV)/.registered
	@$(BIN)/python -m spex_model.model.weights
	@$(BIN)/python -m pytest --durations=10

check: $(VENV)/.registered
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -m "not slow"

clean:
	rm -rf $(VENV) build artifacts *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
