//! `cdc config print` shows a configuration that reads as the same one, and `cdc config schema` knows its keys.

mod common;

use std::fs;

use cdc::config::{Kind, Preset, Shape, described};
use common::{Outcome, cdc, example};
use serde_json::Value;

fn print(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let Outcome { code, stdout, stderr } = cdc(&[&["config", "print"], arguments].concat(), environment);
    assert_eq!((code, stderr.as_str()), (0, ""));
    stdout
}

#[test]
fn each_key_is_printed_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("syncer.yaml").display().to_string();
    let text = "\
kafka: {brokers: [a:1, 'b:2'], topic: cdc.d.c, properties: {sasl.password: hunter2}}
postgres: {host: h, database: d, user: 'the user', password: hunter2}
";
    fs::write(&file, text).unwrap();
    let arguments = ["-c", &file, "--set", "batch.linger=2ms"];
    let printed = print(&arguments, &[("CDC__BATCH__BUFFER_SIZE", "7")]);
    let expected = format!(
        "\
kafka:
  brokers: [\"a:1\", \"b:2\"]  # {file}:1:18
  topic: cdc.d.c  # {file}:1:39
  # properties: not shown; {file}:1:60
postgres:
  host: h  # {file}:2:18
  database: d  # {file}:2:31
  user: \"the user\"  # {file}:2:40
  # password: not shown; {file}:2:62
batch:
  buffer_size: 7  # environment variable CDC__BATCH__BUFFER_SIZE
  linger: 2ms  # --set batch.linger
"
    );
    assert_eq!(printed, expected);
    let all = print(&[&arguments[..], &["--defaults"]].concat(), &[]);
    assert!(all.contains("  copy_threshold: 100  # default\n"), "{all}");
    assert!(all.contains("# instance: default: the host's name\n"), "{all}");
    assert!(!all.contains("hunter2"), "{all}");
}

/// What is printed, secrets added, is read as what it was printed from.
#[test]
fn what_is_printed_reads_as_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for (name, secrets) in [
        ("watcher.yaml", &[("CDC__MONGODB__URI", "mongodb://localhost:27017")][..]),
        ("watcher-to-the-letter.yaml", &[("CDC__MONGODB__URI", "mongodb://localhost:27017")]),
        ("syncer.yaml", &[]),
        ("syncer-to-the-letter.yaml", &[]),
        ("pipeline.yaml", &[("CDC__WATCHER__MONGODB__URI", "mongodb://localhost:27017")]),
    ] {
        // Not those that are not shown once somebody has written them.
        let is_shown = |line: &&str| !line.contains("uri:") && !line.contains("properties:");
        let values = |text: &str| -> Vec<String> {
            let value = |line: &str| Some(line.split_once("  # ")?.0.to_owned());
            text.lines().filter(is_shown).filter_map(value).collect()
        };
        let printed = print(&["-c", &example(name), "--defaults"], &[]);
        let file = folder.path().join(name).display().to_string();
        fs::write(&file, &printed).unwrap();
        let again = print(&["-c", &file, "--defaults"], secrets);
        assert_eq!(values(&printed), values(&again), "{name}");
    }
}

/// Outside a file lists and pairs have a spelling of their own.
#[test]
fn what_stood_outside_a_file_is_printed_as_a_file_has_it() {
    let environment = [
        ("CDC__KAFKA__BROKERS", "a:1, b:2"),
        ("CDC__KAFKA__TOPIC", "cdc.d.c,p"),
        ("CDC__KAFKA__NAMESPACES", "p=d.p"),
    ];
    let printed = print(&["-c", &example("syncer.yaml")], &environment);
    for line in ["brokers: [\"a:1\", \"b:2\"]", "topic: [cdc.d.c, p]", "namespaces: {p: d.p}"] {
        assert!(printed.contains(&format!("  {line}  # environment variable CDC__KAFKA__")), "{printed}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("syncer.yaml").display().to_string();
    fs::write(&file, &printed).unwrap();
    assert_eq!(
        print(&["-c", &file], &[]).lines().count(),
        printed.lines().count() - 1,
        "all but the password"
    );
}

#[test]
fn the_schema_knows_every_key_and_no_other() {
    for (kind, name) in [(Kind::Watcher, "watcher"), (Kind::Syncer, "syncer"), (Kind::Pipeline, "pipeline")] {
        let Outcome { code, stdout, .. } = cdc(&["config", "schema", name], &[]);
        assert_eq!(code, 0);
        let schema: Value = serde_json::from_str(&stdout).unwrap();
        let mut keys = Vec::new();
        leaves(&schema, "", &mut keys);
        let mut expected: Vec<String> = described(kind).into_iter().map(|option| option.path).collect();
        keys.sort();
        expected.sort();
        assert_eq!(keys, expected);
    }
    let Outcome { stdout, .. } = cdc(&["config", "schema", "syncer"], &[]);
    let schema: Value = serde_json::from_str(&stdout).unwrap();
    let size = &schema["properties"]["batch"]["properties"]["buffer_size"];
    assert_eq!(
        (&size["minimum"], &size["maximum"], &size["default"]),
        (&1.into(), &1_000_000.into(), &1000.into())
    );
    let Outcome { stdout, .. } = cdc(&["config", "schema", "watcher"], &[]);
    let schema: Value = serde_json::from_str(&stdout).unwrap();
    let factor = &schema["properties"]["kafka"]["properties"]["replication_factor"];
    assert_eq!(
        (&factor["anyOf"][0]["minimum"], &factor["anyOf"][1]["const"], &factor["default"]),
        (&1.into(), &(-1).into(), &(-1).into())
    );
}

fn leaves(schema: &Value, path: &str, keys: &mut Vec<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if inner.get("properties").is_some() {
            leaves(inner, &path, keys);
        } else {
            assert!(inner["description"].as_str().is_some_and(|text| !text.is_empty()), "{path}");
            keys.push(path);
        }
    }
}

/// A default is written once, and it is legal.
#[test]
fn every_default_is_legal() {
    for (kind, file) in [(Kind::Watcher, "watcher.yaml"), (Kind::Syncer, "syncer.yaml")] {
        let defaults: Vec<String> = described(kind)
            .into_iter()
            .filter_map(|option| match option.preset {
                // A section of librdkafka's own keys is no single value.
                Preset::Is(value) if !matches!(option.shape, Shape::Pairs { .. }) => {
                    Some(format!("{}={value}", option.path))
                }
                Preset::Is(_) | Preset::Required | Preset::Nothing | Preset::Said(_) => None,
            })
            .collect();
        let file = example(file);
        let mut arguments = vec!["validate", "--offline", "-c", &file];
        arguments.extend(defaults.iter().flat_map(|default| ["--set", default]));
        let Outcome { code, stderr, .. } = cdc(&arguments, &[]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}");
    }
}
