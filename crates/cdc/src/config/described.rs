//! What there is to configure, as reading finds it out: nothing is listed that is not read, and nothing read is missing.

use std::time::Duration;

/// One option of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its sections and its name, from the top of the file.
    pub path: String,
    /// What it is for, one paragraph. `docs/….md` in it is a page.
    pub text: String,
    /// Its type, with the legal values.
    pub shape: Shape,
    /// What holds where nobody says.
    pub preset: Preset,
    /// The option that this one may not exceed.
    pub cap: Option<&'static str>,
    /// What holds, as it was read: for the words in which one option is compared with another.
    pub(super) value: String,
}

/// What holds where nobody says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The configuration is refused.
    Required,
    /// Nothing.
    Nothing,
    /// This value.
    Is(String),
    /// What these words say, since it depends.
    Said(&'static str),
}

/// The type of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Text; with the legal values, where not every text is one.
    Text(Option<String>),
    /// One text, or a list.
    List,
    /// A whole number.
    Number {
        /// The least.
        from: String,
        /// The greatest.
        to: String,
    },
    /// A duration with its unit.
    Duration {
        /// The shortest.
        from: Duration,
        /// The longest.
        to: Duration,
    },
    /// A size in bytes, with or without a unit.
    Bytes {
        /// The least.
        from: u64,
        /// The greatest.
        to: u64,
    },
    /// A share from 0 to 1.
    Share,
    /// A whole number from a range, or the one value beside it: retries may be `unlimited`.
    NumberOr {
        /// The least.
        from: u32,
        /// The greatest.
        to: u32,
        /// The value beside them.
        other: &'static str,
    },
    /// One of a few words, each with its text.
    Words(Vec<(&'static str, String)>),
    /// `true` or `false`.
    Switch,
    /// Text that is never shown.
    Secret,
    /// A list of sections, each with these options.
    Sections(Vec<Described>),
    /// Keys of somebody else's with a value each, which is shown or not.
    Pairs {
        /// Whether a value may be a password.
        is_secret: bool,
    },
}

/// The first paragraph of a documentation comment, on one line.
pub(super) fn first_paragraph(text: &str) -> String {
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

/// A duration as it is configured.
#[must_use]
pub fn duration(value: Duration) -> String {
    humantime::format_duration(value).to_string().replace(' ', "")
}

/// A size as it is configured: exact, in the greatest unit that divides it.
#[must_use]
pub fn bytes(value: u64) -> String {
    [(30, "GiB"), (20, "MiB"), (10, "KiB")]
        .into_iter()
        .find(|(bits, _)| value > 0 && value.is_multiple_of(1 << bits))
        .map_or_else(|| value.to_string(), |(bits, unit)| format!("{}{unit}", value >> bits))
}

/// A share in millionths as it is configured.
pub(super) fn share(millionths: u32) -> String {
    const WHOLE: u32 = 1_000_000;
    let text = format!("{}.{:06}", millionths / WHOLE, millionths % WHOLE);
    let short = text.trim_end_matches('0');
    short.strip_suffix('.').unwrap_or(short).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_spelled_as_they_are_configured() {
        assert_eq!(
            (bytes(32 << 20), bytes(1 << 30), bytes(1_000)),
            ("32MiB".into(), "1GiB".into(), "1000".into())
        );
        assert_eq!(duration(Duration::from_millis(90_500)), "1m30s500ms");
        assert_eq!(humantime::parse_duration("1m30s500ms").unwrap(), Duration::from_millis(90_500));
        assert_eq!([share(500_000), share(1_000_000), share(1), share(0)], ["0.5", "1", "0.000001", "0"]);
        assert_eq!(first_paragraph(" One,\n two.\n\n Three.\n"), "One, two.");
    }
}
