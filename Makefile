# gpt2-ivr: `make pipeline` runs everything, `make test` checks everything, `make help` lists everything.
#
# Make sees one real file per stage, its manifest, and times only; hashes lie in the manifests, where each stage
# checks them itself. The options of a stage are a prerequisite too: a stamp named by their checksum.

ifeq ($(filter oneshell,$(.FEATURES)),)
$(error this Makefile needs GNU make 3.82 or later; here is $(MAKE_VERSION))
endif

MAKEFLAGS += -rR
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.ONESHELL:
.DEFAULT_GOAL := help
# where this is set (many containers), every process would compile all that it imports: for training 14 s in place of 6
unexport PYTHONDONTWRITEBYTECODE
# `module load` sets these for another Python; its packages, or its library, would take the place of ours
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE PYTHONPLATLIBDIR PYTHONOPTIMIZE PYTHONINSPECT

## Variables (`make pipeline MODEL=... CORPUS=...`); empty: the option is not given and the stage's own default holds
CONFIG =#                   a file with the options of all stages, e.g. run.toml; the variables below go before it
MODEL = sample#             base model: sample (made here, offline), smollm2, a Hub name, or a model directory
REVISION =#                 commit, tag or branch of a Hub model (stage default: its main branch)
CORPUS =#                   directory or file with raw text of the domain (stage default: ARTIFACTS/corpora/raw, or the sample's)
GENERAL =#                  directory or file with general text to protect (stage default: none, or the sample's)
TEXT_KEY =#                 key of the text in JSON documents, a.b reaches into objects (stage default: text)
DOCUMENT_SEPARATOR =#       what parts the documents of a .txt file (stage default: auto)
HELDOUT_FRACTION =#         share of the documents no stage learns from (stage default: 0.1)
SWAPS =#                    how many ids are reassigned (stage default: 500)
INIT_STRATEGY =#            how new embedding rows begin: mean, pieces, distill, ..., see `ivr align --help` (stage default: distill)
MAX_STEPS =#                training steps (stage default: 300)
BLOCK_SIZE =#               tokens per training block (stage default: 0, the model's context, at most 2,048)
BATCH_SIZE =#               training blocks per step and device (stage default: 4)
LR =#                       peak learning rate (stage default: 0.0005)
SEED =#                     seed of every random choice (stage default: 0)
DEEPSPEED =#                DeepSpeed configuration of the training, e.g. slurm/deepspeed/zero2.json (stage default: none)
EXECUTOR = local#           slurm: the stages of DISPATCH run as jobs of a cluster, and make waits for them
PROFILE =#                  with EXECUTOR=slurm: facts of the site, e.g. slurm/profiles/gpu-node.toml
DISPATCH = align train control# with EXECUTOR=slurm: which stages are sent; `analyze` can be, too
SHARDS =#                   parts in which a dispatched `analyze` counts, on as many nodes (stage default: 1)
CONTROL =#                  yes: the base model is trained as far, too, its vocabulary unchanged, to compare with
ARTIFACTS = artifacts#      where a run's outputs lie (no blanks in this one)
INIT_ARGS =#                more options for `ivr init`, as a shell would read them; so for the following
ANALYZE_ARGS =#             ... `ivr analyze`
DISTILL_ARGS =#             ... `ivr distill-tokenizer`
SELECT_ARGS =#              ... `ivr select`
REMAP_ARGS =#               ... `ivr remap`
ALIGN_ARGS =#               ... `ivr align`
TRAIN_ARGS =#               ... `ivr train`
CONTROL_ARGS =#             ... `ivr control`
EVALUATE_ARGS =#            ... `ivr evaluate`
REPORT_ARGS =#              ... `ivr report`
VERIFY_ARGS =#              ... `ivr verify`, e.g. '--adversarial 100000 --runs 16' (repeats to 16 times their unit)
SWEEP_ARGS =#               `make sweep`: what is swept, e.g. '--swaps 500 2000 --init-strategy pieces distill --seed 0 1'
PYTEST_ARGS =#              more options for pytest in `make test`
LOCK_ARGS =#                more options for `uv lock` in `make lock`, e.g. --upgrade
IMAGE = gpt2-ivr#           name of the container image
BASE_IMAGE =#               what the image is built on (default: the Dockerfile's, debian:trixie-slim)
ENGINE =#                   docker or podman (default: docker where its daemon answers, otherwise podman)
IMAGE_STORE =#              a directory for the image's layers (default: the engine's own)
PYTHON =#                   the Python 3.11-3.14 to use (default: the first one that runs)
CONFIRM =#                  yes: `make clean` removes a run's outputs too

