//! What may come to a small machine, in each situation.

use std::time::Duration;

use cdc_machine::{Epoch, Fault, Lineage, SeqNo};
use cdc_watcher::{
    Batch, Checkpoint, CollectionId, Contents, Event, Input, Known, LeaseRefusal, Notice, Opened, Payload,
    Saved, SourceRefusal, Taken, TimerKind, TopicState,
};

use super::outstanding::{Awaited, Outstanding};
use crate::graph::asked::id_of;

type Inputs = Vec<Input<u8, u32>>;

/// The collection behind the name at the first start.
pub(super) const CONTENTS: Contents = Contents::Uuid([1; 16]);

/// A control message.
pub(super) const NOTICE: Notice<u8> = Notice { record: 0, bytes: 1 };

const SOURCE_FAULTS: [Fault; 6] =
    [Fault::Transient, Fault::HistoryLost, Fault::TooLarge, Fault::Auth, Fault::Unfit, Fault::Fatal];
const IDENTITY_FAULTS: [Fault; 3] = [Fault::Transient, Fault::Auth, Fault::Unfit];
const KAFKA_FAULTS: [Fault; 4] = [Fault::Transient, Fault::HistoryLost, Fault::Auth, Fault::Fatal];
const STORE_FAULTS: [Fault; 4] = [Fault::Transient, Fault::Fenced, Fault::Auth, Fault::Fatal];

impl Outstanding {
    /// Everything that may come. `is_known`: the topic's partitions are on record.
    pub(super) fn push_all(&self, is_known: bool, inputs: &mut Inputs) {
        self.push_timers(inputs);
        self.push_identities(inputs);
        self.push_lease_replies(inputs);
        self.push_producer_replies(is_known, inputs);
        self.push_openings(inputs);
        self.push_batches(inputs);
        self.push_reports(inputs);
        self.push_saves(inputs);
    }

    fn push_timers(&self, inputs: &mut Inputs) {
        inputs.extend(TimerKind::all(0).map(|kind| Input::Timer(self.timers.expiry(kind))));
    }

    fn push_identities(&self, inputs: &mut Inputs) {
        inputs.push(Input::SourceIdentified { result: Ok(()) });
        inputs.push(Input::SourceIdentified { result: Err(SourceRefusal::Unwatchable) });
        inputs.extend(
            IDENTITY_FAULTS
                .map(|fault| Input::SourceIdentified { result: Err(SourceRefusal::Failed(fault)) }),
        );
    }

    fn push_lease_replies(&self, inputs: &mut Inputs) {
        let (id, renewal) = (id_of(self.lease), id_of(self.renewal));
        let known = Known { contents: CONTENTS, partitions: Some(1), holds_messages: true };
        let saved = Saved::Position(Checkpoint { token: 1, lineage: Lineage(1), known: vec![Some(known)] });
        let taken = |saved, unannounced| Ok(Taken { saved, unannounced, fresh: Lineage(2) });
        let results = [
            taken(Saved::Nothing, Vec::new()),
            taken(Saved::Lost, Vec::new()),
            taken(saved.clone(), Vec::new()),
            taken(saved, vec![NOTICE]),
            Err(LeaseRefusal::Damaged),
            Err(LeaseRefusal::Unreadable),
            Err(LeaseRefusal::Held { expires_in: Duration::from_secs(1) }),
            Err(LeaseRefusal::OtherSource),
        ];
        inputs.extend(results.map(|result| Input::LeaseTaken { id, result }));
        inputs.push(Input::LeaseRenewed { id: renewal, result: Ok(()) });
        inputs.push(Input::LeaseReleased { id: id_of(self.release), result: () });
        for fault in STORE_FAULTS {
            inputs.push(Input::LeaseTaken { id, result: Err(LeaseRefusal::Failed(fault)) });
            inputs.push(Input::LeaseRenewed { id: renewal, result: Err(fault) });
        }
    }

