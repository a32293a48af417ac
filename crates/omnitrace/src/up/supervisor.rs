//! Restarts a child that ends by itself, after a pause; gives up after repeated failures.

use std::time::Duration;

use anyhow::Error;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use service::Backoff;
use tokio::sync::mpsc;

use super::stack::{Stack, SupervisedChild};
use super::stopped;

/// The maximum number of restarts of a child that was not steady in between.
const RESTARTS: u32 = 5;

/// Before each restart.
const PAUSES: Backoff = Backoff {
    first: Duration::from_millis(250),
    longest: Duration::from_secs(4),
};

/// A child that has listened for so long does not keep dying.
const STEADY: Duration = Duration::from_secs(60);

/// Starts everything, and keeps the load running and the children alive; returns only after a failure.
pub async fn run(stack: &Stack<'_>) -> Error {
    let (started, mut children) = mpsc::unbounded_channel();
    tokio::select! {
        Err(error) = stack.start_all(&started) => error,
        error = keep_all(stack, &mut children) => error,
    }
}

/// Keeps every child of `started` alive; resolves when one is given up, with its last lines.
async fn keep_all(
    stack: &Stack<'_>,
    started: &mut mpsc::UnboundedReceiver<SupervisedChild>,
) -> Error {
    let mut kept = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(child) = started.recv() => kept.push(keep(stack, child)),
            Some(error) = kept.next() => return error,
        }
    }
}

async fn keep(stack: &Stack<'_>, kept: SupervisedChild) -> Error {
    let mut deaths = Deaths::default();
    let mut started = true;
    loop {
        let child = stack.child(kept.name);
        child.ended().await;
        if stopped::until_wanted(stack, kept.name).await {
            deaths = Deaths::default();
        } else if stack.args.no_restart {
            return child.obituary().await;
        }
        // `omnitrace restart`, or a person, has stopped it: this is not a failure, and its callers wait.
        let pause = if started && child.was_stopped() {
            deaths = Deaths::default();
            Some(Duration::ZERO)
        } else {
            // A child that could not be started has no lifetime.
            deaths.next_pause(if started { child.age() } else { Duration::ZERO })
        };
        let Some(pause) = pause else {
            let context = format!(
                "{} keeps dying; it was restarted {RESTARTS} times",
                kept.name
            );
            return child.obituary().await.context(context);
        };
        stack
            .report
            .died(child.name, &child.end(), &child.log, pause);
        tokio::time::sleep(pause).await;
        let restarted = stack.restart(&kept).await;
        started = restarted.is_ok();
        if let Err(error) = restarted {
            // A full disk or process table may pass.
            stack.report.progress(kept.name, &format!("{error:#}"));
        }
    }
}

/// Deaths in a row.
#[derive(Default)]
struct Deaths(u32);

impl Deaths {
    /// The pause after a child has lived for `lived`; `None` if it is given up.
    fn next_pause(&mut self, lived: Duration) -> Option<Duration> {
        if lived >= STEADY {
            self.0 = 0;
        }
        self.0 += 1;
        (self.0 <= RESTARTS).then(|| PAUSES.after(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_child_has_been_steady_and_end_when_it_keeps_dying() {
        let mut deaths = Deaths::default();
        let mut pause = |lived| {
            let pause = deaths.next_pause(Duration::from_secs(lived));
            pause.map(|pause| pause.as_millis())
        };
        for expected in [250, 500, 1000, 2000, 4000] {
            assert_eq!(pause(1), Some(expected));
        }
        assert_eq!(pause(59), None);
        assert_eq!([pause(60), pause(0)], [Some(250), Some(500)]);
    }
}
