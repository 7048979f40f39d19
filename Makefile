# Two commands matter: `make demo` shows the main job, `make test` proves the tree is sound.
# Both build .venv by themselves; nothing is installed outside it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PAIRS  ?= ../shared/real/extraction_1s.json.gz
EVENTS ?= ../shared/real/events/*.npy
WORLD  ?= world
DEMO   ?= runs/demo
STORE  ?= runs/train_answers
TRANSLATOR ?= runs/translator
ASK    ?= Describe the following scene.
CONFIGS ?= none,none+sequential,none+overlap,hf-generate,hf-prompt-lookup,seed-procedure,drafter-only,suffix,suffix+separate-verify,suffix+nodes=60,$(TRANSLATOR)+overlap,$(TRANSLATOR)+sequential,$(TRANSLATOR)+overlap+shuffled,suffix+$(TRANSLATOR)+overlap

.PHONY: setup demo test lint docs bench bench-scenes bench-drive bench-sessions bench-eventgpt bench-decoding bench-tokens bench-gpu bench-embedded bench-store bench-wallclock bench-crossmodal clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: setup
	@test -e "$(PAIRS)" || test "$(origin PAIRS)" = file || { \
	  echo "demo: no recorded answers at $(PAIRS); name a file of paired answers, or leave PAIRS out"; \
	  exit 2; }
	$(BIN)/crossdraft scenes synth --out $(DEMO)/world --split test --drives 2 --clips-per-drive 2
	@for how in "--answer-with target" "--answer-with drafter" "--drafter drafter-text+suffix"; do \
	  echo; echo "crossdraft generate --scene $(DEMO)/world/test-0000/0 -q '$(ASK)' $$how"; \
	  $(BIN)/crossdraft generate --scene $(DEMO)/world/test-0000/0 -q "$(ASK)" $$how || exit; \
	done; echo
	$(BIN)/crossdraft verify --drafter suffix --drafter drafter-text --scene $(DEMO)/world/test-0000/0
	@if test -e "$(PAIRS)"; then \
	  $(BIN)/crossdraft evaluate --pairs "$(PAIRS)" --nodes 60 --depth 16 --online; \
	else \
	  echo "demo: for drafters on recorded answers give a file of them: make demo PAIRS=answers.json.gz"; \
	fi

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# One thread for each of the two workers: two each would wait for one another.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

docs: setup
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[docs]"
	$(BIN)/mkdocs build --strict

bench: setup
	$(BIN)/python benchmarks/suffix_scale.py --pairs "$(PAIRS)" --json benchmarks/results/suffix_scale.json
	$(BIN)/python benchmarks/suffix_acceptance.py --pairs "$(PAIRS)" --json benchmarks/results/suffix_acceptance.json

bench-scenes: setup
	$(BIN)/python benchmarks/render.py --events $(EVENTS) --json benchmarks/results/render.json
	$(BIN)/python benchmarks/event_window.py --json benchmarks/results/event_window.json
	$(BIN)/python benchmarks/video_read.py --json benchmarks/results/video_read.json
	$(BIN)/python benchmarks/dsec_cut.py --events $(EVENTS) --json benchmarks/results/dsec_cut.json

bench-drive: setup
	$(BIN)/python benchmarks/simulate.py --json benchmarks/results/simulate.json
	$(BIN)/python benchmarks/synth.py --json benchmarks/results/synth.json

bench-sessions: setup
	$(BIN)/python benchmarks/sessions.py --json benchmarks/results/sessions.json
	$(BIN)/crossdraft bench verify-cost --fresh --repeats 60 --json > benchmarks/results/verify_cost.json

bench-eventgpt: setup
	$(BIN)/python benchmarks/event_features.py --json benchmarks/results/event_features.json

bench-decoding: setup
	$(BIN)/python benchmarks/decode_loop.py --json benchmarks/results/decode_loop.json \
	  --profile benchmarks/results/decode_loop.txt

# On a machine with a GPU.
bench-gpu:
	PYTHONPATH=src $(PYTHON) benchmarks/gpu_7b.py --save
	PYTHONPATH=src $(PYTHON) benchmarks/gpu_overlap.py --pairs "$(PAIRS)" --json benchmarks/results/gpu_overlap.json

bench-embedded: setup
	$(BIN)/python benchmarks/embedded_clock.py --scenes "$(WORLD)" --json benchmarks/results/embedded_clock.json

# Trainings as short as those of configs/ladder.yaml.
SHORT := --num-epochs 6 --early-stopping 3 --batch-size 16 --learning-rate 2e-3 --val-split 0.05

# A dataset with training and test drives: make bench-store WORLD=study
bench-store: setup
	$(BIN)/python benchmarks/store_loader.py --json benchmarks/results/store_loader.json
	$(BIN)/python benchmarks/extraction.py --scenes "$(WORLD)" --clips 100 --json benchmarks/results/extraction.json
	for dtype in bf16 int8; do \
	  $(BIN)/crossdraft extract --scenes "$(WORLD)" --split train --max-questions 5 --out runs/store_$$dtype --dtype $$dtype || exit; \
	  for how in forced own; do \
	    $(BIN)/crossdraft train L1 --pairs runs/store_$$dtype --alignment $$how --bottleneck-dim 16 $(SHORT) --out runs/l1-$$how-$$dtype || exit; \
	    $(BIN)/crossdraft train L4 --pairs runs/store_$$dtype --alignment $$how --ffn-dim 128 $(SHORT) --out runs/l4-$$how-$$dtype || exit; \
	  done; \
	done
	$(BIN)/crossdraft extract --scenes "$(WORLD)" --split test --max-questions 5 --out runs/store_test
	$(BIN)/python benchmarks/store_precision.py --exact runs/l[14]-*-bf16 --rounded runs/l[14]-*-int8 --pairs runs/store_test \
	  --json benchmarks/results/store_precision.json
	$(BIN)/python benchmarks/ladder_training.py --store runs/store_bf16 --json benchmarks/results/ladder_training.json

# A dataset with training and test drives; answers of the former, and a translator trained on them:
#   crossdraft extract --scenes WORLD --split train --states none --out STORE
#   crossdraft train translator --pairs STORE --out TRANSLATOR
# Takes hours; call again to go on. A limit that the tail does not reach ends nothing.
WALLCLOCK = $(BIN)/crossdraft bench wallclock --scenes "$(WORLD)" --learn-from "$(STORE)" --configs "$(CONFIGS)"

bench-wallclock: setup
	-$(BIN)/python benchmarks/prefill_tail.py --scenes "$(WORLD)" --json benchmarks/results/prefill_tail.json
	test -e runs/wallclock_cold/result.json || $(WALLCLOCK) --out runs/wallclock_cold
	test -e runs/wallclock_shared/result.json || $(WALLCLOCK) --picture shared --out runs/wallclock_shared
	test -e runs/wallclock_apart/result.json || $(WALLCLOCK) --cores apart --out runs/wallclock_apart

# A dataset with test drives: make bench-crossmodal WORLD=study
bench-crossmodal: setup
	$(BIN)/python benchmarks/crossmodal_cost.py --scene "$(WORLD)/test-0000/0" --json benchmarks/results/crossmodal_cost.json

# Trains some twenty networks: an hour or two on a small machine; call again to go on.
bench-tokens: setup
	$(BIN)/python benchmarks/token_training.py --pairs "$(PAIRS)" --json benchmarks/results/token_training.json
	$(BIN)/python benchmarks/small_decoder_cost.py --json benchmarks/results/small_decoder_cost.json
	$(BIN)/crossdraft evaluate token-adapter translator suffix+translator --pairs "$(PAIRS)" \
	  --option token-adapter.num_epochs=15 --trained runs/folds --out runs/token_chain
	$(BIN)/crossdraft evaluate translator suffix+translator --pairs "$(PAIRS)" --trained runs/folds \
	  --nodes 60 --depth 16 --online --cost-curve benchmarks/results/small_decoder_cost.json \
	  --out runs/token_tree
	$(BIN)/crossdraft evaluate suffix+translator --pairs "$(PAIRS)" --trained runs/folds \
	  --nodes 60 --depth 16 --online --out runs/token_tree_flat

clean:
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src -name '*.nb[ic]' -delete
