# The project's commands; `make` alone lists them.
#
# A target needs python3 (3.11 or newer) with pip, and make: the first one that runs installs all else below this
# folder. Another interpreter: `make setup PYTHON=python3.13`.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
UV := .cache/uv/bin/uv
# The Python that runs this is the one that is used; uv never fetches another.
export UV_PYTHON_DOWNLOADS := never

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: setup ## run one job through the whole stack on this machine (FILE=text.txt, KEEP=1)
	@.venv/bin/python -m local demo $${FILE:+"$$FILE"}

.PHONY: dev
dev: setup ## run the stack on this machine until Ctrl-C
	@.venv/bin/python -m local dev

.PHONY: logs
logs: setup ## print the last 50 log lines of the functions of `make dev`, and follow them
	@.venv/bin/python -m local logs

.PHONY: aws-env
aws-env: setup ## point AWS's tools at the stack of `make dev`: eval "$(make -s aws-env)"
	@.venv/bin/python -m local aws-env

# $(call option,VARIABLE,OPTION): the option, if the variable is set. The shell takes its value from the environment,
# so that no quote or space in it is the shell's.
option = $${$(1):+--$(2)="$$$(1)"}

.PHONY: preflight
preflight: setup ## check the model: whether its server has it, and until when (STACK=name: that of a stack on AWS, else of .env)
	@.venv/bin/python -m local preflight $(call option,STACK,stack)

# One process more than there are cores, as most wait for their stacks; but no more than four, which all start some.
PYTEST = .venv/bin/pytest --numprocesses $(shell python3 -c 'import os; print(min(4, (os.cpu_count() or 1) + 1))')

.PHONY: unit
unit: setup ## run the fast unit tests (20 s)
	$(PYTEST) tests/unit -m "not slow" --dist worksteal

.PHONY: test
test: setup ## run the fast tests and one of each promise (3 minutes)
	$(PYTEST) -m "not thorough and not faults and not targets" --dist loadfile --no-loadscope-reorder

.PHONY: test-all
test-all: setup ## run every test that needs no Docker, but the longest; coverage goes to the terminal and to .local/coverage
	$(PYTEST) -m "not faults and not targets" --dist loadfile --no-loadscope-reorder --cov \
		--cov-report=term-missing:skip-covered --cov-report=html:.local/coverage/html \
		--cov-report=xml:.local/coverage/coverage.xml

.PHONY: pictures
pictures: setup ## take the pictures of docs/pictures again; needs a Chromium
	@.venv/bin/python -m tests.browser.pictures

.PHONY: properties
properties: setup ## draw new examples for every property test (EXAMPLES=3000 of each); those that fail are kept in .hypothesis
	PROPERTY_EXAMPLES=$${EXAMPLES:-3000} .venv/bin/pytest tests/unit -m hypothesis --timeout 1200 --numprocesses auto \
		--maxprocesses 4 --dist worksteal

.PHONY: faults
faults: setup properties ## run the fault-injection suite (15 minutes; LONG=1: what `make test` has not run); numbers go to .local/faults.json
	@rm -f .local/faults.json
	PROPERTY_EXAMPLES=$${EXAMPLES:-3000} $(PYTEST) tests/faults --dist worksteal \
		$(if $(filter 1,$(LONG)),-m "faults or deeper") --durations 10

# These count only where the command sets them: a variable of the shell must not name a stack to create jobs in.
# The keys go through the environment, where no list of processes shows them.
given = $(if $(filter command,$(origin $(1))),$(2))

.PHONY: conformance
conformance: setup ## run the conformance suite on a stack of its own, or URL=…, STACK=name, ENDPOINT=… (docs/reference/stacks.md)
	@$(call given,KEY,JOBCHAIN_API_KEY="$$KEY") $(call given,OTHER_KEY,JOBCHAIN_OTHER_API_KEY="$$OTHER_KEY") \
		.venv/bin/pytest tests/conformance --timeout 900 --no-fold-skipped $(call given,URL,--url="$$URL") \
		$(call given,STACK,--stack="$$STACK") $(call given,ENDPOINT,--endpoint="$$ENDPOINT") \
		$(if $(filter 1,$(MODEL_FAULTS)),--model-faults) $(if $(filter 1,$(ALONE)),--alone)

