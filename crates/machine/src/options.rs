//! Options, each said once: its type, its default, its legal values and its text stand beside its field.
//!
//! [`options!`](crate::options!) makes the struct, its `Default` and a `visit` that walks its options;
//! [`words!`](crate::words!) makes a list of values with names. Whoever reads a configuration, prints it or describes
//! it is a [`Visitor`], and adds nothing of its own. A new option is one entry, and then whatever uses it.

use core::fmt::Display;
use core::ops::RangeInclusive;
use core::str::FromStr;
use core::time::Duration;

use crate::Retry;

/// Where an option stands in the configuration of its service, and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its sections and its name, with dots between.
    pub path: &'static str,
    /// What it is for. Only the first paragraph is for users: what follows is for whoever reads the code.
    pub text: &'static str,
}

/// A whole number of any width.
pub trait Number: Copy + PartialOrd + Display + FromStr {}

impl<N: Copy + PartialOrd + Display + FromStr> Number for N {}

/// A closed list of values with names, as [`words!`](crate::words!) makes it.
pub trait Word: Copy + Eq + 'static {
    /// Every value.
    const ALL: &'static [Self];
    /// Names that will mean something one day and are refused until then.
    const LATER: &'static [&'static str];

    /// The name, as it is configured.
    fn as_str(self) -> &'static str;

    /// What it means. Only the first paragraph is for users.
    fn text(self) -> &'static str;
}

/// Walks the options of a struct. Each value is the default until the visitor changes it.
pub trait Visitor {
    /// A whole number.
    fn number<N: Number>(&mut self, key: Key, value: &mut N, legal: RangeInclusive<N>);
    /// A duration.
    fn duration(&mut self, key: Key, value: &mut Duration, legal: RangeInclusive<Duration>);
    /// A size in bytes.
    fn bytes(&mut self, key: Key, value: &mut u64, legal: RangeInclusive<u64>);
    /// A share from 0 to 1, in millionths.
    fn share(&mut self, key: Key, value: &mut u32);
    /// How often an operation is tried again.
    fn retries(&mut self, key: Key, value: &mut Retry);
    /// One of a few words.
    fn word<W: Word>(&mut self, key: Key, value: &mut W);
    /// Yes or no.
    fn switch(&mut self, key: Key, value: &mut bool);
    /// The option at `path`, visited just now, must not be greater than the one at `cap`, visited before.
    fn at_most(&mut self, path: &'static str, cap: &'static str, is_greater: bool);
}

