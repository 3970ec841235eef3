//! Each fault in each state: `cdc_model::faults` is the list, five pipelines on the same servers walk through it,
//! one for each state. `CDC_CELLS=LinkCut` strikes only the cells whose names hold that text.

use std::env;
use std::time::{Duration, Instant};

use cdc_devstack::links::{LinkName, Links};
use cdc_devstack::source::PLAYERS;
use cdc_devstack::{KafkaOptions, Options, PostgresOptions, Stack};
use cdc_model::faults::{Cell, Fault, Server, Service, State, cells};
use cdc_tests::lane::{Lane, heal_server, role_of, strike_server};
use cdc_tests::{Failure, say};
use futures_util::future::join_all;

const LANES: usize = State::ALL.len();

/// A stack with room for the lanes.
async fn stack() -> Stack {
    let kafka = KafkaOptions { doors: LANES * Links::DOORS, ..KafkaOptions::default() };
    // What survives a killed process is the same; five databases to be synced at each end are not shown here.
    let postgres = PostgresOptions { without_fsync: true, ..PostgresOptions::default() };
    Box::pin(Stack::start(Options { kafka, postgres, ..Options::default() })).await.unwrap()
}

/// One lane for each state.
async fn lanes(stack: &Stack) -> Vec<Lane> {
    let lanes = join_all((0..LANES).map(|number| Box::pin(Lane::start(stack, number)))).await;
    lanes.into_iter().collect::<Result<_, _>>().unwrap()
}

/// The list's cells of one test.
fn cells_of(test: &str) -> Vec<Cell> {
    let wanted = env::var("CDC_CELLS").unwrap_or_default();
    let is_wanted =
        |cell: &Cell| format!("{:?} {:?} {:?}", cell.service, cell.state, cell.fault).contains(&wanted);
    cells().filter(|cell| cell.test.name == test && is_wanted(cell)).collect()
}

