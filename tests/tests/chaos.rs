//! Everything at once: random changes of four collections, copied into two typed tables and two mirrors, and meanwhile
//! every server is killed, every link cut, both services killed, and Syncers join and leave. In the end every row
//! equals its document, and the topics hold every event.
//!
//! | variable | default | |
//! |---|---|---|
//! | `CDC_CHAOS_SEED` | the clock | of the random choices; printed at the start |
//! | `CDC_CHAOS_CHANGES` | 20000 | changes, at least |
//! | `CDC_CHAOS_ROUNDS` | 3 | kills of each server and each service, cuts of each link |
//! | `CDC_CHAOS_ASSIGNMENTS` | 100 | assignments of partitions that have to advance |

use std::collections::BTreeMap;
use std::env;
use std::time::{Duration, Instant};

use cdc_devstack::links::{LinkName, Links};
use cdc_devstack::pipeline::{Deployment, Role, SOURCE_DATABASE};
use cdc_devstack::source::{COLLECTIONS, Source};
use cdc_devstack::{KafkaOptions, MongodOptions, Options, Service, Stack, compare};
use cdc_model::faults::{Fault, Server};
use cdc_tests::load::{Load, Manner};
use cdc_tests::pipeline::{Pipeline, heal_server, strike_server};
use cdc_tests::testbed::Testbed;
use cdc_tests::topic::{self, Offsets};
use cdc_tests::{Failure, history, say, seed, verdict};

/// The longest that a join or a leave may take to show in the ledger.
const REBALANCE_WITHIN: Duration = Duration::from_secs(30);
/// What a supervisor may see: a dependency away for too long, a lease lost, a drain cut short.
const EXPECTED_EXITS: [i32; 2] = [69, 75];

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// What strikes.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Kill(Server),
    Cut(LinkName),
    KillService(Role),
}

fn blows(rounds: u64) -> Vec<Blow> {
    let servers = [Server::Mongodb, Server::Kafka, Server::Postgres, Server::Redis].map(Blow::Kill);
    let links = LinkName::ALL.map(Blow::Cut);
    let services = [Role::Watcher, Role::Syncer].map(Blow::KillService);
    let round = || servers.into_iter().chain(links).chain(services);
    (0..rounds).flat_map(|_| round()).collect()
}