# one shell word
quote = '$(subst ','\'',$(1))'
# what make itself must know of CONFIG; a line `key = "value"` of it
of_config = $(if $(CONFIG),$(shell sed -nE "s/^$(1) *= *[\"']([^\"']*)[\"'].*/\1/p" $(call quote,$(CONFIG))))
ifneq ($(CONFIG),)
ifeq ($(shell test -f $(call quote,$(CONFIG)) && echo there),)
$(error CONFIG='$(CONFIG)': no such file)
endif
ifeq ($(origin MODEL),file)
MODEL =
endif
ifeq ($(origin ARTIFACTS),file)
ARTIFACTS := $(or $(call of_config,artifacts[-_]dir),artifacts)
endif
endif

ifneq ($(words $(ARTIFACTS)),1)
$(error ARTIFACTS='$(ARTIFACTS)': make cannot keep track of names with blanks; use a name without, or `ivr <stage> --artifacts-dir`)
endif

ifneq ($(filter-out local slurm,$(EXECUTOR)),)
$(error EXECUTOR='$(EXECUTOR)': it is local or slurm)
endif
ifneq ($(filter-out yes no,$(CONTROL)),)
$(error CONTROL='$(CONTROL)': it is yes or no)
endif
ifeq ($(EXECUTOR)$(strip $(PROFILE)),slurm)
$(error EXECUTOR=slurm needs PROFILE=slurm/profiles/NAME.toml; slurm/README.md says what stands in one)
endif
ifeq ($(filter queue,$(MAKECMDGOALS))$(strip $(PROFILE)),queue)
$(error make queue needs PROFILE=slurm/profiles/NAME.toml; slurm/README.md says what stands in one)
endif

VENV = .venv
SETUP = $(VENV)/.ivr-stamp
JAVASCRIPT = $(VENV)/javascript/package/dist/tokenizers.mjs
JAVASCRIPT_PACKAGE = @huggingface/tokenizers@0.2.0
JAVASCRIPT_SHA512 = 2e274c1ded45a5c4981f8bdc4a35e8a1d6b7e290b433c9b58260cebfb4908ba22ffa26f5cd7ec9dec1c1082f7fdc53c2927da4d5be79167795a8c471aebf7da6
IVR = $(VENV)/bin/ivr
UV_MINIMUM = 0.9
M = $(ARTIFACTS)/manifests
# where one is newer, each stage is asked: it knows whether another version of itself made what stands there
VERSIONS = $(wildcard ivr/versions.py uv.lock)

# `--option='value'` when the variable is not empty
option = $(if $(strip $($(1))),$(2)=$(call quote,$($(1))) )

# a model of 135 million parameters on a CPU: budgets that take less than an hour, unless others are given
ifeq ($(MODEL),smollm2)
SWAPS := $(or $(SWAPS),1000)
MAX_STEPS := $(or $(MAX_STEPS),100)
BLOCK_SIZE := $(or $(BLOCK_SIZE),256)
LR := $(or $(LR),1e-4)
EVALUATE_ARGS := $(or $(EVALUATE_ARGS),--max-bytes 40000 --samples 10 --sample-tokens 48)
endif

controlled = $(if $(filter yes,$(CONTROL)),control)

# the options of each stage ---------------------------------------------------------------------------------------
init_OPTIONS = $(strip $(call option,MODEL,--model-name)$(call option,REVISION,--revision)\
	$(call option,CORPUS,--raw-corpora-dir)$(call option,GENERAL,--general-corpora-dir)\
	$(call option,TEXT_KEY,--text-key)$(call option,DOCUMENT_SEPARATOR,--document-separator)\
	$(call option,HELDOUT_FRACTION,--heldout-fraction)$(call option,SEED,--seed)$(INIT_ARGS))