.PHONY: fuzz
fuzz: setup ## fuzz the running API by its own contract (4 minutes; SEED=7: other requests); reports go to .local/fuzz
	@.venv/bin/python -m tests.fuzz

# Both draw diagrams in a Chromium where there is one, and say so where there is none.
.PHONY: evals
evals: setup ## measure the chains' results, in docs/explanation/evals.md (CHAINS=file, CHAIN=name, DOCUMENTS=folder, OUT=file)
	@.venv/bin/python -m evals report $(call option,CHAIN,chain) $(call option,DOCUMENTS,documents) $(call option,OUT,out)

.PHONY: mermaid-check
mermaid-check: setup ## draw the diagrams of 100 jobs over difficult texts as the dashboard does, and check them
	@.venv/bin/python -m evals mermaid

# All but the quick run needs the baseline's libraries, and the sections `start` and `first-post` what `make build` makes.
.PHONY: bench
bench: setup $(if $(filter 1,$(QUICK)),,.venv-baseline/.ready) ## compare Jobchain with a baseline, in docs/explanation/benchmarks.md (QUICK=1, ONLY=section, JOBS=1000, ROUNDS=1)
	@$(if $(or $(filter 1,$(QUICK)),$(if $(filter start first-post,$(ONLY)),,$(ONLY))),:,$(MAKE) --no-print-directory build ARCHITECTURE=$(THIS_ARCHITECTURE))
	@.venv/bin/python -m benchmarks $(if $(filter 1,$(QUICK)),--quick) $${ONLY:+--only $$ONLY} $(call option,JOBS,jobs) \
		$(call option,ROUNDS,rounds)

.PHONY: check
check: lint imports words lock-check openapi-check ## everything that needs no test run

.PHONY: lint
lint: setup ## lint, formatting and types
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

.PHONY: imports
imports: setup ## check what imports what: pyproject.toml, [tool.importlinter]
	@.venv/bin/lint-imports --no-logo --cache-dir .cache/import-linter > .cache/imports.txt || { cat .cache/imports.txt >&2; exit 1; }

# Ready-made: pre-commit's own grep, with one hook for each term of docs/glossary.md.
.PHONY: words
words: setup ## check the vocabulary: docs/glossary.md
	@.venv/bin/pre-commit run --config .words.yaml --all-files --color never > .cache/words.txt \
		|| { grep -vE "(Passed|Skipped)$$|^- (hook id|exit code)" .cache/words.txt >&2; exit 1; }

.PHONY: format
format: setup ## format the code and fix what ruff can fix
	.venv/bin/ruff check --fix-only --quiet
	.venv/bin/ruff format

# checkov reads neither SAM nor YAML merges, so it gets what CloudFormation gets. It takes a file that it can't read for
# a clean one, hence the look at what has passed.
.PHONY: lint-template
lint-template: setup .venv-sam/.ready .venv-scanners/.ready ## check template.yaml with cfn-lint and checkov
	@.venv-sam/bin/cfn-lint template.yaml
	@.venv/bin/python -m local template > .cache/template.json
	@.venv-scanners/bin/checkov --config-file .checkov.yaml --file .cache/template.json > .cache/checkov.txt 2>&1 \
		&& grep -q '^Passed checks: [1-9]' .cache/checkov.txt || { cat .cache/checkov.txt >&2; exit 1; }
	@echo "template.yaml is clean."

.PHONY: audit
audit: .venv-scanners/.ready ## look up known vulnerabilities of what is deployed
	@.ci/audit

OPENAPI := functions/api/jobchain_api/openapi.json

.PHONY: openapi
openapi: setup ## write the OpenAPI document of the API from its code
	@.venv/bin/python -m local openapi > $(OPENAPI)

.PHONY: openapi-check
openapi-check: setup ## fail if the OpenAPI document differs from the code of the API
	@.venv/bin/python -m local openapi | diff -u $(OPENAPI) - \
		|| { echo "openapi-check: $(OPENAPI) differs from the code: run 'make openapi'" >&2; exit 1; }

