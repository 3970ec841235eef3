//! Faults that tests of their own show, by what they concern.

mod columns;
mod log;
mod pipeline;
mod position;
mod releases;
mod rows;
mod source;
mod tables;

use super::{Scenario, Service, Test};

/// Faults that tests of their own show, in the order of the page.
pub const SCENARIOS: [&[Scenario]; 8] = [
    pipeline::ALL,
    releases::ALL,
    source::ALL,
    position::ALL,
    log::ALL,
    tables::ALL,
    rows::ALL,
    columns::ALL,
];

const fn it(
    fault: &'static str,
    service: Service,
    outcome: &'static str,
    file: &'static str,
    name: &'static str,
) -> Scenario {
    Scenario { fault, service, outcome, test: Test { file, name } }
}
