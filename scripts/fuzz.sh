#!/usr/bin/env bash
# Runs each fuzz target for a while, and prints its executions. Ends with the first target that finds something.
#
#   scripts/fuzz.sh SECONDS [TARGET…]
#
# What a target finds of interest goes to fuzz/target/found, what it finds wrong to fuzz/artifacts.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../fuzz"
readonly SECONDS_EACH="${1:?usage: scripts/fuzz.sh SECONDS [TARGET…]}"
shift
targets=("$@")
if ((${#targets[@]} == 0)); then
  for target in fuzz_targets/*.rs; do targets+=("$(basename "$target" .rs)"); done
fi
readonly INPUT_SECONDS=20 # an input that takes longer counts as a finding
readonly MEMORY_MIB=2048

features=()
for target in "${targets[@]}"; do [[ "$target" != configuration ]] || features=(--features configuration); done
cargo build --release "${features[@]}" "${targets[@]/#/--bin=}"
readonly BUILT="${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-gnu/release"

for target in "${targets[@]}"; do
  found="target/found/$target" artifacts="artifacts/$target" log="target/$target.log"
  mkdir -p "$found" "$artifacts"
  if ! "$BUILT/$target" "$found" "corpus/$target" -artifact_prefix="$artifacts/" -max_total_time="$SECONDS_EACH" \
    -timeout="$INPUT_SECONDS" -rss_limit_mb="$MEMORY_MIB" -print_final_stats=1 >"$log" 2>&1; then
    grep -aE 'panicked at|^SUMMARY|Test unit written' -A 1 "$log" >&2 || tail -n 20 "$log" >&2
    printf '%s: found something, see fuzz/%s and fuzz/%s\n' "$target" "$artifacts" "$log" >&2
    exit 1
  fi
  printf '%-14s %s executions in %s s\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "$SECONDS_EACH"
done
