//! What members tell the group and get from it, as the brokers keep it: the schemas `ConsumerProtocolSubscription` and
//! `ConsumerProtocolAssignment` of Apache Kafka. Later versions add fields behind those that are read here.

/// The topics that a member subscribes to; `None` where the bytes are none such.
pub(super) fn subscribed(metadata: &[u8]) -> Option<Vec<String>> {
    let mut rest = Rest(metadata);
    rest.int16()?;
    let count = rest.int32()?;
    (0..count).map(|_| rest.string()).collect()
}

/// The partitions that a member was given; `None` where the bytes are none such.
pub(super) fn assigned(assignment: &[u8]) -> Option<Vec<(String, i32)>> {
    // Before its first assignment a member has none at all.
    if assignment.is_empty() {
        return Some(Vec::new());
    }
    let mut rest = Rest(assignment);
    rest.int16()?;
    let mut found = Vec::new();
    for _ in 0..rest.int32()? {
        let topic = rest.string()?;
        for _ in 0..rest.int32()? {
            found.push((topic.clone(), rest.int32()?));
        }
    }
    Some(found)
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn int16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn int32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn string(&mut self) -> Option<String> {
        let len = usize::try_from(self.int16()?).ok()?;
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        String::from_utf8(taken.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Vec<u8> {
        let len = i16::try_from(text.len()).unwrap();
        [&len.to_be_bytes()[..], text.as_bytes()].concat()
    }

    #[test]
    fn both_are_read_and_what_follows_is_passed_over() {
        let subscription =
            [&[0, 1, 0, 0, 0, 2][..], &string("cdc.a"), &string("cdc.b"), &[255, 255, 255, 255]].concat();
        assert_eq!(subscribed(&subscription).unwrap(), ["cdc.a", "cdc.b"]);
        let assignment =
            [&[0, 1, 0, 0, 0, 1][..], &string("cdc.a"), &[0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 7, 0, 0, 0, 0]]
                .concat();
        assert_eq!(assigned(&assignment).unwrap(), [("cdc.a".to_owned(), 5), ("cdc.a".to_owned(), 7)]);
        assert_eq!(assigned(&[]), Some(Vec::new()));
    }

    #[test]
    fn what_is_cut_off_is_nothing() {
        let assignment = [&[0, 1, 0, 0, 0, 1][..], &string("cdc.a"), &[0, 0, 0, 2, 0, 0, 0, 5]].concat();
        for len in 1..=assignment.len() {
            assert_eq!(assigned(&assignment[..len]), None, "{len}");
        }
        assert_eq!(subscribed(&[0, 1, 0, 0, 0, 1, 0, 9]), None);
    }
}
