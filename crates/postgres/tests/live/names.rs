//! Names of any characters, and what PostgreSQL's own scanner makes of them.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::stand::Stand;

/// As many names go in one transaction.
const NAMES: usize = 400;

/// PostgreSQL's longest name, in bytes.
const MAX_BYTES: usize = 63;

/// `fuzz/fuzz_targets/identifier.rs` has a model of PostgreSQL's scanner; this is the scanner.
#[tokio::test]
async fn a_table_of_any_name_is_made_under_that_name() {
    let stand = Stand::new("").await;
    let name = prop_oneof![
        "[a-zA-Z_]{1,20}",
        "[\"'\\\\$.;\\-\\s/*%é😀]{1,12}",
        any::<String>(),
        Just("select".to_owned()),
        Just("\"; DROP SCHEMA cdc; --".to_owned()),
        Just("U&\"\\0041\"".to_owned()),
    ];
    let mut runner = TestRunner::default();
    let mut names = std::collections::BTreeSet::new();
    let mut tries = 0;
    while names.len() < NAMES {
        tries += 1;
        assert!(tries < NAMES * 20, "too few names are drawn");
        let name = name.new_tree(&mut runner).unwrap().current();
        if !name.is_empty() && !name.contains('\0') && name.len() <= MAX_BYTES {
            names.insert(name);
        }
    }
    let schema = "odd \"schema\" it's";
    stand.client.batch_execute(&format!("CREATE SCHEMA \"{}\"", schema.replace('"', "\"\""))).await.unwrap();
    for name in &names {
        let sql = cdc_postgres::mirror_sql(schema, name);
        if let Err(error) = stand.client.batch_execute(&sql).await {
            panic!("{name:?}: {error:?}");
        }
    }
    let made = stand
        .client
        .query("SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = $1", &[&schema])
        .await
        .unwrap();
    let made: std::collections::BTreeSet<String> = made.iter().map(|row| row.get(0)).collect();
    assert_eq!(made, names);
}
