//! Each fault in each state: `cdc_model::faults` is the list, five pipelines on the same servers walk through it,
//! one for each state. A run strikes a part of the list, see [`cdc_tests::sample`].

use std::time::{Duration, Instant};

use cdc_devstack::links::{LinkName, Links};
use cdc_devstack::source::PLAYERS;
use cdc_devstack::{KafkaOptions, Options, PostgresOptions, Stack};
use cdc_model::faults::{Cell, Fault, Server, Service, State};
use cdc_tests::pipeline::{Pipeline, heal_server, role_of, strike_server};
use cdc_tests::sample::{all_of, is_whole, some_of};
use cdc_tests::{Failure, say};
use futures_util::future::join_all;

const PIPELINES: usize = State::ALL.len();

/// A stack with room for the pipelines.
async fn stack() -> Stack {
    let kafka = KafkaOptions { doors: PIPELINES * Links::DOORS, ..KafkaOptions::default() };
    // What survives a killed process is the same; five databases to be synced at each end are not shown here.
    let postgres = PostgresOptions { without_fsync: true, ..PostgresOptions::default() };
    Box::pin(Stack::start(Options { kafka, postgres, ..Options::default() })).await.unwrap()
}

/// One pipeline for each state.
async fn pipelines(stack: &Stack) -> Vec<Pipeline> {
    let pipelines = join_all((0..PIPELINES).map(|number| Box::pin(Pipeline::start(stack, number)))).await;
    pipelines.into_iter().collect::<Result<_, _>>().unwrap()
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
    let pipelines = pipelines(&stack).await;
    let cells = some_of("a_fault_of_one_pipeline_in_each_state");
    let walks = pipelines.into_iter().zip(State::ALL).map(|(mut pipeline, state)| {
        let cells: Vec<Cell> = cells.iter().copied().filter(|cell| cell.state == state).collect();
        async move {
            let mut failures = Vec::new();
            for cell in cells {
                if let Err(error) = Box::pin(pipeline.show(cell)).await {
                    say(&error.to_string());
                    failures.push(error.to_string());
                    if let Err(error) = Box::pin(pipeline.recover()).await {
                        failures.push(format!("pipeline {} is given up: {error}", pipeline.number()));
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
    let mut pipelines = pipelines(&stack).await;
    let cells = some_of("a_fault_of_a_server_in_each_state");
    let mut faults: Vec<Fault> = cells.iter().map(|cell| cell.fault).collect();
    faults.sort_unstable();
    faults.dedup();
    let mut failures = Vec::new();
    for fault in faults {
        let begun = Instant::now();
        let of_pipeline = |state: State| -> Vec<Cell> {
            // The Syncer first: it needs the Watcher's events to get where it is to be.
            let mut cells: Vec<Cell> =
                cells.iter().copied().filter(|cell| cell.fault == fault && cell.state == state).collect();
            cells.sort_by_key(|cell| cell.service == Service::Watcher);
            cells
        };
        let round = Box::pin(round(&mut stack, &mut pipelines, fault, &of_pipeline)).await;
        say(&format!("{fault:?}: {:.1} s", begun.elapsed().as_secs_f64()));
        if let Err(error) = round {
            say(&error.to_string());
            failures.push(format!("{fault:?}: {error}"));
            for pipeline in &mut pipelines {
                Box::pin(pipeline.recover()).await.unwrap();
            }
        }
    }
    no_failures(&failures, &stack);
}

/// All pipelines in their states, one strike, and all of them get over it.
async fn round(
    stack: &mut Stack,
    pipelines: &mut [Pipeline],
    fault: Fault,
    cells: &impl Fn(State) -> Vec<Cell>,
) -> Result<(), Failure> {
    let brought = pipelines.iter_mut().zip(State::ALL).map(async |(pipeline, state)| {
        pipeline.begin().await?;
        for cell in cells(state) {
            pipeline.bring(role_of(cell), state, None).await?;
        }
        Ok(())
    });
    all(join_all(brought).await)?;
    // The first ones may have moved while the last ones were brought.
    for (pipeline, state) in pipelines.iter_mut().zip(State::ALL) {
        for cell in cells(state) {
            pipeline.reach(role_of(cell), state).await?;
        }
    }
    strike_server(stack, fault).await?;
    for pipeline in pipelines.iter_mut() {
        pipeline.release(None);
    }
    heal_server(stack, fault).await?;
    let converged = pipelines.iter_mut().zip(State::ALL).map(async |(pipeline, state)| {
        let shown = Box::pin(pipeline.converge(&cells(state))).await;
        shown.map_err(|error| Failure::from(format!("{state:?}: {error}\n{}", pipeline.complaints())))
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

/// Feature: cdc-pipeline, Property 25: Maximum Retry Count Enforcement
/// Validates: Requirements 12.2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dependency_that_stays_away_ends_the_service() {
    let _turn = crate::TURN.lock().await;
    let stack = stack().await;
    let cells = all_of("a_dependency_that_stays_away_ends_the_service");
    // With all of the list each dependency has the retries that it has by default.
    let patience = Duration::from_secs(if is_whole() { 600 } else { 60 });
    let shown = cells.iter().enumerate().map(|(number, cell)| {
        let stack = &stack;
        async move {
            let Fault::OutlastsRetries(server) = cell.fault else { return Err("no such fault".into()) };
            let (link, few) = budget(server, cell.service);
            let settings: &[_] = if is_whole() { &[] } else { few };
            let (watcher, syncer): (&[_], &[_]) = match cell.service {
                Service::Watcher => (settings, &[]),
                Service::Syncer => (&[], settings),
            };
            let mut pipeline =
                Box::pin(Pipeline::start_with(stack, number, &PLAYERS, [watcher, syncer])).await?;
            pipeline.begin().await?;
            pipeline.bring(role_of(*cell), cell.state, Some(link)).await?;
            pipeline.links.get(link).cut();
            pipeline.release(Some(link));
            pipeline.gone(role_of(*cell), patience).await?;
            pipeline.links.get(link).heal();
            Box::pin(pipeline.converge(&[*cell])).await
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
