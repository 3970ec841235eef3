//! When a batch leaves. A full one leaves as soon as its writer is free. One that is not full leaves when
//! its writer becomes free, or, where the writer is idle, when its oldest row has lingered: with natural
//! batching nothing waits longer than `linger` for a free writer, so `flush_interval` is kept by itself.
//! Where `linger` is not below `flush_interval` a batch leaves when it is full or `flush_interval` old.

use crate::turn::Turn;
use crate::worker::{Piece, Writer};
use crate::{Effect, Parking, TimerKind, WorkerId};

impl<R: Clone> Turn<'_, R> {
    /// The worker's rows have waited long enough.
    pub(crate) fn on_departure(&mut self, worker: WorkerId) {
        if let Some(lane) = self.facts.workers.get_mut(worker.0 as usize) {
            lane.make_due();
        }
    }

    pub(crate) fn write_batches(&mut self) {
        for worker in (0u32..).map(WorkerId).take(self.facts.workers.len()) {
            self.write_next(worker);
            self.time_departure(worker);
        }
    }

    /// Hands the writer its next batch, or piece of one, if it is idle.
    fn write_next(&mut self, worker: WorkerId) {
        let config = self.config;
        loop {
            let Some(lane) = self.facts.workers.get_mut(worker.0 as usize) else { return };
            if !lane.is_idle() {
                return;
            }
            if config.linger.is_zero() && config.lingers() {
                lane.make_due();
            }
            // Between two batches, never between the pieces of one.
            if lane.pieces.is_empty() && self.retry_parked(worker) {
                return;
            }
            let Some(lane) = self.facts.workers.get_mut(worker.0 as usize) else { return };
            let piece = match lane.pieces.pop() {
                Some(piece) => piece.retain(|row| self.facts.partitions.is_live(row)),
                None if lane.due > 0 || lane.is_full(config) => {
                    Some(Piece { batch: lane.take_batch(config), attempts: 0, parks: false })
                }
                None => return,
            };
            if let Some(piece) = piece {
                let batch = piece.batch.clone();
                let parking = if piece.parks {
                    Parking::Park
                } else if self.facts.parked.concerns(worker, batch.rows()) {
                    Parking::Heed
                } else {
                    Parking::Off
                };
                let id = self.facts.new_id();
                if let Some(lane) = self.facts.workers.get_mut(worker.0 as usize) {
                    lane.writer = Writer::Writing { id, piece };
                }
                self.out.push(Effect::WriteBatch { worker, id, batch, parking });
            }
        }
    }

    /// Sees that the timer runs exactly while rows wait for time to pass. A row that stays behind a full
    /// batch keeps the timer of the older ones: it leaves too early rather than too late.
    fn time_departure(&mut self, worker: WorkerId) {
        let Some(lane) = self.facts.workers.get(worker.0 as usize) else { return };
        let lingers = self.config.lingers();
        let waits = lane.waiting.len() > lane.due && (lane.is_idle() || !lingers);
        let (kind, after) = if lingers {
            (TimerKind::Linger(worker), self.config.linger)
        } else {
            (TimerKind::Flush(worker), self.config.flush_interval)
        };
        if !waits {
            self.cancel_timer(kind);
        } else if !self.facts.timers.is_running(kind) {
            self.set_timer(kind, after);
        }
    }
}
