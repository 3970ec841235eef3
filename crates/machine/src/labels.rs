/// Defines a closed list whose members have a label each, for logs, metrics and records.
///
/// ```text
/// labels! {
///     #[derive(Clone, Copy, Debug, PartialEq, Eq)]
///     pub enum OffsetLoss {
///         /// Records were deleted before they were read.
///         Expired: "expired",
///     }
/// }
/// ```
#[macro_export]
macro_rules! labels {
    ($(#[$meta:meta])* $vis:vis enum $List:ident {
        $($(#[$member_meta:meta])* $Member:ident: $label:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        $vis enum $List { $($(#[$member_meta])* $Member),+ }

        impl $List {
            /// Every member.
            $vis const ALL: [Self; [$($label),+].len()] = [$(Self::$Member),+];

            /// The label in logs, metrics and records.
            #[must_use]
            $vis const fn as_str(self) -> &'static str {
                match self { $(Self::$Member => $label),+ }
            }
        }
    };
}
