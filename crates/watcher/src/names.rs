//! Names for logs, metrics and diagrams; they cost nothing to copy.

use crate::{Effect, Input, TimerKind};

impl<R, T> Input<R, T> {
    /// The input's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Start => "Start",
            Self::LeaseAcquired { .. } => "LeaseAcquired",
            Self::LeaseHeld { .. } => "LeaseHeld",
            Self::LeaseFailed { .. } => "LeaseFailed",
            Self::LeaseRenewed { .. } => "LeaseRenewed",
            Self::LeaseRenewFailed { .. } => "LeaseRenewFailed",
            Self::LeaseReleased { .. } => "LeaseReleased",
            Self::LeaseForeign { .. } => "LeaseForeign",
            Self::LeaseDamaged { .. } => "LeaseDamaged",
            Self::LeaseUnreadable { .. } => "LeaseUnreadable",
            Self::ProducerReady { .. } => "ProducerReady",
            Self::ProducerFailed { .. } => "ProducerFailed",
            Self::ProducerLost { .. } => "ProducerLost",
            Self::Opened { .. } => "Opened",
            Self::OpenFailed { .. } => "OpenFailed",
            Self::Batch { .. } => "Batch",
            Self::SourceFailed { .. } => "SourceFailed",
            Self::Delivered { .. } => "Delivered",
            Self::DeliveryFailed { .. } => "DeliveryFailed",
            Self::DeliveryTooLarge { .. } => "DeliveryTooLarge",
            Self::Saved { .. } => "Saved",
            Self::SaveFailed { .. } => "SaveFailed",
            Self::Timer(timer) => timer.kind.input_name(),
            Self::Signal(cdc_machine::Signal::Drain) => "Signal Drain",
            Self::Signal(cdc_machine::Signal::Abort) => "Signal Abort",
        }
    }
}

impl<R, T> Effect<R, T> {
    /// The effect's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AcquireLease { .. } => "AcquireLease",
            Self::RenewLease { .. } => "RenewLease",
            Self::ReleaseLease { .. } => "ReleaseLease",
            Self::PrepareProducer { .. } => "PrepareProducer",
            Self::Publish { .. } => "Publish",
            Self::PublishControl { .. } => "PublishControl",
            Self::PublishMarker { .. } => "PublishMarker",
            Self::LeaveOut { .. } => "LeaveOut",
            Self::PurgeQueued => "PurgeQueued",
            Self::OpenStream { .. } => "OpenStream",
            Self::Pull { .. } => "Pull",
            Self::CloseStream { .. } => "CloseStream",
            Self::SaveToken { .. } => "SaveToken",
            Self::SetTimer { timer, .. } => timer.kind.set_name(),
            Self::CancelTimer { timer } => timer.kind.cancel_name(),
            Self::Stop { .. } => "Stop",
        }
    }
}

impl TimerKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Reconnect,
        Self::SaveRetry,
        Self::SaveSpacing,
        Self::SaveDelay,
        Self::IdleSave,
        Self::LeaseRenew,
        Self::LeaseWait,
        Self::Drain,
    ];

    /// The label in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reconnect => "reconnect",
            Self::SaveRetry => "save_retry",
            Self::SaveSpacing => "save_spacing",
            Self::SaveDelay => "save_delay",
            Self::IdleSave => "idle_save",
            Self::LeaseRenew => "lease_renew",
            Self::LeaseWait => "lease_wait",
            Self::Drain => "drain",
        }
    }

    const fn input_name(self) -> &'static str {
        match self {
            Self::Reconnect => "Timer Reconnect",
            Self::SaveRetry => "Timer SaveRetry",
            Self::SaveSpacing => "Timer SaveSpacing",
            Self::SaveDelay => "Timer SaveDelay",
            Self::IdleSave => "Timer IdleSave",
            Self::LeaseRenew => "Timer LeaseRenew",
            Self::LeaseWait => "Timer LeaseWait",
            Self::Drain => "Timer Drain",
        }
    }

    const fn set_name(self) -> &'static str {
        match self {
            Self::Reconnect => "SetTimer Reconnect",
            Self::SaveRetry => "SetTimer SaveRetry",
            Self::SaveSpacing => "SetTimer SaveSpacing",
            Self::SaveDelay => "SetTimer SaveDelay",
            Self::IdleSave => "SetTimer IdleSave",
            Self::LeaseRenew => "SetTimer LeaseRenew",
            Self::LeaseWait => "SetTimer LeaseWait",
            Self::Drain => "SetTimer Drain",
        }
    }

    const fn cancel_name(self) -> &'static str {
        match self {
            Self::Reconnect => "CancelTimer Reconnect",
            Self::SaveRetry => "CancelTimer SaveRetry",
            Self::SaveSpacing => "CancelTimer SaveSpacing",
            Self::SaveDelay => "CancelTimer SaveDelay",
            Self::IdleSave => "CancelTimer IdleSave",
            Self::LeaseRenew => "CancelTimer LeaseRenew",
            Self::LeaseWait => "CancelTimer LeaseWait",
            Self::Drain => "CancelTimer Drain",
        }
    }
}
