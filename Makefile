unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
PYTHON_ENV := .venv/bin
.PHONY: demo test lint real soak bench lock env clean

env: ## make or refresh .venv
	@sh scripts/bootstrap.sh

lock: env ## resolve the newest versions that work together
	$(PYTHON_ENV)/python -m uv pip compile --no-config --universal --python-version 3.12 \
	  --no-emit-index-url --no-header --no-annotate --group dev --all-extras \
	  --upgrade pyproject.toml -o requirements.lock

clean: ## forget the environment
	rm -rf .venv
