//! A digest of anything that can be hashed: the same on every machine and in every run.

use std::hash::{Hash, Hasher};

use super::random::mix;

/// Digests words with multiplications of double width.
struct Digest(u64);

const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Digest {
    fn word(&mut self, word: u64) {
        let wide =
            u128::from(self.0 ^ word ^ FACTOR) * u128::from(word.rotate_left(32) ^ 0xd6e8_feb8_6659_fd93);
        let [low, high] = [wide as u64, (wide >> 64) as u64];
        self.0 = (low ^ high).wrapping_add(self.0.rotate_left(23)).wrapping_mul(FACTOR);
    }
}

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
        self.word(bytes.len() as u64);
    }

    fn write_u8(&mut self, number: u8) {
        self.word(u64::from(number));
    }

    fn write_u16(&mut self, number: u16) {
        self.word(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.word(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.word(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.word(number as u64);
    }

    fn finish(&self) -> u64 {
        mix(self.0)
    }
}

/// The digest.
#[must_use]
pub fn digest(of: impl Hash) -> u64 {
    let mut digest = Digest(FACTOR);
    of.hash(&mut digest);
    digest.finish()
}
