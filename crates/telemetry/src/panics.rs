//! A panic becomes a log line with the trace id of the request that it happened in.
use std::panic::PanicHookInfo;

/// From now on a panic is an error in the log. Replaces the default hook, which prints to standard error outside any log.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let location = info.location();
        tracing::error!(
            error.r#type = "panic",
            code.file.path = location.map(|location| location.file()),
            code.line.number = location.map(|location| location.line()),
            panic = message(info),
            "panic"
        );
    }));
}

fn message<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(not a text)")
}
