use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use cdc_machine::Fault;
use cdc_ports::Failure;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// What was written, for a look at it.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Page {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

fn logs() -> Logs {
    Logs { repeats: Repeats::default(), states: States::default() }
}

/// The lines that `speak` writes.
fn heard(voice: Voice, level: LogLevel, speak: impl FnOnce()) -> Vec<Value> {
    let page = Page::default();
    let subscriber = Registry::default().with(logs().json(voice, level, page.clone()));
    tracing::subscriber::with_default(subscriber, speak);
    page.lines()
}

#[derive(Debug)]
struct Outer(io::Error);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("outer")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// One event of each level, ours or a library's, with and without an operation and a service of its own.
fn speak(level: u8, library: bool, labelled: bool, message: &str) {
    macro_rules! event {
        ($level:ident) => {
            match (library, labelled) {
                (false, true) => tracing::$level!(target: "cdc_executor", service = "watcher", operation = "kafka_publish", "{message}"),
                (false, false) => tracing::$level!(target: "cdc_kafka::producer", number = 7, "{message}"),
                (true, _) => tracing::$level!(target: "rdkafka::client", "{message}"),
            }
        };
    }
    match level {
        0 => event!(error),
        1 => event!(warn),
        2 => event!(info),
        _ => event!(debug),
    }
}

proptest! {
    /// Feature: cdc-pipeline, Property 21: Structured Log Field Completeness
    /// Validates: Requirements 10.3
    #[test]
    fn every_line_has_its_time_its_service_and_its_operation(
        level in 0u8..4,
        library: bool,
        labelled: bool,
        message in any::<String>(),
        voice in prop_oneof![Just(Voice::Watcher), Just(Voice::Syncer), Just(Voice::Pipeline)],
    ) {
        let lines = heard(voice, LogLevel::Debug, || speak(level, library, labelled, &message));
        // Libraries are not heard at debug level.
        prop_assert_eq!(lines.len(), usize::from(!(library && level == 3)));
        for line in lines {
            for name in ["timestamp", "level", "service", "operation", "message"] {
                prop_assert!(line[name].as_str().is_some(), "{} in {}", name, line);
            }
            prop_assert_eq!(line["message"].as_str(), Some(message.as_str()));
            prop_assert!(line["timestamp"].as_str().is_some_and(|at| at.parse::<jiff::Timestamp>().is_ok()));
            prop_assert!(["watcher", "syncer", "pipeline"].contains(&line["service"].as_str().unwrap_or_default()));
            if labelled && !library {
                prop_assert_eq!(&line["operation"], "kafka_publish");
                prop_assert_eq!(&line["service"], "watcher");
            }
        }
    }

    /// Feature: cdc-pipeline, Property 22: Error Log Stack Trace Inclusion
    /// Validates: Requirements 10.5
    #[test]
    fn every_error_has_a_stack_trace_and_says_what_and_why(
        fault in prop::sample::select(Fault::ALL.to_vec()),
        message in "[a-z ]{1,40}",
        retry in 0u32..10,
        bare: bool,
    ) {
        let failure = Failure::new(fault, "kafka_publish", message.clone()).because(Outer(io::Error::other("inner")));
        let lines = heard(Voice::Watcher, LogLevel::Info, || if bare {
            tracing::error!(target: "rdkafka", error = &failure as &dyn Error, "it failed");
        } else {
            tracing::error!(
                target: "cdc_executor",
                operation = failure.operation,
                error_type = failure.fault.as_str(),
                error = %failure.chain(),
                stack_trace = %failure.stack_trace,
                retry_attempt = retry,
                max_retries = "5",
                "operation failed"
            );
        });
        prop_assert_eq!(lines.len(), 1);
        let line = &lines[0];
        let text = |name: &str| line[name].as_str().unwrap_or_default();
        prop_assert!(text("stack_trace").contains("cdc::logs::tests"), "{}", text("stack_trace"));
        prop_assert!(text("error").contains(&message), "{}", line);
        prop_assert!(!text("error_type").is_empty() && !text("operation").is_empty(), "{}", line);
        if !bare {
            prop_assert!(text("error").ends_with(": outer: inner"), "{}", line);
            prop_assert_eq!(&line["retry_attempt"], retry);
            prop_assert_eq!(&line["max_retries"], "5");
        }
    }
}

#[test]
fn the_level_holds_for_ours_and_libraries_alike() {
    let count = |level| {
        heard(Voice::Syncer, level, || (0..4).for_each(|level| speak(level, false, false, "m"))).len()
    };
    let levels = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug];
    assert_eq!(levels.map(count), [1, 2, 3, 4]);
}