analyze_OPTIONS = $(strip $(ANALYZE_ARGS))
distill-tokenizer_OPTIONS = $(strip $(DISTILL_ARGS))
select_OPTIONS = $(strip $(call option,SWAPS,--swaps)$(SELECT_ARGS))
remap_OPTIONS = $(strip $(REMAP_ARGS))
align_OPTIONS = $(strip $(call option,INIT_STRATEGY,--init-strategy)$(call option,SEED,--seed)$(ALIGN_ARGS))
train_OPTIONS = $(strip $(call option,MAX_STEPS,--max-steps)$(call option,BLOCK_SIZE,--block-size)\
	$(call option,BATCH_SIZE,--batch-size)$(call option,LR,--lr)$(call option,SEED,--seed)\
	$(call option,DEEPSPEED,--deepspeed)$(TRAIN_ARGS))
control_OPTIONS = $(strip $(CONTROL_ARGS))
evaluate_OPTIONS = $(strip $(EVALUATE_ARGS))
report_OPTIONS = $(strip $(REPORT_ARGS))
verify_OPTIONS = $(strip $(VERIFY_ARGS))

# names, sizes and times of the files a person brings: adding, removing or changing one runs `init` again
brought = $(or $(CORPUS),$(call of_config,raw[-_]corpora[-_]dir),$(ARTIFACTS)/corpora/raw)
general = $(or $(GENERAL),$(call of_config,general[-_]corpora[-_]dir))
base = $(or $(MODEL),$(firstword $(call of_config,model[-_]name)),sample)
listing = find -L $(call quote,$(brought)) $(if $(general),$(call quote,$(general))) $(call quote,$(base)) \
	-type f -printf '%p %s %T@\n' 2>/dev/null
init_FINGERPRINT = { $(listing) || true; } | LC_ALL=C sort;

# $(call stamp,STAGE): ARTIFACTS/.make/STAGE-<checksum of its options>.args
stamp = $(ARTIFACTS)/.make/$(1)-$(firstword $(shell { $($(1)_FINGERPRINT) $(if $(CONFIG),cat $(call quote,$(CONFIG));) \
	printf '%s' $(call quote,$($(1)_OPTIONS)); } | cksum)).args
configured = $(if $(CONFIG), --config=$(call quote,$(CONFIG)))
elsewhere = $(if $(CONFIG)$(filter-out artifacts,$(ARTIFACTS)), --artifacts-dir=$(call quote,$(ARTIFACTS)))
dispatched = $(and $(filter slurm,$(EXECUTOR)),$(filter $(1),$(DISPATCH)))
# how `ivr submit` is told: the stage, its options, and where it runs
sent = submit $(1)$(configured) $($(1)_OPTIONS)$(if $(filter analyze,$(1)),$(if $(SHARDS), --shards=$(SHARDS)))$(elsewhere) \
	--profile=$(call quote,$(PROFILE))
QUEUED = analyze distill-tokenizer select remap align train $(controlled) evaluate report
run = $(IVR) $(if $(call dispatched,$(1)),$(call sent,$(1)),$(1)$(configured) $($(1)_OPTIONS)$(elsewhere))

## Set-up (every target does it when needed)
setup: $(SETUP) #                    uv where missing, .venv, the locked packages with hashes verified
wheelhouse: uv.lock pyproject.toml # fill wheelhouse/ here, for `make setup` on a machine without a network
	@$(find_python)
	$(find_uv)
	scratch="$$(mktemp -d)"; trap 'rm -rf "$$scratch"' EXIT
	"$$python" -m venv "$$scratch/venv"
	"$$uv" export $(EXPORT) --output-file "$$scratch/requirements.txt" > /dev/null
	mkdir -p wheelhouse
	"$$scratch/venv/bin/python" -m pip download --require-hashes -r "$$scratch/requirements.txt" -d wheelhouse
	"$$scratch/venv/bin/python" -m pip download 'uv>=$(UV_MINIMUM)' -d wheelhouse
	echo "wheelhouse/ holds what Python $$("$$python" -c 'import platform; print(platform.python_version())') needs;" \
	  "copy it beside the Makefile of the other machine and run make setup there"
