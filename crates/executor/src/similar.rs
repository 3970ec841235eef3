//! Names that are almost another one: somebody mistyped, or forgot a plural.

/// The name most like this one, where one is like it enough to have been meant: letters to change, add or take away are at
/// most a quarter of it.
#[must_use]
pub fn similar<'n>(name: &str, among: &[&'n str]) -> Option<&'n str> {
    let wanted: Vec<char> = name.to_lowercase().chars().collect();
    let allowed = (wanted.len() / 4).max(1);
    let distances = among.iter().filter(|other| **other != name).filter_map(|other| {
        let letters: Vec<char> = other.to_lowercase().chars().collect();
        // Names of very different length need no look.
        let is_near = letters.len().abs_diff(wanted.len()) <= allowed;
        is_near.then(|| (distance(&wanted, &letters), *other))
    });
    distances.min().filter(|(distance, _)| *distance <= allowed).map(|(_, other)| other)
}

/// Levenshtein's.
fn distance(one: &[char], other: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found_and_what_was_not_is_not() {
        let there = ["orders", "users", "order_items", "cdc.shop.orders"];
        let rows = [
            ("ordersss", Some("orders")),
            ("Orders", Some("orders")),
            ("user", Some("users")),
            ("cdc.shop.oders", Some("cdc.shop.orders")),
            ("invoices", None),
            ("orders", None),
            ("", None),
        ];
        for (name, expected) in rows {
            assert_eq!(similar(name, &there), expected, "{name}");
        }
    }
}
