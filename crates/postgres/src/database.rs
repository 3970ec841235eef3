use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cdc_machine::{Epoch, Fault};
use cdc_ports::{
    Database, Failure, KafkaRecord, LedgerCheck, LedgerClaim, LedgerCommit, LedgerEntry, RetryCounts,
    RetryReply, Share, TablesAtRisk, WriteCounts, WriteReply,
};
use cdc_syncer::{
    Batch, Hold, OffsetGap, ParkedRows, Parking, Partition, Rejected, RetryOutcome, Row, WriteOutcome,
};
use tokio::time::Instant;

use crate::bindings::{BatchTopics, Bindings};
use crate::bookkeeping;
use crate::catalog::closed::ClosedColumns;
use crate::commands::gaps;
use crate::credit::EncodingRoom;
use crate::execute::judge::{InternalErrors, WrittenAs};
use crate::execute::pieces::BadRows;
use crate::execute::retry::{self, OPERATION as RETRY, Request, Retried};
use crate::execute::write::{Job, OPERATION as WRITE, Written, write};
use crate::ledger::Ledger;
use crate::ledger::members::Members;
use crate::plan::{Plan, read_records};
use crate::server::pool::Pool;
use crate::server::session::Session;
use crate::server::trouble::Trouble;
use crate::settings::Settings;
use crate::tables::inspections::Glances;
use crate::tables::lookup::Found;
use crate::tables::targets::{FeedWatch, Targets};

/// No call takes longer. The server's own time-outs are shorter; this one is for a server that has stopped
/// answering at all. The connection in use is given up.
const CALL_TIMEOUT: Duration = Duration::from_secs(45);

/// Times that a batch is planned: once more where a table has changed, and where it changes again meanwhile.
const PASSES_MAX: u32 = 3;

/// The target database. Clones are handles to the same pool, ledger and tables.
#[derive(Clone, Debug)]
pub struct PostgresDatabase {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pool: RwLock<Option<Pool>>,
    pub(crate) ledger: Ledger,
    members: Option<Members>,
    pub(crate) bindings: Bindings,
    pub(crate) targets: Targets,
    pub(crate) looks: Glances,
    pub(crate) closed: ClosedColumns,
    room: EncodingRoom,
    told_no_stage: AtomicBool,
    /// Whether a schema `cdc` of an earlier version was told of.
    told_earlier_schema: AtomicBool,
    pub(crate) internal_errors: InternalErrors,
}

