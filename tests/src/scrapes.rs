//! What services showed of themselves at three moments, played to Prometheus' rules in virtual time: quiet for ten minutes,
//! then as it was in trouble, then as it was behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use cdc_devstack::{Samples, Service};

use crate::Failure;

/// Between two samples, in seconds; no shorter than what the rules' shortest range needs.
const INTERVAL_SECONDS: usize = 15;
/// How often each moment is repeated.
const QUIET_SAMPLES: usize = 40;
const TROUBLED_SAMPLES: usize = 80;
const MENDED_SAMPLES: usize = 120;

/// The end of what was quiet, and two times of the trouble: while counters have just risen, and after each rule's `for`.
const QUIET: &str = "9m30s";
const EARLY: &str = "10m45s";
const LATE: &str = "29m";
/// Behind it all, and behind each rule's range.
const MENDED: &str = "58m";

/// Instances by name, each with its samples where it answered.
pub type Scrape = BTreeMap<&'static str, Option<Samples>>;

/// What these services show.
pub async fn scrape(services: &[(&'static str, &Service)]) -> Scrape {
    let mut scrape = Scrape::new();
    for (name, service) in services {
        scrape.insert(name, service.metrics().await.ok());
    }
    scrape
}

/// Plays three moments to the rules of `rules`. While it is quiet, and behind the trouble, no alert fires; `early` of them
/// fire at the trouble's beginning, `late` of them at its end.
///
/// # Errors
/// With what `promtool` says, where it is otherwise.
pub fn play(
    folder: &Path,
    rules: &Path,
    moments: &[Scrape; 3],
    (early, late): (&[&str], &[&str]),
) -> Result<(), Failure> {
    let mut text = format!(
        "rule_files: [{}]\nevaluation_interval: {INTERVAL_SECONDS}s\ntests:\n  - interval: {INTERVAL_SECONDS}s\n    \
         input_series:\n",
        rules.display()
    );
    for (series, values) in series(moments) {
        writeln!(text, "      - series: '{series}'\n        values: '{values}'")?;
    }
    text.push_str("    promql_expr_test:\n");
    for (time, expected) in [(QUIET, None), (EARLY, Some(early)), (LATE, Some(late)), (MENDED, None)] {
        let among = expected.map_or_else(|| ".+".to_owned(), |names| names.join("|"));
        writeln!(
            text,
            "      - expr: group by (alertname) (ALERTS{{alertstate=\"firing\", alertname=~\"{among}\"}})\n        \
             eval_time: {time}\n        exp_samples:"
        )?;
        for name in expected.unwrap_or_default() {
            writeln!(text, "          - {{ labels: '{{alertname=\"{name}\"}}', value: 1 }}")?;
        }
    }
    let file = folder.join("alerts-played.yaml");
    std::fs::write(&file, text)?;
    promtool(&["test", "rules", &file.display().to_string()])
}

/// Runs `promtool`.
///
/// # Errors
/// With what it says, where it does not succeed.
pub fn promtool(arguments: &[&str]) -> Result<(), Failure> {
    let output = Command::new(cdc_devstack::promtool()?).args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("promtool {}: {out}{err}", arguments.join(" ")).into())
}

/// Each series with its values over the three moments, and `up` of each instance.
fn series(moments: &[Scrape; 3]) -> Vec<(String, String)> {
    let instances: BTreeSet<&str> = moments.iter().flat_map(|scrape| scrape.keys().copied()).collect();
    let mut all = Vec::new();
    for instance in instances {
        let asked = moments.each_ref().map(|scrape| scrape.get(instance));
        let up = asked.map(|answer| answer.map(|samples| f64::from(u8::from(samples.is_some()))));
        let scraped = asked.map(|answer| answer.and_then(Option::as_ref));
        all.push((named("up", &BTreeMap::new(), instance), values(up)));
        let samples = scraped.iter().flatten().flat_map(|samples| samples.all());
        let keys: BTreeSet<_> = samples.map(|sample| (&sample.name, &sample.labels)).collect();
        for (name, labels) in keys {
            let value = |samples: &Samples| {
                let found = samples.all().iter().find(|it| (&it.name, &it.labels) == (name, labels));
                found.map(|sample| sample.value)
            };
            all.push((named(name, labels, instance), values(scraped.map(|samples| samples.and_then(value)))));
        }
    }
    all
}

fn named(name: &str, labels: &BTreeMap<String, String>, instance: &str) -> String {
    let labels: String = labels.iter().map(|(label, value)| format!(", {label}=\"{value}\"")).collect();
    format!("{name}{{job=\"cdc\", instance=\"{instance}\"{labels}}}")
}

/// In `promtool`'s notation; `_` stands for no sample.
fn values(moments: [Option<f64>; 3]) -> String {
    let parts = moments.into_iter().zip([QUIET_SAMPLES, TROUBLED_SAMPLES, MENDED_SAMPLES]);
    let part = |(value, samples): (Option<f64>, usize)| match value {
        Some(value) if value.is_finite() => format!("{value}+0x{}", samples - 1),
        _ => format!("_x{samples}"),
    };
    parts.map(part).collect::<Vec<_>>().join(" ")
}
