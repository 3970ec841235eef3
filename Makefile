# The two commands of the README, and the pieces that they are made of.
# Everything that they download or start stays below target/.
#
# Packages are built together, never one by one: cargo then settles on one set of features for each dependency,
# and librdkafka and the drivers compile once.

CARGO ?= cargo
TARGET = $${CARGO_TARGET_DIR:-target}

.PHONY: demo test setup build fmt lint unit specs worlds soak proof bench fuzz help

help: ## show the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

demo: ## the whole pipeline, live, on real servers that it installs and starts (KEEP=1 keeps it running until Ctrl-C)
	@./scripts/setup.sh all
	@$(CARGO) build --bins
	@$(TARGET)/debug/cdc-demo

# `make test ONLY="ledger:: cdc-kafka"` runs the end-to-end tests and the packages whose names hold one of the words.
test: ## everything: format, lints, unit, snapshot, property and live tests, side by side
	@./scripts/setup.sh all
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test --no-run
	@CDC_SIM_SECONDS=$${CDC_SIM_SECONDS:-45} $(TARGET)/debug/test-runner $(ONLY)

setup: ## install what is missing
	@./scripts/setup.sh all

build: ## the binary, optimised, in target/release/cdc
	@./scripts/setup.sh build
	$(CARGO) build --release -p cdc

specs: ## write the generated pages anew from the code: states, diagrams, faults, crates, metrics, log events, options
	UPDATE_SPECS=1 $(CARGO) test -p cdc-model --test generated_pages --test reference_pages --test exhaustive
	UPDATE_SPECS=1 $(CARGO) test -p cdc --test configuration_page

worlds: ## write specs/worlds.md anew: what cdc says of each broken world
	@./scripts/setup.sh all
	$(CARGO) build --bins
	UPDATE_SPECS=1 $(CARGO) test --test live worlds::

soak: ## the chaos run, the memory stalls and the frozen broker, longer, and all of the fault matrix, with the default retries (CDC_CHAOS_ROUNDS, CDC_CHAOS_CHANGES, CDC_CHAOS_ASSIGNMENTS, CDC_STALL_SECONDS, CDC_FROZEN_PROCESSES)
	@./scripts/setup.sh all
	$(CARGO) build --bins
	CDC_CHAOS_ROUNDS=$${CDC_CHAOS_ROUNDS:-20} CDC_CHAOS_CHANGES=$${CDC_CHAOS_CHANGES:-200000} \
	CDC_CHAOS_ASSIGNMENTS=$${CDC_CHAOS_ASSIGNMENTS:-300} CDC_STALL_SECONDS=$${CDC_STALL_SECONDS:-60} \
	CDC_FROZEN_PROCESSES=$${CDC_FROZEN_PROCESSES:-10} CDC_MATRIX=all \
	$(CARGO) test --test live -- --nocapture chaos:: memory:: frozen:: matrix::

# Overridden on the command line: make fuzz SECONDS=600
SECONDS = 60

fuzz: ## each fuzz target for SECONDS (60), with its executions; see fuzz/README.md
	@./scripts/setup.sh build
	@./scripts/fuzz.sh $(SECONDS)

proof: ## the simulator for so many minutes (MINUTES, 10 unless given), the larger exhaustive searches, then the planted bugs
	$(CARGO) run -p cdc-model -- sim --seconds $$(( $${MINUTES:-10} * 60 )) --seed $${SEED:-$$(date +%s)}
	$(CARGO) run -p cdc-model -- search --large
	$(CARGO) test -p cdc-model --features plants --test plants --test controls -- --nocapture

bench: ## load and ceiling measurements on real servers, optimised
	@./scripts/setup.sh all
	$(CARGO) build --release --bins --workspace
	$(TARGET)/release/cdc-bench
