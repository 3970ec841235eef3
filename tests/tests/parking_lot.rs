//! More rows wait for a unique value than may: their topic is held, or by policy the Syncer ends, a person decides, and
//! nothing is lost.
//!
//! It takes no turn: a few records, and no load.

use std::ops::Range;
use std::time::Duration;

use cdc_tests::held::until_held;
use cdc_tests::messages::Spelled;
use cdc_tests::site::{PATIENCE, Site, metric};

const TOPIC: &str = "cdc.game_db.names";
/// The bound is met long before that.
const DOCUMENTS_MAX: u64 = 1_000;
const PARKED: &str = "SELECT count(*) FROM cdc.parked";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_parking_lot_holds_its_topic_and_loses_nothing() {
    let site = Site::start().await.unwrap();
    let table = "CREATE TABLE names (id text PRIMARY KEY, username text UNIQUE, cdc_position bytea)";
    site.sql.batch_execute(table).await.unwrap();
    site.log.create(TOPIC, 2, &[]).await.unwrap();
    let put = |numbers: Range<u64>, name: fn(u64) -> String, from_position: u64| {
        for n in numbers {
            let fields = format!(",\"username\":\"{}\"", name(n));
            let message = Spelled::upsert("names", &format!("n-{n}"), &fields, from_position + n);
            site.log.put(TOPIC, i32::try_from(n % 2).unwrap(), &message).unwrap();
        }
        site.log.flush().unwrap();
    };
    // All want the same name, and one gets it. Workers park side by side, and together more than the bound: then the
    // next one that is blocked is one too many.
    let small = [("CDC__PARKED__MAX_ROWS", "5"), ("CDC__ON_TABLE_ERROR", "stop")];
    let small = site.syncer("small", TOPIC, &small).unwrap();
    let mut syncer = small.spawn().unwrap();
    let mut documents = 0;
    let status = loop {
        if let Some(status) = syncer.exit_status().unwrap() {
            break status;
        }
        assert!(documents < DOCUMENTS_MAX, "{}", site.last_words());
        put(documents..documents + 1, |_| "wanted".to_owned(), 0);
        documents += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(status.code(), Some(65), "{}", site.last_words());
    let said = std::fs::read_to_string(syncer.log()).unwrap();
    assert!(said.contains("parked.max_rows"), "it says what to do: {said}");
    // It stays so until somebody has decided.
    assert_eq!(small.spawn().unwrap().exited(PATIENCE).await.unwrap().code(), Some(65));
    let patient = site.syncer("patient", TOPIC, &[("CDC__PARKED__MAX_ROWS", "5")]).unwrap();
    let mut syncer = patient.start().await.unwrap();
    put(documents..documents + 1, |_| "wanted".to_owned(), 0);
    documents += 1;
    let held = until_held(&syncer, &[(TOPIC, "parked_full")]).await.unwrap();
    assert!(held[TOPIC].contains("parked.max_rows"), "{held:?}");
    let attempts = "SELECT least(sum(attempts), 1000000)::bigint FROM cdc.parked";
    let tried = site.number(attempts).await.unwrap();
    let is_tried_again =
        format!("SELECT count(*) FROM ({attempts}) AS now (attempts) WHERE attempts > {tried}");
    site.until(&is_tried_again, 1).await.unwrap();
    assert_eq!(syncer.terminate(PATIENCE).await.unwrap().code(), Some(0));

    let large = site.syncer("large", TOPIC, &[("CDC__PARKED__MAX_ROWS", "1000")]).unwrap();
    let mut syncer = large.start().await.unwrap();
    let all = i64::try_from(documents).unwrap();
    site.until(PARKED, all - 1).await.unwrap();
    // Each has a name of its own by now.
    put(0..documents, |n| format!("name {n}"), 10_000);
    site.until(PARKED, 0).await.unwrap();
    site.until("SELECT count(DISTINCT username) FROM names", all).await.unwrap();
    assert!(metric(&syncer, "cdc_dead_letters_total", &[]).await < 1.0);
    assert_eq!(syncer.terminate(PATIENCE).await.unwrap().code(), Some(0));
}
