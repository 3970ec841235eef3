//! Two processes of one machine under one name, and under two.

use std::process::{Child, Command};

use cdc_ports::{Acquisition, Holder, ProcessId, TokenStore};
use cdc_tokens::{FileStore, RedisStore};

use crate::backend::{Backend, Files, LINEAGE, LONG, Redis, assert_same, identity, owned, plain, token};

/// A process that can be looked up, in whose name a store writes.
struct Neighbour {
    child: Child,
    id: ProcessId,
}

impl Neighbour {
    fn start() -> Self {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let id = ProcessId::of(i32::try_from(child.id()).unwrap()).unwrap();
        Self { child, id }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A store of `instance` in the name of a process.
trait OfProcess: Backend {
    fn store_in(&self, instance: &str, process: &ProcessId) -> Self::Store;
}

impl OfProcess for Files {
    fn store_in(&self, instance: &str, process: &ProcessId) -> FileStore {
        self.store_of("cell", identity(), instance, LONG).of_process(Some(process.clone()))
    }
}

impl OfProcess for Redis {
    fn store_in(&self, instance: &str, process: &ProcessId) -> RedisStore {
        self.store_of("cell", identity(), instance, LONG).of_process(Some(process.clone()))
    }
}

#[track_caller]
fn holder(acquisition: Acquisition) -> Holder {
    match acquisition {
        Acquisition::Held { holder, .. } => holder,
        other => panic!("not held: {other:?}"),
    }
}

#[tokio::test]
async fn a_living_process_is_never_evicted_by_its_namesake_in_redis() {
    a_living_process_is_never_evicted(Redis::start()).await;
}

#[tokio::test]
async fn a_living_process_is_never_evicted_by_its_namesake_in_a_file() {
    a_living_process_is_never_evicted(Files::new()).await;
}

async fn a_living_process_is_never_evicted(backend: impl OfProcess) {
    let own = ProcessId::own().unwrap();
    let mut neighbour = Neighbour::start();
    let mut working = backend.store_in("vm", &neighbour.id);
    owned(working.acquire(false).await.unwrap());
    working.save(&token(1), LINEAGE, &plain()).await.unwrap();

    let mut waiting = backend.store_in("vm", &own);
    for _ in 0..3 {
        let holder = holder(waiting.acquire(false).await.unwrap());
        assert!(holder.is_living_namesake);
        let words = format!(
            "standby: instance \"vm\" already runs on this machine as pid {} (since ",
            neighbour.id.pid
        );
        assert!(holder.why_waiting().starts_with(&words), "{}", holder.why_waiting());
        assert!(holder.why_waiting().ends_with("set `instance` per process"));
    }
    working.renew().await.unwrap();
    let mut third = backend.store_in("vm2", &own);
    let words = holder(third.acquire(false).await.unwrap()).why_waiting();
    assert_eq!(words, format!("standby: vm (pid {} on {}) holds the lease", neighbour.id.pid, own.host));

    // Gone, it is replaced at once, by whoever comes first, and again and again.
    neighbour.child.kill().unwrap();
    neighbour.child.wait().unwrap();
    assert_same(&owned(third.acquire(false).await.unwrap()).unwrap().token, &token(1));
    for _ in 0..3 {
        let crashing = Neighbour::start();
        let mut store = backend.store_in("vm2", &crashing.id);
        third.release().await.unwrap();
        assert_same(&owned(store.acquire(false).await.unwrap()).unwrap().token, &token(1));
        drop(crashing);
        assert_same(&owned(third.acquire(false).await.unwrap()).unwrap().token, &token(1));
    }
}

/// On another machine, in another container, and from an earlier release that does not say who it is.
#[tokio::test]
async fn a_process_that_cannot_be_looked_up_is_judged_by_its_name() {
    let files = Files::new();
    let own = ProcessId::own().unwrap();
    let mut elsewhere = own.clone();
    elsewhere.boot_id = "another".to_owned();
    let mut first = files.store_in("vm", &elsewhere);
    owned(first.acquire(false).await.unwrap());
    let mut second = files.store_in("vm", &own);
    owned(second.acquire(false).await.unwrap());
    // One takeover for each lease's time.
    let holder = holder(files.store_in("vm", &elsewhere).acquire(false).await.unwrap());
    assert!(!holder.is_living_namesake);

    second.release().await.unwrap();
    let mut earlier = files.store_of("cell", identity(), "vm", LONG);
    owned(earlier.acquire(false).await.unwrap());
    assert!(!files.get("cell").await.unwrap().contains("\"process\""));
    owned(second.acquire(false).await.unwrap());
    assert!(files.get("cell").await.unwrap().contains("\"process\""));
}
