//! The list of faults: each test that it names is there, no row twice, and enough of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cdc_model::faults::{Fault, Outcome, ROWS, SCENARIOS, Service, State, Test, cells};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn each_test_that_the_list_names_exists() {
    let named = ROWS.iter().map(|row| row.test).chain(SCENARIOS.into_iter().flatten().map(|it| it.test));
    for Test { file, name } in named {
        let source = fs::read_to_string(root().join(file)).unwrap_or_default();
        assert!(source.contains(&format!("fn {name}(")), "{file} has no test {name}");
    }
}

#[test]
fn no_row_stands_there_twice_and_enough_faults_are_struck() {
    let rows: BTreeSet<(Fault, Service)> = ROWS.iter().map(|row| (row.fault, row.service)).collect();
    assert_eq!(rows.len(), ROWS.len());
    let faults: BTreeSet<Fault> = cells().map(|cell| cell.fault).collect();
    assert!(faults.len() >= 24, "{} faults", faults.len());
    for state in State::ALL {
        for service in [Service::Watcher, Service::Syncer] {
            assert!(
                cells().any(|cell| cell.state == state && cell.service == service),
                "nothing strikes {service:?} in {state:?}"
            );
        }
    }
    for row in ROWS {
        for outcome in row.outcomes {
            if let Outcome::NotApplicable(reason) = outcome {
                assert!(reason.len() > 10, "{:?} says why not", row.fault);
            }
        }
    }
}
