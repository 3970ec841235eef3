//! Who may have the lease: pure decisions over a record and a clock.

use std::time::Duration;

use cdc_ports::Life;

use crate::record::Record;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// The instance's name.
    pub(crate) instance: &'a str,
    /// The process's random id.
    pub(crate) owner: &'a str,
    /// By the register's clock, Unix milliseconds.
    pub(crate) now_ms: i64,
    /// How long a lease lasts.
    pub(crate) ttl_ms: i64,
    /// What was seen when the lease was last refused to us.
    pub(crate) seen: Option<&'a HolderSighting>,
    /// What the asking process can tell of the holder's.
    pub(crate) holder_life: Life,
}

/// A holder's trace in the record. If it has changed by the next look, the holder lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HolderSighting {
    owner: String,
    sequence: u64,
}

impl HolderSighting {
    pub(crate) fn of(record: &Record) -> Self {
        Self { owner: record.owner.clone(), sequence: record.sequence }
    }

    pub(crate) fn is_of(&self, record: &Record) -> bool {
        self.owner == record.owner
    }
}

/// What a claim comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaseVerdict {
    /// The lease is free, has run out, is the asking process's own, or its holder is seen to be gone.
    Take,
    /// The lease still runs, and its holder is, for all that is known, an earlier process of the same instance.
    TakeOver,
    /// Another process has it for this much longer.
    Held(Duration),
}

/// Decides over a claim.
///
/// Where the holder runs or ran beside the asking process, the system tells whether it lives: a living one is never
/// evicted, and one that is gone is replaced at once, whatever its name.
///
/// Elsewhere a restarted process takes over the lease of its predecessor at once, since waiting would only delay the
/// stream. But two processes that were given one name must not evict each other for ever. So there is one
/// takeover per TTL; and whoever had to wait for that looks whether the holder has written meanwhile: a
/// dead predecessor has not.
pub(crate) fn decide(record: &Record, claim: Claim<'_>) -> LeaseVerdict {
    let Some(holder) = &record.holder else { return LeaseVerdict::Take };
    let left_ms = record.lease_expires_at_ms.saturating_sub(claim.now_ms);
    if left_ms <= 0 || record.owner == claim.owner {
        return LeaseVerdict::Take;
    }
    // A clock that was set back must not make a lease eternal.
    let left_ms = left_ms.min(claim.ttl_ms);
    match claim.holder_life {
        Life::Gone => return LeaseVerdict::Take,
        Life::Lives => return held(left_ms),
        Life::Unknown if holder != claim.instance => return held(left_ms),
        Life::Unknown => {}
    }
    if let Some(taken_over_at_ms) = record.taken_over_at_ms {
        let guarded_ms = taken_over_at_ms.saturating_add(claim.ttl_ms).saturating_sub(claim.now_ms);
        if guarded_ms > 0 {
            return held(guarded_ms.min(left_ms));
        }
    }
    let holder_lives =
        claim.seen.is_some_and(|seen| seen.owner == record.owner && seen.sequence != record.sequence);
    if holder_lives { held(left_ms) } else { LeaseVerdict::TakeOver }
}

fn held(left_ms: i64) -> LeaseVerdict {
    LeaseVerdict::Held(Duration::from_millis(left_ms.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL_MS: i64 = 15_000;
    const NOW_MS: i64 = 1_000_000;

    fn record(holder: Option<&str>, left_ms: i64, taken_over_ago_ms: Option<i64>) -> Record {
        Record {
            incarnation: 1,
            owner: "theirs".to_owned(),
            sequence: 7,
            holder: holder.map(str::to_owned),
            lease_expires_at_ms: NOW_MS + left_ms,
            taken_over_at_ms: taken_over_ago_ms.map(|ago| NOW_MS - ago),
            ..crate::record::tests::record_of("rs0/db", &[])
        }
    }

    fn claim<'a>(instance: &'a str, seen: Option<&'a HolderSighting>) -> Claim<'a> {
        let holder_life = Life::Unknown;
        Claim { instance, owner: "mine", now_ms: NOW_MS, ttl_ms: TTL_MS, seen, holder_life }
    }

    fn held_ms(ms: u64) -> LeaseVerdict {
        LeaseVerdict::Held(Duration::from_millis(ms))
    }

    #[test]
    fn who_gets_the_lease() {
        let cases = [
            ("given back", record(None, 9_000, None), "b", LeaseVerdict::Take),
            ("run out", record(Some("a"), 0, None), "b", LeaseVerdict::Take),
            ("another's", record(Some("a"), 9_000, None), "b", held_ms(9_000)),
            ("another's, clock set back", record(Some("a"), 900_000, None), "b", held_ms(15_000)),
            ("the same instance's", record(Some("a"), 9_000, None), "a", LeaseVerdict::TakeOver),
            ("taken over long ago", record(Some("a"), 9_000, Some(15_000)), "a", LeaseVerdict::TakeOver),
            ("taken over just now", record(Some("a"), 14_000, Some(5_000)), "a", held_ms(10_000)),
            ("taken over, about to run out", record(Some("a"), 2_000, Some(5_000)), "a", held_ms(2_000)),
        ];
        for (name, record, instance, expected) in cases {
            assert_eq!(decide(&record, claim(instance, None)), expected, "{name}");
        }
    }

    #[test]
    fn the_own_process_takes_its_own_lease() {
        let mut record = record(Some("a"), 9_000, Some(1));
        record.owner = "mine".to_owned();
        assert_eq!(decide(&record, claim("a", None)), LeaseVerdict::Take);
    }

    #[test]
    fn a_neighbour_that_lives_is_never_evicted_and_one_that_is_gone_is_replaced_at_once() {
        let cases = [
            (record(Some("a"), 9_000, None), Life::Lives, held_ms(9_000)),
            (record(Some("b"), 9_000, None), Life::Lives, held_ms(9_000)),
            // It has stopped renewing, whatever it does: it has to stop, too.
            (record(Some("a"), 0, None), Life::Lives, LeaseVerdict::Take),
            (record(Some("a"), 14_000, Some(1_000)), Life::Gone, LeaseVerdict::Take),
            (record(Some("b"), 14_000, None), Life::Gone, LeaseVerdict::Take),
        ];
        for (record, holder_life, expected) in cases {
            let claim = Claim { holder_life, ..claim("a", None) };
            assert_eq!(decide(&record, claim), expected, "{record:?}, {holder_life:?}");
        }
    }

    #[test]
    fn a_namesake_that_lives_is_not_evicted_again() {
        let record = record(Some("a"), 9_000, Some(15_000));
        let unchanged = HolderSighting::of(&record);
        assert_eq!(decide(&record, claim("a", Some(&unchanged))), LeaseVerdict::TakeOver);
        let renewed_since = HolderSighting { sequence: 6, ..unchanged.clone() };
        assert_eq!(decide(&record, claim("a", Some(&renewed_since))), held_ms(9_000));
        let somebody_before = HolderSighting { owner: "earlier".to_owned(), ..unchanged };
        assert_eq!(decide(&record, claim("a", Some(&somebody_before))), LeaseVerdict::TakeOver);
    }
}
