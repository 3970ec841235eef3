//! `devstack`: the four servers for a developer. Prints their addresses, and ends them with Ctrl-C.

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use cdc_devstack::{Options, Stack};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "usage: devstack

Starts MongoDB, Kafka, PostgreSQL and Redis on free ports with empty data, prints their addresses as
shell variables followed by READY, and ends them with Ctrl-C. The binaries: scripts/setup.sh servers.
";
const EXIT_USAGE: u8 = 2;
const EXIT_UNAVAILABLE: u8 = 69;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if std::env::args().len() > 1 {
        return report(USAGE, EXIT_USAGE);
    }
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&format!("{error}\n"), EXIT_UNAVAILABLE),
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    // Before the start, so that Ctrl-C in its middle ends what is there already.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut stopped = async || tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () };
    let mut stack = tokio::select! {
        stack = Box::pin(Stack::start(Options::default())) => stack?,
        () = stopped() => return Ok(()),
    };
    print_addresses(&stack)?;
    stopped().await;
    stack.stop().await?;
    Ok(())
}

fn print_addresses(stack: &Stack) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "DEMO_MONGODB_URI='{}'", stack.mongod.uri())?;
    writeln!(out, "DEMO_KAFKA_BROKERS='{}'", stack.kafka.bootstrap_servers())?;
    writeln!(out, "DEMO_POSTGRES_URL='{}'", stack.postgres.url())?;
    writeln!(out, "DEMO_REDIS_URL='{}'", stack.redis.url())?;
    writeln!(out, "DEVSTACK_FOLDER='{}'", stack.folder().display())?;
    let pids: Vec<String> =
        stack.servers().filter_map(|server| server.pid()).map(|pid| pid.to_string()).collect();
    writeln!(out, "DEVSTACK_PIDS='{}'", pids.join(" "))?;
    writeln!(out, "READY")?;
    out.flush()
}

fn report(message: &str, code: u8) -> ExitCode {
    // If standard error is closed, the exit code says it alone.
    _ = io::stderr().write_all(message.as_bytes());
    ExitCode::from(code)
}
