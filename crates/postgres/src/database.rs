//! The Syncer's port: what becomes of each call, within its deadline.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use cdc_machine::{Epoch, Fault};
use cdc_ports::{
    Database, Failure, KafkaRecord, LedgerCheck, LedgerClaim, LedgerCommit, LedgerEntry, RetryCounts,
    RetryReply, Share, TablesAtRisk, WriteCounts, WriteReply,
};
use cdc_syncer::{Batch, OffsetGap, Parking, Partition, RetryOutcome, WriteOutcome};

use crate::bookkeeping;
use crate::execute::retry::Retried;
use crate::ledger::Ledger;
use crate::ledger::gaps::count_open_gaps;
use crate::ledger::members::Members;
use crate::parked::entries::Request;
use crate::server::current_pool::CurrentPool;
use crate::server::deadline::bounded;
use crate::server::operation::{RETRY_PARKED, WRITE};
use crate::server::pool::Pool;
use crate::server::session::Session;
use crate::server::trouble::Trouble;
use crate::settings::Settings;
use crate::stop::Stop;
use crate::tables::lookup::Tables;
use crate::writer::{Writer, Written};

/// The target database. Clones are handles to the same pool, ledger and tables.
#[derive(Clone, Debug)]
pub struct PostgresDatabase {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Arc<Settings>,
    pool: Arc<CurrentPool>,
    ledger: Arc<Ledger>,
    pub(crate) tables: Arc<Tables>,
    writer: Writer,
    members: Option<Members>,
    /// Whether a schema `cdc` of an earlier version was told of.
    told_earlier_schema: AtomicBool,
}

impl PostgresDatabase {
    /// A handle that has not connected yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let group = settings.consumer_group.clone();
        let members = settings.member.clone().map(|member| Members::new(group.clone(), member));
        let (settings, pool) = (Arc::new(settings), Arc::new(CurrentPool::default()));
        let ledger = Arc::new(Ledger::new(group));
        let tables = Arc::new(Tables::new(Arc::clone(&settings), Arc::clone(&pool), Arc::clone(&ledger)));
        let writer =
            Writer::new(Arc::clone(&settings), Arc::clone(&pool), Arc::clone(&ledger), Arc::clone(&tables));
        let told_earlier_schema = AtomicBool::new(false);
        Self {
            shared: Arc::new(Shared { settings, pool, ledger, tables, writer, members, told_earlier_schema }),
        }
    }

    /// The tables seen so far that have no column `cdc_position`, and are written without the fence.
    #[must_use]
    pub fn unfenced_tables(&self) -> Vec<String> {
        self.shared.tables.targets.unfenced()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// For one question, without the pool that a Syncer keeps.
    pub(crate) fn one_connection(&self) -> Pool {
        let settings = Settings { min_connections: 0, max_connections: 1, ..self.settings().clone() };
        Pool::new(&settings)
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
        self.shared.tables.targets.forget();
        self.shared.pool.set(Some(pool));
        Ok(())
    }

    async fn take(&self, claims: &[LedgerClaim], workers: u32) -> Result<Vec<LedgerEntry>, Trouble> {
        let pool = self.shared.pool.get("ledger_acquire")?;
        let mut session = pool.get("ledger_acquire").await?;
        let mut entries = self.shared.ledger.acquire(&mut session, claims, workers).await?;
        // The former owners may have fed columns of which nothing is known here.
        claims.iter().for_each(|claim| self.shared.tables.targets.forget_topic(&claim.name.topic));
        let held = self.shared.tables.look_at_taken(&mut session, claims).await?;
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
        let pool = self.shared.pool.get(OPERATION)?;
        let session = pool.get(OPERATION).await?;
        members.leave(&session).await.map_err(|error| Trouble::of(OPERATION, error))
    }

    async fn record_offsets(&self, offsets: &[LedgerCommit]) -> Result<Vec<Partition>, Trouble> {
        let pool = self.shared.pool.get("ledger_record")?;
        let mut session = pool.get("ledger_record").await?;
        self.shared.ledger.record(&mut session, offsets).await
    }

    async fn move_behind(&self, gaps: &[OffsetGap]) -> Result<Vec<Partition>, Trouble> {
        let pool = self.shared.pool.get("ledger_move")?;
        let mut session = pool.get("ledger_move").await?;
        self.shared.ledger.move_offsets(&mut session, gaps).await
    }

    async fn ask_ledger(&self, partitions: &[(Partition, Epoch)]) -> Result<LedgerCheck, Trouble> {
        let pool = self.shared.pool.get("ledger_check")?;
        let mut session = pool.get("ledger_check").await?;
        self.refresh_membership(&session).await?;
        let refused = self.shared.ledger.check(&mut session, partitions).await?;
        let held = self.shared.tables.look_at_idle(&mut session, partitions).await?;
        Ok(LedgerCheck { refused, held })
    }
}