# --- AWS ---------------------------------------------------------------------------------------------------------------

export SAM_CLI_TELEMETRY := 0
RUNTIME := python3.13

# The folder of the functions' own Python, which `sam build` looks for on PATH: the real one, as pyenv's shims stand for
# whichever version is chosen. PYTHON313 names one that is elsewhere.
find-runtime = for found in $(PYTHON313) $(RUNTIME) "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/*/bin/$(RUNTIME); do \
	"$$found" -c 'import os, sys; print(os.path.dirname(os.path.realpath(sys.executable)))' 2> /dev/null && break; done

# The old build goes first: a failed one must not leave it for others to use.
.PHONY: build
build: setup .venv-sam/.ready ## build what `sam deploy` uploads, into .aws-sam (ARCHITECTURE=x86_64; CHAINS=file; PYTHON313=path)
	@rm -rf .aws-sam
	@folder="$$($(find-runtime))"; test -n "$$folder" || { echo "build: the functions run on Python 3.13, and no $(RUNTIME)" \
		"is on the PATH or in pyenv: install one, or name it: make build PYTHON313=/path/to/$(RUNTIME)" >&2; exit 1; }; \
	PATH="$$folder:$$PATH" .venv-sam/bin/sam build $(if $(ARCHITECTURE),--parameter-overrides Architecture=$(ARCHITECTURE)) \
	&& .venv/bin/python -m local.finish_build .aws-sam/build "$$folder/$(RUNTIME)"

# Of the two environments of samconfig.toml.
ENV ?= default

.PHONY: deploy
deploy: setup .venv-sam/.ready ## check the account and the model, build, and deploy (ENV=prod: as samconfig.toml's prod)
	@.venv/bin/python -m local.deploy_check "$(ENV)"
	@architecture="$$(.venv/bin/python -m local.deploy_check "$(ENV)" --architecture)" && \
		$(MAKE) --no-print-directory build ARCHITECTURE="$$architecture"
	@.venv/bin/python -m local.deploy_check "$(ENV)" --parameters > .cache/parameters.yaml
	@.venv-sam/bin/sam deploy --config-env "$(ENV)" --parameter-overrides file://.cache/parameters.yaml
	@.venv/bin/python -m local.deploy_check "$(ENV)" --next

.PHONY: rollback
rollback: setup ## move all functions of a stack back to their last versions: STACK=name (TO=revision: to those of a revision)
	@test -n "$$STACK" || { echo "rollback: say which stack: make rollback STACK=jobchain" >&2; exit 1; }
	@.venv/bin/python -m local.rollback "$$STACK" $(call option,TO,to)

# --- Docker ----------------------------------------------------------------------------------------------------------

THIS_ARCHITECTURE = $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x86_64)

.PHONY: sam-api
sam-api: setup ## serve the API by `sam local start-api` (PORT=3000; SAM_LOCAL_ARGS: more options)
	@$(MAKE) --no-print-directory build ARCHITECTURE=$(THIS_ARCHITECTURE)
	@.venv/bin/python -m local sam-api $(call option,PORT,port)

.PHONY: sam-invoke
sam-invoke: setup .venv-sam/.ready ## run a built function: FUNCTION=WorkerFunction EVENT=events/sqs_job.json
	@test -n "$$FUNCTION" -a -n "$$EVENT" || { echo "sam-invoke: say which, and with what: \
	make sam-invoke FUNCTION=WorkerFunction EVENT=events/sqs_job.json" >&2; exit 1; }
	@.venv/bin/python -m local sam-invoke "$$FUNCTION" --event "$$EVENT"

.PHONY: deploy-local
deploy-local: setup ## deploy the build to a running emulator (ENDPOINT_URL=http://127.0.0.1:4566)
	@.venv/bin/python -m local deploy $(call option,ENDPOINT_URL,endpoint-url)

.PHONY: test-targets
test-targets: setup .venv-sam/.ready ## test SAM, the images and compose; needs Docker
	@$(MAKE) --no-print-directory build ARCHITECTURE=$(THIS_ARCHITECTURE)
	.venv/bin/pytest -m targets -s -v --timeout 600 tests/targets

