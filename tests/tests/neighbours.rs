//! Twelve topics of one Syncer, six of them in trouble, each of another kind: the other six go on as if nothing were,
//! each of the six is named with its reason, and once mended they catch up by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use cdc_devstack::Service;
use cdc_devstack::pipeline::Deployment;
use cdc_tests::held::{held_topics, until_held};
use cdc_tests::messages::Spelled;
use cdc_tests::site::{PATIENCE, Site, metric};
use cdc_tests::topic;

const SOUND: [&str; 6] = ["ada", "bea", "cem", "dan", "eva", "fay"];
const TROUBLED: [&str; 6] = ["shapeless", "checked", "hidden", "cursed", "forbidden", "dropped"];

/// Rounds before and behind the drop of a table; each puts one record into each topic.
const ROUNDS: u64 = 60;
/// The topic whose every record is bad gets so many more at once: enough to trip the breaker.
const CURSED: u64 = 200;
/// Dead letters of a topic when its breaker trips: the bound on bad records, and those in flight.
const FALLEN_MAX: usize = 100 + 16;

/// The role owns nothing: every column is there, and the privileges are granted one by one.
const TABLES: &str = "
CREATE ROLE pipeline LOGIN;
GRANT CREATE ON DATABASE postgres TO pipeline;
CREATE TABLE shapeless (id text PRIMARY KEY, n int, place point NOT NULL, cdc_position bytea);
CREATE TABLE checked (id text PRIMARY KEY, n int CHECK (n % 2 = 0), cdc_position bytea);
CREATE TABLE hidden (id text PRIMARY KEY, n int, cdc_position bytea);
ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON hidden FOR SELECT USING (true);
CREATE POLICY tenth ON hidden FOR INSERT WITH CHECK (n % 10 <> 0);
CREATE POLICY changed ON hidden FOR UPDATE USING (true);
CREATE POLICY deleted ON hidden FOR DELETE USING (true);
CREATE TABLE cursed (id text PRIMARY KEY, n int, cdc_position bytea);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'never'; END $$;
CREATE TRIGGER curse BEFORE INSERT ON cursed FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TABLE forbidden (id text PRIMARY KEY, n int, cdc_position bytea);
CREATE TABLE dropped (id text PRIMARY KEY, n int, cdc_position bytea);
";

fn topic_of(table: &str) -> String {
    format!("cdc.game_db.{table}")
}

/// The site with what has been put into each topic.
struct Scene {
    site: Site,
    rows: BTreeMap<&'static str, u64>,
    positions: u64,
}

impl Scene {
    async fn begin() -> Self {
        let site = Site::start().await.unwrap();
        site.sql.batch_execute(TABLES).await.unwrap();
        for table in SOUND {
            let make = format!("CREATE TABLE {table} (id text PRIMARY KEY, n int, cdc_position bytea)");
            site.sql.batch_execute(&make).await.unwrap();
        }
        let grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO pipeline; \
                     REVOKE INSERT ON forbidden FROM pipeline";
        site.sql.batch_execute(grant).await.unwrap();
        for table in SOUND.into_iter().chain(TROUBLED) {
            site.log.create(&topic_of(table), 1, &[]).await.unwrap();
        }
        Self { site, rows: BTreeMap::new(), positions: 0 }
    }

    fn put(&mut self, table: &'static str) {
        let n = self.rows.entry(table).or_default();
        let message = Spelled::upsert(table, &format!("r-{n}"), &format!(",\"n\":{n}"), self.positions);
        self.site.log.put(&topic_of(table), 0, &message).unwrap();
        (*n, self.positions) = (*n + 1, self.positions + 1);
    }

    /// One record into each topic; returns how long it takes until those of the sound ones are all there.
    async fn round(&mut self) -> Duration {
        SOUND.into_iter().chain(TROUBLED).for_each(|table| self.put(table));
        self.site.log.flush().unwrap();
        let begun = Instant::now();
        for table in SOUND {
            self.until_rows(table, self.rows[table]).await;
        }
        begun.elapsed()
    }

    async fn until_rows(&self, table: &str, rows: u64) {
        let count = format!("SELECT count(*) FROM {table}");
        self.site.until(&count, i64::try_from(rows).unwrap()).await.unwrap();
    }

    /// The dead letters of a topic by their places; one that fell twice has one place.
    fn fallen(&self, table: &str) -> BTreeMap<(String, String), (String, Option<String>)> {
        let dead = format!("{}.dead-letters", topic_of(table));
        let read = topic::read_raw(self.site.brokers(), &dead, &BTreeMap::new()).unwrap_or_default();
        let letters = read.iter().map(topic::headers_of).map(|mut headers| {
            let mut take = |name: &str| headers.remove(name).unwrap_or_default();
            let place = (take("cdc-source-partition"), take("cdc-source-offset"));
            (place, (take("cdc-error-reason"), headers.remove("cdc-error-sqlstate")))
        });
        letters.collect()
    }

