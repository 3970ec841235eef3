//! The four servers: how each is configured, started and asked whether it is ready.

/// How every kind of server is ended, killed and frozen: all of its processes together.
macro_rules! ends_and_pauses {
    ($kind:ty, $processes:ident) => {
        impl $kind {
            /// Ends it in order. See [`Server::stop`](crate::Server::stop).
            ///
            /// # Errors
            /// As there.
            pub async fn stop(&mut self) -> Result<(), crate::Error> {
                self.$processes.stop().await
            }

            /// Kills it. See [`Server::kill`](crate::Server::kill).
            pub async fn kill(&mut self) {
                self.$processes.kill().await;
            }

            /// Freezes it. See [`Server::pause`](crate::Server::pause).
            ///
            /// # Errors
            /// As there.
            pub fn pause(&mut self) -> Result<(), crate::Error> {
                self.$processes.pause()
            }

            /// Lets it go on.
            ///
            /// # Errors
            /// As for [`Server::resume`](crate::Server::resume).
            pub fn resume(&mut self) -> Result<(), crate::Error> {
                self.$processes.resume()
            }
        }
    };
}
use ends_and_pauses;

pub(crate) mod kafka;
mod kafka_probe;
pub(crate) mod mongod;
pub(crate) mod postgres;
pub(crate) mod redis;
