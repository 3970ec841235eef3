//! Two tables for each machine, from which everything follows that would otherwise be said many times: [`timers!`] says
//! what timers there are, [`requests!`] what the machine asks, with the reply beside it, what it orders, and what it is
//! told unasked.
//!
//! From them come both enums with their docs, the names for logs and diagrams, which timers have jitter, what answers
//! what, and the text that tests compare: the name, then `field=value` for each field.

/// Defines what a machine's timers are for.
///
/// ```text
/// timers! {
///     /// What a timer is for.
///     pub enum TimerKind {
///         /// The end of a back-off. The executor lengthens it at random, since many may have lost one server at once.
///         Reconnect: jitter,
///         /// This worker's oldest row has lingered.
///         Linger(WorkerId),
///     }
/// }
/// ```
#[macro_export]
macro_rules! timers {
    ($(#[$meta:meta])* pub enum $Kind:ident {
        $($(#[$kind_meta:meta])* $Name:ident $(($Worker:ident))? $(: $jitter:ident)?),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $Kind { $($(#[$kind_meta])* $Name $(($Worker))?),+ }

        impl $crate::TimerKey for $Kind {
            fn place(self) -> usize {
                #[derive(Clone, Copy)]
                enum Row { $($Name),+ }
                const ROWS: usize = [$(Row::$Name),+].len();
                let (row, worker) = match self {
                    $(Self::$Name $(($crate::timers!(@bind $Worker worker)))? =>
                        (Row::$Name, $crate::timers!(@number $($Worker worker)?))),+
                };
                row as usize + ROWS * worker
            }
        }

        impl $Kind {
            /// Every kind; of those that exist once for each worker, this worker's.
            #[must_use]
            pub const fn all(worker: u32) -> [Self; [$(stringify!($Name)),+].len()] {
                // A machine without workers has no use for it.
                let _ = worker;
                [$(Self::$Name $(($Worker(worker)))?),+]
            }

            /// True for the end of a back-off: the executor lengthens the wait at random, since many instances may
            /// have lost one server at once.
            #[must_use]
            pub const fn has_jitter(self) -> bool {
                match self { $(Self::$Name { .. } => $crate::timers!(@jitter $($jitter)?)),+ }
            }

            /// The name of the expiry.
            #[must_use]
            pub const fn expiry_name(self) -> &'static str {
                match self { $(Self::$Name { .. } => concat!("Timer ", stringify!($Name))),+ }
            }

            /// The name of the wait, where it is a back-off.
            #[must_use]
            pub const fn back_off_name(self) -> &'static str {
                match self { $(Self::$Name { .. } => concat!("BackOff ", stringify!($Name))),+ }
            }

            /// The name of the order that sets it.
            #[must_use]
            pub const fn set_name(self) -> &'static str {
                match self { $(Self::$Name { .. } => concat!("SetTimer ", stringify!($Name))),+ }
            }

            /// The name of the order that cancels it.
            #[must_use]
            pub const fn cancel_name(self) -> &'static str {
                match self { $(Self::$Name { .. } => concat!("CancelTimer ", stringify!($Name))),+ }
            }
        }
    };
    (@number) => { 0 };
    (@number $Worker:ident $worker:ident) => { $worker.0 as usize };
    (@bind $Worker:ident $worker:ident) => { $worker };
    (@jitter) => { false };
    (@jitter jitter) => { true };
}

