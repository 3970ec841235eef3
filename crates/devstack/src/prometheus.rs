//! Reading metrics in Prometheus' text format, version 0.0.4.

use std::collections::BTreeMap;

/// One line: a name, labels and a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The series' name; for histograms with `_bucket`, `_sum` or `_count`.
    pub name: String,
    /// The labels, without their quotes and escapes.
    pub labels: BTreeMap<String, String>,
    /// The value; `NaN` and infinities are possible.
    pub value: f64,
}

/// All samples of one scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(Vec<Sample>);

impl Samples {
    /// Parses a whole answer. Comments and empty lines are skipped.
    ///
    /// # Errors
    /// The first line that is not a sample.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples =
            lines.map(|line| sample(line).ok_or_else(|| format!("not a Prometheus sample: {line:?}")));
        samples.collect::<Result<_, _>>().map(Self)
    }

    /// Every sample, in the order of the answer.
    #[must_use]
    pub fn all(&self) -> &[Sample] {
        &self.0
    }

    /// The value of the first series of that name whose labels include all of `labels`.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.matching(name, labels).next()
    }

    /// The sum over all series of that name whose labels include all of `labels`; 0 if there are none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).sum()
    }

    fn matching(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = f64> {
        self.0
            .iter()
            .filter(move |sample| {
                sample.name == name
                    && labels
                        .iter()
                        .all(|(label, value)| sample.labels.get(*label).is_some_and(|has| has == value))
            })
            .map(|sample| sample.value)
    }
}

/// `name{label="value",…} value [timestamp]`
fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(name_end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    (!name.is_empty()).then(|| Sample { name: name.to_owned(), labels, value })
}

/// The labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, value) = rest.split_once("=\"")?;
        let (value, after) = quoted(value)?;
        labels.insert(name.trim().to_owned(), value);
        rest = after;
    }
}

/// A value up to its closing quote, and what follows; `\\`, `\"` and `\n` are escapes.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPE: &str = r#"
# HELP cdc_errors_total Errors.
# TYPE cdc_errors_total counter
cdc_errors_total{error_type="connection",service="watcher"} 3
cdc_errors_total{error_type="a \"b\" {c},\\d\n",service="watcher"} 4
cdc_up 1 1700000000000
cdc_lag_bucket{le="+Inf"} 1e3
cdc_nothing{} NaN
"#;

    #[test]
    fn finds_values_by_name_and_labels() {
        let samples = Samples::parse(SCRAPE).unwrap();
        assert_eq!(samples.value("cdc_errors_total", &[("error_type", "connection")]), Some(3.0));
        assert_eq!(samples.sum("cdc_errors_total", &[("service", "watcher")]), 7.0);
        assert_eq!(samples.value("cdc_up", &[]), Some(1.0));
        assert_eq!(samples.value("cdc_lag_bucket", &[("le", "+Inf")]), Some(1000.0));
        assert!(samples.value("cdc_nothing", &[]).unwrap().is_nan());
        assert_eq!(samples.value("cdc_up", &[("no", "label")]), None);
    }

    #[test]
    fn undoes_escapes() {
        let samples = Samples::parse(SCRAPE).unwrap();
        assert_eq!(samples.all()[1].labels["error_type"], "a \"b\" {c},\\d\n");
    }

    #[test]
    fn names_the_line_that_is_no_sample() {
        for bad in ["cdc_up", "cdc_up one", "cdc_up{a=\"b\" 1", "{a=\"b\"} 1"] {
            assert!(Samples::parse(bad).unwrap_err().contains("not a Prometheus sample"), "{bad}");
        }
    }
}
