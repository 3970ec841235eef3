//! Two tasks, one for each neighbour that is spoken to in calls and answers: the source and the token store.
//! Each owns its port, carries out one order after the other, and is never cancelled in the middle of one
//! (trap T5: a cancelled cursor is a broken one).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cdc_event::{Control, GapNotice, Message, ResumeToken};
use cdc_machine::{EffectId, Epoch, Fault, Lineage};
use cdc_watcher::{
    AckedToken, Batch, Checkpoint, LeaseRefusal, Notice, Opened, Reading, RecordChange, Saved, SourceRefusal,
    StartAt, Taken,
};
use tokio::sync::mpsc;

use super::Input;
use cdc_ports::{
    Acquisition, Failure, GapRecord, Holder, Opening, Sighting, Source, SourceBatch, SourceIdentity,
    TokenRecord, TokenStore,
};

/// How long the source may take to count the documents that are there. Nothing waits for it.
const COUNT_WITHIN: Duration = Duration::from_secs(10);

/// Orders to the source's task. The machine has at most one stream and one fetch outstanding, so a handful of
/// places is enough for any order that it can give before an answer comes.
#[derive(Debug)]
pub(super) enum SourceOrder {
    Identify,
    Open {
        epoch: Epoch,
        from: StartAt<ResumeToken>,
        lineage: Lineage,
        reading: Reading,
    },
    Fetch {
        epoch: Epoch,
        max_events: u32,
        max_bytes: u64,
    },
    /// Say how many documents these hold that were there before `from`.
    Count {
        names: Vec<Arc<str>>,
        from: u32,
    },
    Close,
}

/// Orders to the token store's task: at most one of each kind is outstanding.
#[derive(Debug)]
pub(super) enum StoreOrder {
    Acquire { id: EffectId, source: Arc<str>, over_damage: bool },
    Renew { id: EffectId },
    Save { id: EffectId, token: AckedToken<ResumeToken>, lineage: Lineage, change: RecordChange<ResumeToken> },
    Release { id: EffectId },
}

/// What a task tells the driver: an input for the machine, and what came beside it.
#[derive(Debug)]
pub(super) enum Reply {
    /// The source's name.
    Identified(Input, Arc<str>),
    /// Why the source is none that can be watched.
    Unwatchable(Input, String),
    /// A stream was opened, over what was seen under the watched names.
    Opened(Input, Vec<Sighting>),
    SourceFailed(Input, Failure),
    /// So many documents were there before this time, in Unix seconds.
    Counted {
        documents: Vec<(Arc<str>, Option<u64>)>,
        from: u32,
    },
    /// The events are the input's.
    Fetched(Input, SourceBatch),
    Store(Input),
    /// Somebody else holds the lease, and saved a position this long ago.
    Held(Input, Holder, Option<Duration>),
    /// The record was read or written, and has this many open gaps. Its position was saved this long ago; an empty
    /// record has been without one since now.
    Record(Input, u64, Duration),
    StoreFailed(Input, Failure),
}

