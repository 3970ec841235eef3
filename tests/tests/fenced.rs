//! A cluster that names no broker for a moment: the only one is paused for longer than its session with the controller,
//! is fenced, and answers so before it is let in again. A Kafka client that asks just then forgets its brokers for good.

use std::time::Duration;

use bson::{DateTime, Document, doc};
use cdc_devstack::Service;
use cdc_devstack::pipeline::{Deployment, Role, SOURCE_DATABASE};
use cdc_devstack::source::{COLLECTIONS, Source};
use cdc_devstack::workload::player_id;
use cdc_tests::testbed::Testbed;
use cdc_tests::waiting::{health, until, until_number};

/// Twice the `broker.session.timeout.ms` that the test's broker has.
const PAUSE: Duration = Duration::from_secs(6);
const PAUSES: i64 = 3;
/// Documents of each collection in each round: some for each partition.
const EACH: i64 = 40;

/// Which client asks at that moment is chance: after three pauses, nearly always one has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_lost_its_brokers_is_replaced() {
    let _turn = crate::TURN.lock().await;
    let Testbed { mut stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    let source = Source::new(SOURCE_DATABASE, &COLLECTIONS);
    postgres.batch_execute(&source.tables_sql()).await.unwrap();
    let deploy = |role: Role, name: &str| {
        Deployment::over(&source, role, name, stack.folder(), &endpoints, &[]).unwrap()
    };
    let mut services = vec![deploy(Role::Watcher, "watcher").start().await.unwrap()];
    for name in ["syncer-1", "syncer-2", "syncer-3"] {
        services.push(deploy(Role::Syncer, name).start().await.unwrap());
    }
    let database = mongo.database(&source.database);

    for round in 0..=PAUSES {
        for copied in source.collections {
            let documents: Vec<Document> =
                (0..EACH).map(|number| document(copied.name, round * EACH + number)).collect();
            database.collection(copied.name).insert_many(documents).await.unwrap();
        }
        for copied in source.collections {
            let count = format!("SELECT count(*) FROM {}", copied.name);
            until_number(&postgres, &count, (round + 1) * EACH).await;
        }
        if round < PAUSES {
            stack.kafka.pause().unwrap();
            tokio::time::sleep(PAUSE).await;
            stack.kafka.resume().unwrap();
        }
    }
    let is_healthy = async |service: &Service| health(service).await.is_ok_and(|(status, _)| status == 200);
    for service in &services {
        until("every service to be healthy", async || is_healthy(service).await).await;
    }
}

fn document(collection: &str, number: i64) -> Document {
    doc! {
        "_id": player_id(u32::try_from(number).unwrap()),
        "username": format!("{collection}-{number}"),
        "score": number,
        "created_at": DateTime::from_millis(1_705_312_200_000),
    }
}
