//! The tables of topics, as they are now or were a second ago: looked at when a topic's partitions are taken, while they
//! are in use, and before a record is given up for what its table looks like.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cdc_machine::Epoch;
use cdc_ports::{LedgerClaim, TablesAtRisk};
use cdc_syncer::{Held, Hold, HoldReason, Partition};
use tokio::time::Instant;

use crate::bindings::{BatchTopics, Binding, Bindings};
use crate::catalog::ensure::{check_names, missing_table, never_made};
use crate::catalog::told::ToldColumns;
use crate::decode::Records;
use crate::ledger::Ledger;
use crate::plan::Shadowed;
use crate::server::current_pool::CurrentPool;
use crate::server::operation::WRITE;
use crate::server::session::Session;
use crate::server::trouble::Trouble;
use crate::settings::Settings;
use crate::stop::Stop;
use crate::table::column::Column;
use crate::tables::inspect::{Wanted, inspect};
use crate::tables::inspections::{Inspections, LOOK_INTERVAL};
use crate::tables::target::{Doubt, KnownTable, Target};
use crate::tables::targets::Targets;

/// How long taking partitions may look at tables. What is left is looked at with the first record.
const LOOKS_TIME: Duration = Duration::from_secs(20);

/// How long a look waits for one that another worker has begun, before it looks again who may begin the next.
const TURN_WAIT: Duration = Duration::from_millis(20);

/// Shadowed fields that are told of. Beyond them, none is.
const SHADOWED_MAX: usize = 1_000;

/// The tables of all topics, and the looks that keep true what is known of them.
#[derive(Debug)]
pub(crate) struct Tables {
    settings: Arc<Settings>,
    pool: Arc<CurrentPool>,
    ledger: Arc<Ledger>,
    pub(crate) bindings: Bindings,
    pub(crate) targets: Targets,
    inspections: Inspections,
    told_columns: ToldColumns,
    told_shadowed: Mutex<BTreeSet<Shadowed>>,
}

impl Tables {
    pub(crate) fn new(settings: Arc<Settings>, pool: Arc<CurrentPool>, ledger: Arc<Ledger>) -> Self {
        Self {
            bindings: Bindings::new(&settings),
            settings,
            pool,
            ledger,
            targets: Targets::default(),
            inspections: Inspections::default(),
            told_columns: ToldColumns::default(),
            told_shadowed: Mutex::default(),
        }
    }

    /// The tables of the topics that have candidates; or the topics that are to be held.
    pub(crate) async fn tables_of(
        &self,
        topics: &BatchTopics,
        records: &Records<'_>,
    ) -> Result<Vec<Option<KnownTable>>, Stop> {
        let mut tables = Vec::with_capacity(topics.topics.len());
        let mut holds = Vec::new();
        for (binding, candidates) in topics.topics.iter().zip(&records.candidates) {
            if candidates.is_empty() {
                tables.push(None);
                continue;
            }
            match self.table_of(binding).await {
                Ok(target) => {
                    let absent = self.inspections.absent(&binding.topic);
                    tables.push(Some(KnownTable { target, absent }));
                }
                Err(trouble) => holds.extend(self.holds_for(binding, trouble)?),
            }
        }
        if holds.is_empty() { Ok(tables) } else { Err(Stop::Held(holds)) }
    }

    /// All partitions of the topic that are in hand, where the trouble is with its table as a whole.
    pub(crate) fn holds_for(&self, binding: &Binding, trouble: Trouble) -> Result<Vec<Hold>, Trouble> {
        let Some(reason) = trouble.hold else { return Err(trouble) };
        let detail: Arc<str> = trouble.failure.message.into();
        Ok(self.holds_of(binding, reason, &detail).collect())
    }

    fn holds_of(
        &self,
        binding: &Binding,
        reason: HoldReason,
        detail: &Arc<str>,
    ) -> impl Iterator<Item = Hold> {
        let held = self.ledger.assigned(&binding.topic).into_iter();
        held.map(move |(partition, epoch)| Hold { partition, epoch, reason, detail: Arc::clone(detail) })
    }

    async fn table_of(&self, binding: &Binding) -> Result<Arc<Target>, Trouble> {
        if !self.inspections.begin_if_due(&binding.topic)
            && let Some(target) = self.targets.get(&binding.topic)
        {
            return Ok(target);
        }
        let pool = self.pool.get(WRITE)?;
        let mut session = pool.get(WRITE).await?;
        self.look(&mut session, binding).await
    }

