//! What only a file can go through.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use cdc_machine::Fault;
use cdc_ports::{Acquisition, StoreIdentity, TokenStore};
use cdc_tokens::{Examination, FileStore};
use cdc_watcher::{CollectionId, Gap, GapCause, RecordChange};

use crate::backend::{Backend, Files, LINEAGE, LONG, assert_same, identity, owned, plain, token, watched};

#[tokio::test]
async fn a_missing_folder_is_said_and_not_made() {
    let files = Files::new();
    let mut store = FileStore::new(files.path("no/such/token.dat"), identity(), "a").unwrap();
    let failure = store.acquire(false).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Fatal);
    assert!(failure.message.contains("create the folder"), "{failure}");
}

#[tokio::test]
async fn a_path_that_is_a_folder_is_fatal() {
    let files = Files::new();
    fs::create_dir(files.path("cell")).unwrap();
    let failure = files.store("cell", "a").acquire(false).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Fatal, "{failure}");
    assert!(FileStore::new("/", identity(), "a").is_err());
}

#[tokio::test]
async fn only_the_owner_may_read_any_of_the_files() {
    let files = Files::new();
    let mut store = files.holder("cell", "a").await;
    store.save(&token(1), LINEAGE, &plain()).await.unwrap();
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
    let mut store = files.holder("cell", "a").await;
    store.save(&token(1), LINEAGE, &plain()).await.unwrap();
    store.save(&token(2), LINEAGE, &plain()).await.unwrap();
    assert_same(&store.peek().await.unwrap().unwrap().token, &token(2));

    fs::copy(files.path("cell.previous"), files.path("cell")).unwrap();
    assert_same(&files.store("cell", "b").peek().await.unwrap().unwrap().token, &token(1));
}

#[tokio::test]
async fn what_a_crash_left_half_written_is_not_read() {
    let files = Files::new();
    let mut store = files.holder("cell", "a").await;
    store.save(&token(1), LINEAGE, &plain()).await.unwrap();
    fs::write(files.path("cell.tmp"), "{\"version\":1,\"incar").unwrap();

    let mut restarted = files.store("cell", "a");
    assert_same(&owned(restarted.acquire(false).await.unwrap()).unwrap().token, &token(1));
    restarted.save(&token(2), LINEAGE, &plain()).await.unwrap();
    assert_same(&restarted.peek().await.unwrap().unwrap().token, &token(2));
}

#[tokio::test]
async fn a_lock_that_is_never_given_back_is_a_failure_and_not_a_hang() {
    let files = Files::new();
    let mut store = files.holder("cell", "a").await;
    let lock = fs::File::open(files.path("cell.lock")).unwrap();
    lock.lock().unwrap();
    let failure = store.save(&token(1), LINEAGE, &plain()).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Transient, "{failure}");
    lock.unlock().unwrap();
    store.save(&token(1), LINEAGE, &plain()).await.unwrap();
}

#[tokio::test]
async fn what_is_no_text_or_endless_is_damaged_too() {
    let files = Files::new();
    for damaged in [vec![0xFF; 300], vec![b' '; 2 * 1024 * 1024]] {
        fs::write(files.path("cell"), &damaged).unwrap();
        let acquisition = files.store("cell", "a").acquire(false).await.unwrap();
        assert!(matches!(acquisition, Acquisition::Damaged(_)), "{acquisition:?}");
        assert_eq!(fs::read(files.path("cell")).unwrap(), damaged, "left for a person to look at");
    }
}

#[tokio::test]
async fn the_way_out_of_damage_is_the_previous_copy() {
    let files = Files::new();
    let mut store = files.holder("cell", "a").await;
    store.save(&token(1), LINEAGE, &plain()).await.unwrap();
    store.save(&token(2), LINEAGE, &plain()).await.unwrap();
    let whole = fs::read(files.path("cell")).unwrap();
    fs::write(files.path("cell"), &whole[..whole.len() - 1]).unwrap();
    let acquisition = files.store("cell", "a").acquire(false).await.unwrap();
    let previous = files.path("cell.previous");
    let way_back = format!("copy {} over it", previous.display());
    let tells = matches!(&acquisition, Acquisition::Damaged(text) if text.contains(&way_back));
    assert!(tells, "{acquisition:?}");
    fs::copy(previous, files.path("cell")).unwrap();
    assert_same(&owned(files.store("cell", "a").acquire(false).await.unwrap()).unwrap().token, &token(1));
}