# --- The environment -------------------------------------------------------------------------------------------------

.PHONY: setup
setup: .venv/.ready ## make or update .venv
	@:

COMMA := ,
# Seconds between two signs of life of what takes long.
BEAT ?= 4

# $(call announced,WHAT,COMMAND): says what it does, runs the command, and says every few seconds that it still does. A
# terminal's line counts the seconds in its place; a log gets a line each time, without control characters. Whatever
# ends the command's shell ends the counting: the last `kill -0` looks for it.
announced = echo "$(1) ..." >&2; \
	( seconds=0; while sleep $(BEAT) > /dev/null 2>&1 && kill -0 $$$$ 2> /dev/null; do \
		seconds=$$((seconds + $(BEAT))); \
		if test -t 2; then printf '\r  %s s' $$seconds >&2; else echo "  still running after $$seconds s" >&2; fi; done ) & \
	beat=$$!; $(2); status=$$?; kill $$beat 2> /dev/null; \
	if test -t 2; then printf '\r\033[K' >&2; fi; exit $$status
packages = $$(grep -c '^[a-z0-9].*==' $(1))

# --offline: the project itself is linked in with what the line before has installed.
.venv/.ready: pyproject.toml requirements/dev.txt $(UV)
	@test -x .venv/bin/python || $(UV) venv --quiet --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv
	@$(call announced,Installing up to $(call packages,requirements/dev.txt) packages into .venv (20 to 90 s the first time),\
		$(UV) pip sync --quiet --python .venv --require-hashes --compile-bytecode requirements/dev.txt)
	@$(UV) pip install --quiet --python .venv --offline --no-deps --no-build-isolation --editable .
	@touch $@

# With pip's --target, because a machine may have no venv module and may forbid installing into its own Python.
$(UV): requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; $(PYTHON) is " \
		+ sys.version.split()[0] + ". Choose another: make setup PYTHON=python3.13")'
	@rm -rf .cache/uv
	@$(call announced,Fetching uv$(COMMA) which installs all else below this folder,\
		$(PYTHON) -m pip install -qq --no-deps --only-binary :all: --require-hashes --target .cache/uv -r $<)
	@touch $@

.PHONY: sam
sam: .venv-sam/.ready ## install AWS's `sam` and `aws`, and `awslocal`, in .venv-sam/bin
	@:

# Environments of their own: `.venv-sam` from requirements/sam.txt, and so on.
.venv-%/.ready: requirements/%.txt $(UV)
	@test -x .venv-$*/bin/python || $(UV) venv --quiet --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv-$*
	@$(call announced,Installing up to $(call packages,requirements/$*.txt) packages into .venv-$*,\
		$(UV) pip sync --quiet --python .venv-$* --require-hashes --compile-bytecode requirements/$*.txt)
	@touch $@

.PHONY: wheel
wheel: setup ## build the wheel into dist: the client, the command line, and what authors of chains need
	@rm -rf dist
	@.venv/bin/python -m hatchling build --target wheel --directory dist

.PHONY: clean
clean: ## remove what these commands made, except the failing examples of property tests
	rm -rf .venv .venv-* .cache .local .aws-sam dist

# --- Locked versions -------------------------------------------------------------------------------------------------

# $(call compile,GROUP,FILE,OPTIONS,FOR): one dependency group of pyproject.toml, exact and with hashes. uv keeps the
# versions that FILE has as far as they still fit. FOR names other Pythons and platforms than those of the project.
compile = $(CURDIR)/$(UV) pip compile --quiet $(or $(4),--universal --python-version 3.11) --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) --group $(1) --output-file $(2) $(3)

# LocalStack's last version without a token does not start with newer packages than those of its day.
LOCALSTACK_DAY := 2026-02-27T00:00:00Z

