//! The layers, as a table: who may depend on whom. A crate that reaches past its layer fails here.

#![expect(clippy::expect_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// Crate, then the workspace crates that it may depend on outside its tests.
const TABLE: &[(&str, &[&str])] = &[
    ("cdc-machine", &[]),
    ("cdc-watcher", &["cdc-machine"]),
    ("cdc-syncer", &["cdc-machine"]),
    ("cdc-event", &[]),
    ("cdc-process", &[]),
    ("cdc-ports", &["cdc-event", "cdc-machine", "cdc-process", "cdc-syncer", "cdc-watcher"]),
    ("cdc-traces", &["cdc-event", "cdc-machine"]),
    ("cdc-executor", &["cdc-event", "cdc-machine", "cdc-ports", "cdc-syncer", "cdc-traces", "cdc-watcher"]),
    ("cdc-mongo", &["cdc-event", "cdc-machine", "cdc-ports", "cdc-watcher"]),
    ("cdc-kafka", &["cdc-event", "cdc-machine", "cdc-ports", "cdc-syncer", "cdc-watcher"]),
    ("cdc-postgres", &["cdc-event", "cdc-machine", "cdc-ports", "cdc-syncer"]),
    ("cdc-tokens", &["cdc-event", "cdc-machine", "cdc-ports", "cdc-watcher"]),
    (
        "cdc",
        &[
            "cdc-event",
            "cdc-executor",
            "cdc-kafka",
            "cdc-machine",
            "cdc-mongo",
            "cdc-ports",
            "cdc-postgres",
            "cdc-syncer",
            "cdc-tokens",
            "cdc-traces",
            "cdc-watcher",
        ],
    ),
    ("cdc-model", &["cdc-machine", "cdc-syncer", "cdc-watcher"]),
    ("cdc-devstack", &[]),
    ("cdc-tests", &["cdc-devstack", "cdc-model"]),
    ("cdc-benches", &["cdc-devstack"]),
    (
        "cdc-instructions",
        &["cdc-event", "cdc-machine", "cdc-ports", "cdc-postgres", "cdc-syncer", "cdc-watcher"],
    ),
];

/// Crates that know no I/O: the only dependencies from outside that they may have.
const PURE: &[(&str, &[&str])] = &[
    ("cdc-machine", &[]),
    ("cdc-watcher", &[]),
    ("cdc-syncer", &[]),
    (
        "cdc-event",
        &["base64", "bson", "bytes", "itoa", "memchr", "ryu", "serde", "serde_json", "xxhash-rust"],
    ),
    // OpenTelemetry's types and identifiers; what sends them is the binary's.
    ("cdc-traces", &["opentelemetry", "opentelemetry_sdk"]),
    // Traits and their data: no runtime, so that an adapter is bound to none by what it answers.
    ("cdc-ports", &["backtrace", "bytes", "strsim"]),
];

fn packages() -> Vec<Package> {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata runs where cargo test runs")
        .packages
}

fn dependencies(package: &Package) -> BTreeSet<String> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind == DependencyKind::Normal)
        .map(|dependency| dependency.name.clone())
        .collect()
}

#[test]
fn each_crate_depends_only_on_what_the_table_allows() {
    let table: BTreeMap<&str, &[&str]> = TABLE.iter().copied().collect();
    let packages = packages();
    let names: BTreeSet<String> = packages.iter().map(|package| package.name.to_string()).collect();
    let listed: BTreeSet<String> = table.keys().map(ToString::to_string).collect();
    assert_eq!(names, listed, "the table and the workspace name the same crates");

    for package in &packages {
        let allowed: BTreeSet<String> =
            table[package.name.as_str()].iter().map(ToString::to_string).collect();
        let actual: BTreeSet<String> =
            dependencies(package).into_iter().filter(|name| names.contains(name)).collect();
        let beyond: Vec<_> = actual.difference(&allowed).collect();
        assert!(beyond.is_empty(), "{} may not depend on {beyond:?}", package.name);
    }
}

#[test]
fn pure_crates_reach_no_outside_crate_beyond_their_list() {
    let packages = packages();
    for (name, allowed) in PURE {
        let package = packages.iter().find(|package| package.name.as_str() == *name).expect("in the table");
        let beyond: Vec<String> = dependencies(package)
            .into_iter()
            .filter(|dependency| !dependency.starts_with("cdc-") && !allowed.contains(&dependency.as_str()))
            .collect();
        assert!(beyond.is_empty(), "{name} is pure and may not depend on {beyond:?}");
    }
}

#[test]
fn the_machines_are_no_std() {
    for name in ["machine", "watcher", "syncer"] {
        let path = format!("{}/../{name}/src/lib.rs", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(&path).expect("the crate's root");
        assert!(source.contains("#![no_std]"), "{path} must be no_std: that is what keeps it pure");
    }
}
