use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::ProducerReport;

/// Where a producer's own threads put their reports. The driver takes them all at once.
///
/// It needs no runtime: whoever waits leaves a waker.
#[derive(Debug, Default)]
pub struct ReportSink(Mutex<Reports>);

#[derive(Debug, Default)]
struct Reports {
    reports: Vec<ProducerReport>,
    /// Of the task that waits for the first report.
    waker: Option<Waker>,
}

impl ReportSink {
    /// Adds one report. Called from the client's thread; it never blocks on the driver. The list is bounded
    /// by the messages in flight.
    pub fn push(&self, report: ProducerReport) {
        let waker = {
            let mut inner = self.lock();
            inner.reports.push(report);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Swaps all reports, in the order in which they came, with an empty buffer; waits for the first one. One task at
    /// a time may wait. May be cancelled: no report is lost by it.
    pub async fn take(&self, into: &mut Vec<ProducerReport>) {
        poll_fn(|context| {
            let mut inner = self.lock();
            if inner.reports.is_empty() {
                match &mut inner.waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    none => *none = Some(context.waker().clone()),
                }
                return Poll::Pending;
            }
            std::mem::swap(&mut inner.reports, into);
            Poll::Ready(())
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Reports> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    use cdc_machine::SeqNo;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn numbers(reports: &[ProducerReport]) -> Vec<u64> {
        let number = |report: &ProducerReport| {
            if let ProducerReport::Delivered(seq) = report { Some(seq.0) } else { None }
        };
        reports.iter().filter_map(number).collect()
    }

    #[test]
    fn who_waits_is_woken_once_and_takes_all_reports_in_order() {
        let (sink, woken) = (ReportSink::default(), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut taken = Vec::new();
        // A wait that is given up loses nothing.
        assert!(pin!(sink.take(&mut taken)).poll(&mut context).is_pending());
        assert!(pin!(sink.take(&mut taken)).poll(&mut context).is_pending());
        for n in 0..3 {
            sink.push(ProducerReport::Delivered(SeqNo(n)));
        }
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(pin!(sink.take(&mut taken)).poll(&mut context).is_ready());
        assert_eq!(numbers(&taken), [0, 1, 2]);
        taken.clear();
        assert!(pin!(sink.take(&mut taken)).poll(&mut context).is_pending());
    }
}
