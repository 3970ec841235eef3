//! Where a partition is read from, whatever became of the ledger, the group and the log: each against the
//! real servers, with the operator's own tools.

use std::time::{Duration, Instant};

use cdc_devstack::Service;
use cdc_tests::messages::Spelled;
use cdc_tests::site::{PATIENCE, Site, metric, until_metric};

const TOPIC: &str = "cdc.game_db.restored";
const PARTITIONS: u64 = 4;
const GROUP_COMMAND: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";

/// The database as it was: the rows and the ledger, at one moment.
const COPY: &str = "
BEGIN ISOLATION LEVEL REPEATABLE READ;
CREATE SCHEMA copy;
CREATE TABLE copy.rows AS TABLE restored;
CREATE TABLE copy.partitions AS TABLE cdc.partitions;
CREATE TABLE copy.tombstones AS TABLE cdc.tombstones;
COMMIT;";

/// The copy takes its place, all of it at once.
const RESTORE: &str = "
BEGIN;
DELETE FROM restored;
INSERT INTO restored TABLE copy.rows;
DELETE FROM cdc.partitions;
INSERT INTO cdc.partitions TABLE copy.partitions;
DELETE FROM cdc.tombstones;
INSERT INTO cdc.tombstones TABLE copy.tombstones;
COMMIT;";

const ROWS: &str = "SELECT count(*) FROM restored";
const RECORDED: &str =
    "SELECT sum(next_offset)::bigint FROM cdc.partitions WHERE topic = 'cdc.game_db.restored'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_syncer_reads_on_from_where_the_ledger_the_group_and_the_log_say() {
    let _turn = crate::TURN.lock().await;
    let site = Site::start().await.unwrap();
    site.log.create(TOPIC, 4, &[]).await.unwrap();
    let begun = Instant::now();
    let mut story = Story { site, running: None, put: 0 };
    story.a_restored_database_catches_up().await;
    story.a_standby_that_was_behind_catches_up().await;
    story.an_operator_rewinds_with_kafkas_own_tool().await;
    story.a_group_that_is_deleted_is_not_missed().await;
    story.records_that_expired_follow_offset_reset().await;
    story.a_topic_that_grows_is_read_whole().await;
    story.stop().await;
    story.a_topic_that_is_missing_is_waited_for().await;
    story.a_topic_made_anew_with_fewer_partitions_follows_offset_reset().await;
    println!("all of it: {:.1} s", begun.elapsed().as_secs_f64());
}

struct Story {
    site: Site,
    running: Option<Service>,
    /// Rows that have been put into the topic, each once.
    put: u64,
}

impl Story {
    async fn start_with(&mut self, settings: &[(&str, &str)]) {
        let syncer = self.site.syncer("ledger", TOPIC, settings).unwrap();
        self.running = Some(syncer.start().await.unwrap());
    }

    async fn start(&mut self) {
        self.start_with(&[]).await;
    }

    fn service(&self) -> &Service {
        self.running.as_ref().unwrap()
    }

    async fn stop(&mut self) {
        let mut running = self.running.take().unwrap();
        assert_eq!(running.terminate(PATIENCE).await.unwrap().code(), Some(0));
    }

    /// So many rows more, spread over these partitions.
    fn put(&mut self, count: u64, partitions: std::ops::Range<u64>) {
        for n in self.put..self.put + count {
            let partition = partitions.start + n % (partitions.end - partitions.start);
            let message = Spelled::upsert("restored", &format!("r-{n}"), "", n);
            self.site.log.put(TOPIC, i32::try_from(partition).unwrap(), &message).unwrap();
        }
        self.put += count;
        self.site.log.flush().unwrap();
    }

    async fn until_rows(&self, rows: u64) -> Duration {
        self.site.until(ROWS, i64::try_from(rows).unwrap()).await.unwrap()
    }

    /// One of Kafka's tools; the group may need a moment until it has no member left.
    async fn group_command(&self, args: &[&str]) {
        let begun = Instant::now();
        loop {
            match self.site.kafka.tool(GROUP_COMMAND, args).await {
                Ok(said) if !said.contains("Error") => return,
                answer => assert!(begun.elapsed() < PATIENCE, "{answer:?}"),
            }
        }
    }