async fn strike(
    stack: &mut Stack,
    pipeline: &mut Pipeline,
    blow: Blow,
    outage: Duration,
) -> Result<(), Failure> {
    match blow {
        Blow::Kill(server) => {
            strike_server(stack, Fault::ServerKilled(server)).await?;
            pipeline.wait(outage).await?;
            heal_server(stack, Fault::ServerKilled(server)).await
        }
        Blow::Cut(link) => {
            pipeline.links.get(link).cut();
            pipeline.wait(outage).await?;
            pipeline.links.get(link).heal();
            Ok(())
        }
        Blow::KillService(role) => {
            pipeline.kill(role).await?;
            pipeline.wait(outage).await
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_whatever_breaks() {
    let _turn = crate::TURN.lock().await;
    let seed = seed("CDC_CHAOS_SEED");
    let (changes, rounds) = (number("CDC_CHAOS_CHANGES", 20_000), number("CDC_CHAOS_ROUNDS", 3));
    let mut random = fastrand::Rng::with_seed(seed);
    let kafka = KafkaOptions { doors: Links::DOORS, ..KafkaOptions::default() };
    let mut stack = Box::pin(Stack::start(Options { kafka, ..Options::default() })).await.unwrap();
    // The shipped windows and time-outs; members of the group hear of a rebalance sooner.
    let watcher = [
        ("CDC__MONGODB__CONNECTION_TIMEOUT", "10s"),
        ("CDC__KAFKA__PARTITIONS", "4"),
        ("CDC__KAFKA__DELIVERY_TIMEOUT", "30s"),
        ("CDC__PERFORMANCE__MAX_REPLAY_EVENTS", "10000"),
    ];
    let syncer = [
        ("CDC__POSTGRES__CONNECTION_TIMEOUT", "10s"),
        ("CDC__BATCH__BUFFER_SIZE", "1000"),
        ("CDC__WORKERS__CHANNEL_BUFFER", "1000"),
        ("CDC__WORKERS__POOL_SIZE", "4"),
    ];
    let mut pipeline =
        Box::pin(Pipeline::start_with(&stack, 0, &COLLECTIONS, [&watcher, &syncer])).await.unwrap();
    pipeline.begin().await.unwrap();
    let manner =
        Manner { writers: 4, players: 75, padding: 200, pause: Duration::from_millis(12), survives: true };
    pipeline.load_as(seed, manner);

    let mut blows = blows(rounds);
    random.shuffle(&mut blows);
    for blow in blows {
        let outage = Duration::from_millis(random.u64(100..1_500));
        let rest = Duration::from_millis(random.u64(200..1_200));
        say(&format!("{:6} changes, {blow:?} for {outage:?}", pipeline.operations()));
        Box::pin(strike(&mut stack, &mut pipeline, blow, outage)).await.unwrap();
        pipeline.wait(rest).await.unwrap();
    }
    pipeline.ensure_running().await.unwrap();
    let assignments = Box::pin(rebalance_storm(&mut pipeline, &mut random)).await.unwrap();
    say(&format!("{:6} changes, {assignments} assignments advanced", pipeline.operations()));
    while pipeline.operations() < changes {
        pipeline.wait(Duration::from_millis(100)).await.unwrap();
    }
    let exits = Box::pin(pipeline.arrive()).await.unwrap();
    say(&format!("exits: {exits:?}"));
    assert!(exits.iter().all(|code| EXPECTED_EXITS.contains(code)), "{exits:?}");
}

/// Two more Syncers join and leave, in order or by SIGKILL, until enough assignments have advanced the ledger.
async fn rebalance_storm(pipeline: &mut Pipeline, random: &mut fastrand::Rng) -> Result<usize, Failure> {
    let wanted = usize::try_from(number("CDC_CHAOS_ASSIGNMENTS", 100))?;
    let deployments = [pipeline.rival(Role::Syncer, "second")?, pipeline.rival(Role::Syncer, "third")?];
    let mut rivals: [Option<Service>; 2] = [None, None];
    let mut ledger = Ledger::default();
    while ledger.advanced() < wanted {
        let which = random.usize(0..rivals.len());
        let joined = match rivals[which].take() {
            None => {
                rivals[which] = Some(deployments[which].start().await?);
                "joins"
            }
            Some(mut rival) if random.u8(0..3) > 0 => {
                let status = rival.terminate(REBALANCE_WITHIN).await?;
                if status.code() != Some(0) {
                    return Err(format!("a leaving Syncer: {status}").into());
                }
                "leaves"
            }
            // Its partitions are given away when its session ends.
            Some(mut rival) => {
                rival.kill().await?;
                "is killed"
            }
        };
        let before = ledger.advanced();
        let deadline = Instant::now() + REBALANCE_WITHIN;
        // Until the others have got on with what moved: then the next one, so that each assignment writes.
        while ledger.advanced() < before + 2 && Instant::now() < deadline {
            pipeline.supervise()?;
            ledger.look(pipeline).await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        say(&format!("a Syncer {joined}: {} assignments have advanced", ledger.advanced()));
    }
    for rival in rivals.into_iter().flatten() {
        let mut rival = rival;
        rival.terminate(REBALANCE_WITHIN).await?;
    }
    Ok(ledger.advanced())
}

/// What the ledger showed of each assignment: the lowest and the highest offset under one epoch of a partition.
#[derive(Default)]
struct Ledger(BTreeMap<(String, i32, i64), (i64, i64)>);

impl Ledger {
    async fn look(&mut self, pipeline: &Pipeline) -> Result<(), Failure> {
        let statement =
            "SELECT topic, partition, epoch, next_offset FROM cdc.partitions WHERE next_offset IS NOT NULL";
        for row in pipeline.superuser().await?.query(statement, &[]).await? {
            let offset: i64 = row.get(3);
            let seen = self.0.entry((row.get(0), row.get(1), row.get(2))).or_insert((offset, offset));
            *seen = (seen.0.min(offset), seen.1.max(offset));
        }
        Ok(())
    }

    /// Assignments under which rows were written and their offsets recorded.
    fn advanced(&self) -> usize {
        self.0.values().filter(|(low, high)| high > low).count()
    }
}

/// A replica set of three: the primary steps down, is killed, falls silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_of_the_replica_set_loses_nothing() {
    const CHANGES_BETWEEN: u64 = 500;
    let _turn = crate::TURN.lock().await;
    let mongod = MongodOptions { members: 3, cache_gb: 0.25, oplog_mb: 128, ..MongodOptions::default() };
    let Testbed { mut stack, endpoints, mongo, postgres } =
        Testbed::with(Options { mongod, ..Options::default() }).await.unwrap();
    let source = Source::new(SOURCE_DATABASE, &COLLECTIONS);
    postgres.batch_execute(&source.tables_sql()).await.unwrap();
    let since = history::now(&mongo).await.unwrap();
    let deploy =
        |role: Role| Deployment::over(&source, role, role.name(), stack.folder(), &endpoints, &[]).unwrap();
    let mut watching = deploy(Role::Watcher).start().await.unwrap();
    let mut syncing = deploy(Role::Syncer).start().await.unwrap();
    let manner =
        Manner { writers: 2, players: 40, padding: 20, pause: Duration::from_millis(5), survives: true };
    let load = Load::start_as(&mongo, &source, 3, manner);
    let more = async |load: &Load| {
        let wanted = load.operations() + CHANGES_BETWEEN;
        while load.operations() < wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };

    more(&load).await;
    stack.mongod.step_down(5).await.unwrap();
    more(&load).await;
    stack.mongod.restart().await.unwrap();
    let primary = stack.mongod.primary().await.unwrap().unwrap();
    stack.mongod.member_mut(primary).unwrap().kill().await;
    more(&load).await;
    stack.mongod.restart().await.unwrap();
    let primary = stack.mongod.primary().await.unwrap().unwrap();
    stack.mongod.member_mut(primary).unwrap().pause().unwrap();
    // The others elect a new primary after two seconds; the Watcher's stream is on the silent one.
    more(&load).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    stack.mongod.member_mut(primary).unwrap().resume().unwrap();
    more(&load).await;
    load.stop().await.unwrap();

    let comparison = compare::converge(&mongo, &postgres, &source, Duration::from_secs(60)).await.unwrap();
    assert!(comparison.is_equal() && comparison.is_of_something(), "{comparison}");
    let happened = history::changes(&mongo, &source, since).await.unwrap();
    let published = topic::read_topics(&endpoints.kafka_brokers, &source.topics(), &Offsets::new()).unwrap();
    assert!(verdict::absent(&happened, &published).is_empty());
    assert!(verdict::reordered(&published).is_empty());
    for service in [&mut watching, &mut syncing] {
        let status = service.terminate(Duration::from_secs(30)).await.unwrap();
        assert_eq!(status.code(), Some(0), "it lived through all of it");
    }
}
