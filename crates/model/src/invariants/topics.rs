//! Positions in a topic go back only by a rewind or by a late former owner.

use super::{Invariant, Violation, demand};

/// The newest position of each partition, by process and opened stream.
#[derive(Clone, Debug, Default, Hash)]
pub struct Topics {
    newest: Vec<((u32, u64, usize), u64)>,
}

/// Streams that are remembered: what is older than that many appends nothing any more.
const REMEMBERED: usize = 64;

impl Topics {
    /// A process appended a change that it read from this stream.
    ///
    /// # Errors
    /// Where it has appended a later one of the same stream before.
    pub fn appended(
        &mut self,
        (process, stream): (u32, u64),
        partition: usize,
        position: u64,
    ) -> Result<(), Violation> {
        let of = (process, stream, partition);
        if let Some((_, newest)) = self.newest.iter_mut().rev().find(|(it, _)| *it == of) {
            let before = std::mem::replace(newest, position);
            return demand(before < position, Invariant::TopicOrder, || {
                format!("{position} follows {before} in partition {partition}, of one stream")
            });
        }
        if self.newest.len() == REMEMBERED {
            self.newest.drain(..REMEMBERED / 2);
        }
        self.newest.push((of, position));
        Ok(())
    }
}
