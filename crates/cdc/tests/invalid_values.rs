//! No invalid value gets past the start.

mod common;

use cdc::config::{Described, Kind, Shape, described};
use common::{cdc, example};
use proptest::prelude::*;
use proptest::sample::select;

/// A file, a key of it, and a value that is illegal for it.
fn invalid() -> impl Strategy<Value = (&'static str, String, String)> {
    let word = || "[a-z]{1,12}".prop_map(|word| format!("x{word}"));
    let number = (
        prop_oneof![word(), (-9999i64..0).prop_map(|n| n.to_string()), "[0-9]{12,20}", "[1-9]\\.[0-9]"],
        keys(|shape| matches!(shape, Shape::Number { .. })),
    );
    let zero =
        (Just("0".to_owned()), keys(|shape| matches!(shape, Shape::Number { from, .. } if from != "0")));
    let duration = (
        prop_oneof![word(), "[1-9][0-9]{0,3}", "-[1-9]s", "[1-9]{2}years"],
        keys(|shape| matches!(shape, Shape::Duration { .. })),
    );
    let size = (
        prop_oneof![word(), "[1-9][0-9]{0,2}", "-[1-9]MiB", "[1-9]{2}PiB"],
        keys(|shape| matches!(shape, Shape::Bytes { .. })),
    );
    let retries = (
        prop_oneof![word(), "-[1-9]", "[1-9]{8}", "[1-9]\\.5"],
        keys(|shape| matches!(shape, Shape::NumberOr { other: "unlimited", .. })),
    );
    let choice = (word(), keys(|shape| matches!(shape, Shape::Words(_) | Shape::Switch | Shape::Share)));
    let factor = (
        prop_oneof![word(), Just("0".to_owned()), (-9999i64..-1).prop_map(|n| n.to_string()), "[0-9]{12,20}"],
        keys(|shape| matches!(shape, Shape::NumberOr { other: "-1", .. })),
    );
    let others = select(vec![
        ("watcher.yaml", "http.listen".to_owned()),
        ("syncer.yaml", "kafka.namespaces".to_owned()),
    ]);
    prop_oneof![number, zero, duration, size, retries, choice, factor, (word(), others)]
        .prop_map(|(value, (file, key))| (file, key, value))
}

/// The keys of such a shape, of both services.
fn keys(is_meant: impl Fn(&Shape) -> bool) -> impl Strategy<Value = (&'static str, String)> {
    let of = |kind, file: &'static str| {
        let meant = |option: &Described| is_meant(&option.shape);
        described(kind).into_iter().filter(meant).map(move |option| (file, option.path)).collect::<Vec<_>>()
    };
    let (watcher, syncer) = (of(Kind::Watcher, "watcher.yaml"), of(Kind::Syncer, "syncer.yaml"));
    assert!(!watcher.is_empty() || !syncer.is_empty());
    select([watcher, syncer].concat())
}

/// The same key as YAML.
fn yaml(key: &str, value: &str) -> String {
    key.rsplit('.').fold(format!("'{value}'"), |inner, part| format!("{{ {part}: {inner} }}"))
}

/// Feature: cdc-pipeline, Property 23: Configuration Validation Rejection
/// Validates: Requirements 11.5
///
/// The services themselves, over every key that they have: a list of lists is no value of any.
#[test]
fn watch_and_sync_do_not_start_with_an_illegal_value_of_any_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.yaml");
    for (kind, command, file) in
        [(Kind::Watcher, "watch", "watcher.yaml"), (Kind::Syncer, "sync", "syncer.yaml")]
    {
        let options = described(kind);
        assert!(options.len() > 30, "{command}: {}", options.len());
        for Described { path: key, .. } in options {
            let wrong =
                key.rsplit('.').fold("[[1]]".to_owned(), |inner, part| format!("{{ {part}: {inner} }}"));
            std::fs::write(&path, wrong).unwrap();
            let outcome = cdc(&[command, "-c", &example(file), "-c", &path.display().to_string()], &[]);
            assert_eq!(outcome.code, 78, "{command}, {key}: {}{}", outcome.stdout, outcome.stderr);
            assert!(outcome.stderr.contains(&format!("{key}: ")), "{command}, {key}: {}", outcome.stderr);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Feature: cdc-pipeline, Property 23: Configuration Validation Rejection
    /// Validates: Requirements 11.5
    #[test]
    fn an_invalid_value_is_refused_at_the_start_by_its_name((file, key, value) in invalid(), layer in 0usize..3) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wrong.yaml");
        let (base, wrong) = (example(file), path.display().to_string());
        let variable = format!("CDC__{}", key.replace('.', "__").to_uppercase());
        let flag = format!("{key}={value}");
        let outcome = match layer {
            0 => {
                std::fs::write(&path, yaml(&key, &value)).unwrap();
                cdc(&["validate", "--offline", "-c", &base, "-c", &wrong], &[])
            }
            1 => cdc(&["validate", "--offline", "-c", &base], &[(&variable, &value)]),
            _ => cdc(&["validate", "--offline", "-c", &base, "--set", &flag], &[]),
        };
        prop_assert_eq!(outcome.code, 78, "{} = {:?}: {}", key, value, outcome.stdout);
        let place = [wrong.as_str(), variable.as_str(), key.as_str()][layer];
        prop_assert!(outcome.stderr.contains(&format!("{key}: ")), "{}", outcome.stderr);
        prop_assert!(outcome.stderr.contains(place), "{}", outcome.stderr);
        prop_assert!(outcome.stderr.contains("legal: "), "{}", outcome.stderr);
        prop_assert_eq!(outcome.stdout, "");
    }
}
