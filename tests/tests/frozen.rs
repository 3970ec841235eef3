//! Kafka is frozen: connections stay open and nothing answers. In whichever state a service is, it ends when it says
//! that it does: within `shutdown.timeout` at the first signal, within a second at the second.
//!
//! Four pipelines are in a state each, so eight processes on one frozen broker; `make soak` has a fifth, which drains.

use std::env;
use std::time::{Duration, Instant};

use cdc_devstack::links::Links;
use cdc_devstack::pipeline::Role;
use cdc_devstack::source::PLAYERS;
use cdc_devstack::{KafkaOptions, Options, PostgresOptions, Stack};
use cdc_model::faults::State;
use cdc_tests::pipeline::{End, Pipeline};
use cdc_tests::{Failure, say};
use futures_util::future::join_all;

/// `shutdown.timeout`
const DRAINS_WITHIN: &[(&str, &str)] = &[("CDC__SHUTDOWN__TIMEOUT", "3s")];
/// `shutdown.timeout`, the time for closing, and what ten processes on two cores may take longer.
const GONE_AT_FIRST: Duration = Duration::from_secs(3 + 3 + 4);
/// The second that is promised, and the same margin.
const GONE_AT_SECOND: Duration = Duration::from_secs(1 + 4);
/// Longer than two signals that count as one.
const BETWEEN_SIGNALS: Duration = Duration::from_millis(300);

const ROLES: [Role; 2] = [Role::Syncer, Role::Watcher];

/// Two for each state. The last state is only in `make soak`: every service that is asked to end passes through it.
fn processes() -> usize {
    env::var("CDC_FROZEN_PROCESSES").ok().and_then(|number| number.parse().ok()).unwrap_or(8)
}

/// Everything in its state, the broker frozen, and whatever else held them let go.
async fn freeze(stack: &mut Stack, pipelines: &mut [(State, Pipeline)]) -> Result<(), Failure> {
    let brought = pipelines.iter_mut().map(async |(state, pipeline)| {
        pipeline.begin().await?;
        // The Syncer first: it needs the Watcher's events to get where it is to be.
        for role in ROLES {
            Box::pin(pipeline.bring(role, *state, None)).await?;
        }
        Ok::<(), Failure>(())
    });
    join_all(brought).await.into_iter().collect::<Result<Vec<()>, _>>()?;
    stack.kafka.pause()?;
    for (_, pipeline) in pipelines.iter_mut() {
        pipeline.release(None);
    }
    Ok(())
}

fn ask_all(pipelines: &mut [(State, Pipeline)], wanted: impl Fn(State) -> bool) -> Result<(), Failure> {
    for (_, pipeline) in pipelines.iter_mut().filter(|(state, _)| wanted(*state)) {
        for role in ROLES {
            pipeline.ask_to_stop(role)?;
        }
    }
    Ok(())
}

/// How all of them ended, all within this time: they were asked at once, and one that is looked at later has no more.
async fn ends(pipelines: &mut [(State, Pipeline)], within: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + within;
    let ended = pipelines.iter_mut().map(async |(state, pipeline)| {
        let mut wrong = Vec::new();
        for role in ROLES {
            let name = format!("{} in {state:?}", role.name());
            match pipeline.end_of(role, deadline.saturating_duration_since(Instant::now())).await {
                Ok(end) => wrong.extend(judge(&end).map(|why| format!("{name}: {why}: {end:?}"))),
                Err(error) => wrong.push(format!("{name}: {error}")),
            }
        }
        wrong
    });
    let wrong: Vec<String> = join_all(ended).await.into_iter().flatten().collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// What is wrong with an end: the code tells what the last line says, and there is a last line.
fn judge(End { code, last_line }: &End) -> Option<&'static str> {
    let says_stopped = last_line.contains("\"operation\":\"stop\"");
    let is_said = |code: &str| last_line.contains(&format!("\"exit_code\":{code}"));
    match code {
        _ if !says_stopped => Some("the last line is another one"),
        Some(0) if last_line.contains("drained: everything in hand") => None,
        Some(75) if is_said("75") => None,
        _ => Some("the exit code is another one than the log's"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_state_it_ends_in_time_at_the_first_and_at_the_second_signal() {
    let _turn = crate::TURN.lock().await;
    let pipelines = processes() / 2;
    let kafka = KafkaOptions { doors: pipelines * Links::DOORS, ..KafkaOptions::default() };
    let postgres = PostgresOptions { without_fsync: true, ..PostgresOptions::default() };
    let mut stack = Box::pin(Stack::start(Options { kafka, postgres, ..Options::default() })).await.unwrap();
    let started = State::ALL.into_iter().take(pipelines).enumerate().map(|(number, state)| {
        let stack = &stack;
        async move {
            let settings = [DRAINS_WITHIN, DRAINS_WITHIN];
            Ok::<_, Failure>((
                state,
                Box::pin(Pipeline::start_with(stack, number, &PLAYERS, settings)).await?,
            ))
        }
    });
    let mut pipelines: Vec<(State, Pipeline)> =
        join_all(started).await.into_iter().collect::<Result<_, _>>().unwrap();

    let begun = Instant::now();
    freeze(&mut stack, &mut pipelines).await.unwrap();
    // One that drains has been asked already.
    ask_all(&mut pipelines, |state| state != State::Draining).unwrap();
    ends(&mut pipelines, GONE_AT_FIRST).await.unwrap();
    say(&format!("one signal: {:.1} s", begun.elapsed().as_secs_f64()));

    stack.kafka.resume().unwrap();
    let recovered = pipelines.iter_mut().map(async |(_, pipeline)| Box::pin(pipeline.recover()).await);
    join_all(recovered).await.into_iter().collect::<Result<Vec<()>, _>>().unwrap();

    let begun = Instant::now();
    freeze(&mut stack, &mut pipelines).await.unwrap();
    ask_all(&mut pipelines, |state| state != State::Draining).unwrap();
    tokio::time::sleep(BETWEEN_SIGNALS).await;
    ask_all(&mut pipelines, |_| true).unwrap();
    ends(&mut pipelines, GONE_AT_SECOND).await.unwrap();
    say(&format!("two signals: {:.1} s", begun.elapsed().as_secs_f64()));
}
