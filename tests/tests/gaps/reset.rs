//! A person moves the position: `cdc token reset`.

use bson::doc;

use cdc_devstack::Service;

use super::rig::{Case, Rig, STOP, finish, gaps_open, run};

async fn reset(case: &Case<'_>, to: &str) -> (Option<i32>, String) {
    run(case, &["token", "reset", "--to", to]).await
}

pub(crate) async fn forwards_and_with_its_gap(rig: &Rig) {
    let case = rig.case("reset");
    let watching = case.start(STOP).await;
    case.insert(1).await;
    case.until_inserted(&[1]).await;
    let (code, said) = reset(&case, "now").await;
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains("holds the lease"), "{said}");
    finish(watching).await;

    case.insert(2).await;
    // "Now" is the time of the last change of all, that change included.
    rig.database.collection("elsewhere").insert_one(doc! {}).await.unwrap();
    let (code, said) = reset(&case, "yesterday").await;
    assert_eq!(code, Some(2), "{said}");
    let (code, said) = reset(&case, "now").await;
    assert_eq!(code, Some(0), "{said}");

    let watching = case.start(STOP).await;
    case.insert(3).await;
    case.shows_one_gap(&watching, "token_reset").await;
    case.until_inserted(&[1, 3]).await;
    acknowledged_when_nobody_holds_the_lease(&case, watching).await;
}

/// A person has seen the gap: it stays on record and is open no more.
async fn acknowledged_when_nobody_holds_the_lease(case: &Case<'_>, watching: Service) {
    let (code, said) = run(case, &["gaps", "acknowledge"]).await;
    assert_eq!(code, Some(75), "{said}");
    finish(watching).await;
    let (code, said) = run(case, &["gaps", "list"]).await;
    assert!(code == Some(0) && said.contains("  open  token_reset  reset  "), "{said}");
    let (code, said) = run(case, &["gaps", "acknowledge"]).await;
    assert_eq!((code, said.as_str()), (Some(0), "watcher: 1 gaps acknowledged\n"));
    let (code, said) = run(case, &["gaps", "list", "--json"]).await;
    let gaps: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, gaps.as_array().map(Vec::len)), (Some(0), Some(1)));
    assert!(gaps[0]["acknowledged_at"].is_string() && gaps[0]["service"] == "watcher", "{said}");

    let watching = case.start(STOP).await;
    assert_eq!(gaps_open(&watching).await, 0.0);
    case.insert(4).await;
    case.until_inserted(&[1, 3, 4]).await;
    assert_eq!(case.causes().await, ["token_reset"], "it stays on record");
    finish(watching).await;
}
