//! Names that are almost another one: somebody mistyped, or forgot a plural.

/// The name most like this one, where one is like it enough to have been meant: letters to change, add or take away are at
/// most a quarter of it.
#[must_use]
pub fn similar<'n>(name: &str, among: &[&'n str]) -> Option<&'n str> {
    let wanted = name.to_lowercase();
    let allowed = (wanted.chars().count() / 4).max(1);
    let others = among.iter().filter(|other| **other != name);
    let distances = others.map(|other| (strsim::levenshtein(&wanted, &other.to_lowercase()), *other));
    distances.filter(|(distance, _)| *distance <= allowed).min().map(|(_, other)| other)
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
