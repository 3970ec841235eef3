use super::*;

/// Feature: cdc-pipeline, Property 12: Message Buffering Before Flush
/// Validates: Requirements 5.1
#[test]
fn without_lingering_rows_wait_until_the_batch_is_full() {
    let mut bench = Bench::streaming(to_the_letter());
    let lines = bench.step(records(&[(0, 0, 0)]));
    assert_eq!(lines, ["SetTimer Flush#0 500ms", "Fetch 3 records 990 bytes"]);
    let lines = bench.step(records(&[(0, 1, 0)]));
    assert_eq!(lines, ["WriteBatch w0 3 [0:0 0:1]", "CancelTimer Flush#0", "Fetch 2 records 980 bytes"]);
}

/// Feature: cdc-pipeline, Property 12: Message Buffering Before Flush
/// Validates: Requirements 5.1
#[test]
fn without_lingering_rows_leave_when_the_oldest_is_old() {
    let mut bench = Bench::streaming(to_the_letter());
    bench.step(records(&[(0, 0, 0)]));
    assert_eq!(bench.expire(TimerKind::Flush(WorkerId(0))), ["WriteBatch w0 3 [0:0]"]);
    // A free writer is no reason to leave.
    bench.step(records(&[(0, 1, 0)]));
    assert_eq!(bench.step(written(0, 3)), ["CommitOffsets 4 [0@0 1]"]);
}

#[test]
fn rows_that_grew_old_behind_a_batch_leave_after_it() {
    let mut bench = Bench::streaming(to_the_letter());
    bench.step(records(&[(0, 0, 0), (0, 1, 0), (0, 2, 0)]));
    assert_eq!(bench.expire(TimerKind::Flush(WorkerId(0))), NOTHING);
    assert_eq!(bench.step(written(0, 3)), ["WriteBatch w0 4 [0:2]", "CommitOffsets 5 [0@0 2]"]);
}

#[test]
fn a_row_lingers_for_company_while_its_writer_is_idle() {
    let mut bench = Bench::streaming(small());
    let lines = bench.step(records(&[(0, 0, 0)]));
    assert_eq!(lines, ["SetTimer Linger#0 5ms", "Fetch 3 records 990 bytes"]);
    assert_eq!(bench.expire(TimerKind::Linger(WorkerId(0))), ["WriteBatch w0 3 [0:0]"]);
    assert_eq!(bench.at(), STREAMING);
}

#[test]
fn a_batch_that_fills_does_not_linger() {
    let mut bench = Bench::streaming(small());
    bench.step(records(&[(0, 0, 0)]));
    let lines = bench.step(records(&[(0, 1, 0)]));
    assert_eq!(lines, ["WriteBatch w0 3 [0:0 0:1]", "CancelTimer Linger#0", "Fetch 2 records 980 bytes"]);
}

#[test]
fn behind_a_busy_writer_rows_leave_as_soon_as_it_is_free() {
    let mut bench = Bench::writing(small());
    assert_eq!(bench.step(records(&[(0, 1, 0)])), ["Fetch 2 records 980 bytes"]);
    assert_eq!(bench.step(written(0, 3)), ["WriteBatch w0 4 [0:1]", "CommitOffsets 5 [0@0 1]"]);
}

#[test]
fn without_a_linger_rows_leave_at_once() {
    let mut bench = Bench::streaming(Config { linger: Duration::ZERO, ..small() });
    let lines = bench.step(records(&[(0, 0, 0)]));
    assert_eq!(lines, ["WriteBatch w0 3 [0:0]", "Fetch 3 records 990 bytes"]);
}

#[test]
fn bytes_fill_a_batch_too() {
    let mut bench = Bench::streaming(Config { buffer_size: 9, buffer_bytes: 25, ..small() });
    let lines = bench.step(records(&[(0, 0, 0), (0, 1, 0), (0, 2, 0)]));
    assert_eq!(lines, ["WriteBatch w0 3 [0:0 0:1]", "Fetch 4 records 970 bytes"]);
    let mut bench = Bench::streaming(Config { buffer_size: 9, buffer_bytes: 5, ..small() });
    let lines = bench.step(records(&[(0, 0, 0), (0, 1, 0)]));
    assert_eq!(lines, ["WriteBatch w0 3 [0:0]", "Fetch 4 records 980 bytes"]);
}

#[test]
fn equal_routes_share_a_worker_and_others_go_elsewhere() {
    let mut bench = Bench::streaming(small());
    let lines = bench.step(records(&[(0, 0, 6), (0, 1, 7), (1, 0, 6), (0, 2, 7)]));
    assert_eq!(
        lines,
        ["WriteBatch w0 3 [0:0 1:0]", "WriteBatch w1 4 [0:1 0:2]", "Fetch 2 records 960 bytes"]
    );
}
