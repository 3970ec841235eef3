//! Where the record was kept before: the default place is named after what is watched, and earlier releases, and other
//! lists of collections, had another one.
//!
//! A record that is found there is gone on with *in place*. So nothing has to be moved, no position is in two places, and
//! the release before finds everything where it looks. What stands in the first place always counts.

use cdc_ports::{Failure, StoreIdentity};

use crate::identity::{concerns, is_same_list};
use crate::record::{Record, RecordError};
use crate::register::Register;

/// What stands in the earlier places, beside records of others.
#[derive(Debug)]
pub(crate) enum Elsewhere {
    /// Nothing that keeps anybody from going on where the store is now.
    Nothing,
    /// Perhaps ours, but it cannot be read; the text says where and how.
    Damaged(String),
    /// Perhaps ours, by a newer release; the text says where.
    Newer(String),
}

impl Elsewhere {
    /// Of two that cannot be read, the newer release's is the one to name: nobody may go on over it.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, other) => other,
            (Self::Damaged(_), newer @ Self::Newer(_)) => newer,
            (first, _) => first,
        }
    }

    /// What keeps a record from being read.
    pub(crate) fn in_words(self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Damaged(text) | Self::Newer(text) => Some(text),
        }
    }
}

/// Goes over to the place where the record is. Of several, one for exactly our collections was last saved by this
/// pipeline, so that a restart and a standby go on where it has: it comes before those of other lists. Among equals
/// the one with the least position counts, so that nothing is skipped.
///
/// # Errors
/// Whatever a register says: as long as one has not answered, nobody knows.
pub(crate) async fn settle<R: Register>(
    place: &mut R,
    earlier: &mut Vec<R>,
    identity: &StoreIdentity,
    operation: &'static str,
) -> Result<Elsewhere, Failure> {
    if earlier.is_empty() {
        return Ok(Elsewhere::Nothing);
    }
    let here = place.read().await.map_err(|failure| Failure { operation, ..failure })?;
    if here.content.is_some() {
        earlier.clear();
        return Ok(Elsewhere::Nothing);
    }
    let setting = place.setting();
    let mut found = Vec::new();
    let mut unreadable = Elsewhere::Nothing;
    for (index, register) in earlier.iter_mut().enumerate() {
        let reading = register.read().await.map_err(|mut failure| {
            failure.operation = operation;
            failure.message = format!(
                "{}. An earlier release, or another list of collections, had the record there by default; set \
                 {setting}, and nothing else is looked at",
                failure.message
            );
            failure
        })?;
        let Some(content) = &reading.content else { continue };
        match Record::decode(content) {
            Ok(record) if concerns(&record, identity) => {
                let is_other_list = !is_same_list(&record, identity);
                let position = record.saved.map(|saved| saved.token.position);
                // A record without a position has none to lose.
                found.push((is_other_list, position.is_none(), position, index));
            }
            Ok(_) => {}
            Err(error) => {
                let text = format!(
                    "what stands in {}, where the record was kept by default before, cannot be read: {error}; \
                     restore it, or set {setting} if it is another pipeline's",
                    register.place()
                );
                unreadable = unreadable.or(match error {
                    RecordError::NewerVersion(_) => Elsewhere::Newer(text),
                    RecordError::Corrupt(_) => Elsewhere::Damaged(text),
                });
            }
        }
    }
    let Some((is_other_list, _, _, index)) = found.into_iter().min() else { return Ok(unreadable) };
    if is_other_list && !matches!(unreadable, Elsewhere::Nothing) {
        // It may be ours, and behind this one.
        return Ok(unreadable);
    }
    *place = earlier.swap_remove(index);
    earlier.clear();
    tracing::info!(
        operation,
        place = place.place(),
        "going on with the token record where an earlier release, or another list of collections, has left it"
    );
    Ok(Elsewhere::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_release_s_record_is_not_hidden_by_a_damaged_one() {
        let (damaged, newer) = (|| Elsewhere::Damaged(String::new()), || Elsewhere::Newer(String::new()));
        for unreadable in [Elsewhere::Nothing.or(newer()), damaged().or(newer()), newer().or(damaged())] {
            assert!(matches!(unreadable, Elsewhere::Newer(_)), "{unreadable:?}");
        }
        assert!(matches!(damaged().or(damaged()), Elsewhere::Damaged(_)));
    }
}
