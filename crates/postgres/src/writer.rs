//! The line that a batch takes, and a retry of parked rows: partitions, decode, plan, prepare, write. Whatever ends it early is
//! a [`Stop`].

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use cdc_machine::Fault;
use cdc_ports::{KafkaRecord, Share, WriteCounts};
use cdc_syncer::{Batch, ParkedRows, Parking, Rejected};
use tokio::time::Instant;

use crate::bindings::BatchTopics;
use crate::credit::EncodingCredit;
use crate::decode::{Incoming, decode};
use crate::execute::job::Job;
use crate::execute::judge::{InternalErrors, WrittenAs, judge};
use crate::execute::pieces::BadRows;
use crate::execute::retry::{Retried, retry};
use crate::execute::write::write;
use crate::ledger::Ledger;
use crate::parked::entries::{BYTES_MAX, Entries, Request};
use crate::plan::Plan;
use crate::prepare::{CopyRule, prepare, prepare_retry};
use crate::server::current_pool::CurrentPool;
use crate::server::operation::{RETRY_PARKED, WRITE};
use crate::server::session::Session;
use crate::server::trouble::Trouble;
use crate::settings::Settings;
use crate::stop::Stop;
use crate::tables::lookup::Tables;
use crate::tables::targets::FeedWatch;

/// Times that a batch is planned: once more where a table has changed, and where it changes again meanwhile.
const PASSES_MAX: u32 = 3;

/// Writes batches, and tries parked rows again.
#[derive(Debug)]
pub(crate) struct Writer {
    settings: Arc<Settings>,
    pool: Arc<CurrentPool>,
    ledger: Arc<Ledger>,
    tables: Arc<Tables>,
    credit: EncodingCredit,
    told_no_stage: AtomicBool,
    internal_errors: InternalErrors,
}

/// A batch that is written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) counts: WriteCounts,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) parked: Vec<ParkedRows>,
    /// When the transaction began; `None` where there was nothing to write.
    pub(crate) begun: Option<SystemTime>,
    /// The tables, where one of the batch's events is sampled.
    pub(crate) tables: Vec<String>,
}

impl Writer {
    pub(crate) fn new(
        settings: Arc<Settings>,
        pool: Arc<CurrentPool>,
        ledger: Arc<Ledger>,
        tables: Arc<Tables>,
    ) -> Self {
        Self {
            settings,
            pool,
            ledger,
            tables,
            credit: EncodingCredit::default(),
            told_no_stage: AtomicBool::new(false),
            internal_errors: InternalErrors::default(),
        }
    }

    /// Writes a batch in one transaction.
    pub(crate) async fn write(
        &self,
        batch: &Batch<KafkaRecord>,
        share: Share,
        parking: Parking,
    ) -> Result<Written, Stop> {
        let begun = Instant::now();
        let owned = self.ledger.owned_by(batch.rows()).map_err(Stop::Refused)?;
        let bytes = batch.rows().iter().map(|row| u64::from(row.bytes)).sum();
        let _credit = self.credit.take(bytes).await;
        let topics = self.tables.bindings.of(&owned)?;
        let mut plan = self.plan(batch.rows(), &topics, parking != Parking::Off, begun).await?;
        let rejected = std::mem::take(&mut plan.rejected);
        // One set of counts goes down the whole line; each stage adds what it knows.
        let mut counts = std::mem::take(&mut plan.counts);
        if plan.tables.is_empty() {
            return Ok(Written { counts, rejected, parked: Vec::new(), begun: None, tables: Vec::new() });
        }
        let pool = self.pool.get(WRITE)?;
        let mut session = pool.get(WRITE).await?;
        let watch = FeedWatch::new(&self.tables.targets, plan.feedings());
        let rule = CopyRule { threshold: self.settings.copy_threshold, told_no_stage: &self.told_no_stage };
        let job = Job { batch: batch.rows(), ledger: &self.ledger, owned: &owned, share, parking };
        let tables = if batch.rows().iter().any(|row| row.handle.trace.is_some()) {
            plan.tables.iter().map(|table| table.target.table.label()).collect()
        } else {
            Vec::new()
        };
        let mut transaction = None;
        let written = async {
            let prepared = prepare(&mut session, &plan, parking, rule).await?;
            transaction = Some(SystemTime::now());
            write(&mut session, &mut plan, &prepared, &job, &mut counts).await
        };
        match written.await {
            Ok(parked) => {
                watch.committed();
                self.internal_errors.forget(batch.rows());
                Ok(Written { counts, rejected, parked, begun: transaction, tables })
            }
            Err(Stop::Failed(trouble)) => {
                self.note_trouble(&trouble, &mut session);
                drop(session);
                let written_as = WrittenAs::of(&plan);
                Err(judge(&self.tables, &self.internal_errors, trouble, &topics, &written_as, batch.rows())
                    .await)
            }
            Err(stop @ (Stop::Refused(_) | Stop::Held(_))) => Err(stop),
        }
    }

