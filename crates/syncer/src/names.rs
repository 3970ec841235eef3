//! Names for logs, metrics and diagrams; they cost nothing to copy.

use cdc_machine::Signal;

use crate::{Effect, Input, TimerKind};

impl<R> Input<R> {
    /// The input's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Start => "Start",
            Self::DatabaseReady { .. } => "DatabaseReady",
            Self::DatabaseFailed { .. } => "DatabaseFailed",
            Self::Joined { .. } => "Joined",
            Self::JoinFailed { .. } => "JoinFailed",
            Self::ConsumerFailed { .. } => "ConsumerFailed",
            Self::Assigned { .. } => "Assigned",
            Self::Revoking { .. } => "Revoking",
            Self::Lost { .. } => "Lost",
            Self::Acquired { .. } => "Acquired",
            Self::AcquireFailed { .. } => "AcquireFailed",
            Self::OffsetsMoved { .. } => "OffsetsMoved",
            Self::LedgerChecked { .. } => "LedgerChecked",
            Self::LedgerCheckFailed { .. } => "LedgerCheckFailed",
            Self::Records { .. } => "Records",
            Self::BatchDone { .. } => "BatchDone",
            Self::ParkedRetried { .. } => "ParkedRetried",
            Self::DeadLettered { .. } => "DeadLettered",
            Self::DeadLetterFailed { .. } => "DeadLetterFailed",
            Self::Committed { .. } => "Committed",
            Self::CommitFailed { .. } => "CommitFailed",
            Self::Left { .. } => "Left",
            Self::Timer(timer) => timer.kind.input_name(),
            Self::Signal(Signal::Drain) => "Signal Drain",
            Self::Signal(Signal::Abort) => "Signal Abort",
        }
    }
}

impl<R> Effect<R> {
    /// The effect's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ConnectDatabase { .. } => "ConnectDatabase",
            Self::JoinGroup { .. } => "JoinGroup",
            Self::LeaveGroup { .. } => "LeaveGroup",
            Self::AcquirePartitions { .. } => "AcquirePartitions",
            Self::MoveOffsets { .. } => "MoveOffsets",
            Self::CheckLedger { .. } => "CheckLedger",
            Self::StartFetching { .. } => "StartFetching",
            Self::StopFetching { .. } => "StopFetching",
            Self::Fetch { .. } => "Fetch",
            Self::Pause => "Pause",
            Self::Resume => "Resume",
            Self::ConfirmRevoked { .. } => "ConfirmRevoked",
            Self::WriteBatch { .. } => "WriteBatch",
            Self::RetryParked { .. } => "RetryParked",
            Self::DeadLetter { .. } => "DeadLetter",
            Self::Skip { .. } => "Skip",
            Self::StopAt { .. } => "StopAt",
            Self::CommitOffsets { .. } => "CommitOffsets",
            Self::SetTimer { timer, .. } => timer.kind.set_name(),
            Self::CancelTimer { timer } => timer.kind.cancel_name(),
            Self::Stop { .. } => "Stop",
        }
    }
}

/// One arm for each kind of timer; the names differ in the first word only.
macro_rules! timer_names {
    ($kind:expr, $word:literal) => {
        match $kind {
            TimerKind::Reconnect => concat!($word, " Reconnect"),
            TimerKind::WriteRetry(_) => concat!($word, " WriteRetry"),
            TimerKind::OutageRetry => concat!($word, " OutageRetry"),
            TimerKind::CommitRetry => concat!($word, " CommitRetry"),
            TimerKind::DeadLetterRetry => concat!($word, " DeadLetterRetry"),
            TimerKind::AcquireRetry => concat!($word, " AcquireRetry"),
            TimerKind::Linger(_) => concat!($word, " Linger"),
            TimerKind::Flush(_) => concat!($word, " Flush"),
            TimerKind::ParkedRetry(_) => concat!($word, " ParkedRetry"),
            TimerKind::CommitSpacing => concat!($word, " CommitSpacing"),
            TimerKind::Pause => concat!($word, " Pause"),
            TimerKind::Revocation => concat!($word, " Revocation"),
            TimerKind::LedgerCheck => concat!($word, " LedgerCheck"),
            TimerKind::HeldTable => concat!($word, " HeldTable"),
            TimerKind::Probe => concat!($word, " Probe"),
            TimerKind::LockedTable => concat!($word, " LockedTable"),
            TimerKind::Fencing => concat!($word, " Fencing"),
            TimerKind::Drain => concat!($word, " Drain"),
        }
    };
}

impl TimerKind {
    /// The label in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reconnect => "reconnect",
            Self::WriteRetry(_) => "write_retry",
            Self::OutageRetry => "outage_retry",
            Self::CommitRetry => "commit_retry",
            Self::DeadLetterRetry => "dead_letter_retry",
            Self::AcquireRetry => "acquire_retry",
            Self::Linger(_) => "linger",
            Self::Flush(_) => "flush",
            Self::ParkedRetry(_) => "parked_retry",
            Self::CommitSpacing => "commit_spacing",
            Self::Pause => "pause",
            Self::Revocation => "revocation",
            Self::LedgerCheck => "ledger_check",
            Self::HeldTable => "held_table",
            Self::LockedTable => "locked_table",
            Self::Probe => "probe",
            Self::Fencing => "fencing",
            Self::Drain => "drain",
        }
    }

    const fn input_name(self) -> &'static str {
        timer_names!(self, "Timer")
    }

    const fn set_name(self) -> &'static str {
        timer_names!(self, "SetTimer")
    }

    const fn cancel_name(self) -> &'static str {
        timer_names!(self, "CancelTimer")
    }
}
