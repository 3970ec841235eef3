//! The seed's properties of a token store, on both.

use bytes::Bytes;
use cdc_event::{Position, ResumeToken};
use cdc_machine::Lineage;
use cdc_ports::{TokenRecord, TokenStore};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::backend::{Backend, Files, Redis, assert_same, owned, plain};

const CASES: u32 = 128;

/// Any token that a server could give: `_data`, and `_typeBits` as old servers add it.
fn any_token() -> impl Strategy<Value = ResumeToken> {
    let data = "[0-9A-F]{20,400}";
    let type_bits = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
    let position = proptest::collection::vec(any::<u8>(), 0..=Position::MAX);
    (data, type_bits, position).prop_map(|(data, type_bits, position)| {
        let mut document = bson::rawdoc! { "_data": data };
        if let Some(bytes) = type_bits {
            let subtype = bson::spec::BinarySubtype::Generic;
            document.append(bson::cstr!("_typeBits"), bson::Binary { subtype, bytes });
        }
        ResumeToken {
            bson: Bytes::from(document.into_bytes()),
            position: Position::from_bytes(&position).unwrap(),
            rests_on: None,
        }
    })
}

/// Saves the tokens one after the other, ends, and loads in a new process's place.
async fn save_and_load(
    backend: &impl Backend,
    tokens: &[(ResumeToken, Lineage)],
) -> (TokenRecord, TokenRecord) {
    let mut store = backend.holder("cell", "a").await;
    for (token, lineage) in tokens {
        store.save(token, *lineage, &plain()).await.unwrap();
    }
    let peeked = store.peek().await.unwrap().unwrap();
    store.release().await.unwrap();
    (peeked, owned(backend.store("cell", "a").acquire(false).await.unwrap()).unwrap())
}

fn any_saves() -> impl Strategy<Value = Vec<(ResumeToken, Lineage)>> {
    proptest::collection::vec((any_token(), any::<u32>().prop_map(Lineage)), 1..4)
}

fn run(check: impl Fn(&Runtime, &[(ResumeToken, Lineage)]) -> Result<(), TestCaseError>) {
    let runtime = Runtime::new().unwrap();
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(saves in any_saves())| check(&runtime, &saves)?);
}

fn assert_round_trip(runtime: &Runtime, backend: &impl Backend, saves: &[(ResumeToken, Lineage)]) {
    let (peeked, loaded) = runtime.block_on(save_and_load(backend, saves));
    let (token, lineage) = saves.last().unwrap();
    for record in [peeked, loaded] {
        assert_same(&record.token, token);
        assert_eq!(record.lineage, *lineage);
    }
    runtime.block_on(release(backend));
}

/// The next case begins with the lease given back.
async fn release(backend: &impl Backend) {
    backend.put("cell", None).await;
}

/// Feature: cdc-pipeline, Property 3: Resume Token Persistence Round-Trip
/// Validates: Requirements 2.2
#[test]
fn a_token_comes_back_from_redis_byte_for_byte() {
    let server = Redis::start();
    run(|runtime, saves| {
        assert_round_trip(runtime, &server, saves);
        Ok(())
    });
}

/// Feature: cdc-pipeline, Property 3: Resume Token Persistence Round-Trip
/// Validates: Requirements 2.2
#[test]
fn a_token_comes_back_from_a_file_byte_for_byte() {
    let files = Files::new();
    run(|runtime, saves| {
        assert_round_trip(runtime, &files, saves);
        Ok(())
    });
}

/// Feature: cdc-pipeline, Property 6: Resume Token Storage Backend Equivalence
/// Validates: Requirements 2.5
#[test]
fn both_stores_give_the_same_back() {
    let (server, files) = (Redis::start(), Files::new());
    run(|runtime, saves| {
        let (_, from_redis) = runtime.block_on(save_and_load(&server, saves));
        let (_, from_file) = runtime.block_on(save_and_load(&files, saves));
        assert_same(&from_redis.token, &from_file.token);
        // All but the times of the save and of the look, which are each store's own.
        prop_assert_eq!(
            TokenRecord { saved_at_ms: 0, read_at_ms: 0, ..from_redis },
            TokenRecord { saved_at_ms: 0, read_at_ms: 0, ..from_file }
        );
        runtime.block_on(release(&server));
        runtime.block_on(release(&files));
        Ok(())
    });
}
