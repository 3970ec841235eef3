//! A supervisor that no longer reads the log: the pipe is full, whoever writes a line waits for ever, and the process ends
//! in time all the same.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Nobody listens there, so that there is something to log.
const SETTINGS: [(&str, &str); 4] = [
    ("CDC__MONGODB__URI", "mongodb://127.0.0.1:1/?replicaSet=rs0"),
    ("CDC__MONGODB__CONNECTION_TIMEOUT", "100ms"),
    ("CDC__HTTP__LISTEN", "127.0.0.1:0"),
    ("CDC__SHUTDOWN__TIMEOUT", "1s"),
];
/// So long it takes until it has something to say, with a good margin.
const SPEAKS_WITHIN: Duration = Duration::from_secs(2);
/// What a pipe holds (pipe(7)).
const PIPE_BYTES: usize = 65_536;
/// What a busy machine may take longer than is promised.
const MARGIN: Duration = Duration::from_secs(4);

/// A Watcher that cannot write a single line.
fn mute_watcher() -> (Child, std::io::PipeReader) {
    let (unread, mut full) = std::io::pipe().unwrap();
    full.write_all(&vec![b'.'; PIPE_BYTES]).unwrap();
    let watcher = Command::new(env!("CARGO_BIN_EXE_cdc"))
        .args(["watch", "-c", concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/watcher.yaml")])
        .env_clear()
        .envs(SETTINGS)
        .stdout(Stdio::from(full.try_clone().unwrap()))
        .stderr(Stdio::from(full))
        .spawn()
        .unwrap();
    (watcher, unread)
}

fn ends_after(signals: u32, within: Duration) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let (mut watcher, _unread) = mute_watcher();
        let wait = |time: Duration| {
            let (_never, nothing) = std::sync::mpsc::channel::<()>();
            _ = nothing.recv_timeout(time);
        };
        wait(SPEAKS_WITHIN);
        let pid = Pid::from_raw(i32::try_from(watcher.id()).unwrap()).unwrap();
        for _ in 0..signals {
            wait(Duration::from_millis(300));
            kill_process(pid, Signal::TERM).unwrap();
        }
        let asked = Instant::now();
        loop {
            if let Some(status) = watcher.try_wait().unwrap() {
                assert_eq!(status.code(), Some(75), "after {signals} signals");
                return;
            }
            if asked.elapsed() > within + MARGIN {
                watcher.kill().unwrap();
                watcher.wait().unwrap();
                panic!("after {signals} signals it still runs");
            }
            wait(Duration::from_millis(20));
        }
    })
}

#[test]
fn a_log_that_nobody_reads_does_not_hold_the_end_up() {
    // `shutdown.timeout` and the time for closing; the second that follows a second signal.
    let ends = [ends_after(1, Duration::from_secs(1 + 3)), ends_after(2, Duration::from_secs(1))];
    ends.into_iter().for_each(|end| end.join().unwrap());
}
