//! The targets that stand among their crates' tests, under one roof.

#[path = "../../crates/event/tests/it/common.rs"]
mod common;
#[path = "../../crates/event/tests/it/drawn_event.rs"]
mod drawn_event;
#[path = "../../crates/event/tests/it/fuzz_targets.rs"]
mod fuzz_targets;
#[path = "../../crates/event/tests/it/generator.rs"]
mod generator;
#[path = "../../crates/event/tests/it/same_id.rs"]
mod same_id;
#[path = "../../crates/syncer/tests/world/mod.rs"]
mod syncer_world;
#[path = "../../crates/watcher/tests/world/mod.rs"]
mod watcher_world;

/// Of `cdc-event`.
pub mod event {
    use crate::fuzz_targets;

    /// Any bytes as a change event.
    pub fn change_event(data: &[u8]) {
        fuzz_targets::change_event(data);
    }

    /// Any document, to a message and back.
    pub fn document(data: &[u8]) {
        fuzz_targets::document(data);
    }

    /// Any bytes as a message.
    pub fn message(data: &[u8]) {
        fuzz_targets::any_message(data);
    }

    /// Two `_id`s and their keys.
    pub fn key(data: &[u8]) {
        fuzz_targets::key(data);
    }
}

/// Both machines, in the worlds of their property tests.
pub mod machines {
    /// A Watcher whose world makes any moves.
    pub fn watcher(data: &[u8]) {
        crate::watcher_world::drawn::run(data);
    }

    /// A Syncer whose world makes any moves.
    pub fn syncer(data: &[u8]) {
        crate::syncer_world::drawn::run(data);
    }
}