    /// Each row that is missing has its dead letter, and all of them fell for this. Where a topic was held meanwhile,
    /// some have fallen and are there all the same: what had not been committed was read again. Returns how many are
    /// missing.
    async fn until_the_rest_is_fallen(&self, table: &str, (reason, sqlstate): (&str, &str)) -> usize {
        let begun = Instant::now();
        loop {
            let fallen = self.fallen(table);
            let missing = self.missing(table).await;
            let place = |n: &u64| ("0".to_owned(), n.to_string());
            let lost = missing.iter().filter(|n| !fallen.contains_key(&place(n))).count();
            if lost == 0 {
                let kinds: BTreeSet<_> = fallen.into_values().collect();
                assert_eq!(
                    kinds,
                    BTreeSet::from([(reason.to_owned(), Some(sqlstate.to_owned()))]),
                    "{table}"
                );
                return missing.len();
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{table}: {} are missing, and {lost} of them have not fallen{}",
                missing.len(),
                self.site.last_words()
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// The numbers of the records that have no row: their offsets.
    async fn missing(&self, table: &str) -> Vec<u64> {
        let rows = self.site.sql.query(&format!("SELECT id FROM {table}"), &[]).await.unwrap_or_default();
        let there: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
        (0..self.rows[table]).filter(|n| !there.contains(&format!("r-{n}"))).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_topics_in_trouble_hold_up_none_of_the_other_six() {
    let _turn = crate::TURN.lock().await;
    let mut scene = Scene::begin().await;
    let topics: Vec<String> = SOUND.into_iter().chain(TROUBLED).map(topic_of).collect();
    let settings = [("CDC__POSTGRES__USER", "pipeline"), ("CDC__POSTGRES__MIN_CONNECTIONS", "1")];
    let deployment = scene.site.syncer("syncer", &topics.join(","), &settings).unwrap();
    let mut syncer = deployment.start().await.unwrap();

    let mut worst = Duration::ZERO;
    for round in 0..2 * ROUNDS {
        if round == ROUNDS {
            scene.until_rows("dropped", ROUNDS).await;
            scene.site.sql.batch_execute("DROP TABLE dropped").await.unwrap();
            (0..CURSED).for_each(|_| scene.put("cursed"));
        }
        worst = worst.max(scene.round().await);
    }
    println!("the slowest round of the six sound topics: {:.1} s", worst.as_secs_f64());

    let reasons = [
        ("shapeless", "unwritable"),
        ("hidden", "unwritable"),
        ("cursed", "too_many_bad_records"),
        ("forbidden", "no_privilege"),
        ("dropped", "table_dropped"),
    ];
    let held = until_reasons(&syncer, &reasons).await;
    for (table, _) in &reasons {
        let said = &held[&topic_of(table)];
        assert!(said.contains(table) || said.contains("cannot be written"), "{held:?}");
    }
    let health = syncer.get("/health").await.unwrap();
    assert_eq!((health.status, syncer.get("/livez").await.unwrap().status), (503, 200));
    assert!(reasons.iter().any(|(table, _)| health.body.contains(&topic_of(table))), "{}", health.body);
    for (table, reason) in &reasons {
        let topic = topic_of(table);
        let shown = metric(&syncer, "cdc_topics_held", &[("topic", &topic), ("reason", reason)]).await;
        assert_eq!(shown, 1.0, "{table}");
    }
    let checked = scene.until_the_rest_is_fallen("checked", ("check_violation", "23514")).await;
    assert_eq!(checked as u64, ROUNDS, "every other one");
    // One at least: those of the first rounds came before there were enough for the breaker. None would mean that the
    // dead letters could not be read.
    let fallen = scene.fallen("cursed").len();
    assert!((1..=FALLEN_MAX).contains(&fallen), "{fallen} of {} have fallen", scene.rows["cursed"]);

    mend(&scene.site, &held).await;
    until_reasons(&syncer, &[]).await;
    for table in ["shapeless", "hidden", "forbidden", "dropped"] {
        scene.until_rows(table, scene.rows[table]).await;
    }
    let fallen = scene.until_the_rest_is_fallen("cursed", ("database", "P0001")).await;
    println!("of {} records of cursed {fallen} have fallen, the others are there", scene.rows["cursed"]);
    assert!(fallen <= FALLEN_MAX, "{fallen}");
    what_fell_goes_back(&scene, &deployment).await;
    scene.round().await;
    assert!(held_topics(&syncer).await.is_some_and(|held| held.is_empty()));
    assert!(syncer.exit_status().unwrap().is_none());
    assert_eq!(syncer.terminate(PATIENCE).await.unwrap().code(), Some(0));
}

async fn until_reasons(syncer: &Service, expected: &[(&str, &str)]) -> BTreeMap<String, String> {
    let expected: Vec<(String, &str)> =
        expected.iter().map(|(table, reason)| (topic_of(table), *reason)).collect();
    until_held(syncer, &expected).await.unwrap()
}

/// Replayed, each missing row lands; a letter whose row is there is told and not sent.
async fn what_fell_goes_back(scene: &Scene, deployment: &Deployment) {
    scene.site.sql.batch_execute("ALTER TABLE checked DROP CONSTRAINT checked_n_check").await.unwrap();
    let replayed = deployment.run(&["dead-letters", "replay"]).await.unwrap();
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    for table in ["checked", "cursed"] {
        scene.until_rows(table, scene.rows[table]).await;
    }
}

/// Does what is said of each.
async fn mend(site: &Site, held: &BTreeMap<String, String>) {
    let (_, read_again) = held[&topic_of("dropped")].split_once("Syncer: ").unwrap();
    site.sql
        .batch_execute(
            "ALTER TABLE shapeless ALTER COLUMN place SET DEFAULT '(0,0)'; \
             ALTER TABLE hidden DISABLE ROW LEVEL SECURITY; \
             DROP TRIGGER curse ON cursed; \
             GRANT INSERT ON forbidden TO pipeline; \
             CREATE TABLE dropped (id text PRIMARY KEY, n int, cdc_position bytea); \
             GRANT SELECT, INSERT, UPDATE, DELETE ON dropped TO pipeline",
        )
        .await
        .unwrap();
    site.sql.batch_execute(read_again).await.unwrap();
}
