//! Labels are types: a wrong one, or one too many, does not compile.

use std::borrow::Cow;

/// The value of a label. Each value makes a series, so use an enum, or a newtype whose values are bounded ([`label!`](crate::label!)).
pub trait LabelValue {
    /// As the series shows it.
    fn value(self) -> Cow<'static, str>;
}

/// A label, or a tuple of labels.
pub trait Labels {
    /// An array.
    type Values: IntoIterator<Item = Cow<'static, str>> + AsRef<[Cow<'static, str>]>;

    /// Their values, in the order of the declaration.
    fn values(self) -> Self::Values;
}

impl Labels for () {
    type Values = [Cow<'static, str>; 0];

    fn values(self) -> Self::Values {
        []
    }
}

impl<T: LabelValue> Labels for T {
    type Values = [Cow<'static, str>; 1];

    fn values(self) -> Self::Values {
        [self.value()]
    }
}

macro_rules! tuples {
    ($($count:literal: $($label:ident)+;)+) => {$(
        impl<$($label: LabelValue),+> Labels for ($($label,)+) {
            type Values = [Cow<'static, str>; $count];

            fn values(self) -> Self::Values {
                #[allow(non_snake_case, reason = "a type and its value share the name")]
                let ($($label,)+) = self;
                [$($label.value()),+]
            }
        }
    )+};
}

tuples! {
    2: A B;
    3: A B C;
    4: A B C D;
    5: A B C D E;
    6: A B C D E F;
    7: A B C D E F G;
    8: A B C D E F G H;
}
