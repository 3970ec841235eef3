//! Names for logs, metrics and diagrams; they cost nothing to copy.

use cdc_machine::Signal;

use crate::{Effect, Input};

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
            Self::Timer(timer) => timer.kind.expiry_name(),
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
