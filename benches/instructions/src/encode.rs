//! BSON event to message bytes, as the source's task does it, and the choice whether the event is sampled.

use cdc_event::{Encoder, Sampling};

use crate::Failure;
use crate::documents::event;

/// Different events that are encoded over and over.
const EVENTS: u64 = 100;
/// Events that share a buffer.
const BATCH: u64 = 1_000;
/// The default share of events that are sampled.
const SAMPLE_RATIO: f64 = 0.01;

pub(crate) fn run(events: u64) -> Result<(), Failure> {
    let samples = (0..EVENTS).map(|number| event(number, "players")).collect::<Result<Vec<_>, _>>()?;
    let mut encoder = Encoder::new(1);
    let sampling = Sampling::of(SAMPLE_RATIO);
    let mut sampled = 0_u64;
    let (mut out, mut tokens) = (Vec::new(), Vec::new());
    for number in 0..events {
        if number % BATCH == 0 {
            out.clear();
            tokens.clear();
        }
        let encoded = encoder
            .encode(&samples[(number % EVENTS) as usize], &mut out, &mut tokens)
            .map_err(|error| format!("{error:?}"))?;
        sampled += u64::from(sampling.takes(&encoded.position));
    }
    std::hint::black_box((&out, sampled));
    Ok(())
}