help: #                              this list, and the variables at its end
	@awk '
	  /^## Variables/ { variables = substr($$0, 4) "\n"; next }
	  /^## / { printf "\n%s\n", substr($$0, 4); next }
	  /^[A-Z_]+ =.*#/ {
	    split($$0, part, /#+ */); name = $$1; value = part[1]; sub(/^[A-Z_]+ = ?/, "", value)
	    variables = variables sprintf("  %-20s %-10s %s\n", name, value == "" ? "(empty)" : value, part[2]); next
	  }
	  /^[a-z][a-z-]*:.* # / { name = $$1; sub(/:$$/, "", name); sub(/^.* # */, ""); printf "  %-31s %s\n", name, $$0 }
	  END { printf "\n%s", variables }
	' $(firstword $(MAKEFILE_LIST))

## The two commands
pipeline: $(M)/report.json #         every stage that is not current, then the summary
	@cat '$(ARTIFACTS)/report/summary.txt'
test: check #                        lint, types, lock and every test
	@OMP_WAIT_POLICY=PASSIVE $(VENV)/bin/python -m pytest $(PYTEST_ARGS)

## Stages, in order; each brings the ones before it up to date
init: $(M)/init.json #               fetch and pin the base model, clean the corpora
analyze: $(M)/analyze.json #         count pretokens and tokens
distill-tokenizer: $(M)/distill-tokenizer.json # turn the BPE tokenizer into a Unigram tokenizer
select: $(M)/select.json #           choose which ids leave and which strings enter
remap: $(M)/remap.json #             apply the swaps to the tokenizer
align: $(M)/align.json #             give every reassigned id a new embedding row
train: $(M)/train.json #             fine-tune the aligned model
control: $(M)/control.json #         train the base model as far, to compare (CONTROL=yes: part of the pipeline)
evaluate: $(M)/evaluate.json #       bits per byte of every model
report: $(M)/report.json #           summary and HTML report
	@cat '$(ARTIFACTS)/report/summary.txt'

## Look at a run
status: | $(SETUP) #                 which stages are done, missing or stale
	@$(call run,status)
plan: | $(SETUP) #                   which stages would run, why, and what each takes on this machine
	@$(IVR) plan$(configured)$(elsewhere)
verify: $(M)/distill-tokenizer.json #  compare the distilled tokenizer with the original from scratch
	@$(call run,verify)
check-run: | $(SETUP) #              read every file of the run and compare it with its recorded hash
	@$(call run,check)
doctor: | $(SETUP) #                 look over this machine, and say what mends what
	@$(IVR) doctor$(elsewhere)

## Several runs, and tidying up
sweep: | $(SETUP) #                  runs over SWEEP_ARGS, in ARTIFACTS, which share what is equal; then their comparison
	@$(IVR) sweep$(configured)$(elsewhere) $(if $(filter slurm,$(EXECUTOR)),--profile=$(call quote,$(PROFILE))) $(SWEEP_ARGS)
clean: #                             remove caches; with CONFIRM=yes what a run wrote, too (never what you brought)
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find ivr tests -name __pycache__ -prune -exec rm -rf {} +
	if [ '$(CONFIRM)' = yes ]; then
	  if [ ! -x $(VENV)/bin/python ]; then
	    echo "clean: run make setup first: the program knows what it wrote and what you brought" >&2; exit 1
	  fi
	  $(VENV)/bin/python -I -m ivr.disk.clean $(call quote,$(ARTIFACTS))
	else
	  echo "a run's outputs in $(ARTIFACTS)/ stay; make clean CONFIRM=yes removes them"
	fi

