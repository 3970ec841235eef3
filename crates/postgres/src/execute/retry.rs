//! Tries parked rows again, in one transaction that first locks their partitions. Of a row that still waits for a
//! value the older version is taken out of its table: its document gave those values up, and another row may wait
//! for them. So cycles open, such as two documents that swap their names. A row that fails for a reason of its own
//! stays where it is until the machine has given it up; its neighbours go.

use std::sync::Arc;

use cdc_ports::{KafkaRecord, RetryCounts, Share, WriteCounts};
use cdc_syncer::{ParkedRows, Reject, RejectedParked, SqlState};

use crate::execute::evict::{Evictions, break_cycles};
use crate::execute::lock::begin_and_lock;
use crate::execute::pieces::{BadRows, CHECK_AT_ONCE, Deed, Lot, write_around};
use crate::execute::savepoint::execute;
use crate::execute::write::feed;
use crate::ledger::Ledger;
use crate::ledger::owned::OwnedPartitions;
use crate::parked::entries::{Entries, Stay};
use crate::parked::{self, Blocked};
use crate::plan::Plan;
use crate::prepare::PreparedRetry;
use crate::server::operation::RETRY_PARKED;
use crate::server::session::Session;
use crate::server::transaction::end;
use crate::server::trouble::Trouble;
use crate::stop::Stop;

/// What became of a retry.
#[derive(Debug)]
pub(crate) struct Retried {
    pub(crate) parked: Vec<ParkedRows>,
    pub(crate) counts: RetryCounts,
    pub(crate) rejected: Vec<RejectedParked<KafkaRecord>>,
}

/// Tries them. On any error the transaction is rolled back, or its connection is given up.
pub(crate) async fn retry(
    session: &mut Session,
    ledger: &Ledger,
    (share, bad_rows): (Share, BadRows),
    owned: &OwnedPartitions,
    entries: &Entries,
    (plan, prepared): (&Plan, &PreparedRetry),
) -> Result<Retried, Stop> {
    let transaction = begin_and_lock(session, RETRY_PARKED, ledger, (&prepared.lock, owned)).await?;
    let failed = |error| Trouble::of(RETRY_PARKED, error);
    let tried = async {
        execute(session, CHECK_AT_ONCE).await?;
        feed(session, plan).await?;
        let mut trial = Trial::of(entries, plan);
        trial.try_tables(session, plan, prepared, bad_rows).await?;
        let group = ledger.consumer_group();
        entries.settle(session, group, &trial.stays).await.map_err(failed)?;
        let parked = parked::count(session, group, share, owned).await.map_err(failed)?;
        Ok(trial.done(parked))
    };
    let tried = tried.await;
    Ok(end(session, RETRY_PARKED, transaction, tried).await?)
}

/// What is known of each entry while a retry goes on.
struct Trial<'e> {
    entries: &'e Entries,
    /// Why an entry stays parked; nothing for those that are resolved.
    stays: Vec<Option<Stay>>,
    /// The first of these in words, by the entries' order.
    why: Option<(usize, Arc<str>)>,
    rejected: Vec<RejectedParked<KafkaRecord>>,
    evicted: u64,
}

impl<'e> Trial<'e> {
    fn of(entries: &'e Entries, plan: &Plan) -> Self {
        let stays = entries.list.iter().map(|_| None).collect();
        let mut trial = Self { entries, stays, why: None, rejected: Vec::new(), evicted: 0 };
        // The table or the program has changed since the row was parked.
        for it in &plan.rejected {
            trial.reject(it.index, (it.reason, it.sqlstate, Arc::clone(&it.detail)));
        }
        trial
    }

    fn reject(&mut self, index: usize, (reason, sqlstate, detail): (Reject, Option<SqlState>, Arc<str>)) {
        let Some(entry) = self.entries.list.get(index) else { return };
        self.stay(index, sqlstate, None, Arc::clone(&detail));
        let (row, attempts) = (entry.to_row(), entry.attempts);
        self.rejected.push(RejectedParked { row, reason, sqlstate, detail, attempts });
    }

    fn stay(&mut self, index: usize, sqlstate: Option<SqlState>, constraint: Option<String>, why: Arc<str>) {
        let sqlstate = sqlstate.map(|code| code.as_str().to_owned());
        self.stays[index] = Some(Stay { sqlstate, constraint });
        if self.why.as_ref().is_none_or(|(first, _)| index <= *first) {
            self.why = Some((index, why));
        }
    }

    async fn try_tables(
        &mut self,
        session: &Session,
        plan: &Plan,
        prepared: &PreparedRetry,
        bad_rows: BadRows,
    ) -> Result<(), Trouble> {
        let mut lots = Vec::with_capacity(plan.tables.len() * 2);
        let mut evictions = Evictions::default();
        for (table, statements) in plan.tables.iter().zip(&prepared.tables) {
            lots.push(Lot::of(table, Deed::Delete, &statements.delete));
            lots.push(Lot::of(table, Deed::Upsert, &statements.upsert));
            evictions.add(table, &statements.evict_older);
        }
        let mut uncounted = WriteCounts::default();
        write_around(session, &mut lots, bad_rows, &mut uncounted).await?;
        self.evicted += break_cycles(session, &mut lots, &evictions, bad_rows, &mut uncounted).await?;
        for lot in lots {
            for (row, trouble) in &lot.bad {
                if let Some(index) = lot.origin(*row) {
                    let detail = trouble.failure.message.as_str().into();
                    self.reject(index, (trouble.reason, trouble.sqlstate, detail));
                }
            }
            for Blocked { row, sqlstate, constraint } in &lot.blocked {
                let Some(index) = lot.origin(*row) else { continue };
                let name = constraint.as_deref().unwrap_or("a constraint");
                let why = format!("table {}, constraint {name}", lot.table.target.table.label()).into();
                self.stay(index, *sqlstate, constraint.clone(), why);
            }
        }
        Ok(())
    }

    fn done(self, parked: Vec<ParkedRows>) -> Retried {
        let tried = self.stays.len() as u64;
        let blocked = self.stays.iter().flatten().count() as u64;
        let (resolved, evicted) = (tried - blocked, self.evicted);
        let why = self.why.map(|(_, why)| why.to_string());
        let counts = RetryCounts { tried, resolved, evicted, blocked, why };
        Retried { parked, counts, rejected: self.rejected }
    }
}
