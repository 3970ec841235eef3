//! The thread that owns polling. It alone assigns, seeks and pauses, so nothing here needs a lock.
//!
//! It polls while there is credit, while nothing polled is waiting for credit, while fetching is paused and
//! while a revocation waits. With a record in hand and no credit it waits for an order. A driver that gives no credit
//! for long pauses the fetching, so that rebalances are served meanwhile.

mod fetches;
mod membership;
mod polled_error;
mod voice;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use cdc_machine::{EffectId, Fault};
use cdc_ports::{ConsumerEvent, Failure};
use cdc_syncer::{FetchStart, Partition};
use rdkafka::consumer::Consumer as _;

use crate::partitions::PartitionNames;
use crate::rebalance::GroupClient;

use fetches::{Fetches, Polled};
use membership::Membership;

pub(crate) use voice::Voice;

/// The longest that an order waits while nothing arrives.
const POLL_WAIT: Duration = Duration::from_millis(10);
/// Records that one answer has memory for before any was polled.
const ANSWER_RECORDS: usize = 1024;

/// An order from the handle.
#[derive(Debug)]
pub(crate) enum Command {
    Start(Vec<FetchStart>),
    Stop(Vec<Partition>),
    Fetch { max_records: u32, max_bytes: u64 },
    Pause,
    Resume,
    ConfirmRevoked(EffectId),
    Leave,
}

/// What one answer may bring.
struct Credit {
    records: usize,
    bytes: u64,
}

/// Whether the thread goes on.
#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    Leave,
}

pub(crate) struct Poller {
    client: Arc<GroupClient>,
    commands: Receiver<Command>,
    voice: Voice,
    fetches: Fetches,
    membership: Membership,
    credit: Option<Credit>,
}

impl Poller {
    pub(crate) fn new(
        client: Arc<GroupClient>,
        commands: Receiver<Command>,
        voice: Voice,
        names: Arc<PartitionNames>,
        revocation_deadline: Duration,
    ) -> Self {
        let fetches = Fetches::new(Arc::clone(&client), names);
        let membership = Membership::new(Arc::clone(&client), voice.session, revocation_deadline);
        Self { client, commands, voice, fetches, membership, credit: None }
    }

    /// Polls until it is told to leave, or the client dies; closes the client.
    pub(crate) fn run(mut self) {
        let served = self.serve();
        let Self { client, voice, mut fetches, membership, .. } = self;
        match served {
            Ok(()) => membership.leave(&mut fetches),
            Err(failed) => {
                // A static member that only came back would get the same assignment again. The log may not be what that
                // was made for (made anew, with fewer partitions), or the assignment may leave partitions to nobody.
                let is_to_leave = client.context().reason_to_leave().is_some();
                if is_to_leave || failed.fault == Fault::HistoryLost {
                    membership.leave(&mut fetches);
                }
                voice.say(ConsumerEvent::Failed(failed));
            }
        }
        // Dropping the client closes it and polls until it is closed. Where the brokers are away that may
        // never end, and nobody waits for this thread for long.
        client.context().close();
    }

    /// # Errors
    /// What the client died of.
    fn serve(&mut self) -> Result<(), Failure> {
        while self.obey_all()? == Next::GoOn {
            if let Some(reason) = self.client.context().reason_to_leave() {
                return Err(Failure::new(Fault::Transient, "kafka_group", reason));
            }
            self.membership.check_revocation(&mut self.fetches, &self.voice)?;
            if !self.membership.is_revoking() {
                self.fetches.end_stopping()?;
            }
            if self.credit.is_some() {
                self.answer()?;
            } else if self.membership.is_revoking() || !self.fetches.is_waiting() {
                self.poll_ahead()?;
            } else if self.await_order()? == Next::Leave {
                return Ok(());
            }
            while let Some(notice) = self.membership.next_notice() {
                self.membership.on_notice(notice, &mut self.fetches, &self.voice)?;
            }
        }
        Ok(())
    }

    // ---- orders

    /// Carries out the orders that are there.
    fn obey_all(&mut self) -> Result<Next, Failure> {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Leave) | Err(TryRecvError::Disconnected) => return Ok(Next::Leave),
                Ok(command) => self.obey(command)?,
                Err(TryRecvError::Empty) => return Ok(Next::GoOn),
            }
        }
    }

    /// Waits a moment for one order, and carries it out.
    fn await_order(&mut self) -> Result<Next, Failure> {
        match self.commands.recv_timeout(POLL_WAIT) {
            Ok(Command::Leave) | Err(RecvTimeoutError::Disconnected) => return Ok(Next::Leave),
            Ok(command) => self.obey(command)?,
            Err(RecvTimeoutError::Timeout) => {}
        }
        Ok(Next::GoOn)
    }

    fn obey(&mut self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Start(starts) => self.fetches.start(&starts),
            Command::Stop(partitions) => self.fetches.stop(&partitions),
            Command::Fetch { max_records, max_bytes } => {
                let records = usize::try_from(max_records.max(1)).unwrap_or(usize::MAX);
                self.credit = Some(Credit { records, bytes: max_bytes });
                Ok(())
            }
            Command::Pause => self.fetches.set_paused(true),
            Command::Resume => self.fetches.set_paused(false),
            Command::ConfirmRevoked(id) => self.membership.confirm(id, &mut self.fetches),
            // Taken out where orders are received: the thread ends with it.
            Command::Leave => Ok(()),
        }
    }

    // ---- records

    /// Answers a fetch with what there is, as soon as there is one record.
    fn answer(&mut self) -> Result<(), Failure> {
        let Some(credit) = self.credit.take() else { return Ok(()) };
        let mut records = Vec::with_capacity(credit.records.min(ANSWER_RECORDS));
        let mut bytes = 0u64;
        while records.len() < credit.records {
            let record = match self.fetches.pending.pop_front() {
                Some(record) => record,
                None => {
                    let wait = if records.is_empty() { POLL_WAIT } else { Duration::ZERO };
                    match self.fetches.poll(wait)? {
                        Polled::Record(record) => record,
                        Polled::Dropped => continue,
                        Polled::Nothing => break,
                    }
                }
            };
            let size = u64::from(record.bytes);
            if !records.is_empty() && bytes + size > credit.bytes {
                self.fetches.pending.push_front(record);
                break;
            }
            bytes += size;
            records.push(record);
        }
        if records.is_empty() {
            self.credit = Some(credit);
        } else {
            self.voice.say(ConsumerEvent::Records(records));
        }
        Ok(())
    }

    /// Polls without credit, for the group's sake. A record that comes waits for the next order.
    fn poll_ahead(&mut self) -> Result<(), Failure> {
        if let Polled::Record(record) = self.fetches.poll(POLL_WAIT)? {
            self.fetches.pending.push_back(record);
        }
        Ok(())
    }
}
