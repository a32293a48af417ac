//! Busy threads.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Keeps a number of cores busy until dropped. Threads of the operating system, so that the scheduler shares
/// the machine between them and the service, as it would with a real hog.
pub(super) struct Burn {
    stop: Arc<AtomicBool>,
}

impl Burn {
    /// Starts the threads.
    pub(super) fn start(threads: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..threads {
            let stop = stop.clone();
            let spin = move || {
                let mut number = 1_u64;
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..10_000 {
                        number = std::hint::black_box(
                            number
                                .wrapping_mul(6_364_136_223_846_793_005)
                                .wrapping_add(1),
                        );
                    }
                }
            };
            if let Err(error) = std::thread::Builder::new()
                .name("worker-pool".to_owned())
                .spawn(spin)
            {
                tracing::warn!(%error, "cannot start a thread");
            }
        }
        Self { stop }
    }
}

impl Drop for Burn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
