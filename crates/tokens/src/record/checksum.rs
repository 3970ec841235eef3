//! The record's last member, which covers everything before it.

use xxhash_rust::xxh3::xxh3_64;

use super::RecordError;

pub(super) const MEMBER: &str = ",\"checksum\":\"";
pub(super) const DIGITS: usize = 16;
pub(super) const END: &str = "\"}";

/// Puts it behind a record that has none.
pub(super) fn append(text: &mut String) {
    text.pop(); // The closing brace comes after the checksum.
    let checksum = xxh3_64(text.as_bytes());
    text.push_str(MEMBER);
    text.push_str(&format!("{checksum:016x}"));
    text.push_str(END);
}

/// # Errors
/// `Corrupt` where it is missing, or is another text's.
pub(super) fn verify(text: &str) -> Result<(), RecordError> {
    let wrong = |what: &str| Err(RecordError::Corrupt(what.to_owned()));
    let Some((body, digits)) = text.strip_suffix(END).and_then(|rest| rest.rsplit_once(MEMBER)) else {
        return wrong("its end is missing");
    };
    if digits.len() != DIGITS || u64::from_str_radix(digits, 16) != Ok(xxh3_64(body.as_bytes())) {
        return wrong("its checksum does not match");
    }
    Ok(())
}
