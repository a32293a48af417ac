//! Tasks that run beside the requests.
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::rt::task::JoinHandle;
use futures_util::future::{join_all, pending, select_all};

use crate::shutdown::Shutdown;

type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// A task that is not running yet.
pub(crate) struct Task {
    name: &'static str,
    start: Box<dyn FnOnce(Shutdown) -> LocalFuture>,
}

/// The running tasks.
pub(crate) struct Background {
    tasks: Vec<(&'static str, JoinHandle<()>)>,
}

impl Background {
    /// Describes a task.
    pub(crate) fn task<F, Fut>(name: &'static str, task: F) -> Task
    where
        F: FnOnce(Shutdown) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        Task {
            name,
            start: Box::new(move |shutdown| Box::pin(task(shutdown))),
        }
    }

    /// Starts the tasks on this thread.
    pub(crate) fn start(tasks: Vec<Task>, shutdown: &Shutdown) -> Self {
        let start = |task: Task| {
            (
                task.name,
                actix_web::rt::spawn((task.start)(shutdown.clone())),
            )
        };
        Self {
            tasks: tasks.into_iter().map(start).collect(),
        }
    }

    /// Waits until any task ends, and says which. None should while the service runs.
    pub(crate) async fn first_end(&mut self) -> String {
        if self.tasks.is_empty() {
            return pending().await;
        }
        let (result, index, _) = select_all(self.tasks.iter_mut().map(|(_, handle)| handle)).await;
        let (name, _) = self.tasks.swap_remove(index);
        match result {
            Ok(()) => format!("background task {name} ended"),
            Err(error) => format!("background task {name} failed: {error}"),
        }
    }

    /// Waits for the tasks to end by themselves, then stops those that have not.
    pub(crate) async fn finish(self, limit: Duration) {
        let aborts: Vec<_> = self
            .tasks
            .iter()
            .map(|(name, handle)| (*name, handle.abort_handle()))
            .collect();
        let all = join_all(self.tasks.into_iter().map(|(_, handle)| handle));
        if tokio::time::timeout(limit, all).await.is_err() {
            for (name, abort) in aborts.into_iter().filter(|(_, abort)| !abort.is_finished()) {
                tracing::warn!(
                    task = name,
                    "stopped a background task at the drain deadline"
                );
                abort.abort();
            }
        }
    }
}