    /// Reads the topic's table anew, whatever is known of it.
    pub(crate) async fn look_anew(&self, binding: &Binding) -> Result<Arc<Target>, Trouble> {
        let pool = self.pool.get(WRITE)?;
        let mut session = pool.get(WRITE).await?;
        self.targets.forget_topic(&binding.topic);
        self.look(&mut session, binding).await
    }

    /// Looks at the topic's table, and reads it anew where it is not as it was.
    pub(crate) async fn look(
        &self,
        session: &mut Session,
        binding: &Binding,
    ) -> Result<Arc<Target>, Trouble> {
        let looked = self.look_at(session, binding).await;
        if looked.as_ref().is_err_and(|trouble| trouble.hold.is_some()) {
            self.inspections.forget(&binding.topic);
            self.targets.forget_topic(&binding.topic);
        }
        looked
    }

    async fn look_at(&self, session: &mut Session, binding: &Binding) -> Result<Arc<Target>, Trouble> {
        let label = self.label(binding);
        let wanted = self.wanted(binding, &label);
        let begun = Instant::now();
        let found = inspect(session, &wanted).await?;
        found.check(&wanted)?;
        if self.inspections.is_as_seen(&binding.topic, &found)
            && let Some(target) = self.targets.get(&binding.topic)
        {
            self.inspections.note(&binding.topic, begun, found);
            return Ok(target);
        }
        if found.is_foreign_and_missing() {
            return Err(Trouble::held(
                HoldReason::Claimed,
                WRITE,
                format!(
                    "table {label} is claimed for another collection or by another consumer group, and is gone"
                ),
            ));
        }
        session.forget_statements();
        let target = self.targets.load(session, &self.settings, binding).await?;
        // Not before: who finds that this look has ended takes the table that is remembered then.
        self.inspections.note(&binding.topic, begun, found);
        self.told_columns.tell(&target.table);
        // What has been claimed, made or altered by that is seen by this.
        let made = inspect(session, &wanted).await?;
        made.check(&wanted)?;
        made.bind(session, &wanted).await?;
        Ok(target)
    }

    /// The topic's table, as it stands in the bookkeeping and in messages.
    pub(crate) fn label(&self, binding: &Binding) -> String {
        binding.home.label()
    }

