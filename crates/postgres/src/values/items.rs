//! The values of a JSON array, each as its own text.

use serde_json::value::RawValue;

/// The values of this array, in their order; `None` where the text is no array.
pub(crate) fn items(array: &str) -> Option<Vec<&str>> {
    let items: Vec<&RawValue> = serde_json::from_str(array).ok()?;
    Some(items.into_iter().map(RawValue::get).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_spelling() {
        let read = items("[1.0, \"a,]\",null,[2,[]],{\"b\":[3]}]").unwrap();
        assert_eq!(read, ["1.0", "\"a,]\"", "null", "[2,[]]", "{\"b\":[3]}"]);
        assert_eq!(items("[]"), Some(Vec::new()));
        assert_eq!(items("{}"), None);
        let deep = format!("[{}1{}]", "[".repeat(250), "]".repeat(250));
        assert_eq!(items(&deep).map(|items| items.len()), Some(1));
    }
}
