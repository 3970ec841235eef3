//! Which events are followed on their way.

use xxhash_rust::xxh3::xxh3_64;

use crate::Position;

/// So many of a trace id's last bits take part in the choice, as in OpenTelemetry's consistent sampling: whoever
/// samples by the trace id at the same ratio takes the same events.
const CHOICE_BITS: u32 = 56;

/// Head sampling. An event's position alone decides, so that whoever reads it again takes it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Events are taken whose choice is not below this.
    threshold: u64,
}

impl Sampling {
    /// Takes no event.
    pub const NONE: Self = Self { threshold: 1 << CHOICE_BITS };

    /// Takes this share of all events, from 0 to 1.
    #[must_use]
    pub fn of(ratio: f64) -> Self {
        let all = (1_u64 << CHOICE_BITS) as f64;
        // A number from 0 to 2^56: what lies beyond ends there.
        Self { threshold: (((1.0 - ratio) * all).round() as u64).min(1 << CHOICE_BITS) }
    }

    /// Whether the event at this position is taken.
    #[must_use]
    pub fn takes(self, position: &Position) -> bool {
        self != Self::NONE && choice(position) >= self.threshold
    }
}

fn choice(position: &Position) -> u64 {
    xxh3_64(position.as_bytes()) & ((1 << CHOICE_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::TraceContext;

    fn position(number: u64) -> Position {
        Position::from_bytes(&[&[0; 8][..], &number.to_be_bytes(), b"\x2c\x01\x00\x29\x6e"].concat()).unwrap()
    }

    #[test]
    fn the_share_taken_is_the_ratio() {
        for (ratio, least, most) in
            [(0.0, 0, 0), (0.01, 850, 1_150), (0.5, 49_000, 51_000), (1.0, 100_000, 100_000)]
        {
            let sampling = Sampling::of(ratio);
            let taken = (0..100_000).filter(|number| sampling.takes(&position(*number))).count();
            assert!((least..=most).contains(&taken), "{taken} of 100,000 at {ratio}");
        }
        assert_eq!(Sampling::of(0.0), Sampling::NONE);
        // Whatever is asked for, it is a share.
        assert_eq!([Sampling::of(-1.0), Sampling::of(2.0)], [Sampling::NONE, Sampling::of(1.0)]);
    }

    proptest! {
        /// Who samples less takes a part of what who samples more takes.
        #[test]
        fn a_greater_ratio_takes_what_a_smaller_one_takes(number: u64, less in 0.0..1.0_f64, more in 0.0..1.0_f64) {
            let (less, more) = (less.min(more), less.max(more));
            let position = position(number);
            prop_assert!(!Sampling::of(less).takes(&position) || Sampling::of(more).takes(&position));
        }

        /// The trace id's last 56 bits are the choice.
        #[test]
        fn the_trace_id_tells_the_choice(number: u64, ratio in 0.0..1.0_f64) {
            let position = position(number);
            let [.., a, b, c, d, e, f, g] = TraceContext::of_event(&position, 7, true).trace_id();
            let told = u64::from_be_bytes([0, a, b, c, d, e, f, g]);
            prop_assert_eq!(told >= Sampling::of(ratio).threshold, Sampling::of(ratio).takes(&position));
        }
    }
}