/// Defines what a machine orders and hears: requests with their replies, orders that nothing answers one by one, and
/// facts that nobody asked for. Timers, signals and the end are the same for every machine, and are added.
///
/// ```text
/// requests! {
///     /// An order to the world.
///     effect Effect<R, T>;
///     /// A fact about the world.
///     input Input<R, T>;
///     timer TimerKind;
///
///     requests {
///         /// Record the position, in one compare-and-set.
///         SaveToken(id: EffectId) { token: AckedToken<T>, lineage: Lineage }
///             /// What came of it.
///             -> TokenSaved: Result<Vec<Notice<R>>, Fault>;
///     }
///     orders {
///         /// Hand one message to Kafka.
///         Publish { seq: SeqNo, record: R } -> [Delivered, DeliveryFailed];
///         /// Take back what is only queued.
///         PurgeQueued;
///     }
///     facts {
///         /// The service begins.
///         Start;
///         /// Kafka has these messages.
///         Delivered { seqs: Vec<SeqNo> };
///         /// Kafka does not have this one.
///         DeliveryFailed { seq: SeqNo, fault: Fault };
///     }
/// }
/// ```
///
/// A request repeats its key (`id`; none where only one can ever be out) in its reply: `Effect::SaveToken { id, token,
/// lineage }` is answered by `Input::TokenSaved { id, result }`. `-> […]` names the facts that an order leads to. A reply
/// with `of_batch` behind it answers a request of which there are as many as batches.
#[macro_export]
macro_rules! requests {
    (
        $(#[$effect_meta:meta])* effect $Effect:ident<$($G:ident),+>;
        $(#[$input_meta:meta])* input $Input:ident<$($H:ident),+>;
        timer $Kind:ident;
        requests {$(
            $(#[$request_meta:meta])* $Request:ident($($key:ident: $Key:ty),*) {
                $($asked:ident: $Asked:ty),* $(,)?
            }
            $(#[$reply_meta:meta])* -> $Reply:ident: $Result:ty $(, $of_batch:ident)?;
        )*}
        orders {$(
            $(#[$order_meta:meta])* $Order:ident
            $({ $($ordered:ident: $Ordered:ty),* $(,)? })?
            $(-> [$($Report:ident),+])?;
        )*}
        facts {$(
            $(#[$fact_meta:meta])* $Fact:ident
            $({ $($told:ident: $Told:ty),* $(,)? })?;
        )*}
    ) => {
        $(#[$effect_meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "a variant's own line says what its fields are")]
        pub enum $Effect<$($G),+> {
            $(
                $(#[$request_meta])*
                #[doc = concat!("\n\nAnswered by [`", stringify!($Reply), "`](", stringify!($Input), "::", stringify!($Reply), ").")]
                $Request { $($key: $Key,)* $($asked: $Asked),* },
            )*
            $(
                $(#[$order_meta])*
                $(#[doc = concat!("\n\nLeads to", $(" [`", stringify!($Report), "`](", stringify!($Input), "::", stringify!($Report), ")"),+, ".")])?
                $Order $({ $($ordered: $Ordered),* })?,
            )*
            /// Wake the machine after this long, once.
            SetTimer { timer: $crate::TimerId<$Kind>, after: core::time::Duration },
            /// Do not.
            CancelTimer { timer: $crate::TimerId<$Kind> },
            /// The service is over.
            Stop { cause: $crate::Cause },
        }

        $(#[$input_meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "a variant's own line says what its fields are")]
        pub enum $Input<$($H),+> {
            $(
                $(#[$reply_meta])*
                #[doc = concat!("\n\nAnswers [`", stringify!($Request), "`](", stringify!($Effect), "::", stringify!($Request), ").")]
                $Reply { $($key: $Key,)* result: $Result },
            )*
            $($(#[$fact_meta])* $Fact $({ $($told: $Told),* })?,)*
            /// A timer ran out.
            Timer($crate::TimerId<$Kind>),
            /// A person or a supervisor asks.
            Signal($crate::Signal),
        }

        impl<$($G),+> $Effect<$($G),+> {
            /// The effect's name.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$Request { .. } => stringify!($Request),)*
                    $(Self::$Order { .. } => stringify!($Order),)*
                    Self::SetTimer { timer, .. } => timer.kind.set_name(),
                    Self::CancelTimer { timer } => timer.kind.cancel_name(),
                    Self::Stop { .. } => "Stop",
                }
            }

            /// The request that goes out with it; also the wait that it begins, where that is a back-off.
            #[must_use]
            pub fn request(&self) -> Option<$crate::Request> {
                match self {
                    $(Self::$Request { $($key,)* .. } => Some($crate::Request {
                        name: stringify!($Request),
                        key: $crate::request_key(&[$($crate::RequestKey::number($key)),*]),
                        is_of_batch: $crate::requests!(@of_batch $($of_batch)?),
                    }),)*
                    $(Self::$Order { .. } => None,)*
                    Self::SetTimer { timer, .. } => $crate::requests!(@back_off timer),
                    Self::CancelTimer { .. } | Self::Stop { .. } => None,
                }
            }

            /// Tells each reply that may come to it, where it is a request.
            pub fn replies<W>(&self, world: &W, mut tell: impl FnMut($Input<$($H),+>))
            where
                $($Result: $crate::Sampled<W>,)*
            {
                match self {
                    $(Self::$Request { $($key,)* .. } => {
                        for result in <$Result as $crate::Sampled<W>>::samples(world) {
                            tell($Input::$Reply { $($key: *$key,)* result });
                        }
                    })*
                    $(Self::$Order { .. } => {})*
                    Self::SetTimer { .. } | Self::CancelTimer { .. } | Self::Stop { .. } => {}
                }
            }

            /// The back-off that it ends before its time.
            #[must_use]
            pub fn called_off(&self) -> Option<$crate::Request> {
                if let Self::CancelTimer { timer } = self { $crate::requests!(@back_off timer) } else { None }
            }
        }

        impl<$($H),+> $Input<$($H),+> {
            /// The input's name; a reply that tells of a failure says so.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(
                        Self::$Reply { result, .. } if $crate::Reply::is_failure(result) => {
                            concat!(stringify!($Reply), " failed")
                        }
                        Self::$Reply { .. } => stringify!($Reply),
                    )*
                    $(Self::$Fact { .. } => stringify!($Fact),)*
                    Self::Timer(timer) => timer.kind.expiry_name(),
                    Self::Signal($crate::Signal::Drain) => "Signal Drain",
                    Self::Signal($crate::Signal::Abort) => "Signal Abort",
                }
            }

            /// Tells replies to requests that were never made, each with its request's name.
            pub fn unasked<W>(world: &W, mut tell: impl FnMut(&'static str, Self))
            where
                $($Result: $crate::Sampled<W>,)*
            {
                $(for result in <$Result as $crate::Sampled<W>>::samples(world) {
                    let reply = Self::$Reply { $($key: $crate::RequestKey::NEVER,)* result };
                    tell(stringify!($Request), reply);
                })*
            }

            /// The request that it answers; also the back-off that is over with it.
            #[must_use]
            pub fn answers(&self) -> Option<$crate::Answered> {
                let (request, failure) = match self {
                    $(Self::$Reply { $($key,)* result } => (
                        $crate::Request {
                            name: stringify!($Request),
                            key: $crate::request_key(&[$($crate::RequestKey::number($key)),*]),
                            is_of_batch: $crate::requests!(@of_batch $($of_batch)?),
                        },
                        $crate::Reply::failure(result),
                    ),)*
                    $(Self::$Fact { .. } => return None,)*
                    Self::Timer(timer) => ($crate::requests!(@back_off timer)?, None),
                    Self::Signal(_) => return None,
                };
                Some($crate::Answered { request, failure })
            }
        }

        impl<$($G),+> $crate::TimerEffects<$Kind> for $Effect<$($G),+> {
            fn set_timer(timer: $crate::TimerId<$Kind>, after: core::time::Duration) -> Self {
                Self::SetTimer { timer, after }
            }

            fn cancel_timer(timer: $crate::TimerId<$Kind>) -> Self {
                Self::CancelTimer { timer }
            }
        }

        /// `SaveToken id=2 token=13 lineage=7`
        impl<$($G: core::fmt::Debug),+> core::fmt::Display for $Effect<$($G),+> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self {
                    $(Self::$Request { $($key,)* $($asked),* } => {
                        f.write_str(stringify!($Request))?;
                        $(write!(f, concat!(" ", stringify!($key), "={:?}"), $key)?;)*
                        $(write!(f, concat!(" ", stringify!($asked), "={:?}"), $asked)?;)*
                    })*
                    $(Self::$Order $({ $($ordered),* })? => {
                        f.write_str(stringify!($Order))?;
                        $($(write!(f, concat!(" ", stringify!($ordered), "={:?}"), $ordered)?;)*)?
                    })*
                    Self::SetTimer { timer, after } => write!(f, "SetTimer {timer} after={after:?}")?,
                    Self::CancelTimer { timer } => write!(f, "CancelTimer {timer}")?,
                    Self::Stop { cause } => write!(f, "Stop cause={cause:?}")?,
                }
                Ok(())
            }
        }
    };
    (@of_batch) => { false };
    (@of_batch of_batch) => { true };
    (@back_off $timer:ident) => {
        if $timer.kind.has_jitter() {
            let place = $crate::TimerKey::place($timer.kind) as u64;
            let key = $crate::request_key(&[place, $timer.generation]);
            Some($crate::Request { name: $timer.kind.back_off_name(), key, is_of_batch: false })
        } else {
            None
        }
    };
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "tables of a test")]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::string::ToString as _;
    use alloc::vec::Vec;
    use core::time::Duration;

    use crate::{
        Answered, Cause, EffectId, Effects, Fault, Reply, Request, RequestKey, SeqNo, Signal, TimerId,
        TimerKey as _, Timers,
    };

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct WorkerId(u32);

    impl RequestKey for WorkerId {
        const NEVER: Self = Self(0);

        fn number(&self) -> u64 {
            self.0.into()
        }
    }

    timers! {
        /// What a timer is for.
        pub enum TimerKind {
            /// A back-off.
            Reconnect: jitter,
            /// A worker's.
            Linger(WorkerId),
            /// A worker's back-off.
            Retry(WorkerId): jitter,
            /// The end.
            Drain,
        }
    }

    requests! {
        /// Orders.
        effect Effect<R, T>;
        /// Facts.
        input Input<R, T>;
        timer TimerKind;

        requests {
            /// Save.
            SaveToken(id: EffectId) { token: T }
                /// It is saved.
                -> TokenSaved: Result<Vec<R>, Fault>;
            /// Write.
            Write(worker: WorkerId, id: EffectId) {} -> Written: (), of_batch;
        }
        orders {
            /// Publish.
            Publish { seq: SeqNo, record: R } -> [Delivered];
            /// Purge.
            Purge;
        }
        facts {
            /// Begin.
            Start;
            /// Kafka has it.
            Delivered { seq: SeqNo, upto: T };
        }
    }

    type Order = Effect<&'static str, u32>;
    type Fact = Input<&'static str, u32>;

    #[test]
    fn effects_print_their_fields_and_replies_tell_of_failures() {
        let orders = [
            (Order::SaveToken { id: EffectId(2), token: 13 }, "SaveToken id=2 token=13"),
            (Order::Write { worker: WorkerId(1), id: EffectId(3) }, "Write worker=WorkerId(1) id=3"),
            (Order::Publish { seq: SeqNo(4), record: "a" }, "Publish seq=4 record=\"a\""),
            (Order::Purge, "Purge"),
            (Order::Stop { cause: Cause::Drained }, "Stop cause=Drained"),
        ];
        for (order, text) in orders {
            assert_eq!(order.to_string(), text);
            assert!(text.starts_with(order.name()));
        }
        let saved = |result| Fact::TokenSaved { id: EffectId(2), result };
        assert_eq!(saved(Ok(Vec::new())).name(), "TokenSaved");
        assert_eq!(saved(Err(Fault::Fenced)).name(), "TokenSaved failed");
        assert_eq!(Fact::Written { worker: WorkerId(1), id: EffectId(3), result: () }.name(), "Written");
        assert_eq!(
            (Fact::Start.name(), Fact::Delivered { seq: SeqNo(4), upto: 1 }.name()),
            ("Start", "Delivered")
        );
        assert!(!().is_failure());
        let expiry = Fact::Timer(TimerId { kind: TimerKind::Drain, generation: 0 });
        let names = [expiry.name(), Fact::Signal(Signal::Drain).name(), Fact::Signal(Signal::Abort).name()];
        assert_eq!(names, ["Timer Drain", "Signal Drain", "Signal Abort"]);
    }

    #[test]
    fn a_reply_names_the_request_that_it_answers() {
        let saving = Order::SaveToken { id: EffectId(2), token: 13 }.request().unwrap();
        assert_eq!(saving, Request { name: "SaveToken", key: 2, is_of_batch: false });
        let saved = Fact::TokenSaved { id: EffectId(2), result: Err(Fault::Fenced) };
        assert_eq!(saved.answers(), Some(Answered { request: saving, failure: Some("fenced") }));

        let writes = [(0, 1), (1, 0), (1, 1)].map(|(worker, id)| (WorkerId(worker), EffectId(id)));
        let keys = writes.map(|(worker, id)| {
            let writing = Order::Write { worker, id }.request().unwrap();
            let written = Fact::Written { worker, id, result: () };
            assert_eq!(written.answers(), Some(Answered { request: writing, failure: None }));
            assert!(writing.is_of_batch);
            writing.key
        });
        assert_eq!(BTreeSet::from(keys).len(), keys.len());

        let (mut timers, mut out) = (Timers::new(), Effects::<Order>::new());
        for kind in [TimerKind::Retry(WorkerId(1)), TimerKind::Drain] {
            timers.set(kind, Duration::from_secs(1), &mut out);
            let expiry = Fact::Timer(timers.running(kind).unwrap());
            timers.cancel(kind, &mut out);
            let mut orders = out.drain();
            let (set, cancelled) = (orders.next().unwrap(), orders.next().unwrap());
            let wait = set.request();
            assert_eq!(wait.map(|it| it.name), kind.has_jitter().then_some("BackOff Retry"));
            assert_eq!((cancelled.request(), cancelled.called_off()), (None, wait));
            assert_eq!(expiry.answers().map(|it| it.request), wait);
        }
        assert_eq!((Order::Purge.request(), Fact::Start.answers()), (None, None));
    }

    /// A world in which everything fails in one way.
    struct Failing(Fault);

    impl crate::Sampled<Failing> for Fault {
        fn samples(world: &Failing) -> Vec<Self> {
            Vec::from([world.0])
        }
    }

    impl crate::Sampled<Failing> for &'static str {
        fn samples(_: &Failing) -> Vec<Self> {
            Vec::from(["gap"])
        }
    }

    #[test]
    fn replies_are_made_of_samples_and_bear_their_requests_key() {
        let world = Failing(Fault::Fenced);
        let results = [Ok(Vec::new()), Ok(Vec::from(["gap"])), Err(Fault::Fenced)];
        let mut replies = Vec::new();
        Order::SaveToken { id: EffectId(2), token: 13 }.replies(&world, |reply| replies.push(reply));
        Order::Purge.replies(&world, |reply| replies.push(reply));
        let saved = |id| results.clone().map(|result| Fact::TokenSaved { id, result });
        assert_eq!(replies, saved(EffectId(2)));
        let mut unasked = Vec::new();
        Fact::unasked(&world, |request, reply| unasked.push((request, reply)));
        let never = EffectId(u64::MAX);
        let expected = saved(never).map(|reply| ("SaveToken", reply)).into_iter();
        let written = Fact::Written { worker: WorkerId(0), id: never, result: () };
        assert_eq!(unasked, expected.chain([("Write", written)]).collect::<Vec<_>>());
    }

    #[test]
    fn timers_have_a_place_each_and_a_new_generation_each_time() {
        let kinds = (0..3).flat_map(TimerKind::all);
        let places: BTreeSet<usize> = kinds.clone().map(TimerKind::place).collect();
        let of_all_workers = 2;
        assert_eq!(places.len(), kinds.count() - 2 * of_all_workers);
        assert!(TimerKind::Retry(WorkerId(1)).has_jitter() && !TimerKind::Drain.has_jitter());

        let (mut timers, mut out) = (Timers::new(), Effects::<Order>::new());
        let kind = TimerKind::Linger(WorkerId(2));
        timers.cancel(kind, &mut out);
        timers.set(kind, Duration::from_secs(1), &mut out);
        let first = timers.running(kind).unwrap();
        timers.set_unless_running(kind, Duration::from_secs(2), &mut out);
        timers.set(kind, Duration::from_secs(3), &mut out);
        assert!(!timers.expire(first) && timers.was_set(first));
        let second = timers.running(kind).unwrap();
        assert!(timers.expire(second) && !timers.is_running(kind));
        timers.set(kind, Duration::from_secs(4), &mut out);
        timers.cancel(kind, &mut out);
        let text: Vec<_> = out.drain().map(|order| order.to_string()).collect();
        assert_eq!(
            text,
            [
                "SetTimer Linger(WorkerId(2))#0 after=1s",
                "SetTimer Linger(WorkerId(2))#1 after=3s",
                "SetTimer Linger(WorkerId(2))#2 after=4s",
                "CancelTimer Linger(WorkerId(2))#2",
            ]
        );
    }
}
