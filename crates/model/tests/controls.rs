//! The exhaustive search proves itself: with a planted bug it finds a path that breaks the invariant that the bug is
//! about. The machines' own checks are off meanwhile.

#![expect(clippy::print_stdout, reason = "a run says what it found")]

use std::path::Path;
use std::{env, fs};

use cdc_machine::plant;
use cdc_model::sim::search::controls::CONTROLS;
use cdc_model::sim::search::frontier::Limits;
use cdc_model::sim::search::page;

/// Of one search.
const LIMITS: Limits = Limits { situations: 1_000_000, frontier: 50_000 };

#[test]
fn each_control_is_refuted_by_the_invariant_that_it_is_about() {
    let (mut refuted, mut wrong) = (Vec::new(), Vec::new());
    for control in CONTROLS {
        plant(Some(control.bug));
        match control.refute(LIMITS) {
            None => wrong.push(format!("{}: nothing falls", control.bug.as_str())),
            Some(found) => {
                let fell = found.counterexample.violation.invariant;
                println!("{}: {fell:?} after {} situations", control.bug.as_str(), found.situations);
                println!("{}", found.counterexample.story(&found.scope));
                if !control.falls.contains(&fell) {
                    wrong.push(format!("{}: {fell:?} falls", control.bug.as_str()));
                }
                refuted.push(found);
            }
        }
    }
    plant(None);
    assert!(wrong.is_empty(), "{wrong:#?}");
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../specs/exhaustive.md"));
    let (written, should) = (fs::read_to_string(path).unwrap(), page::controls(&refuted));
    if env::var_os("UPDATE_SPECS").is_some() {
        fs::write(path, page::with_block(&written, page::CONTROLS, &should).unwrap()).unwrap();
    } else {
        assert_eq!(
            page::block(&written, page::CONTROLS),
            Some(should.as_str()),
            "specs/exhaustive.md is stale"
        );
    }
}