#[test]
fn in_one_process_a_line_belongs_to_the_service_whose_neighbour_it_speaks_of() {
    let lines = heard(Voice::Pipeline, LogLevel::Info, || {
        tracing::info!(target: "cdc_mongo::stream", "m");
        tracing::info!(target: "tokio_postgres::connection", "m");
        tracing::info!(target: "cdc_kafka", "m");
        tracing::info!(target: "cdc_kafka", service = "syncer", "m");
    });
    let services: Vec<_> = lines.iter().map(|line| line["service"].as_str().unwrap()).collect();
    assert_eq!(services, ["watcher", "syncer", "pipeline", "syncer"]);
    assert_eq!(lines[0]["operation"], "mongo");
    assert_eq!(lines[1]["operation"], "tokio_postgres");
}

#[test]
fn lines_tell_the_state_of_their_service() {
    let (sender, receiver) = watch::channel(Health::starting("watcher"));
    let (logs, page) = (logs(), Page::default());
    logs.follow(receiver);
    let subscriber = Registry::default().with(logs.json(Voice::Watcher, LogLevel::Info, page.clone()));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("m");
        sender.send_modify(|health| health.state = cdc_machine::StateName::Streaming);
        tracing::info!("m");
        tracing::info!(service = "syncer", "m");
        tracing::info!(state = "Draining", "m");
    });
    let states: Vec<_> = page.lines().iter().map(|line| line["state"].clone()).collect();
    assert_eq!(states, [Value::from("Connecting"), "Streaming".into(), Value::Null, "Draining".into()]);
}

#[test]
fn repeated_errors_are_cut_short_and_counted_and_sums_are_not() {
    let (logs, page) = (logs(), Page::default());
    let subscriber = Registry::default().with(logs.json(Voice::Watcher, LogLevel::Info, page.clone()));
    tracing::subscriber::with_default(subscriber, || {
        for number in 0..1000 {
            tracing::error!(number, "broker away");
            tracing::info!(number, "rows written");
        }
        logs.repeats.tell();
    });
    let lines = page.lines();
    let of = |message: &str| lines.iter().filter(|line| line["message"] == message).count();
    assert_eq!(of("rows written"), 1000);
    assert!(of("broker away") < 1000);
    let left_out = lines.last().unwrap()["left_out"].as_u64().unwrap();
    assert_eq!(left_out + of("broker away") as u64, 1000);
}

/// All failures are told by one place in the code, and each neighbour's are counted for themselves.
#[test]
fn the_failures_of_one_neighbour_do_not_hide_those_of_another_nor_a_record_that_is_given_up() {
    let (logs, page) = (logs(), Page::default());
    let subscriber = Registry::default().with(logs.json(Voice::Syncer, LogLevel::Info, page.clone()));
    tracing::subscriber::with_default(subscriber, || {
        let failed = |operation: &str, fault: &str| {
            tracing::error!(service = "syncer", operation, fault, "operation failed");
        };
        (0..100).for_each(|_| failed("postgres_write", "transient"));
        failed("kafka_commit", "transient");
        failed("postgres_write", "auth");
        for offset in 0..100 {
            tracing::error!(target: cdc_executor::GIVEN_UP, operation = "bad_record", offset, "record given up");
        }
    });
    let lines = page.lines();
    let of = |operation: &str, fault: &str| {
        lines.iter().filter(|line| line["operation"] == operation && line["fault"] == fault).count()
    };
    assert_eq!(of("kafka_commit", "transient"), 1);
    assert_eq!(of("postgres_write", "auth"), 1);
    assert!(of("postgres_write", "transient") < 100);
    assert_eq!(lines.iter().filter(|line| line["operation"] == "bad_record").count(), 100);
}

/// Feature: cdc-pipeline, Property 22: Error Log Stack Trace Inclusion
/// Validates: Requirements 10.5
#[test]
fn on_a_console_the_fields_are_those_of_json_and_a_stack_trace_has_lines_of_its_own() {
    let page = Page::default();
    let subscriber = Registry::default().with(logs().console(Voice::Syncer, LogLevel::Info, page.clone()));
    tracing::subscriber::with_default(subscriber, || {
        tracing::error!(operation = "postgres_write", error = "no \x1b[2J route", "operation failed");
        tracing::info!(target: "cdc_postgres", rows = 3, topic = "a b", "rows written");
    });
    let text = page.text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("ERROR syncer - operation failed error_type=unclassified"), "{text}");
    assert!(lines[0].ends_with("operation=postgres_write"), "{text}");
    assert_eq!(lines[1], "    error: no \\u{1b}[2J route");
    assert!(lines[2].starts_with("    stack_trace: 0: ") && text.contains("cdc::logs::tests"), "{text}");
    let last = lines.last().unwrap();
    assert!(last.contains(" INFO syncer - rows written operation=postgres rows=3 topic=\"a b\""), "{text}");
    assert!(lines[3..lines.len() - 1].iter().all(|line| line.starts_with("    ")), "{text}");
}
