//! Who the source is. Nothing is taken or opened before it has said so: the token record is made for one source.

use cdc_machine::{Backoff, Cause, Dependency};

use crate::context::Context;
use crate::ending::Ending;
use crate::verdict;
use crate::{Effect, SourceRefusal, TimerKind};

/// Whether the source has said who it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    phase: Phase,
    retries: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    NeverAsked,
    Asked,
    /// It did not say, or nobody wants to know any more.
    Unknown,
    Known,
}

impl Identity {
    pub(crate) const fn new() -> Self {
        Self { phase: Phase::NeverAsked, retries: Backoff::new() }
    }

    /// True once the source is known; asks it where no question is out.
    pub(crate) fn is_known<R, T>(&mut self, cx: &mut Context<'_, R, T>) -> bool {
        if matches!(self.phase, Phase::NeverAsked | Phase::Unknown) {
            self.phase = Phase::Asked;
            cx.order(Effect::IdentifySource {});
        }
        self.phase == Phase::Known
    }

    pub(crate) fn on_identified<R, T>(
        &mut self,
        result: Result<(), SourceRefusal>,
        cx: &mut Context<'_, R, T>,
    ) -> Result<(), Ending> {
        if self.phase != Phase::Asked {
            cx.ids.ignore(self.phase != Phase::NeverAsked);
            return Ok(());
        }
        self.phase = Phase::Unknown;
        let fault = match result {
            Ok(()) => {
                *self = Self { phase: Phase::Known, ..Self::new() };
                return Ok(());
            }
            Err(SourceRefusal::Unwatchable) => {
                return Err(Ending::Stop(Cause::Unsupported(Dependency::MongoDb)));
            }
            Err(SourceRefusal::Failed(fault)) => fault,
        };
        let retry = cx.config.retries.mongodb;
        let waits = verdict::on_source(fault).back_off(TimerKind::Reconnect, &mut self.retries, retry, cx);
        waits.map_err(Ending::Stop)
    }

    /// An end has begun: an answer is of no use any more.
    pub(crate) fn give_up(&mut self) {
        if self.phase == Phase::Asked {
            self.phase = Phase::Unknown;
        }
    }

    /// Retries used, as long as it is not known.
    pub(crate) fn retries(&self) -> Option<Backoff> {
        (self.phase != Phase::Known).then_some(self.retries)
    }

    pub(crate) fn situation(&self) -> [u64; 2] {
        [self.phase as u64, u64::from(self.retries.retries())]
    }
}
