//! What the Watcher asks, orders and hears, each said once.

use alloc::vec::Vec;

use cdc_machine::{EffectId, Epoch, Fault, Lineage, SeqNo, Settled, requests, timers};

use crate::batches::Batching;
use crate::events::{Batch, Notice, Opened, Reading, SourceRefusal, StartAt};
use crate::gap::{RecordChange, TopicState};
use crate::position::{LeaseRefusal, Taken};

/// Proof that Kafka has everything up to and including a token.
pub type AckedToken<T> = Settled<T>;

timers! {
    /// What a timer is for.
    pub enum TimerKind {
        /// The end of a back-off in front of a reconnection.
        Reconnect: jitter,
        /// The end of a back-off in front of another save.
        SaveRetry: jitter,
        /// The shortest time between two saves.
        SaveSpacing,
        /// The longest time that an acked event stays unsaved while traffic is slow.
        SaveDelay,
        /// The longest time that an idle position stays unsaved.
        IdleSave,
        /// The lease's renewal.
        LeaseRenew,
        /// Another look at a lease that somebody else holds.
        LeaseWait,
        /// The end of a drain's patience.
        Drain,
    }
}

requests! {
    /// An order to the world. `R` is a message's handle, `T` a resume token.
    effect Effect<R, T>;
    /// A fact about the world, as the Watcher hears it. `R` is a message's handle, `T` a resume token; the
    /// machine looks into neither, except that tokens have an order.
    input Input<R, T>;
    timer TimerKind;

    requests {
        /// Ask the source who it is, and whether what is watched can be. At most one such question is out.
        IdentifySource() {}
            /// What it said. Whoever drives the machine keeps the source's name for the lease.
            -> SourceIdentified: Result<(), SourceRefusal>;
        /// Take the lease and read the record; with `over_damage` also where the record is damaged, which loses
        /// what it held.
        AcquireLease(id: EffectId) { over_damage: bool }
            /// The lease is ours with what the record holds, or why it is not.
            -> LeaseTaken: Result<Taken<R, T>, LeaseRefusal>;
        /// Extend the lease.
        RenewLease(id: EffectId) {}
            /// Its time is extended, or it was not.
            -> LeaseRenewed: Result<(), Fault>;
        /// Give the lease back.
        ReleaseLease(id: EffectId) {}
            /// It is given back, or could not be: either way the service may end.
            -> LeaseReleased: ();
        /// Make a producer (anew, where there was one) that batches like this, and see that the topics exist.
        PrepareProducer(id: EffectId) { batching: Batching }
            /// The producer is ready and the topics exist, one for each watched collection in the same order; or
            /// the producer could not be made, or the topics not be had.
            -> ProducerPrepared: Result<Vec<TopicState>, Fault>;
        /// Open a change stream.
        OpenStream(epoch: Epoch) { from: StartAt<T>, lineage: Lineage, reading: Reading }
            /// It is open, or could not be opened.
            -> StreamOpened: Result<Opened<T>, Fault>;
        /// Read at most this much.
        Fetch(epoch: Epoch) { max_events: u32, max_bytes: u64 }
            /// At most as much as was asked for; or the stream broke.
            -> Fetched: Result<Batch<R, T>, Fault>, of_batch;
        /// Record the position, and what changes with it, in one compare-and-set.
        SaveToken(id: EffectId) { token: AckedToken<T>, lineage: Lineage, change: RecordChange<T> }
            /// It is recorded, with the control messages of the gaps that this save opened and Kafka does not have;
            /// or it is not, or nobody knows.
            -> TokenSaved: Result<Vec<Notice<R>>, Fault>;
    }
    orders {
        /// Hand one message to Kafka, into the partition that its key falls into among so many.
        Publish { seq: SeqNo, record: R, partitions: u32 } -> [Delivered, DeliveryFailed, DeliveryTooLarge];
        /// Hand copies of these messages to every partition of every topic, `copies` of each in all. Each copy is
        /// reported on under the same number.
        PublishControl { seq: SeqNo, records: Vec<R>, copies: u32 } -> [Delivered, DeliveryFailed];
        /// Hand a body-less marker to Kafka's dead letters, in the place of a message that does not fit.
        PublishMarker { seq: SeqNo, marker: R } -> [Delivered, DeliveryFailed, DeliveryTooLarge];
        /// Take back what the producer has only queued.
        PurgeQueued -> [DeliveryFailed];
        /// Close the stream.
        CloseStream { epoch: Epoch };
    }
    facts {
        /// The service begins.
        Start;
        /// The running producer died (a fatal librdkafka error). No report comes for what it still held.
        ProducerLost { fault: Fault };
        /// Kafka has these messages.
        Delivered { seqs: Vec<SeqNo> };
        /// Kafka does not have this message. `TooLarge` where the batch that it shared was refused for its size.
        DeliveryFailed { seq: SeqNo, fault: Fault };
        /// This message does not fit: it was refused alone. `marker` says so in its place; where the policy is to skip
        /// such messages, nothing more is heard of it.
        DeliveryTooLarge { seq: SeqNo, marker: R };
    }
}
