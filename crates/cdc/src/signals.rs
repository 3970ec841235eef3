//! SIGTERM and SIGINT, for the machines.

use std::io;

use cdc_machine::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Signals that may wait for a service: there are two kinds, and each is told once.
pub const PENDING: usize = 2;

/// Tells every service of the first signal (drain) and of the second (stop at once). Further signals change
/// nothing.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn forward(services: Vec<mpsc::Sender<Signal>>) -> io::Result<JoinHandle<()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::spawn(async move {
        for told in [Signal::Drain, Signal::Abort] {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            let plan = match told {
                Signal::Drain => "draining; a second signal stops at once",
                Signal::Abort => "stopping at once",
            };
            tracing::info!(operation = "signal", signal = name, "{plan}");
            for service in &services {
                // A service that has ended already needs no signal, and a full channel holds one like it.
                let _ = service.try_send(told);
            }
        }
    }))
}