    async fn a_restored_database_catches_up(&mut self) {
        self.put(400, 0..PARTITIONS);
        self.start().await;
        self.until_rows(400).await;
        self.site.until(RECORDED, 400).await.unwrap();
        self.site.sql.batch_execute(COPY).await.unwrap();
        self.put(400, 0..PARTITIONS);
        self.until_rows(800).await;
        self.site.until(RECORDED, 800).await.unwrap();

        // Under a Syncer that runs and has nothing to do. Owner and epoch are the same in the copy.
        self.site.sql.batch_execute(RESTORE).await.unwrap();
        assert_eq!(self.site.number(ROWS).await, Some(400));
        let took = self.until_rows(800).await;
        assert!(metric(self.service(), "cdc_ledger_refused_total", &[("request", "check")]).await >= 1.0);
        println!("restored under an idle Syncer: caught up after {:.1} s", took.as_secs_f64());
        self.site.until(RECORDED, 800).await.unwrap();

        // Under one that is not there.
        self.stop().await;
        self.site.sql.batch_execute(RESTORE).await.unwrap();
        self.start().await;
        let took = self.until_rows(800).await;
        println!(
            "restored under a stopped Syncer: caught up {:.1} s after it was healthy",
            took.as_secs_f64()
        );
        self.site.until(RECORDED, 800).await.unwrap();

        // Under one that is busy, and not the owner that the copy knows.
        for _ in 0..5 {
            self.put(40, 0..PARTITIONS);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.site.sql.batch_execute(RESTORE).await.unwrap();
        let begun = Instant::now();
        for _ in 0..5 {
            self.put(40, 0..PARTITIONS);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.until_rows(1_200).await;
        let took = begun.elapsed();
        assert!(metric(self.service(), "cdc_ledger_refused_total", &[]).await >= 1.0);
        println!("restored under a busy Syncer: caught up after {:.1} s", took.as_secs_f64());
        self.site.until(RECORDED, 1_200).await.unwrap();
    }

    /// Promoted in the middle of the work: the offsets of the last rows may not be recorded yet, and nothing in the
    /// ledger shows that the rows are gone.
    async fn a_standby_that_was_behind_catches_up(&mut self) {
        let refused = metric(self.service(), "cdc_ledger_refused_total", &[]).await;
        self.site.postgres.back_up().await.unwrap();
        for _ in 0..10 {
            self.put(40, 0..PARTITIONS);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.site.postgres.fall_back().await.unwrap();
        self.site.sql = self.site.session().await.unwrap();
        let took = self.until_rows(1_600).await;
        assert!(metric(self.service(), "cdc_ledger_refused_total", &[]).await > refused);
        println!("a standby that was behind: caught up after {:.1} s", took.as_secs_f64());
        self.site.until(RECORDED, 1_600).await.unwrap();
    }

    async fn an_operator_rewinds_with_kafkas_own_tool(&mut self) {
        self.stop().await;
        self.site.sql.batch_execute("DELETE FROM restored WHERE id LIKE 'r-1%'").await.unwrap();
        let rewind =
            ["--group", "cdc-syncer", "--topic", TOPIC, "--reset-offsets", "--to-earliest", "--execute"];
        self.group_command(&rewind).await;
        self.start().await;
        self.until_rows(1_600).await;
        self.site.until(RECORDED, 1_600).await.unwrap();
        assert_eq!(self.site.number("SELECT count(*) FROM cdc.gaps").await, Some(0), "a rewind is no gap");
    }

    async fn a_group_that_is_deleted_is_not_missed(&mut self) {
        self.stop().await;
        self.group_command(&["--group", "cdc-syncer", "--delete"]).await;
        self.start().await;
        self.put(100, 0..PARTITIONS);
        self.until_rows(1_700).await;
        let consumed = metric(self.service(), "syncer_messages_consumed_total", &[]).await;
        assert_eq!(consumed, 100.0, "the ledger knows where to go on, and nothing is read twice");
        self.site.until(RECORDED, 1_700).await.unwrap();
    }

    async fn records_that_expired_follow_offset_reset(&mut self) {
        self.stop().await;
        // 50 in each partition, of which the last 10 are kept.
        self.put(200, 0..PARTITIONS);
        let ends = self.trim_to_ten().await;
        let stop = self.site.syncer("ledger", TOPIC, &[("CDC__KAFKA__OFFSET_RESET", "stop")]).unwrap();
        let mut stopping = stop.spawn().unwrap();
        assert_eq!(stopping.exited(PATIENCE).await.unwrap().code(), Some(65));
        assert_eq!(self.site.number("SELECT count(*) FROM cdc.gaps").await, Some(0));

        self.start().await;
        self.until_rows(1_700 + 40).await;
        let gaps = self.gaps("expired").await;
        let expected: Vec<_> = (0..4).zip(&ends).map(|(at, end)| (at, end - 50, end - 10)).collect();
        assert_eq!(gaps, expected);
        assert_eq!(metric(self.service(), "cdc_offset_gaps_total", &[("loss", "expired")]).await, 4.0);

        self.stop().await;
        self.put(200, 0..PARTITIONS);
        let ends = self.trim_to_ten().await;
        self.start_with(&[("CDC__KAFKA__OFFSET_RESET", "latest")]).await;
        let begun = Instant::now();
        while self.gaps("expired").await.len() < 8 {
            assert!(begun.elapsed() < PATIENCE, "no gaps of latest: {:?}", self.gaps("expired").await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for (partition, end) in (0..4).zip(ends) {
            assert!(self.gaps("expired").await.contains(&(partition, end - 50, end)));
        }
        self.put(100, 0..PARTITIONS);
        self.until_rows(1_740 + 100).await;
        self.gaps_are_open_until_a_person_has_seen_them().await;
    }

    /// Beside a running Syncer, whose gauge follows.
    async fn gaps_are_open_until_a_person_has_seen_them(&self) {
        until_metric(self.service(), "cdc_gaps_open", &[("service", "syncer")], 8.0, PATIENCE).await.unwrap();
        let command = self.site.syncer("ledger", TOPIC, &[]).unwrap();
        let listed = command.run(&["gaps", "list", "--json"]).await.unwrap();
        let gaps: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
        assert_eq!(gaps.as_array().unwrap().len(), 8);
        assert!(gaps[0]["cause"] == "expired" && gaps[0]["acknowledged_at"].is_null(), "{gaps}");
        let done = command.run(&["gaps", "acknowledge"]).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&done.stdout), "syncer: 8 gaps acknowledged\n");
        let begun = Instant::now();
        while metric(self.service(), "cdc_gaps_open", &[("service", "syncer")]).await > 0.0 {
            assert!(begun.elapsed() < PATIENCE, "the gauge does not follow");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn trim_to_ten(&self) -> Vec<i64> {
        let ends: Vec<i64> = self.site.log.bounds(TOPIC).unwrap().into_iter().map(|(_, end)| end).collect();
        for (partition, end) in (0..).zip(&ends) {
            self.site.log.trim(TOPIC, partition, end - 10).await.unwrap();
        }
        ends
    }

    /// Partition, from and to of the gaps of this cause, oldest first.
    async fn gaps(&self, cause: &str) -> Vec<(i32, i64, i64)> {
        let rows = self
            .site
            .sql
            .query(
                "SELECT partition, from_offset, to_offset FROM cdc.gaps WHERE topic = $1 AND cause = $2 \
                 ORDER BY opened_at, partition",
                &[&TOPIC, &cause],
            )
            .await
            .unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    }

    async fn a_topic_that_grows_is_read_whole(&mut self) {
        self.site.log.grow(TOPIC, 6).await.unwrap();
        self.put(100, PARTITIONS..6);
        let took = self.until_rows(1_940).await;
        println!("two partitions more: read {:.1} s after the first record", took.as_secs_f64());
    }

    async fn a_topic_that_is_missing_is_waited_for(&mut self) {
        const EARLY: &str = "cdc.game_db.early";
        let syncer = self.site.syncer("early", EARLY, &[("CDC__KAFKA__CONSUMER_GROUP", "early")]).unwrap();
        let mut running = syncer.start().await.unwrap();
        let log = std::fs::read_to_string(running.log()).unwrap();
        assert!(log.contains("does not exist yet"), "{log}");
        self.site.log.create(EARLY, 2, &[]).await.unwrap();
        for n in 0..10 {
            let message = Spelled::upsert("early", &format!("e-{n}"), "", n);
            self.site.log.put(EARLY, i32::try_from(n % 2).unwrap(), &message).unwrap();
        }
        self.site.log.flush().unwrap();
        until_metric(&running, "syncer_messages_written_total", &[], 10.0, PATIENCE).await.unwrap();
        running.terminate(PATIENCE).await.unwrap();
    }

    /// Under a running Syncer. Its partitions 2 and 3 are gone, and the offsets of the others are beyond the log.
    async fn a_topic_made_anew_with_fewer_partitions_follows_offset_reset(&mut self) {
        const ANEW: &str = "cdc.game_db.anew";
        let put = |site: &Site, numbers: std::ops::Range<u64>, partitions: u64| {
            for n in numbers {
                let message = Spelled::upsert("anew", &format!("a-{n}"), "", n);
                site.log.put(ANEW, i32::try_from(n % partitions).unwrap(), &message).unwrap();
            }
            site.log.flush().unwrap();
        };
        self.site.log.create(ANEW, 4, &[]).await.unwrap();
        put(&self.site, 0..100, 4);
        let syncer = self.site.syncer("anew", ANEW, &[("CDC__KAFKA__CONSUMER_GROUP", "anew")]).unwrap();
        let mut running = syncer.start().await.unwrap();
        self.site.until("SELECT count(*) FROM anew", 100).await.unwrap();
        let seen = "SELECT count(*) FROM cdc.partitions WHERE topic = 'cdc.game_db.anew' AND end_seen = 25";
        self.site.until(seen, 4).await.unwrap();
        // One of them is not read to the end: what nobody has read is lost with the log.
        let unread =
            "UPDATE cdc.partitions SET end_seen = 26 WHERE topic = 'cdc.game_db.anew' AND partition = 1";
        self.site.sql.batch_execute(unread).await.unwrap();

        self.site.log.delete(ANEW).await.unwrap();
        self.site.log.create(ANEW, 2, &[]).await.unwrap();
        put(&self.site, 100..120, 2);
        let took = self.site.until("SELECT count(*) FROM anew", 120).await.unwrap();
        println!("a topic made anew: its first record was in the table after {:.1} s", took.as_secs_f64());
        let gaps = "SELECT count(*) FROM cdc.gaps WHERE topic = 'cdc.game_db.anew' AND cause = 'truncated' \
                    AND from_offset = 25 AND to_offset = 0 AND partition = 1";
        assert_eq!(self.site.number(gaps).await, Some(1), "nothing was lost in partition 0");
        let log = std::fs::read_to_string(running.log()).unwrap();
        assert!(log.contains("after all of it had been written"));
        assert_eq!(running.terminate(PATIENCE).await.unwrap().code(), Some(0));
    }
}