pub(super) async fn source_task<S: Source>(
    mut source: S,
    mut orders: mpsc::Receiver<SourceOrder>,
    replies: mpsc::Sender<Reply>,
) {
    while let Some(order) = orders.recv().await {
        let reply = match order {
            SourceOrder::Identify => tokio::select! {
                answer = source.identify() => identified(answer),
                // Nothing is open yet: a service that ends does not wait for a source that is away.
                () = replies.closed() => break,
            },
            SourceOrder::Open { epoch, from, lineage, reading } => {
                match source.open(from, lineage, reading).await {
                    Ok(Opening { at, sightings, looked_at }) => {
                        let contents = sightings.iter().map(|sighting| sighting.contents).collect();
                        let result = Ok(Opened { at, contents, looked_at });
                        Reply::Opened(Input::StreamOpened { epoch, result }, sightings)
                    }
                    Err(failure) => {
                        let result = Err(failure.fault);
                        Reply::SourceFailed(Input::StreamOpened { epoch, result }, failure)
                    }
                }
            }
            SourceOrder::Fetch { epoch, max_events, max_bytes } => {
                match source.next(max_events, max_bytes).await {
                    Ok(mut read) => {
                        let events = std::mem::take(&mut read.events);
                        let result = Ok(Batch { events, idle: read.idle.clone() });
                        Reply::Fetched(Input::Fetched { epoch, result }, read)
                    }
                    Err(failure) => {
                        let result = Err(failure.fault);
                        Reply::SourceFailed(Input::Fetched { epoch, result }, failure)
                    }
                }
            }
            SourceOrder::Count { names, from } => {
                let (counting, replies) = (source.count(names.clone()), replies.clone());
                tokio::spawn(async move {
                    let counted = tokio::time::timeout(COUNT_WITHIN, counting).await;
                    // Who reads the log has to know of them, with or without a number.
                    let uncounted = |_elapsed| names.into_iter().map(|name| (name, None)).collect();
                    let documents = counted.unwrap_or_else(uncounted);
                    // A driver that has ended needs no number.
                    let _ = replies.send(Reply::Counted { documents, from }).await;
                });
                continue;
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

pub(super) async fn store_task<T: TokenStore>(
    mut store: T,
    mut orders: mpsc::Receiver<StoreOrder>,
    replies: mpsc::Sender<Reply>,
    database: String,
) {
    while let Some(order) = orders.recv().await {
        let reply = match order {
            StoreOrder::Acquire { id, source, over_damage } => {
                store.set_source(&source);
                acquired(id, store.acquire(over_damage).await, &database)
            }
            StoreOrder::Renew { id } => match store.renew().await {
                Ok(()) => Reply::Store(Input::LeaseRenewed { id, result: Ok(()) }),
                Err(failure) => {
                    let result = Err(failure.fault);
                    Reply::StoreFailed(Input::LeaseRenewed { id, result }, failure)
                }
            },
            StoreOrder::Save { id, token, lineage, change } => {
                match store.save(token.position(), lineage, &change).await {
                    Ok(recorded) => {
                        recorded.opened.iter().for_each(warn_of_gap);
                        let result = Ok(notices(&recorded.opened, &database));
                        Reply::Record(Input::TokenSaved { id, result }, recorded.open_gaps, Duration::ZERO)
                    }
                    Err(failure) => {
                        let result = Err(failure.fault);
                        Reply::StoreFailed(Input::TokenSaved { id, result }, failure)
                    }
                }
            }
            StoreOrder::Release { id } => {
                let input = Input::LeaseReleased { id, result: () };
                match store.release().await {
                    Ok(()) => Reply::Store(input),
                    // The lease runs out by itself, and the service ends either way.
                    Err(failure) => Reply::StoreFailed(input, failure),
                }
            }
        };
        if replies.send(reply).await.is_err() {
            break;
        }
    }
}

fn identified(result: Result<SourceIdentity, Failure>) -> Reply {
    let refused = |refusal| Input::SourceIdentified { result: Err(refusal) };
    match result {
        Ok(SourceIdentity::Watchable(name)) => {
            Reply::Identified(Input::SourceIdentified { result: Ok(()) }, name.into())
        }
        Ok(SourceIdentity::Unwatchable(text)) => {
            Reply::Unwatchable(refused(SourceRefusal::Unwatchable), text)
        }
        Err(failure) => Reply::SourceFailed(refused(SourceRefusal::Failed(failure.fault)), failure),
    }
}

fn acquired(id: EffectId, result: Result<Acquisition, Failure>, database: &str) -> Reply {
    let taken = |saved, unannounced| {
        let result = Ok(Taken { saved, unannounced, fresh: fresh_lineage() });
        Input::LeaseTaken { id, result }
    };
    let refused = |refusal| Input::LeaseTaken { id, result: Err(refusal) };
    let not_ours = |refusal, text| {
        Reply::StoreFailed(refused(refusal), Failure::new(Fault::Fatal, "lease_acquire", text))
    };
    match result {
        Ok(Acquisition::Empty) => Reply::Record(taken(Saved::Nothing, Vec::new()), 0, Duration::ZERO),
        Ok(Acquisition::Lost) => Reply::Record(taken(Saved::Lost, Vec::new()), 0, Duration::ZERO),
        Ok(Acquisition::Position { record, known }) => {
            let saved_ago = record.age();
            let TokenRecord { token, lineage, gaps, .. } = *record;
            let open = GapRecord::count_open(&gaps);
            let saved = Saved::Position(Checkpoint { token, lineage, known });
            Reply::Record(taken(saved, notices(&gaps, database)), open, saved_ago)
        }
        Ok(Acquisition::Held { holder, expires_in, saved_ago }) => {
            // An expiry of zero would spin: the store's clock has not moved on yet.
            let expires_in = expires_in.max(Duration::from_millis(100));
            Reply::Held(refused(LeaseRefusal::Held { expires_in }), holder, saved_ago)
        }
        Ok(Acquisition::Foreign(text)) => not_ours(LeaseRefusal::OtherSource, text),
        Ok(Acquisition::Damaged(text)) => not_ours(LeaseRefusal::Damaged, text),
        Ok(Acquisition::Unreadable(text)) => not_ours(LeaseRefusal::Unreadable, text),
        Err(failure) => Reply::StoreFailed(refused(LeaseRefusal::Failed(failure.fault)), failure),
    }
}

/// The control messages of the gaps that Kafka may not have.
fn notices(gaps: &[GapRecord], database: &str) -> Vec<Notice<Message>> {
    gaps.iter().filter(|gap| !gap.announced).map(|gap| notice(gap, database)).collect()
}

fn notice(gap: &GapRecord, database: &str) -> Notice<Message> {
    let told = GapNotice { from: gap.from, to: gap.to, cause: &gap.cause, collections: &gap.collections };
    let time = gap.to.cluster_time().unwrap_or_default();
    let record = Control::Gap(told).message(database, gap.to, time);
    Notice { bytes: record.bytes(), record }
}

fn warn_of_gap(gap: &GapRecord) {
    tracing::warn!(
        operation = "gap",
        cause = gap.cause,
        collections = %gap.collections.join(", "),
        from = %gap.from.map_or_else(|| "unknown".to_owned(), |from| from.to_string()),
        to = %gap.to,
        "a part of the history is not delivered; it is on record (`cdc token show`)"
    );
}

/// The lineage that a record made now would get: Unix seconds, which fit 32 bits until 2106.
fn fresh_lineage() -> Lineage {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Lineage(u32::try_from(seconds).unwrap_or(u32::MAX))
}