fn not_written(stop: Stop) -> WriteReply {
    let (outcome, failure) = match stop {
        Stop::Refused(partitions) => (WriteOutcome::Refused { partitions }, None),
        Stop::Held(holds) => (WriteOutcome::Held { holds }, None),
        Stop::Failed(Trouble { failure, reason, sqlstate, .. }) => {
            let (fault, detail) = (failure.fault, failure.message.as_str().into());
            (WriteOutcome::Failed { fault, reason, sqlstate, detail }, Some(failure))
        }
    };
    WriteReply { outcome, counts: WriteCounts::default(), begun: None, tables: Vec::new(), failure }
}

fn not_retried(stop: Stop) -> RetryReply {
    let (outcome, failure) = match stop {
        Stop::Refused(partitions) => (RetryOutcome::Refused { partitions }, None),
        Stop::Held(holds) => (RetryOutcome::Held { holds }, None),
        Stop::Failed(Trouble { failure, .. }) => {
            (RetryOutcome::Failed { fault: failure.fault }, Some(failure))
        }
    };
    RetryReply { outcome, counts: RetryCounts::default(), failure }
}

impl Database for PostgresDatabase {
    async fn connect(&self) -> Result<(), Failure> {
        bounded("postgres_connect", self.open()).await.map_err(|trouble| trouble.failure)
    }

    async fn acquire(&self, claims: &[LedgerClaim], workers: u32) -> Result<Vec<LedgerEntry>, Failure> {
        bounded("ledger_acquire", self.take(claims, workers)).await.map_err(|trouble| trouble.failure)
    }

    async fn write(&self, batch: &Batch<KafkaRecord>, share: Share, parking: Parking) -> WriteReply {
        match bounded(WRITE, self.shared.writer.write(batch, share, parking)).await {
            Ok(Written { counts, rejected, parked, begun, tables }) => {
                let outcome = WriteOutcome::Written { rejected, parked };
                WriteReply { outcome, counts, begun, tables, failure: None }
            }
            Err(stop) => not_written(stop),
        }
    }

    async fn retry_parked(
        &self,
        share: Share,
        partitions: &[(Partition, Epoch)],
        given_up: &[(Partition, i64)],
    ) -> RetryReply {
        let request = Request { share, partitions, given_up };
        match bounded(RETRY_PARKED, self.shared.writer.retry(request)).await {
            Ok(Retried { parked, counts, rejected }) => {
                let is_changed = counts.resolved > 0 || counts.evicted > 0;
                let outcome = RetryOutcome::Done { parked, is_changed, rejected };
                RetryReply { outcome, counts, failure: None }
            }
            Err(stop) => not_retried(stop),
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
            let pool = self.shared.pool.get(OPERATION)?;
            let mut session = pool.get(OPERATION).await?;
            self.shared.ledger.saw_ends(&mut session, ends).await
        };
        bounded(OPERATION, recorded).await.map_err(|trouble| trouble.failure)
    }

    fn tables_at_risk(&self) -> TablesAtRisk {
        self.shared.tables.at_risk()
    }

    async fn open_gaps(&self) -> Result<u64, Failure> {
        const OPERATION: &str = "postgres_probe";
        let answered = async {
            let pool = self.shared.pool.get(OPERATION)?;
            let session = pool.get(OPERATION).await?;
            // A process without partitions looks at no ledger. Whether the name is lost is for that to say.
            if let Err(trouble) = self.refresh_membership(&session).await
                && trouble.failure.fault != Fault::Fenced
            {
                return Err(trouble);
            }
            let counted = count_open_gaps(&session, &self.shared.settings.consumer_group).await;
            counted.map_err(|error| Trouble::of(OPERATION, error))
        };
        bounded(OPERATION, answered).await.map_err(|trouble| trouble.failure)
    }

    async fn close(&self) {
        if let Err(trouble) = self.leave_members().await {
            let error = trouble.failure.chain();
            tracing::debug!(operation = "member_leave", %error, "the name in cdc.members runs out by itself");
        }
        self.shared.pool.set(None);
    }
}
