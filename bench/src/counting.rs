//! An allocator that counts what lives, where somebody asks for it; else it is the system's.

#![expect(unsafe_code, reason = "an allocator is unsafe to write")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};

static COUNTING: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicIsize = AtomicIsize::new(0);

/// Begins to count. Other measurements of this program pay nothing for it.
pub(crate) fn begin() {
    COUNTING.store(true, Ordering::Relaxed);
}

/// Bytes allocated since [`begin`] and not freed. Only differences mean something.
pub(crate) fn live() -> isize {
    LIVE.load(Ordering::Relaxed)
}

fn count(more: usize, less: usize) {
    if COUNTING.load(Ordering::Relaxed) {
        LIVE.fetch_add(more.cast_signed() - less.cast_signed(), Ordering::Relaxed);
    }
}

struct Counting;

// SAFETY: everything is handed to the system's allocator as it came; the counters neither allocate nor panic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
