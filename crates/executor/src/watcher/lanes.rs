//! Two tasks, one for each neighbour that is spoken to in calls and answers: the source and the token store.
//! Each owns its port, carries out one order after the other, and is never cancelled in the middle of one
//! (trap T5: a cancelled cursor is a broken one).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cdc_event::ResumeToken;
use cdc_machine::{EffectId, Epoch, Fault, Lineage};
use cdc_watcher::{AckedToken, Checkpoint, StartAt};
use tokio::sync::mpsc;

use super::{Input, Reply};
use crate::ports::{Acquisition, Failure, Source, TokenStore};

/// Orders to the source lane. The machine has at most one stream and one pull outstanding, so a handful of
/// places is enough for any order that it can give before an answer comes.
#[derive(Debug)]
pub(super) enum SourceOrder {
    Open { epoch: Epoch, from: StartAt<ResumeToken>, lineage: Lineage },
    Pull { epoch: Epoch, max_events: u32, max_bytes: u64 },
    Close,
}

/// Orders to the token store's lane: at most one of each kind is outstanding.
#[derive(Debug)]
pub(super) enum StoreOrder {
    Acquire { id: EffectId },
    Renew { id: EffectId },
    Save { id: EffectId, token: AckedToken<ResumeToken>, lineage: Lineage },
    Release { id: EffectId },
}

pub(super) async fn source_lane<S: Source>(
    mut source: S,
    mut orders: mpsc::Receiver<SourceOrder>,
    replies: mpsc::Sender<Reply>,
) {
    while let Some(order) = orders.recv().await {
        let reply = match order {
            SourceOrder::Open { epoch, from, lineage } => match source.open(from, lineage).await {
                Ok(at) => Reply::Source(Input::Opened { epoch, at }),
                Err(failure) => {
                    let fault = failure.fault;
                    Reply::SourceFailed(Input::OpenFailed { epoch, fault }, failure)
                }
            },
            SourceOrder::Pull { epoch, max_events, max_bytes } => {
                match source.next(max_events, max_bytes).await {
                    Ok(batch) => Reply::Batch { epoch, batch },
                    Err(failure) => {
                        let fault = failure.fault;
                        Reply::SourceFailed(Input::SourceFailed { epoch, fault }, failure)
                    }
                }
            }
            SourceOrder::Close => {
                source.close().await;
                continue;
            }
        };
        if replies.send(reply).await.is_err() {
            break;
        }
    }
    source.close().await;
}

pub(super) async fn store_lane<T: TokenStore>(
    mut store: T,
    mut orders: mpsc::Receiver<StoreOrder>,
    replies: mpsc::Sender<Reply>,
) {
    while let Some(order) = orders.recv().await {
        let reply = match order {
            StoreOrder::Acquire { id } => acquired(id, store.acquire().await),
            StoreOrder::Renew { id } => answered(store.renew().await, Input::LeaseRenewed { id }, |fault| {
                Input::LeaseRenewFailed { id, fault }
            }),
            StoreOrder::Save { id, token, lineage } => {
                answered(store.save(token.position(), lineage).await, Input::Saved { id }, |fault| {
                    Input::SaveFailed { id, fault }
                })
            }
            StoreOrder::Release { id } => match store.release().await {
                Ok(()) => Reply::Store(Input::LeaseReleased { id }),
                // The lease runs out by itself, and the service ends either way.
                Err(failure) => Reply::StoreFailed(Input::LeaseReleased { id }, failure),
            },
        };
        if replies.send(reply).await.is_err() {
            break;
        }
    }
}

fn answered(result: Result<(), Failure>, done: Input, failed: impl FnOnce(Fault) -> Input) -> Reply {
    match result {
        Ok(()) => Reply::Store(done),
        Err(failure) => Reply::StoreFailed(failed(failure.fault), failure),
    }
}

fn acquired(id: EffectId, result: Result<Acquisition, Failure>) -> Reply {
    match result {
        Ok(Acquisition::Owned(record)) => {
            let saved = record.map(|record| Checkpoint { token: record.token, lineage: record.lineage });
            Reply::Store(Input::LeaseAcquired { id, saved, fresh: fresh_lineage() })
        }
        Ok(Acquisition::Held { holder, expires_in }) => {
            // An expiry of zero would spin: the store's clock has not moved on yet.
            let expires_in = expires_in.max(Duration::from_millis(100));
            tracing::info!(
                operation = "lease_acquire",
                %holder,
                expires_in_ms = u64::try_from(expires_in.as_millis()).unwrap_or(u64::MAX),
                "the lease is held by another instance; waiting for it"
            );
            Reply::Store(Input::LeaseHeld { id, expires_in })
        }
        Ok(Acquisition::Foreign(text)) => {
            Reply::StoreFailed(Input::LeaseForeign { id }, Failure::new(Fault::Fatal, "lease_acquire", text))
        }
        Err(failure) => {
            let fault = failure.fault;
            Reply::StoreFailed(Input::LeaseFailed { id, fault }, failure)
        }
    }
}

/// The lineage that a record made now would get: Unix seconds, which fit 32 bits until 2106.
fn fresh_lineage() -> Lineage {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Lineage(u32::try_from(seconds).unwrap_or(u32::MAX))
}
