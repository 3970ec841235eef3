use super::output::print;
use crate::cli::{GraphArgs, GraphFormat, Service};
use crate::exit::Failed;

/// The generated pages; a test of `cdc-model` compares them with the code.
const WATCHER: [&str; 2] =
    [include_str!("../../../../specs/watcher.mmd"), include_str!("../../../../specs/watcher.dot")];
const SYNCER: [&str; 2] =
    [include_str!("../../../../specs/syncer.mmd"), include_str!("../../../../specs/syncer.dot")];

/// `cdc graph`: a service's states and the steps between them, as the code has them.
///
/// # Errors
/// Exit 74 where stdout cannot be written.
pub fn graph(arguments: GraphArgs) -> Result<(), Failed> {
    let [mermaid, dot] = match arguments.service {
        Service::Watcher => WATCHER,
        Service::Syncer => SYNCER,
    };
    print(match arguments.format {
        GraphFormat::Mermaid => mermaid,
        GraphFormat::Dot => dot,
    })
}
