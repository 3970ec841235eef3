//! Where the record was kept before: the default place is named after what is watched, and earlier releases, and other
//! lists of collections, had another one.
//!
//! A record that is found there is gone on with *in place*. So nothing has to be moved, no position is in two places, and
//! the release before finds everything where it looks. What stands in the first place always counts.

use cdc_event::Position;
use cdc_executor::ports::Failure;

use crate::identity;
use crate::record::{Record, RecordError};
use crate::register::Register;
use crate::store::LeasedStore;

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
    /// What keeps a record from being read.
    pub(crate) fn in_words(self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Damaged(text) | Self::Newer(text) => Some(text),
        }
    }
}

impl<R: Register> LeasedStore<R> {
    /// Goes over to the place where the record is. Of several the one with the least position counts, so that nothing
    /// is skipped.
    ///
    /// # Errors
    /// Whatever a register says: as long as one has not answered, nobody knows.
    pub(crate) async fn settle(&mut self, operation: &'static str) -> Result<Elsewhere, Failure> {
        if self.earlier.is_empty() {
            return Ok(Elsewhere::Nothing);
        }
        let named = |mut failure: Failure| {
            failure.operation = operation;
            failure
        };
        if self.register.read().await.map_err(named)?.content.is_some() {
            self.earlier.clear();
            return Ok(Elsewhere::Nothing);
        }
        let setting = self.register.setting();
        let mut found: Option<(Option<Position>, usize)> = None;
        let mut unreadable = Elsewhere::Nothing;
        for (index, register) in self.earlier.iter_mut().enumerate() {
            let reading = register.read().await.map_err(|failure| {
                let mut failure = named(failure);
                failure.message = format!(
                    "{}. An earlier release, or another list of collections, had the record there by default; set \
                     {setting}, and nothing else is looked at",
                    failure.message
                );
                failure
            })?;
            let Some(content) = &reading.content else { continue };
            match Record::decode(content) {
                Ok(record) if identity::concerns(&record, &self.identity) => {
                    let candidate = (record.saved.map(|saved| saved.token.position), index);
                    found = Some(found.map_or(candidate, |other| lesser(other, candidate)));
                }
                Ok(_) => {}
                Err(error) => {
                    let text = format!(
                        "what stands in {}, where the record was kept by default before, cannot be read: {error}; \
                         restore it, or set {setting} if it is another pipeline's",
                        register.place()
                    );
                    unreadable = match error {
                        RecordError::NewerVersion(_) => Elsewhere::Newer(text),
                        RecordError::Corrupt(_) => Elsewhere::Damaged(text),
                    };
                }
            }
        }
        let Some((_, index)) = found else { return Ok(unreadable) };
        self.register = self.earlier.swap_remove(index);
        self.earlier.clear();
        tracing::info!(
            operation,
            place = self.register.place(),
            "going on with the token record where an earlier release, or another list of collections, has left it"
        );
        Ok(Elsewhere::Nothing)
    }
}

/// The one that skips nothing: a record without a position has none to lose.
fn lesser<P: Ord>(one: (Option<P>, usize), other: (Option<P>, usize)) -> (Option<P>, usize) {
    match (&one.0, &other.0) {
        (None, Some(_)) => other,
        (Some(first), Some(second)) if second < first => other,
        _ => one,
    }
}