impl PostgresDatabase {
    /// A handle that has not connected yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let ledger = Ledger::new(settings.consumer_group.clone());
        let bindings = Bindings::new(&settings.namespaces);
        let group = settings.consumer_group.clone();
        let members = settings.member.clone().map(|member| Members::new(group, member));
        Self {
            shared: Arc::new(Shared {
                settings,
                pool: RwLock::new(None),
                ledger,
                members,
                bindings,
                targets: Targets::default(),
                looks: Glances::default(),
                closed: ClosedColumns::default(),
                room: EncodingRoom::default(),
                told_no_stage: AtomicBool::new(false),
                told_earlier_schema: AtomicBool::new(false),
                internal_errors: InternalErrors::default(),
            }),
        }
    }

    /// The tables seen so far that have no column `cdc_position`, and are written without the fence.
    #[must_use]
    pub fn unfenced_tables(&self) -> Vec<String> {
        self.shared.targets.unfenced()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    pub(crate) fn pool(&self, operation: &'static str) -> Result<Pool, Trouble> {
        let pool = self.shared.pool.read().unwrap_or_else(PoisonError::into_inner);
        pool.clone().ok_or_else(|| {
            Trouble::new(
                Fault::Unreachable,
                operation,
                "the pool is closed; it is opened by the next connection",
            )
        })
    }

    fn set_pool(&self, pool: Option<Pool>) {
        *self.shared.pool.write().unwrap_or_else(PoisonError::into_inner) = pool;
    }

    async fn open(&self) -> Result<(), Trouble> {
        const OPERATION: &str = "postgres_connect";
        // A new pool: the connections of the one before may all be dead.
        let pool = Pool::new(&self.shared.settings);
        let mut session = pool.get(OPERATION).await?;
        let (may_change, told) = (self.shared.settings.manage_schema, &self.shared.told_earlier_schema);
        let version = bookkeeping::ensure(&mut session, may_change, told).await?;
        if let Some(members) = &self.shared.members
            && version >= bookkeeping::MEMBERS
        {
            members.join(&session).await?;
        }
        drop(session);
        self.shared.targets.forget();
        self.set_pool(Some(pool));
        Ok(())
    }

    async fn take(&self, claims: &[LedgerClaim], workers: u32) -> Result<Vec<LedgerEntry>, Trouble> {
        let pool = self.pool("ledger_acquire")?;
        let mut session = pool.get("ledger_acquire").await?;
        let mut entries = self.shared.ledger.acquire(&mut session, claims, workers).await?;
        // The former owners may have fed columns of which nothing is known here.
        claims.iter().for_each(|claim| self.shared.targets.forget_topic(&claim.name.topic));
        let held = self.look_at_taken(&mut session, claims).await?;
        for (claim, entry) in claims.iter().zip(&mut entries) {
            entry.held = held.get(&claim.name.topic).cloned();
        }
        Ok(entries)
    }

    async fn refresh_membership(&self, session: &Session) -> Result<(), Trouble> {
        match &self.shared.members {
            Some(members) => members.refresh(session).await,
            None => Ok(()),
        }
    }

    /// The name is free for the next process at once, not only after a while.
    async fn leave_members(&self) -> Result<(), Trouble> {
        const OPERATION: &str = "member_leave";
        let Some(members) = self.shared.members.as_ref().filter(|members| members.is_joined()) else {
            return Ok(());
        };
        let pool = self.pool(OPERATION)?;
        let session = pool.get(OPERATION).await?;
        members.leave(&session).await.map_err(|error| Trouble::of(OPERATION, error))
    }

    async fn record_offsets(&self, offsets: &[LedgerCommit]) -> Result<Vec<Partition>, Trouble> {
        let pool = self.pool("ledger_record")?;
        let mut session = pool.get("ledger_record").await?;
        self.shared.ledger.record(&mut session, offsets).await
    }

    async fn move_behind(&self, gaps: &[OffsetGap]) -> Result<Vec<Partition>, Trouble> {
        let pool = self.pool("ledger_move")?;
        let mut session = pool.get("ledger_move").await?;
        self.shared.ledger.move_offsets(&mut session, gaps).await
    }

    async fn ask_ledger(&self, partitions: &[(Partition, Epoch)]) -> Result<LedgerCheck, Trouble> {
        let pool = self.pool("ledger_check")?;
        let mut session = pool.get("ledger_check").await?;
        self.refresh_membership(&session).await?;
        let refused = self.shared.ledger.check(&mut session, partitions).await?;
        let held = self.look_at_idle(&mut session, partitions).await?;
        Ok(LedgerCheck { refused, held })
    }

    async fn write_batch(
        &self,
        batch: &Batch<KafkaRecord>,
        share: Share,
        parking: Parking,
    ) -> Result<Reply, Trouble> {
        let begun = Instant::now();
        let holds = match self.shared.ledger.holds_of(batch.rows()) {
            Ok(holds) => holds,
            Err(refused) => return Ok(Reply::Refused(refused)),
        };
        let bytes = batch.rows().iter().map(|row| u64::from(row.bytes)).sum();
        let _room = self.shared.room.take(bytes).await;
        let topics = self.shared.bindings.of(&holds)?;
        let mut plan = match self.plan(batch.rows(), &topics, parking != Parking::Off, begun).await? {
            Planned::Rows(plan) => plan,
            Planned::Held(holds) => return Ok(Reply::Held(holds)),
        };
        let rejected = std::mem::take(&mut plan.rejected);
        let planned = std::mem::take(&mut plan.counts);
        if plan.tables.is_empty() {
            return Ok(Reply::Written { counts: planned, rejected, parked: Vec::new() });
        }
        let pool = self.pool(WRITE)?;
        let mut session = pool.get(WRITE).await?;
        let copy_threshold = self.shared.settings.copy_threshold;
        let watch = FeedWatch::new(&self.shared.targets, plan.feedings());
        let told_no_stage = &self.shared.told_no_stage;
        let job = Job { batch: batch.rows(), holds: &holds, share, parking, copy_threshold, told_no_stage };
        match write(&mut session, &self.shared.ledger, &mut plan, &job).await {
            Ok(Written::Committed { counts, parked }) => {
                watch.committed();
                self.shared.internal_errors.forget(batch.rows());
                Ok(Reply::Written { counts: merge(planned, counts), rejected, parked })
            }
            Ok(Written::Refused(partitions)) => Ok(Reply::Refused(partitions)),
            Err(trouble) => {
                self.note_trouble(&trouble, &mut session);
                drop(session);
                self.judge(trouble, &topics, &WrittenAs::of(&plan), batch.rows()).await.map(Reply::Held)
            }
        }
    }

    /// Turns records into rows of their tables as these are now. Where a record or a field does not fit, the table is
    /// looked at once more before anything is given up.
    async fn plan(
        &self,
        rows: &[Row<KafkaRecord>],
        topics: &BatchTopics,
        keeps_keys: bool,
        begun: Instant,
    ) -> Result<Planned, Trouble> {
        let mut pass = 0;
        loop {
            pass += 1;
            let records = read_records(rows, topics);
            let tables = match self.tables_of(topics, &records).await? {
                Found::Tables(tables) => tables,
                Found::Held(holds) => return Ok(Planned::Held(holds)),
            };
            let plan = Plan::new(records, &tables, keeps_keys);
            if plan.doubts.is_empty() || pass >= PASSES_MAX {
                return Ok(Planned::Rows(Box::new(plan)));
            }
            match self.settle_doubts(topics, &tables, &plan.doubts, begun).await {
                Ok(true) => return Ok(Planned::Rows(Box::new(plan))),
                Ok(false) => {}
                Err(trouble) => {
                    return self.holds_of_doubts(topics, &plan.doubts, trouble).map(Planned::Held);
                }
            }
        }
    }

    async fn try_parked(&self, request: Request<'_>) -> Result<Retried, Trouble> {
        let begun = Instant::now();
        let holds = match self.shared.ledger.holds(request.partitions) {
            Ok(holds) => holds,
            Err(refused) => return Ok(Retried::Refused(refused)),
        };
        let _room = self.shared.room.take(retry::BYTES_MAX.unsigned_abs()).await;
        let pool = self.pool(RETRY)?;
        let mut session = pool.get(RETRY).await?;
        // Outside of the transaction, because tables may have to be looked up. Only this worker writes these
        // rows, as long as the partitions are held.
        let entries = retry::read(&mut session, self.shared.ledger.consumer_group(), &holds, request)
            .await
            .map_err(|error| Trouble::of(RETRY, error))?;
        drop(session);
        let topics = self.shared.bindings.of(&holds)?;
        // What may be the table's is no row's before the table was looked at.
        let mut bad_rows = BadRows::SetAsideUndoubted;
        loop {
            let plan = match self.plan(&entries.rows, &topics, true, begun).await? {
                Planned::Rows(plan) => plan,
                Planned::Held(holds) => return Ok(Retried::Held(holds)),
            };
            let mut session = pool.get(RETRY).await?;
            let watch = FeedWatch::new(&self.shared.targets, plan.feedings());
            let asked = (request.share, bad_rows);
            let trouble =
                match retry::retry(&mut session, &self.shared.ledger, asked, &holds, &entries, &plan).await {
                    Ok(retried) => {
                        if matches!(retried, Retried::Done { .. }) {
                            watch.committed();
                        }
                        return Ok(retried);
                    }
                    Err(trouble) => trouble,
                };
            self.note_trouble(&trouble, &mut session);
            drop(session);
            match self.judge(trouble, &topics, &WrittenAs::of(&plan), &[]).await {
                Ok(holds) => return Ok(Retried::Held(holds)),
                Err(trouble)
                    if trouble.failure.fault == Fault::Poison && bad_rows == BadRows::SetAsideUndoubted =>
                {
                    bad_rows = BadRows::SetAside;
                }
                Err(trouble) => return Err(trouble),
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
            self.shared.targets.forget();
        }
    }
}

enum Reply {
    Written { counts: WriteCounts, rejected: Vec<Rejected>, parked: Vec<ParkedRows> },
    Refused(Vec<Partition>),
    Held(Vec<Hold>),
}

/// What records come to.
enum Planned {
    Rows(Box<Plan>),
    Held(Vec<Hold>),
}

/// What the plan counted and what the statements counted.
fn merge(planned: WriteCounts, written: WriteCounts) -> WriteCounts {
    WriteCounts {
        inserted: written.inserted,
        updated: written.updated,
        deleted: written.deleted,
        fenced: written.fenced,
        fenced_by_lineage: written.fenced_by_lineage,
        absent: written.absent,
        parked: written.parked,
        superseded: written.superseded,
        copied_statements: written.copied_statements,
        prepared_statements: written.prepared_statements,
        by_topic: written.by_topic,
        ..planned
    }
}

/// Gives up on a call that takes too long.
pub(crate) async fn bounded<T>(
    operation: &'static str,
    call: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(result) => result,
        Err(_elapsed) => Err(Trouble::new(
            Fault::Unreachable,
            operation,
            format!("PostgreSQL did not answer within {CALL_TIMEOUT:?}; the connection is given up"),
        )),
    }
}

