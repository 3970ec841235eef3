use cdc_ports::ConsumerEvent;

/// How a client's thread speaks: its session's number goes with each event, so that what a former client said last
/// is not taken for the present one's.
pub(crate) struct Voice {
    pub(crate) session: u64,
    pub(crate) events: tokio::sync::mpsc::Sender<(u64, ConsumerEvent)>,
}

impl Voice {
    /// Waits while the queue is full. It holds hundreds; a driver that reads none is gone.
    pub(super) fn say(&self, event: ConsumerEvent) {
        if self.events.blocking_send((self.session, event)).is_err() {
            tracing::debug!("a consumer event was dropped: nobody listens any more");
        }
    }
}