/// A file system of its own, as small as they come; unmounted at the end.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// `None` where this user may not mount: then only the model disk has told what happens.
    fn mount() -> Option<Self> {
        let disk = Self { folder: tempfile::tempdir().unwrap() };
        disk.run("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).then_some(disk)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn make(&self, mode: &str) {
        assert!(self.run("mount", &["-o", &format!("remount,{mode}")]));
    }

    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        let mut command = Command::new(program);
        command.args(arguments).arg(self.path()).stderr(std::process::Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _not_mounted = self.run("umount", &[]);
    }
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_a_read_only_one_is_said() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut store = FileStore::new(disk.path().join("cell"), identity(), "a").unwrap();
    owned(store.acquire(false).await.unwrap());
    store.save(&token(1), LINEAGE, &plain()).await.unwrap();

    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![0; 64 * 1024]).unwrap_err();
    let failure = store.save(&token(2), LINEAGE, &plain()).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Transient, "{failure}");
    assert!(failure.message.contains("make room on the disk"), "{failure}");
    assert_same(&store.peek().await.unwrap().unwrap().token, &token(1));
    fs::remove_file(&ballast).unwrap();
    store.save(&token(2), LINEAGE, &plain()).await.unwrap();

    disk.make("ro");
    let failure = store.save(&token(3), LINEAGE, &plain()).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Fatal, "{failure}");
    assert!(failure.message.contains("on a disk that can be written"), "{failure}");
    disk.make("rw");
    store.save(&token(3), LINEAGE, &plain()).await.unwrap();
    assert_same(&store.peek().await.unwrap().unwrap().token, &token(3));
}

/// A person changes the record only as it was seen, and only while nobody holds the lease.
#[tokio::test]
async fn a_record_is_changed_by_hand_as_it_was_seen_and_while_nobody_holds_it() {
    const HAND: &str = "by_hand";
    let files = Files::new();
    let free = |examination| match examination {
        Examination::Free(examined) => examined,
        other => panic!("{other:?}"),
    };
    let mut hand = files.store("cell", "hand");
    assert!(matches!(hand.examine(HAND, true).await.unwrap(), Examination::Empty));
    let mut watcher = files.holder("cell", "a").await;
    let gap = Gap {
        from: None,
        to: token(2),
        cause: GapCause::TopicLost,
        collections: vec![CollectionId(0)],
        announced: true,
    };
    watcher.save(&token(2), LINEAGE, &RecordChange { gaps: vec![gap], ..plain() }).await.unwrap();
    assert!(
        matches!(hand.examine(HAND, true).await.unwrap(), Examination::Held { holder, .. } if holder.instance == "a")
    );
    watcher.release().await.unwrap();

    // Two at once: the second has seen what is no more.
    let (first, second) = (hand.examine(HAND, true).await.unwrap(), hand.examine(HAND, true).await.unwrap());
    assert_eq!(hand.acknowledge_gaps(*free(first)).await.unwrap(), 1);
    let counts = BTreeMap::from([(watched("players").topic, 24)]);
    let late = hand.repartition(*free(second), &counts).await.unwrap_err();
    assert_eq!(late.fault, Fault::Transient);

    // A Watcher that was there in between.
    let before = free(hand.examine(HAND, true).await.unwrap());
    let mut watcher = files.store("cell", "b");
    let record = owned(watcher.acquire(false).await.unwrap()).unwrap();
    assert!(!record.gaps[0].is_open() && record.gaps[0].announced, "{record:?}");
    watcher.release().await.unwrap();
    assert_eq!(hand.repartition(*before, &counts).await.unwrap_err().fault, Fault::Transient);

    let now = free(hand.examine(HAND, true).await.unwrap());
    hand.repartition(*now, &counts).await.unwrap();
    let mut watcher = files.store("cell", "b");
    let record = owned(watcher.acquire(false).await.unwrap()).unwrap();
    assert_eq!(record.collections[0].known.partitions, Some(24));
    assert_eq!(record.token.position, token(2).position);
    // Whoever made another source's record has nothing to say here.
    watcher.release().await.unwrap();
    let other = StoreIdentity { source: "rs1/elsewhere".to_owned(), ..identity() };
    let mut hand = files.store_of("cell", other, "hand", LONG);
    assert!(matches!(hand.examine(HAND, true).await.unwrap(), Examination::Foreign(_)));
    assert!(matches!(hand.examine(HAND, false).await.unwrap(), Examination::Free(_)));
}
