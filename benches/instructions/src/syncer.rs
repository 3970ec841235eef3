//! The Syncer machine, from the fetch to the committed offset, in a world that does what it is told.

use std::collections::VecDeque;

use bytes::Bytes;
use cdc_machine::{Effects, Epoch, Machine as _, TimerId};
use cdc_ports::KafkaRecord;
use cdc_syncer::{
    Acquired, Config, Effect, Input, LogBounds, Partition, Record, Syncer, Taken, TimerKind, Topic,
    WriteOutcome,
};

use crate::Failure;

/// Partitions of the topic.
const PARTITIONS: u32 = 8;
/// The size of each record.
const BYTES: u32 = 1_000;

struct World {
    /// Records that the log still has.
    left: u64,
    /// Records read so far.
    read: u64,
    /// The assignment of each partition, and the next offset.
    partitions: Vec<(Epoch, i64)>,
    record: KafkaRecord,
    timers: Vec<TimerId<TimerKind>>,
    inputs: VecDeque<Input<KafkaRecord>>,
    commits: u64,
}

pub(crate) fn run(events: u64) -> Result<(), Failure> {
    let config = Config::default();
    let mut machine = Syncer::new(&config);
    let mut world = World::new(events);
    let mut out = Effects::new();
    let mut next = Some(Input::Start);
    while let Some(input) = next {
        machine.step(&config, input, &mut out);
        for effect in out.drain() {
            world.carry_out(effect);
        }
        next = world.next();
    }
    let buffered = machine.buffered_records();
    if buffered > 0 || world.commits == 0 || world.left > 0 || machine.unexpected_inputs() > 0 {
        return Err(format!("{buffered} records are not committed, {} were not read", world.left).into());
    }
    Ok(())
}

impl World {
    fn new(left: u64) -> Self {
        let content = Bytes::from_static(b"keyvalue");
        let record = KafkaRecord::of_content(content, "key".len(), Some("value".len()), 0);
        Self {
            left,
            read: 0,
            partitions: vec![(Epoch(0), 0); PARTITIONS as usize],
            record,
            timers: Vec::new(),
            inputs: VecDeque::new(),
            commits: 0,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else a machine orders does not happen in this world"
    )]
    fn carry_out(&mut self, effect: Effect<KafkaRecord>) {
        match effect {
            Effect::ConnectDatabase { id } => {
                self.inputs.push_back(Input::DatabaseConnected { id, result: Ok(()) });
            }
            Effect::JoinGroup { id } => {
                self.inputs.push_back(Input::GroupJoined { id, result: Ok(()) });
                let partitions = (0..PARTITIONS).map(|number| (Partition(number), Topic(0))).collect();
                self.inputs.push_back(Input::Assigned { partitions });
            }
            Effect::AcquirePartitions { id, partitions } => {
                let partitions = partitions.into_iter().map(|(partition, epoch)| Acquired {
                    partition,
                    epoch,
                    ledger: Some(0),
                    group: None,
                    log: LogBounds { first: 0, end: i64::MAX },
                    end_seen: None,
                    parked: Vec::new(),
                });
                let partitions = partitions.collect();
                self.inputs.push_back(Input::PartitionsAcquired {
                    id,
                    result: Ok(Taken { partitions, held: Vec::new() }),
                });
            }
            Effect::StartFetching { starts } => {
                for start in starts {
                    if let Some(partition) = self.partitions.get_mut(start.partition.0 as usize) {
                        partition.0 = start.epoch;
                    }
                }
            }
            Effect::Fetch { max_records, max_bytes } => {
                let most = u64::from(max_records).min(max_bytes / u64::from(BYTES)).min(self.left);
                self.left -= most;
                let records: Vec<_> = (0..most).map(|_| self.record()).collect();
                if !records.is_empty() {
                    self.inputs.push_back(Input::Records { records });
                }
            }
            Effect::WriteBatch { worker, id, .. } => {
                let result = WriteOutcome::Written { rejected: Vec::new(), parked: Vec::new() };
                self.inputs.push_back(Input::BatchWritten { worker, id, result });
            }
            Effect::CommitOffsets { id, .. } => {
                self.commits += 1;
                self.inputs.push_back(Input::OffsetsCommitted { id, result: Ok(()) });
            }
            Effect::SetTimer { timer, .. } => self.timers.push(timer),
            Effect::CancelTimer { timer } => self.timers.retain(|set| *set != timer),
            _ => {}
        }
    }

    fn record(&mut self) -> Record<KafkaRecord> {
        // Runs of 100 records of one partition, as a fetch brings them.
        let partition = u32::try_from(self.read / 100 % u64::from(PARTITIONS)).unwrap_or_default();
        self.read += 1;
        let (epoch, offset) = &mut self.partitions[partition as usize];
        *offset += 1;
        Record {
            partition: Partition(partition),
            epoch: *epoch,
            offset: *offset,
            // Neighbouring numbers differ in all bits, as hashes do.
            route: self.read.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            bytes: BYTES,
            handle: self.record.clone(),
        }
    }

    /// What happens next: a reply, or the batch or commit that is due.
    fn next(&mut self) -> Option<Input<KafkaRecord>> {
        self.inputs.pop_front().or_else(|| {
            let is_of_progress = |timer: &TimerId<TimerKind>| {
                matches!(timer.kind, TimerKind::Linger(_) | TimerKind::Flush(_) | TimerKind::CommitSpacing)
            };
            let due = self.timers.iter().position(is_of_progress)?;
            Some(Input::Timer(self.timers.remove(due)))
        })
    }
}