fn no_failures(failures: &[String], stack: &Stack) {
    assert!(
        failures.is_empty(),
        "{} cells are not as the list says; the logs are below {}\n{}",
        failures.len(),
        stack.folder().display(),
        failures.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_of_one_pipeline_in_each_state() {
    let _turn = crate::TURN.lock().await;
    let stack = stack().await;
    let lanes = lanes(&stack).await;
    let cells = cells_of("a_fault_of_one_pipeline_in_each_state");
    let walks = lanes.into_iter().zip(State::ALL).map(|(mut lane, state)| {
        let cells: Vec<Cell> = cells.iter().copied().filter(|cell| cell.state == state).collect();
        async move {
            let mut failures = Vec::new();
            for cell in cells {
                if let Err(error) = Box::pin(lane.show(cell)).await {
                    say(&error.to_string());
                    failures.push(error.to_string());
                    if let Err(error) = Box::pin(lane.recover()).await {
                        failures.push(format!("lane {} is given up: {error}", lane.number()));
                        break;
                    }
                }
            }
            failures
        }
    });
    let failures: Vec<String> = join_all(walks).await.into_iter().flatten().collect();
    no_failures(&failures, &stack);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_of_a_server_in_each_state() {
    let _turn = crate::TURN.lock().await;
    let mut stack = stack().await;
    let mut lanes = lanes(&stack).await;
    let cells = cells_of("a_fault_of_a_server_in_each_state");
    let mut faults: Vec<Fault> = cells.iter().map(|cell| cell.fault).collect();
    faults.sort_unstable();
    faults.dedup();
    let mut failures = Vec::new();
    for fault in faults {
        let begun = Instant::now();
        let of_lane = |state: State| -> Vec<Cell> {
            // The Syncer first: it needs the Watcher's events to get where it is to be.
            let mut cells: Vec<Cell> =
                cells.iter().copied().filter(|cell| cell.fault == fault && cell.state == state).collect();
            cells.sort_by_key(|cell| cell.service == Service::Watcher);
            cells
        };
        let round = Box::pin(round(&mut stack, &mut lanes, fault, &of_lane)).await;
        say(&format!("{fault:?}: {:.1} s", begun.elapsed().as_secs_f64()));
        if let Err(error) = round {
            say(&error.to_string());
            failures.push(format!("{fault:?}: {error}"));
            for lane in &mut lanes {
                Box::pin(lane.recover()).await.unwrap();
            }
        }
    }
    no_failures(&failures, &stack);
}

/// All lanes in their states, one strike, and all of them get over it.
async fn round(
    stack: &mut Stack,
    lanes: &mut [Lane],
    fault: Fault,
    cells: &impl Fn(State) -> Vec<Cell>,
) -> Result<(), Failure> {
    let brought = lanes.iter_mut().zip(State::ALL).map(async |(lane, state)| {
        lane.begin().await?;
        for cell in cells(state) {
            lane.bring(role_of(cell), state, None).await?;
        }
        Ok(())
    });
    all(join_all(brought).await)?;
    // The first ones may have moved while the last ones were brought.
    for (lane, state) in lanes.iter_mut().zip(State::ALL) {
        for cell in cells(state) {
            lane.reach(role_of(cell), state).await?;
        }
    }
    strike_server(stack, fault).await?;
    for lane in lanes.iter_mut() {
        lane.release(None);
    }
    heal_server(stack, fault).await?;
    let converged = lanes.iter_mut().zip(State::ALL).map(async |(lane, state)| {
        let shown = Box::pin(lane.converge(&cells(state))).await;
        shown.map_err(|error| Failure::from(format!("{state:?}: {error}\n{}", lane.complaints())))
    });
    all(join_all(converged).await)
}

/// Every failure, or none.
fn all(results: Vec<Result<(), Failure>>) -> Result<(), Failure> {
    let failures: Vec<String> =
        results.into_iter().filter_map(|result| Some(result.err()?.to_string())).collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

/// What is cut, and how little patience the service gets, so that it does not take a minute.
fn budget(server: Server, service: Service) -> (LinkName, &'static [(&'static str, &'static str)]) {
    match (server, service) {
        (Server::Mongodb, _) => (LinkName::WatcherMongodb, &[("CDC__MONGODB__MAX_RETRIES", "1")]),
        (Server::Kafka, Service::Watcher) => (
            LinkName::WatcherKafka,
            &[("CDC__KAFKA__MAX_RETRIES", "1"), ("CDC__KAFKA__DELIVERY_TIMEOUT", "1s")],
        ),
        (Server::Kafka, Service::Syncer) => (LinkName::SyncerKafka, &[("CDC__KAFKA__MAX_RETRIES", "1")]),
        (Server::Redis, _) => (LinkName::WatcherRedis, &[("CDC__TOKEN_STORAGE__MAX_RETRIES", "1")]),
        (Server::Postgres, _) => (
            LinkName::SyncerPostgres,
            &[("CDC__POSTGRES__MAX_RETRIES", "1"), ("CDC__POSTGRES__WRITE_MAX_RETRIES", "1")],
        ),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dependency_that_stays_away_ends_the_service() {
    const PATIENCE: Duration = Duration::from_secs(60);
    let _turn = crate::TURN.lock().await;
    let stack = stack().await;
    let cells = cells_of("a_dependency_that_stays_away_ends_the_service");
    let shown = cells.iter().enumerate().map(|(number, cell)| {
        let stack = &stack;
        async move {
            let Fault::OutlastsRetries(server) = cell.fault else { return Err("no such fault".into()) };
            let (link, settings) = budget(server, cell.service);
            let (watcher, syncer): (&[_], &[_]) = match cell.service {
                Service::Watcher => (settings, &[]),
                Service::Syncer => (&[], settings),
            };
            let mut lane = Box::pin(Lane::start_with(stack, number, &PLAYERS, [watcher, syncer])).await?;
            lane.begin().await?;
            lane.bring(role_of(*cell), cell.state, Some(link)).await?;
            lane.links.get(link).cut();
            lane.release(Some(link));
            lane.gone(role_of(*cell), PATIENCE).await?;
            lane.links.get(link).heal();
            Box::pin(lane.converge(&[*cell])).await
        }
    });
    let shown = join_all(shown.map(Box::pin)).await;
    let failures: Vec<String> = shown
        .into_iter()
        .zip(&cells)
        .filter_map(|(shown, cell): (Result<(), Failure>, _)| Some(format!("{cell:?}: {}", shown.err()?)))
        .collect();
    no_failures(&failures, &stack);
}
