unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help demo test lint real soak bench bench-cube bench-chips bench-inventory bench-predict bench-scale lock env clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: env ## the whole job on a made-up basin, offline: products in rockglacier-demo/
	@$(BIN)/rockglacier demo rockglacier-demo

test: env ## lint and tests, on two cores
	@$(MAKE) --no-print-directory lint
	@$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: env ## style, types, layers, lock
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@! grep -nE '^ *-|://' requirements.lock

real: env ## the pipeline on real pixels; needs ../shared/data
	@ROCKGLACIER_WHOLE_TABLE=1 $(BIN)/pytest -m real tests/real -s

soak: env ## long trials: minutes to hours
	@$(BIN)/python -m uv pip install --quiet --group soak
	@sh scripts/engine.sh
	@$(BIN)/pytest -m soak -s

bench: bench-cube bench-chips bench-inventory bench-predict ## measure beside the limits and the peers

bench-cube: env ## the cube engine: minutes, and 2 GB in .bench/
	@$(BIN)/python tests/benchmarks/cube --folder .bench --json .bench/bench-cube.json

bench-chips: env ## chips a second beside the memory map and TorchGeo
	@$(BIN)/python tests/benchmarks/chips --folder .bench --json .bench/bench-chips.json

bench-inventory: env ## outlines and attributes beside rasterio.features and rasterstats
	@$(BIN)/python tests/benchmarks/inventory --folder .bench --json .bench/bench-inventory.json

bench-predict: env ## the prediction beside the bare network, a plain loop, geoai and terratorch
	@$(BIN)/python tests/benchmarks/predict --folder .bench --json .bench/bench-predict.json

bench-scale: env ## how it grows with the area, and the unit costs that `plan --workers` uses
	@$(BIN)/python tests/benchmarks/scale --folder .bench --json .bench/bench-scale.json --keep-costs

lock: env ## resolve the newest versions that work together
	@$(BIN)/python -m uv pip compile --no-config --universal --python-version 3.12 \
	  --no-emit-index-url --no-header --no-annotate --group dev --extra learn \
	  --upgrade --quiet pyproject.toml -o requirements.lock

env: ## make or refresh .venv
	@sh scripts/bootstrap.sh

clean: ## forget the environment
	rm -rf .venv
