//! What the source cannot give is refused by name or looked up, and a source that is another one is no source: on one
//! set of servers, one case after the other.

mod lineage;
mod restored;
mod unfit;

use cdc_devstack::Service;
use cdc_devstack::pipeline::{Deployment, Role};
use cdc_tests::waiting::until;

use crate::gaps::rig::{Case, Rig};

/// Feature: cdc-pipeline, Property 1: Change Event Capture Completeness
/// Validates: Requirements 1.1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_source_cannot_give_or_has_lost_is_told() {
    let _turn = crate::TURN.lock().await;
    let mut rig = Box::pin(Rig::start()).await;
    Box::pin(unfit::names_that_cannot_be_watched_are_refused(&rig)).await;
    Box::pin(unfit::names_that_come_later_are_told_of(&rig)).await;
    Box::pin(unfit::post_images_that_vanish_are_looked_up(&rig)).await;
    Box::pin(lineage::a_record_lost_beside_a_topic_of_the_future(&rig)).await;
    Box::pin(lineage::a_record_older_than_its_topic(&rig)).await;
    Box::pin(restored::from_an_older_copy(&mut rig)).await;
}

/// A Syncer on the case's topic.
async fn sync(case: &Case<'_>) -> Service {
    let name = format!("{}-syncer", case.key.replace(':', "-"));
    let settings =
        [("CDC__KAFKA__TOPIC", case.topic.as_str()), ("CDC__KAFKA__CONSUMER_GROUP", name.as_str())];
    let deployment =
        Deployment::new(Role::Syncer, &name, case.rig.stack.folder(), &case.rig.endpoints, &settings)
            .unwrap();
    deployment.start().await.unwrap()
}

/// Waits until the mirror of the collection holds exactly these levels, by `_id`.
async fn until_levels(case: &Case<'_>, expected: &[(i64, i64)]) {
    let postgres = case.rig.endpoints.postgres().await.unwrap();
    let table = case.topic.rsplit('.').next().unwrap();
    let select =
        format!("SELECT (document->>'_id')::bigint, (document->>'level')::bigint FROM {table} ORDER BY 1");
    until(&format!("{table} to hold {expected:?}"), async || {
        let Ok(rows) = postgres.query(&select, &[]).await else { return false };
        let found: Vec<(i64, i64)> =
            rows.iter().map(|row| (row.get(0), row.get::<_, Option<i64>>(1).unwrap_or_default())).collect();
        found == expected
    })
    .await;
}

fn log_of(service: &Service) -> String {
    std::fs::read_to_string(service.log()).unwrap()
}