    fn push_producer_replies(&self, is_known: bool, inputs: &mut Inputs) {
        let id = id_of(self.producer);
        let topic = TopicState { partitions: 1, was_made: false, holds_messages: true, lineage: None };
        let empty = TopicState { holds_messages: false, ..topic };
        let prepared = |topic| Input::ProducerPrepared { id, result: Ok(vec![topic]) };
        inputs.extend([topic, empty, TopicState { was_made: true, ..empty }].map(prepared));
        if is_known {
            inputs.extend([0, 2].map(|partitions| prepared(TopicState { partitions, ..topic })));
        }
        for fault in KAFKA_FAULTS {
            inputs.push(Input::ProducerPrepared { id, result: Err(fault) });
            inputs.push(Input::ProducerLost { fault });
        }
    }

    fn epoch(&self) -> Epoch {
        self.stream.unwrap_or(Epoch(u64::MAX))
    }

    fn next_token(&self) -> u32 {
        self.newest.max(1) + 1
    }

    fn push_openings(&self, inputs: &mut Inputs) {
        let (epoch, at) = (self.epoch(), self.next_token());
        for contents in [CONTENTS, Contents::Uuid([2; 16])] {
            let opened = Opened { at, contents: vec![contents], looked_at: at };
            inputs.push(Input::StreamOpened { epoch, result: Ok(opened) });
        }
        for fault in SOURCE_FAULTS {
            inputs.push(Input::StreamOpened { epoch, result: Err(fault) });
            inputs.push(Input::Fetched { epoch, result: Err(fault) });
        }
    }

    fn push_batches(&self, inputs: &mut Inputs) {
        let (epoch, token) = (self.epoch(), self.next_token());
        let message = |token| Event {
            token,
            payload: Payload::Message { record: 0, bytes: 1, collection: CollectionId(0) },
        };
        let replaced =
            Payload::Control { notices: vec![NOTICE], gone: Vec::new(), replaced: vec![CollectionId(0)] };
        let batches = [
            vec![],
            vec![message(0)],
            vec![Event { token, payload: Payload::Skip }],
            vec![Event { token, payload: Payload::Oversized { marker: 0 } }],
            vec![Event { token, payload: replaced }],
            vec![message(token)],
            vec![message(token), message(token + 1)],
        ];
        let asked = self.fetch.unwrap_or(1) as usize;
        for events in batches.into_iter().filter(|events| events.len() <= asked) {
            inputs.push(Input::Fetched { epoch, result: Ok(Batch { events, idle: None }) });
        }
        let idle = Batch { events: Vec::new(), idle: Some(token) };
        inputs.push(Input::Fetched { epoch, result: Ok(idle) });
    }

    fn push_reports(&self, inputs: &mut Inputs) {
        let mut reports = self.reports.clone();
        reports.sort_unstable();
        reports.dedup();
        if reports.is_empty() {
            reports.push(Awaited { seq: SeqNo(u64::MAX), is_control: false });
        }
        for Awaited { seq, is_control } in reports {
            inputs.push(Input::Delivered { seqs: vec![seq] });
            if !is_control {
                inputs.push(Input::DeliveryTooLarge { seq, marker: 0 });
            }
            inputs.extend(KAFKA_FAULTS.map(|fault| Input::DeliveryFailed { seq, fault }));
            inputs.push(Input::DeliveryFailed { seq, fault: Fault::TooLarge });
        }
    }

    fn push_saves(&self, inputs: &mut Inputs) {
        let (id, opens_gaps) = self.save.unzip();
        let id = id_of(id);
        inputs.push(Input::TokenSaved { id, result: Ok(Vec::new()) });
        if opens_gaps == Some(true) {
            inputs.push(Input::TokenSaved { id, result: Ok(vec![NOTICE]) });
        }
        inputs.extend(STORE_FAULTS.map(|fault| Input::TokenSaved { id, result: Err(fault) }));
    }
}
