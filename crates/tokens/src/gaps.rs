//! How many gaps a record keeps: it must not grow without end, and nothing that is open may be forgotten.

use cdc_ports::GapRecord;

/// Closed gaps are kept while all of them are no more than this.
const KEPT: usize = 20;

/// Open gaps beyond this become one with their neighbours.
const OPEN_MAX: usize = 100;

/// What stands for gaps of different causes.
const SEVERAL: &str = "several";

/// Bounds the list. Of the closed gaps the oldest go first. Of too many open ones the two oldest of one cause become
/// one, which says for how many it stands; where there are none, the two oldest.
pub(crate) fn bound(gaps: &mut Vec<GapRecord>) {
    while gaps.len() > KEPT
        && let Some(closed) = gaps.iter().position(|gap| !gap.is_open())
    {
        gaps.remove(closed);
    }
    while gaps.iter().filter(|gap| gap.is_open()).count() > OPEN_MAX {
        let (first, second) = pair(gaps);
        let merged = merge(&gaps[first], &gaps[second]);
        gaps[first] = merged;
        gaps.remove(second);
    }
}

/// The places of the two to be merged, the lower one first.
fn pair(gaps: &[GapRecord]) -> (usize, usize) {
    let open = || gaps.iter().enumerate().filter(|(_, gap)| gap.is_open());
    let alike = open().find_map(|(first, gap)| {
        let second = open().find(|(other, candidate)| *other > first && candidate.cause == gap.cause)?.0;
        Some((first, second))
    });
    alike.unwrap_or_else(|| {
        let mut places = open().map(|(place, _)| place);
        (places.next().unwrap_or_default(), places.next().unwrap_or_default())
    })
}

fn merge(one: &GapRecord, other: &GapRecord) -> GapRecord {
    let mut collections = [one.collections.as_slice(), &other.collections].concat();
    collections.sort();
    collections.dedup();
    GapRecord {
        // Nobody knows where one of them begins, or both are known.
        from: one.from.zip(other.from).map(|(one, other)| one.min(other)),
        to: one.to.max(other.to),
        cause: if one.cause == other.cause { one.cause.clone() } else { SEVERAL.to_owned() },
        collections,
        stands_for: one.stands_for.saturating_add(other.stands_for),
        opened_at: one.opened_at.clone(),
        announced: one.announced && other.announced,
        healed_at: None,
        acknowledged_at: None,
    }
}

#[cfg(test)]
mod tests {
    use cdc_event::Position;

    use super::*;

    fn gap(number: u8, cause: &str) -> GapRecord {
        GapRecord {
            from: Position::from_bytes(&[number]),
            to: Position::from_bytes(&[number + 1]).unwrap(),
            cause: cause.to_owned(),
            collections: vec![format!("c{}", number % 3)],
            stands_for: 1,
            opened_at: format!("{number}"),
            announced: true,
            healed_at: None,
            acknowledged_at: None,
        }
    }

    fn closed(number: u8) -> GapRecord {
        GapRecord { acknowledged_at: Some("now".to_owned()), ..gap(number, "topic_lost") }
    }

    #[test]
    fn of_the_closed_ones_the_oldest_go() {
        let mut gaps: Vec<_> = (0..15).map(closed).chain((15..25).map(|n| gap(n, "history_lost"))).collect();
        bound(&mut gaps);
        let kept: Vec<_> = gaps.iter().map(|gap| gap.opened_at.as_str()).collect();
        let expected: Vec<_> = (5..25).map(|n| n.to_string()).collect();
        assert_eq!(kept, expected);
    }

    #[test]
    fn too_many_open_ones_become_one_that_covers_and_counts_them() {
        let mut gaps = vec![gap(0, "topic_lost")];
        gaps.extend((1..=150).map(|n| gap(n, "history_lost")));
        bound(&mut gaps);
        assert_eq!(gaps.len(), 100);
        assert_eq!(gaps.iter().map(|gap| gap.stands_for).sum::<u32>(), 151, "none is forgotten");
        assert_eq!(gaps[0], gap(0, "topic_lost"));
        let merged = &gaps[1];
        assert_eq!((merged.from, Some(merged.to)), (Position::from_bytes(&[1]), Position::from_bytes(&[53])));
        assert_eq!((merged.stands_for, merged.opened_at.as_str()), (52, "1"));
        assert_eq!(merged.collections, ["c0", "c1", "c2"]);
    }

    #[test]
    fn open_ones_of_different_causes_become_one_where_no_two_are_alike() {
        let mut gaps: Vec<_> = (0..=100).map(|n| gap(n, &format!("cause {n}"))).collect();
        gaps[1].from = None;
        gaps[1].announced = false;
        bound(&mut gaps);
        assert_eq!(gaps.len(), 100);
        assert_eq!((gaps[0].cause.as_str(), gaps[0].from, gaps[0].announced), ("several", None, false));
    }
}