## Checks, for those who change the code
check: lock-check | $(SETUP) #       ruff (lint and format), mypy, lock-check
	@$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	MYPYPATH=tests $(VENV)/bin/mypy tests/benchmarks/*.py tests/benchmarks/baselines/*.py
fmt: | $(SETUP) #                    let ruff mend what it can
	@$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
test-fast: | $(SETUP) #              the tests that are not marked slow, a file a core, nothing else
	@OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(VENV)/bin/python -m pytest -m 'not slow' -n auto --maxprocesses=8 --dist=loadfile $(PYTEST_ARGS)
coverage: | $(SETUP) #               every test again, and which share of ivr/ they run (some 50 minutes)
	@$(VENV)/bin/python -m coverage erase
	$(VENV)/bin/python -m coverage run -m pytest $(PYTEST_ARGS)
	$(VENV)/bin/python -m coverage combine --quiet
	$(VENV)/bin/python -m coverage report --fail-under=85
test-lm-eval: | $(SETUP) #           bits per byte against lm-evaluation-harness, which it installs (group lm-eval)
	@$(find_python)
	$(find_uv)
	export VIRTUAL_ENV="$(CURDIR)/$(VENV)"
	"$$uv" export $(EXPORT) --only-group lm-eval --output-file "$(VENV)/lm-eval.txt" > /dev/null
	"$$uv" pip install --quiet --require-hashes -r "$(VENV)/lm-eval.txt"
	$(VENV)/bin/python -m pytest tests/training/test_lm_eval.py
test-js: | $(SETUP) $(JAVASCRIPT) #  the tokenizer for Transformers.js in node (npm fetches its library)
	@IVR_JAVASCRIPT_TOKENIZERS='$(CURDIR)/$(JAVASCRIPT)' $(VENV)/bin/python -m pytest tests/export $(PYTEST_ARGS)
lock: #                              resolve again and write a uv.lock that names no index
	@$(find_python)
	$(find_uv)
	scratch="$$(mktemp -d)"; trap 'rm -rf "$$scratch"' EXIT
	cp pyproject.toml README.md LICENSE uv.lock "$$scratch"
	"$$uv" lock --project "$$scratch" --python "$$python" $(LOCK_ARGS)
	sed -E -i 's|registry = "https?://[^"]*"|registry = "wheelhouse"|; s|url = "https?://[^"]*/([^"/]*)"|path = "\1"|' \
	  "$$scratch/uv.lock"
	cp "$$scratch/uv.lock" uv.lock
lock-check: #                        fail when uv.lock names a host
	@if grep -nE '[a-z]+://' uv.lock; then
	  echo "uv.lock names an index (above); 'make lock' writes one that does not" >&2; exit 1
	fi

## Slurm (slurm/README.md)
queue: $(M)/init.json $(foreach stage,$(QUEUED),$(call stamp,$(stage))) # every later stage as a Slurm job, at once (PROFILE=...)
	@$(foreach stage,$(QUEUED),\
	  $(IVR) $(call sent,$(stage)) --detach > /dev/null
	)

## A real Slurm on this machine, for tests (root on Debian; the state lies in TESTBED_DIR, default artifacts/.testbed)
testbed-up: #                        install and start it: three nodes, two partitions, accounting
	@slurm/testbed/testbed.sh up
testbed-down: #                      end its processes, remove its state
	@slurm/testbed/testbed.sh down
test-cluster: | $(SETUP) #           the cluster tests on it, and down again
	@if reason="$$(slurm/testbed/testbed.sh check)"; then
	  trap 'slurm/testbed/testbed.sh down' EXIT
	  slurm/testbed/testbed.sh up
	  eval "$$(slurm/testbed/testbed.sh env)"
	else
	  echo "test-cluster: no testbed here: $$reason" >&2
	fi
	$(VENV)/bin/python -m pytest tests/cluster $(PYTEST_ARGS)

## The container image (docker, or podman without a daemon; slurm/README.md says how clusters take it)
image: #                             build it
	@$(image_sh) build
image-test: #                        the sample pipeline and every test in it, as a user nobody knows, read-only
	@$(find_python)
	$(find_uv)
	UV="$$uv" $(image_sh) test $(PYTEST_ARGS)
sif: #                               turn it into gpt2-ivr.sif, or print how where apptainer is missing
	@$(image_sh) sif
sqsh: #                              turn it into gpt2-ivr.sqsh, or print how where enroot is missing
	@$(image_sh) sqsh

image_sh = $(foreach name,IMAGE BASE_IMAGE ENGINE IMAGE_STORE,$(if $($(name)),$(name)=$(call quote,$($(name))) ))slurm/image/image.sh

# how it is done -----------------------------------------------------------------------------------------------------
# what a person may edit counts as an input when it is there
candidates = $(wildcard $(ARTIFACTS)/analysis/reports/replacement_candidates.csv)
rules = $(wildcard $(ARTIFACTS)/tokenizers/remapped/remap_rules.yaml)

# one chain, because one lock guards an artifacts directory: -j gains nothing and harms nothing
$(M)/init.json: $(call stamp,init) $(VERSIONS) | $(SETUP)
	$(call run,init)
$(M)/analyze.json: $(M)/init.json $(call stamp,analyze) $(VERSIONS) | $(SETUP)
	$(call run,analyze)
$(M)/distill-tokenizer.json: $(M)/analyze.json $(call stamp,distill-tokenizer) $(VERSIONS) | $(SETUP)
	$(call run,distill-tokenizer)
$(M)/select.json: $(M)/distill-tokenizer.json $(call stamp,select) $(VERSIONS) | $(SETUP)
	$(call run,select)
$(M)/remap.json: $(M)/select.json $(candidates) $(call stamp,remap) $(VERSIONS) | $(SETUP)
	$(call run,remap)
$(M)/align.json: $(M)/remap.json $(rules) $(call stamp,align) $(VERSIONS) | $(SETUP)
	$(call run,align)
$(M)/train.json: $(M)/align.json $(call stamp,train) $(VERSIONS) | $(SETUP)
	$(call run,train)
$(M)/control.json: $(M)/train.json $(call stamp,control) $(VERSIONS) | $(SETUP)
	$(call run,control)
$(M)/evaluate.json: $(M)/train.json $(controlled:%=$(M)/%.json) $(call stamp,evaluate) $(VERSIONS) | $(SETUP)
	$(call run,evaluate)
$(M)/report.json: $(M)/evaluate.json $(wildcard $(M)/verify.json) $(call stamp,report) $(VERSIONS) | $(SETUP)
	$(call run,report) > /dev/null

# the stamp of the options now; the stage's older stamps go, so that going back to old options runs it again, too
$(ARTIFACTS)/.make/%.args:
	@mkdir -p '$(@D)'
	stage='$*'
	rm -f '$(@D)'/"$${stage%-*}"-[0-9]*.args
	touch '$@'

$(JAVASCRIPT): | $(SETUP)
	@{ command -v npm && command -v node; } > /dev/null || { echo "there is no node and npm here; install them for this" >&2; exit 1; }
	rm -rf '$(VENV)/javascript'; mkdir '$(VENV)/javascript'; cd '$(VENV)/javascript'
	package="$$(npm pack --silent '$(JAVASCRIPT_PACKAGE)')"
	echo "$(JAVASCRIPT_SHA512)  $$package" | sha512sum --check --quiet
	tar -xzf "$$package"

EXPORT = --frozen --no-emit-project --no-header --no-annotate

$(SETUP): uv.lock pyproject.toml
	@$(find_python)
	$(find_uv)
	echo "setup: $$("$$python" --version), $$("$$uv" --version)" >&2
	if [ "$$("$(VENV)/bin/python" -c $(version_check) 2>/dev/null)" != "$$("$$python" -c $(version_check))" ]; then
	  if [ -e "$(VENV)" ] && [ ! -e '$@' ] && [ ! -e "$(VENV)/.ivr-begun" ]; then
	    echo "setup: $(VENV) is there, of another Python, and make setup did not make it; move it elsewhere" >&2; exit 1
	  fi
	  "$$uv" venv --clear --quiet --python "$$python" "$(VENV)"
	  touch "$(VENV)/.ivr-begun"
	fi
	export VIRTUAL_ENV="$(CURDIR)/$(VENV)" UV_PROJECT_ENVIRONMENT="$(CURDIR)/$(VENV)"
	"$$uv" export $(EXPORT) --output-file "$(VENV)/requirements.txt" > /dev/null
	if [ -d wheelhouse ]; then
	  "$$uv" pip sync --require-hashes --offline --no-index --find-links wheelhouse "$(VENV)/requirements.txt"
	  "$$uv" sync --frozen --offline --quiet
	else
	  "$$uv" pip sync --require-hashes "$(VENV)/requirements.txt"
	  "$$uv" sync --frozen --quiet
	fi
	# nothing of a shell's environment reaches the command where it is called without make, not even PYTHONHOME
	sed -E -i '1s|^(#!.*/python[0-9.]*)$$|\1 -I|' "$(VENV)/bin/ivr"
	touch '$@'

# prints the minor version when the interpreter is one we support; a pyenv shim may exist and still not run
version_check = 'import sys; v = sys.version_info; print(v[0], v[1]); sys.exit(not (3, 11) <= v[:2] < (3, 15))'

# sets $python
define find_python
export UV_PYTHON_DOWNLOADS=never
	python=""
	for candidate in $(if $(PYTHON),$(call quote,$(PYTHON)),"$(VENV)/bin/python" python3.13 python3.14 python3.12 python3.11 python3); do
	  if "$$candidate" -c $(version_check) > /dev/null 2>&1; then
	    python="$$("$$candidate" -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))')"; break
	  fi
	done
	if [ -z "$$python" ] && [ -z $(call quote,$(PYTHON)) ] && command -v uv > /dev/null; then
	  python="$$(uv python find --no-project '>=3.11,<3.15' 2>/dev/null || true)"
	fi
	if [ -z "$$python" ]; then
	  echo "setup: no Python 3.11 to 3.14 that runs$(if $(PYTHON), (PYTHON=$(PYTHON) is none)); install one," \
	    "or name it: make setup PYTHON=/path/to/python3.13" >&2; exit 1
	fi
endef

# sets $uv: the machine's, when recent enough, or one in .uv/ only for here; pip's index and certificates serve uv too
define find_uv
uv="$$(command -v uv || true)"
	if [ -z "$$uv" ] || ! "$$uv" --version 2>/dev/null | awk -v least='$(UV_MINIMUM)' \
	  '{split($$2, a, "."); split(least, b, "."); exit !(a[1] > b[1] || (a[1] == b[1] && a[2] >= b[2]))}'; then
	  uv="$(CURDIR)/.uv/bin/uv"
	  if ! "$$uv" --version > /dev/null 2>&1; then
	    if [ -e .uv ] && [ ! -e .uv/.ivr-begun ]; then
	      echo "setup: .uv is there and make setup did not make it; move it elsewhere" >&2; exit 1
	    fi
	    echo "setup: bringing uv into .uv/" >&2
	    rm -rf .uv; mkdir .uv; touch .uv/.ivr-begun
	    source=(); if [ -d wheelhouse ]; then source=(--no-index --find-links wheelhouse); fi
	    if "$$python" -m venv .uv > /dev/null 2>&1; then
	      .uv/bin/python -m pip install --quiet --disable-pip-version-check "$${source[@]}" 'uv>=$(UV_MINIMUM)'
	    elif ! { rm -rf .uv/bin .uv/lib* .uv/include; "$$python" -m pip install --quiet --target .uv "$${source[@]}" 'uv>=$(UV_MINIMUM)'; }; then
	      echo "setup: $$python has neither venv nor pip; install uv, or python3-venv" >&2; exit 1
	    fi
	  fi
	fi
	if [ -z "$${UV_DEFAULT_INDEX:-}$${UV_INDEX_URL:-}$${UV_INDEX:-}$${UV_CONFIG_FILE:-}" ] &&
	  [ ! -e "$${XDG_CONFIG_HOME:-$$HOME/.config}/uv/uv.toml" ] && [ ! -e /etc/uv/uv.toml ]; then
	  index="$${PIP_INDEX_URL:-$$("$$python" -m pip config get global.index-url 2>/dev/null || true)}"
	  if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$$index"; fi
	fi
	if [ -z "$${SSL_CERT_FILE:-}" ] && [ -n "$${PIP_CERT:-}" ]; then export SSL_CERT_FILE="$$PIP_CERT"; fi
endef

.PHONY: sweep plan doctor pipeline test test-fast test-js coverage init analyze distill-tokenizer select remap align train control evaluate report verify queue \
  status check-run setup wheelhouse lock lock-check test-lm-eval check fmt clean help testbed-up testbed-down \
  test-cluster image \
  image-test sif sqsh
