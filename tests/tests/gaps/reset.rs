//! A person moves the position: `cdc token reset`.

use bson::doc;

use super::rig::{Case, Rig, STOP, finish};

/// Runs the command, and returns its exit code with all that it said.
async fn reset(case: &Case<'_>, to: &str) -> (Option<i32>, String) {
    let output = case.deployment(STOP, &[]).run(&["token", "reset", "--to", to]).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
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
    finish(watching).await;
}
