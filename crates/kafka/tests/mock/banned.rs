//! Clippy refuses the client types whose behaviour breaks the pipeline's promises. Each expectation below is
//! unfulfilled, and so fails the lint run, as soon as clippy stops refusing.

#[expect(clippy::disallowed_types, reason = "shows that clippy refuses the reordering producer")]
type Reordering = rdkafka::producer::FutureProducer;

#[expect(
    clippy::disallowed_types,
    reason = "shows that clippy refuses the consumer that hides its poll loop"
)]
type Hidden = rdkafka::consumer::StreamConsumer;

#[test]
fn the_banned_types_exist_under_these_paths() {
    // A renamed type would make the ban empty.
    assert!(std::any::type_name::<Reordering>().contains("FutureProducer"));
    assert!(std::any::type_name::<Hidden>().contains("StreamConsumer"));
}
