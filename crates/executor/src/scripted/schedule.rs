use std::time::Duration;

/// Asserts that one call was made once, and then again after each of these waits, each up to a fifth longer.
#[track_caller]
pub(crate) fn assert_waits(name: &str, moments: &[Duration], seconds: &[u64]) {
    let waits: Vec<Duration> = moments.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits.len(), seconds.len(), "{name}: {waits:?}");
    for (wait, seconds) in waits.iter().zip(seconds) {
        let asked = Duration::from_secs(*seconds);
        assert!(*wait >= asked && *wait <= asked + asked / 5, "{name}: {waits:?}, not {seconds} s");
    }
}

/// The waits of a schedule without an end, of so many attempts.
pub(crate) fn without_end(attempts: usize) -> Vec<u64> {
    [1, 2, 4, 8].into_iter().chain(std::iter::repeat(16)).take(attempts - 1).collect()
}
