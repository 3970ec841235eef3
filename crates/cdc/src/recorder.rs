//! The metrics' recorder.

use std::time::Duration;

use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::version;

/// How often the recorder sorts what histograms have gathered into their buckets. Between two times the
/// samples wait in memory.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Upper bounds of every histogram whose name ends in `_seconds`, in seconds: from half a millisecond, a
/// save in a Redis nearby, to a minute, a batch that waited for a failover.
const SECONDS: [f64; 17] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 16.0, 30.0, 60.0,
];

/// Upper bounds of `cdc_stage_seconds`: a stage takes less than the whole, and the first ones a few microseconds.
const STAGE_SECONDS: [f64; 20] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.007_5, 0.01, 0.015, 0.02, 0.03, 0.05,
    0.1, 0.2, 0.5, 1.0, 5.0, 30.0,
];

/// Upper bounds of `syncer_batch_size`, in records.
const BATCH_RECORDS: [f64; 12] =
    [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 10_000.0];

/// What the build is, as a series whose value is always 1.
const BUILD_INFO: &str = "cdc_build_info";

/// Installs the process's recorder. Metrics that were touched before are lost, so this comes first.
///
/// # Errors
/// When another recorder is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = builder()?.install_recorder()?;
    describe_gauge!(BUILD_INFO, "The version and the commit of the running binary");
    gauge!(BUILD_INFO, "version" => version::PACKAGE_VERSION, "commit" => version::COMMIT).set(1.0);
    Ok(handle)
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Full("cdc_stage_seconds".to_owned()), &STAGE_SECONDS)?
        .set_buckets_for_metric(Matcher::Full("syncer_batch_size".to_owned()), &BATCH_RECORDS)
}

/// Keeps the recorder's memory bounded, for as long as the task is not aborted.
pub async fn upkeep(handle: PrometheusHandle) {
    let mut tick = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        tick.tick().await;
        handle.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use metrics::histogram;

    use super::*;

    #[test]
    fn histograms_have_buckets_and_are_no_summaries() {
        let recorder = builder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            histogram!("syncer_batch_flush_duration_seconds").record(0.003);
            histogram!("syncer_batch_size").record(40.0);
            histogram!("cdc_stage_seconds", "stage" => "encode").record(0.000_03);
        });
        let text = handle.render();
        for line in [
            "# TYPE syncer_batch_flush_duration_seconds histogram",
            "syncer_batch_flush_duration_seconds_bucket{le=\"0.0025\"} 0",
            "syncer_batch_flush_duration_seconds_bucket{le=\"0.005\"} 1",
            "# TYPE syncer_batch_size histogram",
            "cdc_stage_seconds_bucket{stage=\"encode\",le=\"0.00005\"} 1",
            "syncer_batch_size_bucket{le=\"25\"} 0",
            "syncer_batch_size_bucket{le=\"50\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }
}
