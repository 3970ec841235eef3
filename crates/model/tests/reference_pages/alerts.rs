//! What `deploy` asks Prometheus for exists: the metrics and labels of the alerts and of the dashboards. Each alert has its
//! section in `docs/alerts.md`, and is fired and cleared by `alerts-test.yaml`.

use std::collections::{BTreeMap, BTreeSet};

use crate::{cells, quoted, read, table_under};

const RULES: &str = "deploy/prometheus/alerts.yaml";
const TESTS: &str = "deploy/prometheus/alerts-test.yaml";
const DASHBOARDS: [&str; 2] = [
    "deploy/observability/grafana/dashboards/overview.json",
    "deploy/observability/grafana/dashboards/internals.json",
];
const PAGE: &str = "docs/alerts.md";
const METRICS: &str = "docs/metrics.md";
const SEVERITIES: [&str; 2] = ["critical", "warning"];
/// What Prometheus sets by itself.
const ITS_OWN: [&str; 2] = ["job", "instance"];
const PREFIXES: [&str; 3] = ["cdc_", "watcher_", "syncer_"];

struct Alert<'p> {
    name: &'p str,
    text: &'p str,
}

impl<'p> Alert<'p> {
    /// What stands behind a key, to the line's end.
    fn value(&self, key: &str) -> &'p str {
        let (_, rest) = self.text.split_once(key).unwrap_or_else(|| panic!("{} has no {key}", self.name));
        rest.lines().next().unwrap_or_default().trim()
    }

    /// The query: in the key's own line, or folded below it.
    fn query(&self) -> &'p str {
        match self.value(" expr:") {
            ">-" => self.value(">-\n"),
            query => query,
        }
    }
}

fn alerts(rules: &str) -> Vec<Alert<'_>> {
    let texts = rules.split("- alert: ").skip(1);
    texts.map(|text| Alert { name: text.lines().next().unwrap_or_default().trim(), text }).collect()
}

/// The labels of each metric.
fn metrics(page: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let rows = table_under(page, "# Metrics").into_iter().map(cells);
    rows.map(|row| (row[0].trim_matches('`'), quoted(row[2]).collect())).collect()
}

/// The words of a query: metrics, labels, functions.
fn words(query: &str) -> impl Iterator<Item = &str> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    query.split(move |letter| !is_word(letter)).filter(|word| !word.is_empty())
}

/// The labels that a query matches or groups by.
fn labels(query: &str) -> BTreeSet<&str> {
    let matched =
        query.split('{').skip(1).filter_map(|rest| rest.split_once('}')).flat_map(|(matchers, _)| {
            matchers.split(',').filter_map(|matcher| matcher.split(['=', '!']).next()).map(str::trim)
        });
    let grouped = ["by (", "on ("].into_iter().flat_map(|word| query.split(word).skip(1));
    let grouped = grouped.filter_map(|rest| rest.split_once(')')).flat_map(|(list, _)| list.split(", "));
    matched.chain(grouped).filter(|label| !["__name__", "le"].contains(label)).collect()
}

/// Panics where a query names a metric, or a label, that is not registered.
fn check_query(metrics: &BTreeMap<&str, BTreeSet<&str>>, place: &str, query: &str) {
    let named = words(query).filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)));
    let named: Vec<&str> = named.map(|word| word.strip_suffix("_bucket").unwrap_or(word)).collect();
    let mut known: BTreeSet<&str> = ITS_OWN.into_iter().collect();
    for name in &named {
        let of_metric = metrics.get(name).unwrap_or_else(|| panic!("{place}: no metric {name}"));
        known.extend(of_metric);
    }
    assert!(!named.is_empty() || query.starts_with("up{"), "{place}: {query}");
    let unknown: Vec<&str> = labels(query).into_iter().filter(|label| !known.contains(label)).collect();
    assert!(unknown.is_empty(), "{place}: no label {unknown:?} in {query}");
}

#[test]
fn each_alert_asks_for_metrics_and_labels_that_exist() {
    let (rules, page) = (read(RULES), read(METRICS));
    let metrics = metrics(&page);
    let alerts = alerts(&rules);
    assert!(alerts.len() > 10, "{} alerts", alerts.len());
    for alert in alerts {
        check_query(&metrics, alert.name, alert.query());
        assert!(SEVERITIES.contains(&alert.value("severity: ").trim_end_matches(" }")), "{}", alert.name);
    }
}

#[test]
fn each_panel_asks_for_metrics_and_labels_that_exist() {
    let page = read(METRICS);
    let metrics = metrics(&page);
    for dashboard in DASHBOARDS {
        let text = read(dashboard).replace("\\\"", "'");
        let queries: Vec<&str> =
            text.split("\"expr\": \"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0)).collect();
        assert!(queries.len() > 10, "{dashboard}: {} queries", queries.len());
        for query in queries {
            check_query(&metrics, dashboard, query);
        }
    }
}

#[test]
fn each_alert_has_its_section_and_its_test() {
    let (rules, page, tests) = (read(RULES), read(PAGE), read(TESTS));
    let named: BTreeSet<&str> = alerts(&rules).iter().map(|alert| alert.name).collect();
    let sections: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(named, sections, "{RULES} and {PAGE}");
    let tested: BTreeSet<&str> = tests.lines().filter_map(|line| line.strip_prefix("  - name: ")).collect();
    assert_eq!(named, tested, "{RULES} and {TESTS}");
    for alert in alerts(&rules) {
        let anchor = format!("{PAGE}#{}", alert.name.to_lowercase());
        assert_eq!(alert.value("runbook: "), anchor, "{}", alert.name);
        let severity = alert.value("severity: ").trim_end_matches(" }");
        let (_, section) = page.split_once(&format!("## {}\n", alert.name)).expect("compared above");
        assert!(section.trim_start().to_lowercase().starts_with(&format!("*{severity}: ")), "{}", alert.name);
    }
}
