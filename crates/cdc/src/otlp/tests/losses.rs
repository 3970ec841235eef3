//! How often losses are told of.

use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::super::batches::TOLD_EVERY;
use super::*;

/// Counts the warnings of the export.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() == Level::WARN && metadata.target().contains("otlp") {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn losses_are_told_of_once_a_minute_and_at_the_end() {
    let warnings = Warnings::default();
    let subscriber = tracing_subscriber::registry().with(warnings.clone());
    let _heard = tracing::subscriber::set_default(subscriber);
    let told = || warnings.0.load(Ordering::Relaxed);
    let wanted = wanted("http://127.0.0.1:1", TraceProtocol::Grpc);
    let service = Service { name: "watcher", instance: "w1", topics: &[] };
    let (_closer, closes) = watch::channel(None);
    let (collector, losses) = (Collector::new(&wanted).unwrap(), Losses::new("watcher"));
    let resource = resource::of(&wanted, &service);
    let mut batches = Batches::new("watcher", (collector, &wanted), resource, losses.clone(), closes);
    for _ in 0..10 {
        losses.unsent(3);
        batches.tell(TOLD_EVERY);
    }
    assert_eq!((TOLD_EVERY, told()), (Duration::from_secs(60), 1));
    batches.tell(Duration::ZERO);
    assert_eq!(told(), 2, "the last ones are told of at the end");
    batches.tell(Duration::ZERO);
    assert_eq!(told(), 2, "where nothing was lost there is nothing to tell");
}
