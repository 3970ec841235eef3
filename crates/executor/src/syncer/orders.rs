//! The machine's orders, each carried out by its line.

use std::future::Future;
use std::ops::ControlFlow;

use cdc_machine::{Cause, Dependency, Fault};
use cdc_syncer::WorkerId;

use super::answers::{Heard, Reply, Told};
use super::batch_log::SKIPPED;
use super::{Effect, Hands, Input, Wait, requests};
use crate::given_up::GivenUp;
use cdc_ports::{Database, Failure, RecordConsumer, RejectedRecord, Share};

impl<C: RecordConsumer, D: Database> Hands<C, D> {
    /// Carries out one order. Every order has its line here; what it comes to returns as an input.
    pub(super) fn carry_out(&mut self, effect: Effect) -> ControlFlow<Cause> {
        let (consumer, database) = (self.consumer.clone(), self.database.clone());
        match effect {
            Effect::ConnectDatabase { id } => self.ask(
                (Some(Wait::Connection), Dependency::Postgres),
                async move { database.connect().await },
                move |result| Input::DatabaseConnected { id, result },
                Told::Nothing,
            ),
            Effect::JoinGroup { id } => {
                // A new client is given everything anew.
                self.lags.rejoin();
                self.revoking.clear();
                self.ask(
                    (Some(Wait::Membership), Dependency::Kafka),
                    async move { consumer.join().await },
                    move |result| Input::GroupJoined { id, result },
                    Told::Nothing,
                );
            }
            Effect::LeaveGroup { id } => self.request(requests::leave(id, consumer)),
            Effect::AcquirePartitions { id, partitions } => {
                self.pending.of(Wait::Connection).asked();
                self.request(requests::acquire(id, partitions, self.workers, consumer, database));
            }
            Effect::MoveOffsets { id, gaps } => {
                let moved = Told::Gaps(gaps.clone());
                self.ask(
                    (Some(Wait::Connection), Dependency::Postgres),
                    async move { database.move_offsets(&gaps).await },
                    move |result| Input::OffsetsMoved { id, result },
                    moved,
                );
            }
            Effect::CheckLedger { id, partitions } => self.ask(
                (Some(Wait::Check), Dependency::Postgres),
                async move { database.check(&partitions).await },
                move |result| Input::LedgerChecked { id, result },
                Told::Nothing,
            ),
            Effect::StartFetching { starts } => {
                self.lags.started(&starts);
                consumer.start(&starts);
            }
            Effect::StopFetching { partitions } => consumer.stop(&partitions),
            Effect::Fetch { max_records, max_bytes } => consumer.fetch(max_records, max_bytes),
            Effect::Pause => consumer.pause(),
            Effect::Resume => consumer.resume(),
            Effect::ConfirmRevoked { id } => {
                for (_, partitions) in self.revoking.extract_if(.., |(asked, _)| *asked == id) {
                    self.lags.lost(&partitions);
                }
                consumer.confirm_revoked(id);
            }
            Effect::WriteBatch { worker, id, batch, parking } => {
                self.begin_writing();
                self.request(requests::write(self.share(worker), id, batch, parking, database));
            }
            Effect::RetryParked { worker, id, partitions, given_up } => {
                self.begin_writing();
                let share = self.share(worker);
                self.request(requests::retry_parked(share, id, partitions, given_up, database));
            }
            Effect::DeadLetter { id, row, reason, sqlstate, detail, attempts } => {
                let origin = self.consumer.name(row.partition);
                let given_up = GivenUp::new(origin.clone(), &row, reason, &detail);
                let (offset, record) = (row.offset, row.handle);
                let record = RejectedRecord { origin, offset, record, reason, sqlstate, detail, attempts };
                let traces = self.traces.clone();
                self.ask(
                    (None, Dependency::Kafka),
                    requests::put_aside(record, consumer, traces),
                    move |result| Input::DeadLettered { id, result },
                    Told::PutAside(given_up),
                );
            }
            Effect::Skip { row, reason, detail } => {
                let place = self.consumer.name(row.partition);
                self.gave_up(&GivenUp::new(place, &row, reason, &detail), "skip", SKIPPED);
            }
            Effect::CommitOffsets { id, offsets } => {
                self.pending.of(Wait::Commit).asked();
                self.request(requests::commit(id, offsets, consumer, database));
            }
            Effect::SetTimer { timer, after } if timer.kind.has_jitter() => {
                self.timers.set_with_jitter(timer, after);
            }
            Effect::SetTimer { timer, after } => self.timers.set(timer, after),
            Effect::CancelTimer { timer } => self.timers.cancel(timer),
            Effect::Stop { cause } => return ControlFlow::Break(cause),
        }
        ControlFlow::Continue(())
    }

    const fn share(&self, worker: WorkerId) -> Share {
        Share { worker, of: self.workers }
    }

    fn begin_writing(&mut self) {
        self.writing += 1;
        self.pending.of(Wait::Writes).asked();
    }

    pub(super) fn end_writing(&mut self) {
        self.writing -= 1;
        self.pending.of(Wait::Writes).answered();
        if self.writing > 0 {
            self.pending.of(Wait::Writes).asked();
        }
    }

    /// Makes a request of one neighbour. The machine hears how it ended; what else there is to tell is told where it was
    /// met.
    fn ask<T: Send + 'static>(
        &mut self,
        (wait, from): (Option<Wait>, Dependency),
        call: impl Future<Output = Result<T, Failure>> + Send + 'static,
        input: impl FnOnce(Result<T, Fault>) -> Input + Send + 'static,
        met: Told,
    ) {
        if let Some(wait) = wait {
            self.pending.of(wait).asked();
        }
        self.request(async move {
            match call.await {
                Ok(answer) => Reply::answer(wait, input(Ok(answer)), Heard::Answered(from), met),
                Err(failure) => Reply::failed(wait, input(Err(failure.fault)), from, failure),
            }
        });
    }

    pub(super) fn request(&mut self, request: impl Future<Output = Reply> + Send + 'static) {
        self.requests.spawn(request);
    }
}
