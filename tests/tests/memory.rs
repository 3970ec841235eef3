//! Memory stays bounded whatever stalls: with a server frozen under full load, each service holds what its windows
//! allow and no more, and the table that is printed shows how much that is.
//!
//! | variable | default | |
//! |---|---|---|
//! | `CDC_STALL_SECONDS` | 10 | how long each server is frozen; buffers fill within the first of them |

use std::fmt::Write as _;
use std::time::{Duration, Instant};
use std::{env, fs};

use bson::{DateTime, Document, doc};
use cdc_devstack::pipeline::{Deployment, Endpoints, Role, SOURCE_DATABASE};
use cdc_devstack::source::{COLLECTIONS, Copied, Source, Target};
use cdc_devstack::workload::player_id;
use cdc_devstack::{KafkaOptions, Options, Service, Stack};
use cdc_tests::testbed::Testbed;
use cdc_tests::{Failure, say};
use mongodb::Collection;

const KIB: usize = 1024;
const MIB: u64 = 1024 * 1024;
/// What is written into MongoDB during one stall: more than all windows of both services together.
const BACKLOG_BYTES: usize = 160 * 1024 * KIB;
/// One insert command.
const COMMAND_BYTES: usize = 8 * 1024 * KIB;
/// The largest message that broker and topics take here: documents of 4 MiB and their envelope.
const MESSAGE_MAX_BYTES: usize = 8 * 1024 * KIB;
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Sizes of documents, in bytes, and the most that a service may hold of them with the shipped defaults, in MiB.
/// Mirrors keep whole documents: of two typed tables and two mirrors a Syncer holds more than of one typed table.
const BOUNDS: [(usize, u64); 3] = [(KIB, 128), (16 * KIB, 256), (4 * 1024 * KIB, 256)];
/// From the end of the stall until every row is there.
const ARRIVES_WITHIN: Duration = Duration::from_secs(180);
/// Lines of a service's log that a failure quotes.
const LINES_MAX: usize = 20;

/// What is frozen. The token store is the Watcher's and the target the Syncer's, so both stall in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stalled {
    Kafka,
    PostgresAndRedis,
}

/// A service under a supervisor, with the most memory that any of its processes has held.
struct Watched {
    deployment: Deployment,
    service: Service,
    peak: u64,
}

impl Watched {
    async fn start(deployment: Deployment) -> Result<Self, Failure> {
        let service = deployment.start().await?;
        Ok(Self { deployment, service, peak: 0 })
    }

    /// What it says of itself, and last said: why it stands still, where it does.
    async fn says(&self) -> String {
        let status = self.service.get("/status").await.map_or_else(|error| error.to_string(), |it| it.body);
        let log = fs::read_to_string(self.deployment.log()).unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(LINES_MAX));
        let last: String = last.map(|line| format!("\n  {line}")).collect();
        format!("\n{status}{last}")
    }

    fn look(&mut self) -> Result<(), Failure> {
        if let Ok(peak) = self.service.memory_peak_bytes() {
            self.peak = self.peak.max(peak);
        }
        if let Some(status) = self.service.exit_status()? {
            say(&format!("started again after {status}: {}", self.deployment.log().display()));
            self.service = self.deployment.spawn()?;
        }
        Ok(())
    }
}

/// Inserts documents of one size into all collections in turn. In each they are numbered on, so that four documents
/// have one `_id`.
struct Filler {
    collections: Vec<Collection<Document>>,
    next: u32,
}

impl Filler {
    async fn fill(&mut self, size: usize) -> Result<(), Failure> {
        let each = (COMMAND_BYTES / size).clamp(1, 10_000);
        let mut bytes = 0;
        while bytes < BACKLOG_BYTES {
            for collection in &self.collections {
                let documents: Vec<Document> = (self.next..)
                    .take(each)
                    .map(|number| document(collection.name(), number, size))
                    .collect();
                collection.insert_many(documents).await?;
                bytes += each * size;
            }
            self.next += u32::try_from(each)?;
        }
        Ok(())
    }
}

/// Rows of a table; none where the Syncer has not made it yet.
async fn rows(postgres: &tokio_postgres::Client, table: &str) -> i64 {
    let counted = postgres.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await;
    counted.map_or(0, |row| row.get(0))
}

/// Rows of a table that another collection wrote.
async fn foreign_rows(postgres: &tokio_postgres::Client, copied: &Copied) -> Result<i64, Failure> {
    let user_name = match copied.target {
        Target::Typed => "username",
        Target::Mirror => "document->>'username'",
    };
    let table = copied.name;
    let statement = format!("SELECT count(*) FROM {table} WHERE {user_name} NOT LIKE '{table}-%'");
    Ok(postgres.query_one(&statement, &[]).await?.get(0))
}

