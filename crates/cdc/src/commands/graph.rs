use super::output::print;
use crate::cli::{GraphArgs, GraphFormat, Service};
use crate::exit::Failed;

/// `cdc graph`: a service's states and the steps between them, as the code has them.
///
/// # Errors
/// Exit 74 where stdout cannot be written.
pub fn graph(arguments: GraphArgs) -> Result<(), Failed> {
    let text = match (arguments.service, arguments.format) {
        (Service::Watcher, GraphFormat::Mermaid) => cdc_watcher::graph::mermaid(),
        (Service::Watcher, GraphFormat::Dot) => cdc_watcher::graph::dot(),
        (Service::Syncer, GraphFormat::Mermaid) => cdc_syncer::graph::mermaid(),
        (Service::Syncer, GraphFormat::Dot) => cdc_syncer::graph::dot(),
    };
    print(&text)
}