    fn wanted<'a>(&'a self, binding: &'a Binding, label: &'a str) -> Wanted<'a> {
        Wanted {
            schema: &binding.home.schema,
            name: &binding.home.name,
            label,
            consumer_group: &self.settings.consumer_group,
            topic: &binding.topic,
            database: binding.namespace.database(),
            collection: binding.namespace.collection(),
        }
    }

    /// Looks at the tables of topics whose partitions are being taken: what keeps them from being written is known
    /// before a record is read. A table that is not there yet is made with its first record.
    pub(crate) async fn look_at_taken(
        &self,
        session: &mut Session,
        claims: &[LedgerClaim],
    ) -> Result<BTreeMap<Arc<str>, Held>, Trouble> {
        let begun = Instant::now();
        let mut held = BTreeMap::new();
        let mut topics: Vec<&Arc<str>> = claims.iter().map(|claim| &claim.name.topic).collect();
        topics.sort_unstable();
        topics.dedup();
        for topic in topics {
            let Some(binding) = self.bindings.get(topic) else { continue };
            if begun.elapsed() > LOOKS_TIME {
                tracing::warn!(
                    operation = WRITE,
                    topic = %topic,
                    "too many tables to look at; this one is looked at with its first record"
                );
                continue;
            }
            let looked = match self.first_look(session, &binding).await {
                Ok(true) => self.look(session, &binding).await.map(drop),
                Ok(false) => Ok(()),
                Err(trouble) => Err(trouble),
            };
            if let Err(trouble) = looked {
                let Some(reason) = trouble.hold else { return Err(trouble) };
                held.insert(Arc::clone(topic), Held { reason, detail: trouble.failure.message.into() });
            }
        }
        Ok(held)
    }

    /// True where there is something to look at: a table, or a claim of one.
    async fn first_look(&self, session: &mut Session, binding: &Binding) -> Result<bool, Trouble> {
        check_names(&binding.home)?;
        let label = self.label(binding);
        let is_new = inspect(session, &self.wanted(binding, &label)).await?.is_new();
        match never_made(&binding.home, &self.settings) {
            Some(why) if is_new => Err(missing_table(&binding.home, why)),
            Some(_) | None => Ok(!is_new),
        }
    }

    /// Looks at the tables that are known and that nobody has looked at for a while: of topics on which nothing
    /// happens.
    pub(crate) async fn look_at_idle(
        &self,
        session: &mut Session,
        partitions: &[(Partition, Epoch)],
    ) -> Result<Vec<Hold>, Trouble> {
        let mut holds = Vec::new();
        for topic in self.ledger.topics_of(partitions) {
            let Some(binding) = self.bindings.get(&topic) else { continue };
            if self.inspections.is_known(&topic)
                && self.inspections.begin_if_due(&topic)
                && let Err(trouble) = self.look(session, &binding).await
            {
                holds.extend(self.holds_for(&binding, trouble)?);
            }
        }
        Ok(holds)
    }

    /// Looks again before records are given up, or fields left out, for what their tables look like; true where
    /// nothing has changed since the batch was begun, so that it may go on.
    pub(crate) async fn settle_doubts(
        &self,
        topics: &BatchTopics,
        tables: &[Option<KnownTable>],
        doubts: &[Doubt],
        begun: Instant,
    ) -> Result<bool, Trouble> {
        let mut is_settled = true;
        for Doubt { place, unknown } in doubts {
            let (Some(binding), Some(Some(known))) = (topics.topics.get(*place), tables.get(*place)) else {
                continue;
            };
            let target = self.look_since(binding, begun).await?;
            if Arc::ptr_eq(&target, &known.target) {
                self.inspections.note_absent(&binding.topic, unknown);
                tell_of_id(&target, unknown);
            } else {
                is_settled = false;
            }
        }
        Ok(is_settled)
    }

    /// The topic's table as it was no earlier than at this moment. Waits until a look may begin, a second at most.
    async fn look_since(&self, binding: &Binding, moment: Instant) -> Result<Arc<Target>, Trouble> {
        let until = Instant::now() + 2 * LOOK_INTERVAL;
        loop {
            if self.inspections.has_seen_since(&binding.topic, moment)
                && let Some(target) = self.targets.get(&binding.topic)
            {
                return Ok(target);
            }
            if self.inspections.begin_if_due(&binding.topic) || Instant::now() >= until {
                let pool = self.pool.get(WRITE)?;
                let mut session = pool.get(WRITE).await?;
                return self.look(&mut session, binding).await;
            }
            tokio::time::sleep(TURN_WAIT).await;
        }
    }

    /// A batch whose topic turned out to be refused while its doubts were settled.
    pub(crate) fn stop_of_doubts(&self, topics: &BatchTopics, doubts: &[Doubt], trouble: Trouble) -> Stop {
        let Some(reason) = trouble.hold else { return trouble.into() };
        let detail: Arc<str> = trouble.failure.message.into();
        // The one that was refused is forgotten; the others were looked at and are known.
        let refused = doubts
            .iter()
            .filter_map(|doubt| topics.topics.get(doubt.place))
            .filter(|binding| !self.inspections.is_known(&binding.topic));
        Stop::Held(refused.flat_map(|binding| self.holds_of(binding, reason, &detail)).collect())
    }

    /// Says once of each field that no column takes it although its name comes to one.
    pub(crate) fn tell_of_shadowed(&self, shadowed: &[Shadowed]) {
        let mut told = self.told_shadowed.lock().unwrap_or_else(PoisonError::into_inner);
        for it in shadowed {
            if told.len() < SHADOWED_MAX && told.insert(it.clone()) {
                let Shadowed { table, field, column } = it;
                tracing::warn!(
                    operation = WRITE,
                    table,
                    field,
                    column,
                    "documents have two fields for one column: it takes the one of its very name, and the other has no column; \
                     tables: can say otherwise"
                );
            }
        }
    }

    pub(crate) fn at_risk(&self) -> TablesAtRisk {
        let unlogged = self.inspections.unlogged();
        let label = |topic: &Arc<str>| {
            let binding = self.bindings.get(topic)?;
            Some(self.label(&binding))
        };
        TablesAtRisk {
            unfenced: self.targets.unfenced(),
            unlogged: unlogged.iter().filter_map(label).collect(),
        }
    }
}

/// A field `id` beside `_id` is somebody's number, and the column of its name is taken.
fn tell_of_id(target: &Target, unknown: &[String]) {
    let table = &target.table;
    let taken = table.ids().iter().find(|column| !table.mirror && unknown.contains(&column.name));
    if let Some(Column { name, path, .. }) = taken {
        tracing::warn!(
            operation = WRITE,
            table = table.label(),
            field = name,
            "documents have a field {name} beside {path}, and the column {name} takes {path}: the field has no column; tables: can \
             give it one, under another name"
        );
    }
}
