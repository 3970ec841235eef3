use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cdc_machine::{EffectId, Epoch};
use cdc_syncer::{
    Batch, FetchStart, LogBounds, OffsetGap, Parking, Partition, Record, Reject, RetryOutcome, WriteOutcome,
};

use super::World;
use cdc_ports::{
    ConsumerEvent, Database, Failure, KafkaRecord, LedgerCheck, LedgerClaim, LedgerCommit, LedgerEntry,
    MissingTopic, RecordConsumer, RejectedRecord, RetryCounts, RetryReply, Share, TablesAtRisk,
    TopicPartition, WriteReply,
};

const PARTITION: Partition = Partition(0);

impl World {
    pub(crate) fn tell(&self, event: ConsumerEvent) {
        self.script().queue.push_back(event);
        self.nudge.notify_one();
    }
}

impl RecordConsumer for World {
    async fn join(&self) -> Result<(), Failure> {
        self.call("join")?;
        self.tell(ConsumerEvent::Assigned(vec![PARTITION]));
        Ok(())
    }

    async fn leave(&self) {
        self.call("leave").unwrap();
    }

    async fn event(&self) -> ConsumerEvent {
        loop {
            if let Some(event) = self.script().queue.pop_front() {
                return event;
            }
            self.nudge.notified().await;
        }
    }

    fn name(&self, _: Partition) -> TopicPartition {
        TopicPartition { topic: Arc::from("t"), partition: 0 }
    }

    async fn committed(&self, partitions: &[Partition]) -> Result<Vec<Option<i64>>, Failure> {
        self.call("committed")?;
        Ok(vec![Some(0); partitions.len()])
    }

    async fn log_bounds(&self, partitions: &[Partition]) -> Result<Vec<Option<LogBounds>>, Failure> {
        let end = i64::from(self.script().events);
        Ok(vec![Some(LogBounds { first: 0, end }); partitions.len()])
    }

    async fn log_ends(&self, partitions: &[Partition]) -> Result<Vec<Option<i64>>, Failure> {
        let end = i64::from(self.script().events);
        Ok(vec![Some(end); partitions.len()])
    }

    async fn missing_topics(&self) -> Result<Vec<MissingTopic>, Failure> {
        Ok(Vec::new())
    }

    async fn commit(&self, _: &[(Partition, i64)]) -> Result<(), Failure> {
        self.call("commit")
    }

    fn start(&self, starts: &[FetchStart]) {
        let mut script = self.script();
        script.epoch = starts[0].epoch;
        script.offset = 0;
    }

    fn stop(&self, _: &[Partition]) {}

    fn fetch(&self, _: u32, _: u64) {
        let record = {
            let mut script = self.script();
            if script.offset >= i64::from(script.events) {
                return;
            }
            script.offset += 1;
            let handle = KafkaRecord::new(b"", None, b"", 0);
            let (epoch, offset) = (script.epoch, script.offset - 1);
            Record { partition: PARTITION, epoch, offset, route: 0, bytes: 1, handle }
        };
        self.tell(ConsumerEvent::Records(vec![record]));
    }

    fn pause(&self) {}

    fn resume(&self) {}

    fn confirm_revoked(&self, _: EffectId) {}

    async fn dead_letter(&self, _: RejectedRecord) -> Result<(), Failure> {
        self.call("dead_letter")
    }

    async fn probe(&self) -> Result<(), Failure> {
        self.call("probe")
    }

    fn revocation_deadline(&self) -> Duration {
        Duration::from_secs(6)
    }
}

impl Database for World {
    async fn connect(&self) -> Result<(), Failure> {
        self.call("connect")
    }

    async fn acquire(&self, claims: &[LedgerClaim], _: u32) -> Result<Vec<LedgerEntry>, Failure> {
        self.call("acquire")?;
        let held = self.script().held.clone();
        Ok(vec![LedgerEntry { next_offset: Some(0), held, ..LedgerEntry::default() }; claims.len()])
    }

    async fn write(&self, _: &Batch<KafkaRecord>, _: Share, _: Parking) -> WriteReply {
        let counts = self.script().counts.clone();
        match self.call("write") {
            Ok(()) => {
                let outcome = WriteOutcome::Written { rejected: Vec::new(), parked: Vec::new() };
                WriteReply {
                    outcome,
                    counts,
                    begun: Some(SystemTime::now()),
                    tables: Vec::new(),
                    failure: None,
                }
            }
            Err(failure) => WriteReply {
                outcome: WriteOutcome::Failed {
                    fault: failure.fault,
                    reason: Reject::Database,
                    sqlstate: None,
                    detail: Arc::from("as scripted"),
                },
                counts,
                begun: None,
                tables: Vec::new(),
                failure: Some(failure),
            },
        }
    }

    async fn retry_parked(&self, _: Share, _: &[(Partition, Epoch)], _: &[(Partition, i64)]) -> RetryReply {
        let (outcome, failure) = match self.call("retry_parked") {
            Ok(()) => {
                (RetryOutcome::Done { parked: Vec::new(), is_changed: false, rejected: Vec::new() }, None)
            }
            Err(failure) => (RetryOutcome::Failed { fault: failure.fault }, Some(failure)),
        };
        RetryReply { outcome, counts: RetryCounts::default(), failure }
    }

    async fn record(&self, _: &[LedgerCommit]) -> Result<Vec<Partition>, Failure> {
        self.call("record").map(|()| Vec::new())
    }

    async fn move_offsets(&self, _: &[OffsetGap]) -> Result<Vec<Partition>, Failure> {
        self.call("move").map(|()| Vec::new())
    }

    async fn check(&self, _: &[(Partition, Epoch)]) -> Result<LedgerCheck, Failure> {
        self.call("check").map(|()| LedgerCheck::default())
    }

    fn tables_at_risk(&self) -> TablesAtRisk {
        TablesAtRisk::default()
    }

    async fn saw_ends(&self, _: &[LedgerCommit]) -> Result<(), Failure> {
        Ok(())
    }

    async fn open_gaps(&self) -> Result<u64, Failure> {
        self.call("probe").map(|()| 0)
    }

    async fn close(&self) {}
}
