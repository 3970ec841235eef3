use std::fmt;

use crate::{ClusterTime, scan};

/// The token type of a mark between events: the KeyString of 0.
const MARK: u8 = 0x29;

/// Where an event stands in the source's history. Comparing two positions byte by byte is comparing the
/// events' order.
///
/// Lineage (4 bytes) ‖ cluster time (8) ‖ token type ‖ ordinal inside the transaction ‖ from-invalidate
/// flag, all big endian or order-preserving, cut out of the resume token's KeyString.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    len: u8,
    bytes: [u8; Self::MAX],
}

impl Position {
    /// The longest position, in bytes. A replica set's tokens need 4 + 8 + 3 + at most 9 + 1.
    pub const MAX: usize = 39;

    /// A position from its bytes; `None` where there are more than [`Self::MAX`] of them.
    #[must_use]
    pub fn from_bytes(slice: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::MAX];
        bytes.get_mut(..slice.len())?.copy_from_slice(slice);
        Some(Self { len: u8::try_from(slice.len()).ok()?, bytes })
    }

    /// A position from its hexadecimal text; `None` where it is none.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; Self::MAX];
        let bytes = bytes.get_mut(..text.len() / 2)?;
        scan::hex(text.as_bytes(), bytes)?;
        Self::from_bytes(bytes)
    }

    /// The lineage, which stands first; `None` where the position is too short to be an event's.
    #[must_use]
    pub fn lineage(&self) -> Option<u32> {
        self.cluster_time()?;
        let lineage: [u8; 4] = self.as_bytes().get(..4)?.try_into().ok()?;
        Some(u32::from_be_bytes(lineage))
    }

    /// True for the position of an event, false for a mark between events.
    #[must_use]
    pub fn is_event(&self) -> bool {
        self.as_bytes().get(12).is_some_and(|kind| *kind != MARK)
    }

    /// The mark that precedes every event of this time.
    #[must_use]
    pub fn before_all_of(lineage: u32, time: ClusterTime) -> Self {
        let mut bytes = [0; Self::MAX];
        let parts = [lineage, time.t, time.i].map(u32::to_be_bytes);
        let parts = parts.as_flattened();
        bytes[..parts.len()].copy_from_slice(parts);
        Self { len: 12, bytes }
    }

    /// The cluster time, which stands behind the lineage; `None` where the position is too short for one.
    #[must_use]
    pub fn cluster_time(&self) -> Option<ClusterTime> {
        let time: [u8; 8] = self.as_bytes().get(4..12)?.try_into().ok()?;
        let [t0, t1, t2, t3, i0, i1, i2, i3] = time;
        Some(ClusterTime { t: u32::from_be_bytes([t0, t1, t2, t3]), i: u32::from_be_bytes([i0, i1, i2, i3]) })
    }

    /// The bytes, as they stand in `cdc_position`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

/// Lowercase hex, as it stands in messages and headers.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_before_a_time_stands_behind_all_that_was_earlier_and_before_all_else() {
        let at = |i: u32, rest: &[u8]| {
            let time = [7_u32, 1_700_000_000, i].map(u32::to_be_bytes);
            Position::from_bytes(&[time.as_flattened(), rest].concat()).unwrap()
        };
        let (mark, event) = ([MARK, 0x29, 0x6E], [0x2C, 0x01, 0x00, 0x29, 0x6E]);
        let before = Position::before_all_of(7, ClusterTime { t: 1_700_000_000, i: 5 });
        assert!(at(4, &event) < before && before < at(5, &mark) && at(5, &mark) < at(5, &event));
        assert_eq!(
            [at(5, &mark), at(5, &event), before].map(|position| position.is_event()),
            [false, true, false]
        );
        assert_eq!([at(5, &mark), before].map(|position| position.lineage()), [Some(7), Some(7)]);
        assert_eq!(Position::from_bytes(&[0; 11]).unwrap().lineage(), None);
    }
}