impl Database for PostgresDatabase {
    async fn connect(&self) -> Result<(), Failure> {
        bounded("postgres_connect", self.open()).await.map_err(|trouble| trouble.failure)
    }

    async fn acquire(&self, claims: &[LedgerClaim], workers: u32) -> Result<Vec<LedgerEntry>, Failure> {
        bounded("ledger_acquire", self.take(claims, workers)).await.map_err(|trouble| trouble.failure)
    }

    async fn write(&self, batch: &Batch<KafkaRecord>, share: Share, parking: Parking) -> WriteReply {
        match bounded(WRITE, self.write_batch(batch, share, parking)).await {
            Ok(Reply::Written { counts, rejected, parked }) => {
                WriteReply { outcome: WriteOutcome::Written { rejected, parked }, counts, failure: None }
            }
            Ok(Reply::Refused(partitions)) => WriteReply {
                outcome: WriteOutcome::Refused { partitions },
                counts: WriteCounts::default(),
                failure: None,
            },
            Ok(Reply::Held(holds)) => WriteReply {
                outcome: WriteOutcome::Held { holds },
                counts: WriteCounts::default(),
                failure: None,
            },
            Err(trouble) => WriteReply {
                outcome: WriteOutcome::Failed {
                    fault: trouble.failure.fault,
                    reason: trouble.reason,
                    sqlstate: trouble.sqlstate,
                    detail: trouble.failure.message.as_str().into(),
                },
                counts: WriteCounts::default(),
                failure: Some(trouble.failure),
            },
        }
    }

