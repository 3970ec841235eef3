//! Which partition a key falls into: what Java's clients compute, and librdkafka's `murmur2_random` for a key that is
//! there. The number of partitions is ours to say, so that a topic that grows moves no key.

const SEED: u32 = 0x9747_b28c;
const MIX: u32 = 0x5bd1_e995;

/// The partition of a key, of this many.
pub(crate) fn partition_of(key: &[u8], partitions: u32) -> i32 {
    let positive = murmur2(key) & 0x7fff_ffff;
    i32::try_from(positive % partitions.max(1)).unwrap_or_default()
}

#[expect(clippy::cast_possible_truncation, reason = "the hash counts the length in 32 bits")]
fn murmur2(key: &[u8]) -> u32 {
    let (words, rest) = key.as_chunks::<4>();
    let mut hash = SEED ^ key.len() as u32;
    for word in words {
        let mixed = u32::from_le_bytes(*word).wrapping_mul(MIX);
        hash = hash.wrapping_mul(MIX) ^ (mixed ^ (mixed >> 24)).wrapping_mul(MIX);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(MIX);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the tests of Kafka's own client.
    #[test]
    fn the_hash_is_that_of_javas_client() {
        for (key, expected) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key}");
        }
    }

    #[test]
    fn every_partition_is_one_that_is_there() {
        for partitions in [0, 1, 2, 3, 8, 10_000] {
            for n in 0..1_000_u32 {
                let partition = partition_of(&n.to_le_bytes(), partitions);
                assert!((0..i32::try_from(partitions.max(1)).unwrap()).contains(&partition));
            }
        }
    }
}
