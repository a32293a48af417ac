//! Counts the process's allocations, for `just overhead-allocations`. No ordinary build contains it, because counting takes
//! time.

#![allow(
    unsafe_code,
    reason = "an allocator cannot be written without; this one passes every call on"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::{HttpResponse, Responder};
use serde_json::json;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: usize) {
    ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
}

// SAFETY: every call is passed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    /// A reallocation that grows counts as one allocation, with the additional bytes.
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.saturating_sub(layout.size()));
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }
}

/// The total since the start of the process.
pub(crate) async fn total() -> impl Responder {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    HttpResponse::Ok().json(json!({"allocations": read(&ALLOCATIONS), "bytes": read(&BYTES)}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_is_counted() {
        let read = || {
            let both = [&ALLOCATIONS, &BYTES];
            both.map(|counter| counter.load(Ordering::Relaxed))
        };
        let [allocations, bytes] = read();
        let mut texts = std::hint::black_box(vec![0_u8; 1000]);
        texts.reserve_exact(5000);
        let [now, bytes_now] = read();
        assert!(now >= allocations + 2 && bytes_now >= bytes + 5000);
    }
}
