//! What only a file can go through.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use cdc_executor::ports::TokenStore;
use cdc_machine::Fault;
use cdc_tokens::FileStore;

use crate::backend::{Backend, Files, LINEAGE, assert_same, identity, owned, token};

#[tokio::test]
async fn a_missing_folder_is_said_and_not_made() {
    let files = Files::new();
    let mut store = FileStore::new(files.path("no/such/token.dat"), identity(), "a").unwrap();
    let failure = store.acquire().await.unwrap_err();
    assert_eq!(failure.fault, Fault::Fatal);
    assert!(failure.message.contains("create the folder"), "{failure}");
}

#[tokio::test]
async fn a_path_that_is_a_folder_is_fatal() {
    let files = Files::new();
    fs::create_dir(files.path("cell")).unwrap();
    let failure = files.store("cell", "a").acquire().await.unwrap_err();
    assert_eq!(failure.fault, Fault::Fatal, "{failure}");
    assert!(FileStore::new("/", identity(), "a").is_err());
}

#[tokio::test]
async fn only_the_owner_may_read_any_of_the_files() {
    let files = Files::new();
    let mut store = files.store("cell", "a");
    owned(store.acquire().await.unwrap());
    store.save(&token(1), LINEAGE).await.unwrap();
    let mut seen = Vec::new();
    for entry in fs::read_dir(files.folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        seen.push(entry.file_name().into_string().unwrap());
    }
    seen.sort();
    assert_eq!(seen, ["cell", "cell.lock", "cell.previous"]);
}

#[tokio::test]
async fn the_previous_copy_is_whole_and_one_save_older() {
    let files = Files::new();
    let mut store = files.store("cell", "a");
    owned(store.acquire().await.unwrap());
    store.save(&token(1), LINEAGE).await.unwrap();
    store.save(&token(2), LINEAGE).await.unwrap();
    assert_same(&store.peek().await.unwrap().unwrap().token, &token(2));

    fs::copy(files.path("cell.previous"), files.path("cell")).unwrap();
    assert_same(&files.store("cell", "b").peek().await.unwrap().unwrap().token, &token(1));
}

#[tokio::test]
async fn what_a_crash_left_half_written_is_not_read() {
    let files = Files::new();
    let mut store = files.store("cell", "a");
    owned(store.acquire().await.unwrap());
    store.save(&token(1), LINEAGE).await.unwrap();
    fs::write(files.path("cell.tmp"), "{\"version\":1,\"incar").unwrap();

    let mut restarted = files.store("cell", "a");
    assert_same(&owned(restarted.acquire().await.unwrap()).unwrap().token, &token(1));
    restarted.save(&token(2), LINEAGE).await.unwrap();
    assert_same(&restarted.peek().await.unwrap().unwrap().token, &token(2));
}

#[tokio::test]
async fn a_lock_that_is_never_given_back_is_a_failure_and_not_a_hang() {
    let files = Files::new();
    let mut store = files.store("cell", "a");
    owned(store.acquire().await.unwrap());
    let lock = fs::File::open(files.path("cell.lock")).unwrap();
    lock.lock().unwrap();
    let failure = store.save(&token(1), LINEAGE).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Transient, "{failure}");
    lock.unlock().unwrap();
    store.save(&token(1), LINEAGE).await.unwrap();
}