/// Makes a struct of options and constants.
///
/// Each field has a default. A field with `=> kind("path", legal values)` is an option, read by the visitor's method of
/// that name; its documentation is its text. `up to other("path")` caps it, and its default, by an option above it.
/// `=> nested()` walks a struct of options inside. After `for` stands who may visit.
#[macro_export]
macro_rules! options {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident for $visit_vis:vis $visitor:ty {
            $(
                $(#[doc = $doc:literal])*
                $field_vis:vis $field:ident: $type:ty = $default:expr
                $(=> $kind:ident($($legal:tt)*) $(up to $cap:ident($cap_path:literal))?)?
            ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        $vis struct $name {
            $($(#[doc = $doc])* $field_vis $field: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $name {
            /// Walks the options, in their order.
            $visit_vis fn visit(&mut self, visitor: &mut $visitor) {
                $($crate::visit_option!(
                    self, visitor, $field, [$($doc)*],
                    $($kind($($legal)*) $(up to $cap($cap_path))?)?
                );)+
            }
        }
    };
}

/// One field of [`options!`].
#[doc(hidden)]
#[macro_export]
macro_rules! visit_option {
    ($self:tt, $visitor:ident, $field:ident, [$($doc:literal)*],) => {};
    ($self:tt, $visitor:ident, $field:ident, [$($doc:literal)*], nested()) => {
        $self.$field.visit($visitor)
    };
    (
        $self:tt, $visitor:ident, $field:ident, [$($doc:literal)*],
        $kind:ident($path:literal $(, $legal:expr)* $(,)?) up to $cap:ident($cap_path:literal)
    ) => {
        if $self.$field > $self.$cap {
            $self.$field = $self.$cap;
        }
        $crate::visit_option!($self, $visitor, $field, [$($doc)*], $kind($path $(, $legal)*));
        $visitor.at_most($path, $cap_path, $self.$field > $self.$cap)
    };
    (
        $self:tt, $visitor:ident, $field:ident, [$($doc:literal)*],
        $kind:ident($path:literal $(, $legal:expr)* $(,)?)
    ) => {
        $visitor.$kind(
            $crate::Key { path: $path, text: concat!($($doc, "\n"),*) },
            &mut $self.$field
            $(, $legal)*
        )
    };
}

/// Makes a list of [`labels!`](crate::labels!) that can be configured, for [`Visitor::word`]: the label of a value is its
/// name, the documentation its text.
#[macro_export]
macro_rules! words {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident $(, later [$($later:literal),+])? {
            $($(#[$($note:tt)*])* $value:ident: $word:literal),+ $(,)?
        }
    ) => {
        $crate::labels! {
            $(#[$meta])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            $vis enum $name {
                $($(#[$($note)*])* $value: $word),+
            }
        }

        impl $crate::Word for $name {
            const ALL: &'static [Self] = &Self::ALL;
            const LATER: &'static [&'static str] = &[$($($later),+)?];

            fn as_str(self) -> &'static str {
                self.as_str()
            }

            fn text(self) -> &'static str {
                match self {
                    $(Self::$value => $crate::text_of!($([$($note)*])*),)+
                }
            }
        }
    };
}

/// The documentation among the attributes of a value in [`words!`].
#[doc(hidden)]
#[macro_export]
macro_rules! text_of {
    ($([doc = $doc:literal])* $([default])?) => { concat!($($doc, "\n"),*) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;

    words! {
        /// A test's.
        enum Way, later ["sideways"] {
            /// Upwards.
            Up: "up",
            /// Downwards.
            Down: "down",
        }
    }

    options! {
        /// A test's.
        struct Inner for impl Visitor {
            /// Tried again so often.
            tries: Retry = Retry::times(1) => retries("inner.tries"),
        }
    }

    options! {
        /// A test's.
        struct Outer for impl Visitor {
            /// So many,
            /// at most.
            ///
            /// And why.
            many: u32 = 7 => number("many", 1..=9),
            /// Fewer.
            few: u32 = 8 => number("few", 0..=9) up to many("many"),
            /// No option.
            constant: u8 = 3,
            /// Where to.
            way: Way = Way::Up => word("way"),
            /// Inside.
            inner: Inner = Inner::default() => nested(),
        }
    }

    /// Writes down what it sees, and doubles numbers.
    #[derive(Default)]
    struct Notes(Vec<(&'static str, String)>);

    impl Visitor for Notes {
        fn number<N: Number>(&mut self, key: Key, value: &mut N, legal: RangeInclusive<N>) {
            self.0.push((
                key.path,
                alloc::format!("{value} of {}..={}: {}", legal.start(), legal.end(), key.text),
            ));
            *value = *legal.end();
        }
        fn duration(&mut self, _: Key, _: &mut Duration, _: RangeInclusive<Duration>) {}
        fn bytes(&mut self, _: Key, _: &mut u64, _: RangeInclusive<u64>) {}
        fn share(&mut self, _: Key, _: &mut u32) {}
        fn retries(&mut self, key: Key, value: &mut Retry) {
            self.0.push((key.path, alloc::format!("{value:?}")));
        }
        fn word<W: Word>(&mut self, key: Key, value: &mut W) {
            let all: Vec<_> = W::ALL.iter().map(|word| (word.as_str(), word.text())).collect();
            self.0.push((key.path, alloc::format!("{} of {all:?}, {:?} later", value.as_str(), W::LATER)));
        }
        fn switch(&mut self, _: Key, _: &mut bool) {}
        fn at_most(&mut self, path: &'static str, cap: &'static str, is_greater: bool) {
            self.0.push((path, alloc::format!("beyond {cap}: {is_greater}")));
        }
    }

    #[test]
    fn an_option_is_its_entry_and_a_visitor_sees_all_of_it() {
        let (mut options, mut notes) = (Outer::default(), Notes::default());
        options.visit(&mut notes);
        let seen: Vec<_> = notes.0.iter().map(|(path, text)| (*path, text.as_str())).collect();
        assert_eq!(
            seen,
            [
                ("many", "7 of 1..=9:  So many,\n at most.\n\n And why.\n"),
                ("few", "8 of 0..=9:  Fewer.\n"),
                ("few", "beyond many: false"),
                (
                    "way",
                    "up of [(\"up\", \" Upwards.\\n\"), (\"down\", \" Downwards.\\n\")], [\"sideways\"] later"
                ),
                ("inner.tries", "Retry { max_retries: Some(1) }"),
            ]
        );
        assert_eq!((options.many, options.constant), (9, 3));
    }

    #[test]
    fn a_cap_lowers_the_default_of_what_it_caps() {
        struct One;
        impl Visitor for One {
            fn number<N: Number>(&mut self, _: Key, value: &mut N, legal: RangeInclusive<N>) {
                if *value > *legal.start() && *value < *legal.end() {
                    *value = *legal.start();
                }
            }
            fn duration(&mut self, _: Key, _: &mut Duration, _: RangeInclusive<Duration>) {}
            fn bytes(&mut self, _: Key, _: &mut u64, _: RangeInclusive<u64>) {}
            fn share(&mut self, _: Key, _: &mut u32) {}
            fn retries(&mut self, _: Key, _: &mut Retry) {}
            fn word<W: Word>(&mut self, _: Key, _: &mut W) {}
            fn switch(&mut self, _: Key, _: &mut bool) {}
            fn at_most(&mut self, _: &'static str, _: &'static str, is_greater: bool) {
                assert!(!is_greater, "8 was lowered to 1 before it was visited");
            }
        }
        let mut options = Outer::default();
        options.visit(&mut One);
        assert_eq!((options.many, options.few), (1, 0));
    }
}
