//! `docs/metrics.md`: each metric that is described, with its kind, its labels and its text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::check;
use crate::sources::{calls, constant, literal, shipped};

const PAGE: &str = "docs/metrics.md";
const KINDS: [&str; 3] = ["counter", "gauge", "histogram"];
const HEAD: &str = "# Metrics

Generated from the code by `make specs`. Each service serves them under `/metrics`, in Prometheus's text format.
[Alerts](alerts.md) are made of them. Names without `cdc_` in front are the design document's.

| metric | kind | labels | what it says |
|---|---|---|---|
";

struct Metric {
    kind: &'static str,
    labels: BTreeSet<String>,
    text: String,
}

/// The metrics by name.
fn metrics() -> BTreeMap<String, Metric> {
    let sources = shipped();
    let name_of = |path: &str| {
        let constant_name = path.rsplit("::").next().unwrap_or(path);
        sources.iter().find_map(|source| constant(&source.text, constant_name))
    };
    let mut metrics = BTreeMap::new();
    for source in &sources {
        for kind in KINDS {
            for arguments in calls(&source.text, &format!("describe_{kind}")) {
                let (Some(name), Some(text)) = (
                    arguments.first().and_then(|it| name_of(it)),
                    arguments.last().and_then(|it| literal(it)),
                ) else {
                    panic!("a description has a name and a text: {arguments:?}");
                };
                let unit = arguments.iter().any(|it| it.ends_with("Unit::Seconds"));
                let text = if unit { format!("{text} (seconds)") } else { text };
                metrics.insert(name, Metric { kind, labels: BTreeSet::new(), text });
            }
        }
    }
    let mut by_variable = BTreeSet::new();
    let mut made = BTreeSet::new();
    for source in &sources {
        for kind in KINDS {
            for arguments in calls(&source.text, kind) {
                let labels = arguments.iter().skip(1).flat_map(|it| labels_of(&source.text, it));
                let Some(name) = arguments.first().and_then(|it| name_of(it)) else {
                    by_variable.extend(labels);
                    continue;
                };
                let Some(metric) = metrics.get_mut(&name) else { panic!("{name} is not described") };
                assert_eq!(metric.kind, kind, "{name}");
                metric.labels.extend(labels);
                made.insert(name);
            }
        }
    }
    // What is made through a variable are the metrics that no call names.
    for (name, metric) in &mut metrics {
        if !made.contains(name) {
            metric.labels.extend(by_variable.iter().cloned());
        }
    }
    metrics
}

/// The label of `"label" => value`, or those of a list that stands in a variable.
fn labels_of(source: &str, argument: &str) -> Vec<String> {
    if let Some(name) = argument.strip_prefix('&') {
        let list = source.split_once(&format!("let {name} = [")).and_then(|(_, rest)| rest.split_once(']'));
        let pairs = list.map_or("", |(list, _)| list).split("(\"").skip(1);
        return pairs.filter_map(|pair| Some(pair.split_once('"')?.0.to_owned())).collect();
    }
    argument.split_once(" =>").and_then(|(label, _)| literal(label)).into_iter().collect()
}

fn page() -> String {
    let mut text = HEAD.to_owned();
    for (name, Metric { kind, labels, text: says }) in metrics() {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let says = says.replace('|', "\\|");
        writeln!(text, "| `{name}` | {kind} | {} | {says} |", labels.join(", "))
            .expect("a String takes everything");
    }
    text
}

#[test]
fn the_page_of_metrics_is_what_the_code_registers() {
    let page = page();
    assert!(page.lines().count() > 30, "{page}");
    check(PAGE, &page);
}
