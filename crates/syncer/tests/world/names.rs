//! Documents with a unique name, which they hand over and swap: each change leaves all names different.

use std::collections::BTreeMap;

use cdc_syncer::Partition;

use super::{Message, PARTITIONS, RECORD_BYTES_MAX, World};

/// Documents whose names change hands.
const KEYS: u8 = 9;

/// The documents as they are now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    pub(crate) names: BTreeMap<u8, u16>,
    positions: u64,
}

impl Source {
    /// The lowest name that no document has.
    fn fresh(&self) -> u16 {
        (0..).find(|name| self.names.values().all(|taken| taken != name)).unwrap_or_default()
    }
}

/// How names change.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Naming {
    /// The first gets a name that nobody has; it is inserted where it is not there.
    Fresh(u8),
    Delete(u8),
    /// The first gives its name to the second and takes a new one.
    HandOver(u8, u8),
    /// Each gets the name of the next.
    Rotate(u8, u8, u8),
    Swap(u8, u8),
}

impl World {
    pub(crate) fn produce(&mut self, key: u8, gap: u8, bytes: u32) {
        // A name of its own.
        self.append(key, Some(1_000 + u16::from(key)), gap, bytes);
    }

    /// Changes names as one transaction of the source does: at once there, one record each in the logs.
    pub(crate) fn rename(&mut self, naming: Naming) {
        let name = |world: &Self, key: u8| world.source.names.get(&(key % KEYS)).copied();
        match naming {
            Naming::Fresh(key) => {
                let fresh = self.source.fresh();
                self.append(key % KEYS, Some(fresh), 0, 1);
            }
            Naming::Delete(key) => {
                if name(self, key).is_some() {
                    self.append(key % KEYS, None, 0, 1);
                }
            }
            Naming::HandOver(from, to) => {
                let (Some(name), fresh) = (name(self, from), self.source.fresh()) else { return };
                if from % KEYS != to % KEYS {
                    self.append(from % KEYS, Some(fresh), 0, 1);
                    self.append(to % KEYS, Some(name), 0, 1);
                }
            }
            Naming::Swap(a, b) => self.rotate(&[a % KEYS, b % KEYS]),
            Naming::Rotate(a, b, c) => self.rotate(&[a % KEYS, b % KEYS, c % KEYS]),
        }
    }

    fn rotate(&mut self, keys: &[u8]) {
        let names: Vec<u16> = keys.iter().filter_map(|key| self.source.names.get(key).copied()).collect();
        let distinct = (1..keys.len()).all(|at| !keys[at..].contains(&keys[at - 1]));
        if names.len() < keys.len() || !distinct {
            return;
        }
        for (key, name) in keys.iter().zip(names.iter().cycle().skip(1)) {
            self.append(*key, Some(*name), 0, 1);
        }
    }

    fn append(&mut self, key: u8, name: Option<u16>, gap: u8, bytes: u32) {
        match name {
            Some(name) => drop(self.source.names.insert(key, name)),
            None => drop(self.source.names.remove(&key)),
        }
        self.source.positions += 1;
        let partition = u32::from(key) % PARTITIONS;
        let offset = self.bounds(Partition(partition)).end + i64::from(gap);
        let bytes = bytes.clamp(1, RECORD_BYTES_MAX);
        self.logs[partition as usize].push(Message {
            partition,
            offset,
            key,
            bytes,
            position: self.source.positions,
            name,
        });
    }
}