/// A text that compresses well: what is fetched is bounded before it is unpacked, and what is held after it.
fn document(collection: &str, number: u32, size: usize) -> Document {
    doc! {
        "_id": player_id(number),
        "username": format!("{collection}-{number}"),
        "score": i64::from(number),
        "created_at": DateTime::from_millis(1_705_312_200_000),
        "bio": "a player's life is long ".repeat(size.div_ceil(24)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_server_does_not_fill_the_memory() {
    let _turn = crate::TURN.lock().await;
    let seconds = env::var("CDC_STALL_SECONDS").map_or(10, |text| text.parse().unwrap());
    let limit = MESSAGE_MAX_BYTES.to_string();
    let properties =
        ["message.max.bytes", "replica.fetch.max.bytes", "socket.request.max.bytes"].map(|name| {
            (name.to_owned(), if name.starts_with("socket") { "104857600".to_owned() } else { limit.clone() })
        });
    let kafka = KafkaOptions { properties: properties.to_vec(), ..KafkaOptions::default() };
    let Testbed { mut stack, mongo, postgres, .. } =
        Testbed::with(Options { kafka, ..Options::default() }).await.unwrap();
    let source = Source::new(SOURCE_DATABASE, &COLLECTIONS);
    postgres.batch_execute(&source.tables_sql()).await.unwrap();
    let database = mongo.database(&source.database);
    let collections = source.names().map(|name| database.collection(name)).collect();
    let mut filler = Filler { collections, next: 0 };

    let mut table = format!("peak memory in MiB, servers frozen for {seconds} s\n");
    table.push_str("| documents | frozen | Watcher | Syncer |\n|---|---|---|---|\n");
    let mut wrong = Vec::new();
    for (size, bound) in BOUNDS {
        for stalled in [Stalled::Kafka, Stalled::PostgresAndRedis] {
            let cell = format!("{} KiB | {stalled:?}", size / KIB);
            let stall = Duration::from_secs(seconds);
            let peaks = Box::pin(stall_once(&mut stack, &source, &mut filler, size, stalled, stall)).await;
            let peaks = peaks.unwrap_or_else(|error| {
                // A server may still be frozen, so nothing can be measured after it.
                say(&table);
                panic!("{cell}: {error}");
            });
            let [watcher, syncer] = peaks.map(|bytes| bytes.div_ceil(MIB));
            let row = format!("| {cell} | {watcher} | {syncer} |");
            say(&row);
            let _infallible = writeln!(table, "{row}");
            for (role, peak) in [(Role::Watcher, watcher), (Role::Syncer, syncer)] {
                if peak > bound {
                    let name = role.name();
                    tell(&mut wrong, format!("{cell}: {name} held {peak} MiB, and the bound is {bound} MiB"));
                }
            }
        }
    }
    say(&table);
    for copied in source.collections {
        let foreign = foreign_rows(&postgres, copied).await.unwrap();
        if foreign > 0 {
            tell(&mut wrong, format!("{} has {foreign} rows of another collection", copied.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Says at once what is wrong: what comes later may hide it.
fn tell(wrong: &mut Vec<String>, what: String) {
    say(&what);
    wrong.push(what);
}

/// Peak memory of the Watcher and of the Syncer through one stall and the catching up after it.
async fn stall_once(
    stack: &mut Stack,
    source: &Source,
    filler: &mut Filler,
    size: usize,
    stalled: Stalled,
    stall: Duration,
) -> Result<[u64; 2], Failure> {
    let endpoints = Endpoints::of(stack);
    let deploy = |role: Role| Deployment::over(source, role, role.name(), stack.folder(), &endpoints, &[]);
    let (watcher, syncer) = (deploy(Role::Watcher)?, deploy(Role::Syncer)?);
    let mut services = [Watched::start(watcher).await?, Watched::start(syncer).await?];
    // Half of the load is on its way when the server freezes, the other half comes meanwhile.
    filler.fill(size).await?;
    match stalled {
        Stalled::Kafka => stack.kafka.pause()?,
        Stalled::PostgresAndRedis => {
            stack.postgres.pause()?;
            stack.redis.pause()?;
        }
    }
    let until = Instant::now() + stall;
    filler.fill(size).await?;
    while Instant::now() < until {
        services.iter_mut().try_for_each(Watched::look)?;
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    match stalled {
        Stalled::Kafka => stack.kafka.resume()?,
        Stalled::PostgresAndRedis => {
            stack.postgres.resume()?;
            stack.redis.resume()?;
        }
    }
    let deadline = Instant::now() + ARRIVES_WITHIN;
    let postgres = endpoints.postgres().await?;
    loop {
        services.iter_mut().try_for_each(Watched::look)?;
        let mut lacking = Vec::new();
        for table in source.names() {
            let rows = rows(&postgres, table).await;
            if rows != i64::from(filler.next) {
                lacking.push(format!("{table} has {rows}"));
            }
        }
        if lacking.is_empty() {
            break;
        }
        if Instant::now() >= deadline {
            let mut error = format!("{} rows are to be in each table: {}", filler.next, lacking.join(", "));
            for watched in &services {
                error.push_str(&watched.says().await);
            }
            return Err(error.into());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    let [watcher, syncer] = &mut services;
    for service in [&mut *watcher, &mut *syncer] {
        service.look()?;
        service.service.terminate(Duration::from_secs(30)).await?;
    }
    Ok([watcher.peak, syncer.peak])
}
