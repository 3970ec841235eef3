//! A client that has lost its brokers.
//!
//! From 2.10 on, librdkafka forgets each broker that an answer to a metadata request does not name
//! (`rd_kafka_metadata_decommission_unavailable_brokers`). Where all brokers of a cluster are fenced for a moment, as
//! behind a pause that is longer than their session with the controller, one of them answers with none. The client then
//! has nobody left to ask, and begins its bootstrap anew only behind a request that it can no longer send. It stays
//! silent for ever, while every new client is served.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::client_errors::ClientErrors;
use crate::config;
use crate::settings::ConnectionSettings;

/// How long new clients have to be served while this one is not. A client whose brokers were away reconnects within
/// librdkafka's `reconnect.backoff.max.ms`, which is 10 s.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest that the brokers may take to answer a new client.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// What a person is told.
pub(crate) const WORDS: &str = "the brokers answer new clients, but this one has lost them, as behind a moment in \
                                which the cluster named none; a new client takes its place";

/// Since when new clients have been served while this one was not.
#[derive(Debug, Default)]
pub(crate) struct Stranded {
    since: Option<Instant>,
}

impl Stranded {
    /// The client was served.
    pub(crate) fn served(&mut self) {
        self.since = None;
    }

    /// The client was not served. True once new ones have been for [`PATIENCE`]. Asks with one, and blocks for that.
    pub(crate) fn is_certain(&mut self, connection: &ConnectionSettings, topic: Option<&str>) -> bool {
        self.judge(is_new_client_served(connection, topic), Instant::now())
    }

    fn judge(&mut self, is_new_client_served: bool, now: Instant) -> bool {
        if !is_new_client_served {
            self.since = None;
            return false;
        }
        now.duration_since(*self.since.get_or_insert(now)) >= PATIENCE
    }
}

fn is_new_client_served(connection: &ConnectionSettings, topic: Option<&str>) -> bool {
    // Its own words go where those of every client go, and not to the log as errors.
    let created = config::ends(connection).create_with_context(ClientErrors::default());
    let Ok(client): Result<BaseConsumer<_>, _> = created else { return false };
    client.fetch_metadata(topic, ANSWER_TIMEOUT).is_ok_and(|answer| !answer.brokers().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_that_is_left_out_for_long_is_given_up() {
        let (mut stranded, begin) = (Stranded::default(), Instant::now());
        let mut after = |is_new_client_served, seconds| {
            stranded.judge(is_new_client_served, begin + Duration::from_secs(seconds))
        };
        assert!(!after(true, 0));
        assert!(!after(true, 14));
        // An outage: nobody is served, and its end is waited for anew.
        assert!(!after(false, 15));
        assert!(!after(true, 20));
        assert!(!after(true, 34));
        assert!(after(true, 35));
        stranded.served();
        assert!(!stranded.judge(true, begin + Duration::from_secs(60)));
    }
}
