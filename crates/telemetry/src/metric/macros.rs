//! How metrics and the types of their labels are written down.

/// Declares metrics: a constant for each, and `METRICS`, the list of them for [`init`](crate::init()).
///
/// ```text
/// /// The help text.
/// pub NAME: Kind { label: Type, … } = "name_total", unit "{thing}";
/// ```
///
/// `Kind` is `Counter`, `Gauge` or `Histogram`; a histogram has `, buckets BOUNDS`. See [`metric`](crate::metric).
#[macro_export]
macro_rules! metrics {
    ($(
        $(#[doc = $help:literal])+
        $vis:vis $name:ident: $kind:ident $({ $($label:ident: $type:ty),+ $(,)? })? = $prometheus:literal,
        unit $unit:literal $(, buckets $buckets:expr)? $(, stability $stability:ident)?;
    )+) => {
        $(
            $(#[doc = $help])+
            #[allow(unused_parens, reason = "a type alone or a tuple of them")]
            $vis const $name: $crate::metric::$kind<($($($type),+)?)> = {
                static STATE: $crate::metric::State<$crate::metric::instrument::$kind> =
                    $crate::metric::State::new();
                #[allow(unused_mut, unused_assignments)]
                let mut metric = $crate::metric::Metric {
                    name: $prometheus,
                    kind: $crate::metric::Kind::$kind,
                    unit: $unit,
                    help: ::std::concat!($($help),+).trim_ascii_start(),
                    labels: &[$($(::std::stringify!($label)),+)?],
                    buckets: &[],
                    stability: $crate::metric::Stability::Own,
                };
                $(metric.buckets = $buckets;)?
                $(metric.stability = $crate::metric::Stability::$stability;)?
                $crate::metric::Declared::new(metric, &STATE)
            };
        )+

        /// Every metric that is declared here, for `telemetry::init`.
        pub const METRICS: &[$crate::metric::Metric] = &[$($name.metric()),+];
    };
    ($($other:tt)*) => {
        ::std::compile_error!(
            "a declaration is: /// help text, then pub NAME: Counter { label: Type } = \"name_total\", unit \"{thing}\"; a histogram has buckets after its unit"
        );
    };
}

/// Makes the type of a label: an enum of all its values, or a newtype around a text whose values are bounded otherwise.
///
/// ```
/// telemetry::label! {
///     /// How a payment was made.
///     pub enum Method { Card = "card", Invoice = "invoice" }
/// }
/// telemetry::label! {
///     /// One of the few banks that we know.
///     pub struct Bank(&'static str);
/// }
/// assert_eq!(Method::ALL.map(Method::as_str), ["card", "invoice"]);
/// ```
#[macro_export]
macro_rules! label {
    ($(#[$attribute:meta])* $vis:vis enum $name:ident {
        $($(#[$about:meta])* $value:ident = $text:literal),+ $(,)?
    }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name {
            $($(#[$about])* $value),+
        }

        #[allow(dead_code, reason = "not every label needs all of it")]
        impl $name {
            /// Every value, in the order of the declaration.
            $vis const ALL: [Self; [$($text),+].len()] = [$(Self::$value),+];

            /// As the series shows it.
            $vis const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text),+
                }
            }
        }

        impl $crate::metric::LabelValue for $name {
            fn value(self) -> ::std::borrow::Cow<'static, str> {
                ::std::borrow::Cow::Borrowed(self.as_str())
            }
        }
    };
    ($(#[$attribute:meta])* $vis:vis struct $name:ident($text:ty);) => {
        $(#[$attribute])*
        #[derive(Debug, Clone)]
        $vis struct $name($vis $text);

        impl $crate::metric::LabelValue for $name {
            fn value(self) -> ::std::borrow::Cow<'static, str> {
                self.0.into()
            }
        }
    };
}