    /// Tries parked rows again in one transaction.
    pub(crate) async fn retry(&self, request: Request<'_>) -> Result<Retried, Stop> {
        let begun = Instant::now();
        let owned = self.ledger.owned(request.partitions).map_err(Stop::Refused)?;
        let _credit = self.credit.take(BYTES_MAX.unsigned_abs()).await;
        let pool = self.pool.get(RETRY_PARKED)?;
        let mut session = pool.get(RETRY_PARKED).await?;
        // Outside of the transaction, because tables may have to be looked up. Only this worker writes these
        // rows, as long as the partitions are ours.
        let entries = Entries::read(&mut session, self.ledger.consumer_group(), &owned, request)
            .await
            .map_err(|error| Trouble::of(RETRY_PARKED, error))?;
        drop(session);
        let topics = self.tables.bindings.of(&owned)?;
        // What may be the table's is no row's before the table was looked at.
        let mut bad_rows = BadRows::SetAsideUndoubted;
        loop {
            let plan = self.plan(&entries.list, &topics, true, begun).await?;
            let mut session = pool.get(RETRY_PARKED).await?;
            let watch = FeedWatch::new(&self.tables.targets, plan.feedings());
            let retried = async {
                let prepared = prepare_retry(&mut session, &plan).await?;
                let how = (request.share, bad_rows);
                retry(&mut session, &self.ledger, how, &owned, &entries, (&plan, &prepared)).await
            };
            let trouble = match retried.await {
                Ok(retried) => {
                    watch.committed();
                    return Ok(retried);
                }
                Err(Stop::Failed(trouble)) => trouble,
                Err(stop @ (Stop::Refused(_) | Stop::Held(_))) => return Err(stop),
            };
            self.note_trouble(&trouble, &mut session);
            drop(session);
            let written_as = WrittenAs::of(&plan);
            match judge(&self.tables, &self.internal_errors, trouble, &topics, &written_as, &[]).await {
                Stop::Failed(trouble)
                    if trouble.failure.fault == Fault::Poison && bad_rows == BadRows::SetAsideUndoubted =>
                {
                    bad_rows = BadRows::SetAside;
                }
                stop @ (Stop::Refused(_) | Stop::Held(_) | Stop::Failed(_)) => return Err(stop),
            }
        }
    }

    /// Turns records into rows of their tables as these are now. Where a record or a field does not fit, the table is
    /// looked at once more before anything is given up.
    async fn plan<R: Incoming>(
        &self,
        incoming: &[R],
        topics: &BatchTopics,
        keeps_keys: bool,
        begun: Instant,
    ) -> Result<Plan, Stop> {
        let mut pass = 0;
        loop {
            pass += 1;
            let records = decode(incoming, topics);
            let tables = self.tables.tables_of(topics, &records).await?;
            let plan = Plan::new(records, &tables, keeps_keys);
            self.tables.tell_of_shadowed(&plan.shadowed);
            if plan.doubts.is_empty() || pass >= PASSES_MAX {
                return Ok(plan);
            }
            match self.tables.settle_doubts(topics, &tables, &plan.doubts, begun).await {
                Ok(true) => return Ok(plan),
                Ok(false) => {}
                Err(trouble) => return Err(self.tables.stop_of_doubts(topics, &plan.doubts, trouble)),
            }
        }
    }

    fn note_trouble(&self, trouble: &Trouble, session: &mut Session) {
        if !trouble.outdates_catalog {
            return;
        }
        session.forget_statements();
        // Of a doubt, the table that it is about is looked at again by itself.
        if trouble.doubt.is_none() {
            self.tables.targets.forget();
        }
    }
}
