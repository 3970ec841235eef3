//! What the executor sees to beside the machine's orders: gauges, signs of life, looks at the logs' ends.

use std::time::Duration;

use cdc_machine::{Dependency, StateName};
use tokio::time::Instant;

use super::answers::Reply;
use super::{Hands, SERVICE, requests};
use crate::health::{PATIENCE, within_reason};
use cdc_ports::{Database, RecordConsumer};

/// How often the open gaps are counted while there is work.
const COUNT_GAPS_EVERY: Duration = Duration::from_secs(10);

impl<C: RecordConsumer, D: Database> Hands<C, D> {
    pub(super) fn tell_lag(&mut self) {
        let (greatest, topics) = self.lags.tell();
        match greatest {
            Some(seconds) => self.metrics.common.lag.set(seconds),
            // How far behind these are is not known yet, which is not to say that they are not.
            None if self.lags.has_any() => {}
            None => self.metrics.common.lag.end(),
        }
        self.lag_told = Some(topics);
    }

    /// Asks now and then where the logs end, and whether the topics are there.
    pub(super) fn look(&mut self) {
        if let Some(look) = self.missing.begin_look() {
            let (consumer, partitions) = (self.consumer.clone(), self.lags.partitions());
            self.request(requests::look(partitions, look, consumer));
        }
    }

    pub(super) fn moved(&self, from: StateName, to: StateName, input: &'static str) {
        self.metrics.common.moved(from, to);
        crate::log_transition(SERVICE, from, to, input);
    }

    /// Asks for a sign of life whoever was not heard for a while and owes nothing; and now and then how many gaps are
    /// open, since a person may have acknowledged some.
    pub(super) fn probe(&mut self) {
        let is_asked = self.pending.connection.age() + self.pending.commit.age() > Duration::ZERO;
        if !self.probing[0] && !is_asked && self.kafka.is_quiet() {
            self.probing[0] = true;
            let consumer = self.consumer.clone();
            self.request(
                async move { Reply::Probed(Dependency::Kafka, within_reason(consumer.probe()).await) },
            );
        }
        let is_quiet = !is_asked && self.writing == 0 && self.postgres.is_quiet();
        let is_due = self.counted_gaps.is_none_or(|counted| counted.elapsed() >= COUNT_GAPS_EVERY);
        if !self.probing[1] && (is_quiet || is_due) {
            self.probing[1] = true;
            self.counted_gaps = Some(Instant::now());
            let database = self.database.clone();
            self.request(async move { Reply::GapsCounted(within_reason(database.open_gaps()).await) });
        }
    }

    /// Which neighbour gave a bad answer, or owes one for too long.
    pub(super) fn trouble(&self) -> Option<String> {
        if let Some(trouble) = self.kafka.trouble().or(self.postgres.trouble()) {
            return Some(trouble.to_owned());
        }
        let pending = [
            (
                "postgres",
                self.pending.connection.age().max(self.pending.writes.age()).max(self.pending.check.age()),
            ),
            ("postgres or kafka", self.pending.commit.age()),
            ("kafka", self.pending.membership.age()),
        ];
        let (name, age) = pending.into_iter().max_by_key(|(_, age)| *age)?;
        (age > PATIENCE).then(|| format!("{name} owes an answer for {} s", age.as_secs()))
    }
}
