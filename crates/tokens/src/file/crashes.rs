//! The file store on a disk that crashes and fails at any operation.

use std::collections::BTreeMap;

use bytes::Bytes;
use cdc_event::{Position, ResumeToken};
use cdc_machine::Lineage;
use cdc_ports::{Acquisition, StoreIdentity, TokenStore as _};
use cdc_watcher::RecordChange;
use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use super::FileRegister;
use crate::disk::model::{EACCES, EIO, ENOSPC, EROFS, ModelDisk, Trouble};
use crate::store::LeasedStore;

const CASES: u32 = 512;
/// More than one save takes, so that a crash may also come after it.
const OPERATIONS: u32 = 12;
const LINEAGE: Lineage = Lineage(1);

type Store = LeasedStore<FileRegister<ModelDisk>>;

/// What a running Watcher asks of the store, and what befalls it meanwhile.
#[derive(Clone, Debug)]
struct Act {
    is_save: bool,
    troubles: BTreeMap<u32, Trouble>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It goes on.
    None,
    /// The process ends after it; the machine stays on.
    Restart,
    /// The machine goes off in front of this operation.
    Crash(u32),
}

fn any_act() -> impl Strategy<Value = Act> {
    let trouble = (prop_oneof![Just(ENOSPC), Just(EIO), Just(EACCES), Just(EROFS)], any::<bool>())
        .prop_map(|(error, done)| Trouble { error, done });
    let troubles = proptest::collection::btree_map(0..OPERATIONS, trouble, 0..3);
    let end = prop_oneof![
        3 => Just(End::None),
        1 => Just(End::Restart),
        3 => (0..=OPERATIONS).prop_map(End::Crash),
    ];
    (proptest::bool::weighted(0.8), troubles, end).prop_map(|(is_save, troubles, end)| Act {
        is_save,
        troubles,
        end,
    })
}

fn token(n: u32) -> ResumeToken {
    let bson = bson::rawdoc! { "_data": format!("82{n:08X}") };
    let position = Position::from_bytes(&n.to_be_bytes()).unwrap();
    ResumeToken { bson: Bytes::from(bson.into_bytes()), position, rests_on: None }
}

fn store(disk: &ModelDisk) -> Store {
    let identity = StoreIdentity { source: "rs0/game_db".to_owned(), collections: Vec::new() };
    let register = FileRegister::on(disk.clone(), "/folder/token.dat").unwrap();
    // A lease that has run out is anybody's: who may have it is tested elsewhere.
    LeasedStore::over(register, identity, "a").unwrap().with_lease_ttl(std::time::Duration::ZERO)
}

/// What may be found: what was last confirmed, or what was tried since.
#[derive(Debug)]
struct Allowed {
    confirmed: Option<u32>,
    tried: Vec<u32>,
}

impl Allowed {
    fn check(&self, found: Option<ResumeToken>) -> Result<Option<u32>, String> {
        let number = |found: &ResumeToken| {
            let bytes = found.position.as_bytes().try_into().map(u32::from_be_bytes).ok();
            bytes.filter(|n| token(*n).bson == found.bson).ok_or("not a token that was saved")
        };
        let found = found.as_ref().map(number).transpose()?;
        if found == self.confirmed || found.is_some_and(|n| self.tried.contains(&n)) {
            return Ok(found);
        }
        Err(format!("found {found:?}, but {self:?}"))
    }
}

/// Lives through the acts; the error says what was lost.
async fn live(disk: ModelDisk, acts: &[Act]) -> Result<(), String> {
    let mut allowed = Allowed { confirmed: None, tried: Vec::new() };
    let mut running = store(&disk);
    take(&mut running, &mut allowed).await?;
    for (n, act) in (1..).zip(acts) {
        let crash_at = match act.end {
            End::Crash(at) => Some(at),
            End::None | End::Restart => None,
        };
        disk.plan(act.troubles.clone(), crash_at);
        if act.is_save {
            let plain = RecordChange { known: Vec::new(), gaps: Vec::new(), announced: true };
            match running.save(&token(n), LINEAGE, &plain).await {
                Ok(_) => allowed = Allowed { confirmed: Some(n), tried: Vec::new() },
                Err(_) => allowed.tried.push(n),
            }
        } else {
            // It writes the record anew as a save does, with the position that it knows.
            drop(running.renew().await);
        }
        match act.end {
            End::Crash(_) => disk.crash(),
            End::None | End::Restart => disk.plan(BTreeMap::new(), None),
        }
        if act.end == End::None {
            let seen = running.peek().await.map_err(|failure| failure.to_string())?;
            allowed.check(seen.map(|record| record.token))?;
        } else {
            running = store(&disk);
            take(&mut running, &mut allowed).await?;
        }
    }
    Ok(())
}

/// Takes the lease, which writes what was found anew: from then on that is what counts.
async fn take(running: &mut Store, allowed: &mut Allowed) -> Result<(), String> {
    let found = match running.acquire(false).await.map_err(|failure| failure.to_string())? {
        Acquisition::Empty => None,
        Acquisition::Position { record, .. } => Some(record.token),
        other => return Err(format!("{other:?}")),
    };
    *allowed = Allowed { confirmed: allowed.check(found)?, tried: Vec::new() };
    Ok(())
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// Feature: cdc-pipeline, Property 3: Resume Token Persistence Round-Trip
/// Validates: Requirements 2.2
#[test]
fn no_crash_and_no_fault_loses_a_confirmed_position_or_shows_half_a_record() {
    let runtime = runtime();
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(seed: u64, acts in proptest::collection::vec(any_act(), 1..12))| {
        let lived = runtime.block_on(live(ModelDisk::seeded(seed), &acts));
        prop_assert_eq!(lived, Ok(()));
    });
}

/// How many of a hundred lives end in a loss.
fn losses(disk: impl Fn(u64) -> ModelDisk) -> usize {
    let runtime = runtime();
    let acts = |seed: u64| -> Vec<Act> {
        (0..12)
            .map(|n| Act {
                is_save: true,
                troubles: BTreeMap::new(),
                end: End::Crash(OPERATIONS - u32::try_from((seed + n) % 3).unwrap()),
            })
            .collect()
    };
    (0..100).filter(|seed| runtime.block_on(live(disk(*seed), &acts(*seed))).is_err()).count()
}

/// The property above can fail: it does where the disk does not do what it is asked to.
#[test]
fn a_disk_that_does_not_sync_is_found_out() {
    assert_eq!(losses(ModelDisk::seeded), 0);
    let lazy = losses(|seed| ModelDisk::seeded(seed).with_lazy_sync());
    assert!(lazy > 50, "{lazy} of 100 without sync");
    let lazy = losses(|seed| ModelDisk::seeded(seed).with_lazy_folder_sync());
    assert!(lazy > 50, "{lazy} of 100 without the folder's sync");
}
