//! How a pipeline's services are asked to end, and how they did.

use std::time::Duration;

use cdc_devstack::pipeline::Role;

use super::Pipeline;
use crate::Failure;

/// A service's end: its code, and the last line of its log.
#[derive(Clone, Debug)]
pub struct End {
    /// `None` after a signal that it does not handle.
    pub code: Option<i32>,
    /// As it was written, in JSON.
    pub last_line: String,
}

impl Pipeline {
    /// SIGTERM for a service. One that has just ended by itself needs none.
    ///
    /// # Errors
    /// If it does not run.
    pub fn ask_to_stop(&mut self, role: Role) -> Result<(), Failure> {
        let service = self.post_mut(role).running()?;
        if service.exit_status()?.is_none() {
            service.request_stop()?;
        }
        Ok(())
    }

    /// Waits until a service has ended. It is not started again yet.
    ///
    /// # Errors
    /// With its last line, if it still runs after `within`.
    pub async fn end_of(&mut self, role: Role, within: Duration) -> Result<End, Failure> {
        let log = self.post(role).deployment.log();
        let ended = self.post_mut(role).running()?.exited(within).await;
        let text = std::fs::read_to_string(log)?;
        let said = text.lines().rev().find(|line| line.starts_with('{'));
        let last_line = said.unwrap_or_default().to_owned();
        match ended {
            Ok(status) => Ok(End { code: status.code(), last_line }),
            Err(error) => Err(format!("{error}; it said last: {last_line}").into()),
        }
    }
}