    async fn retry_parked(
        &self,
        share: Share,
        partitions: &[(Partition, Epoch)],
        given_up: &[(Partition, i64)],
    ) -> RetryReply {
        let counts = RetryCounts::default();
        match bounded(RETRY, self.try_parked(Request { share, partitions, given_up })).await {
            Ok(Retried::Done { parked, counts, rejected }) => {
                let is_changed = counts.resolved > 0 || counts.evicted > 0;
                RetryReply {
                    outcome: RetryOutcome::Done { parked, is_changed, rejected },
                    counts,
                    failure: None,
                }
            }
            Ok(Retried::Refused(partitions)) => {
                RetryReply { outcome: RetryOutcome::Refused { partitions }, counts, failure: None }
            }
            Ok(Retried::Held(holds)) => {
                RetryReply { outcome: RetryOutcome::Held { holds }, counts, failure: None }
            }
            Err(trouble) => RetryReply {
                outcome: RetryOutcome::Failed { fault: trouble.failure.fault },
                counts,
                failure: Some(trouble.failure),
            },
        }
    }

    async fn record(&self, offsets: &[LedgerCommit]) -> Result<Vec<Partition>, Failure> {
        bounded("ledger_record", self.record_offsets(offsets)).await.map_err(|trouble| trouble.failure)
    }

    async fn move_offsets(&self, gaps: &[OffsetGap]) -> Result<Vec<Partition>, Failure> {
        bounded("ledger_move", self.move_behind(gaps)).await.map_err(|trouble| trouble.failure)
    }

    async fn check(&self, partitions: &[(Partition, Epoch)]) -> Result<LedgerCheck, Failure> {
        bounded("ledger_check", self.ask_ledger(partitions)).await.map_err(|trouble| trouble.failure)
    }

    async fn saw_ends(&self, ends: &[LedgerCommit]) -> Result<(), Failure> {
        const OPERATION: &str = "ledger_ends";
        let recorded = async {
            let pool = self.pool(OPERATION)?;
            let mut session = pool.get(OPERATION).await?;
            self.shared.ledger.saw_ends(&mut session, ends).await
        };
        bounded(OPERATION, recorded).await.map_err(|trouble| trouble.failure)
    }

    fn tables_at_risk(&self) -> TablesAtRisk {
        self.at_risk()
    }

    async fn open_gaps(&self) -> Result<u64, Failure> {
        const OPERATION: &str = "postgres_probe";
        let answered = async {
            let pool = self.pool(OPERATION)?;
            let session = pool.get(OPERATION).await?;
            // A process without partitions looks at no ledger. Whether the name is lost is for that to say.
            if let Err(trouble) = self.refresh_membership(&session).await
                && trouble.failure.fault != Fault::Fenced
            {
                return Err(trouble);
            }
            let counted = gaps::count_open(&session, &self.shared.settings.consumer_group).await;
            counted.map_err(|error| Trouble::of(OPERATION, error))
        };
        bounded(OPERATION, answered).await.map_err(|trouble| trouble.failure)
    }

    async fn close(&self) {
        if let Err(trouble) = self.leave_members().await {
            let error = trouble.failure.chain();
            tracing::debug!(operation = "member_leave", %error, "the name in cdc.members runs out by itself");
        }
        // Connections on loan close as they come back to a pool that is gone.
        self.set_pool(None);
    }
}