# dev.txt has the command line's dependencies too: [project] names them. The layer's and the worker's files follow it, so
# that what is tested is what is deployed. The other functions need the layer alone: their files are empty.
define compile-all
$(call compile,uv,requirements/uv.txt) && \
$(call compile,sam,requirements/sam.txt) && \
$(call compile,scanners,requirements/scanners.txt) && \
$(call compile,localstack,requirements/localstack.txt,--exclude-newer $(LOCALSTACK_DAY),--python-version 3.13 --python-platform linux) && \
$(call compile,dev,requirements/dev.txt,pyproject.toml --all-extras) && \
$(call compile,baseline,requirements/baseline.txt,--constraints requirements/dev.txt) && \
$(call compile,layer,layers/common/requirements.txt,--constraints requirements/dev.txt) && \
$(call compile,worker,functions/worker/requirements.txt,--constraints requirements/dev.txt)
endef
LOCKED := $(addprefix requirements/,uv.txt sam.txt scanners.txt localstack.txt baseline.txt dev.txt) \
	layers/common/requirements.txt functions/worker/requirements.txt

.PHONY: lock
lock: $(UV) ## write the requirements files from pyproject.toml (UPGRADE=1: with the newest versions)
	@$(compile-all)

# The same, in a copy: nothing may change.
.PHONY: lock-check
lock-check: $(UV) ## check that the requirements files are current
	@rm -rf .cache/lock && mkdir -p .cache/lock
	@tar -cf - pyproject.toml $(LOCKED) | tar -xf - -C .cache/lock
	@(cd .cache/lock && $(compile-all)) \
		|| { echo "lock-check: could not resolve pyproject.toml; this needs the package index, see above" >&2; exit 1; }
	@for file in $(LOCKED); do diff -u $$file .cache/lock/$$file \
		|| { echo "lock-check: $$file is not what pyproject.toml asks for: run 'make lock'" >&2; exit 1; }; done
	@echo "Requirements files are current."

# --- Vendored files --------------------------------------------------------------------------------------------------

VENDORED := functions/web/jobchain_web/static/vendor
VENDORED_FOR_TESTS := tests/browser/vendor

# What is taken out of vendored files: links to source maps, which are not there, and ReDoc's logo, which a third party
# would serve and the page's policy forbids. ReDoc does without.
LEFT_OUT := s|^//. sourceMappingURL=[^ ]+$$||; s|/\*. sourceMappingURL=[^ ]+\*/$$||; \
	s|https://cdn\.redoc\.ly/redoc/logo-mini\.svg|data:,|

# $(call vendor,PACKAGE,FOLDER,FILES,WHERE): files of an npm package. The folder bears the version, so that browsers may
# cache its files without a limit.
define vendor
from=.cache/vendor/node_modules/$(1) && \
to=$(4)/$(1)-$$(node -p "require('./$$from/package.json').version") && \
mkdir -p $$to && (cd $$from/$(2) && cp $(3) $(CURDIR)/$$to) && \
(cd $$to && sed -i.bak -E '$(LEFT_OUT)' $(3) && rm *.bak) && \
for file in LICENSE NOTICE; do test ! -f $$from/$$file || cp $$from/$$file $$to/$$file.txt; done && \
echo $$to
endef

.PHONY: vendor
vendor: ## copy the pages' libraries again, at the versions of functions/web/package-lock.json; needs node and npm
	@rm -rf .cache/vendor && mkdir -p .cache/vendor
	@cp functions/web/package.json functions/web/package-lock.json functions/web/.npmrc .cache/vendor
	@npm ci --silent --prefix .cache/vendor
	@rm -rf $(VENDORED) $(VENDORED_FOR_TESTS)
	@$(call vendor,swagger-ui-dist,.,swagger-ui.css swagger-ui-bundle.js swagger-ui-bundle.js.LICENSE.txt,$(VENDORED))
	@$(call vendor,redoc,bundles,redoc.standalone.js redoc.standalone.js.LICENSE.txt,$(VENDORED))
	@$(call vendor,uplot,dist,uPlot.iife.min.js uPlot.min.css,$(VENDORED))
	@$(call vendor,mermaid-tiny,dist,mermaid.tiny.js,$(VENDORED))
	@$(call vendor,axe-core,.,axe.min.js,$(VENDORED_FOR_TESTS))
