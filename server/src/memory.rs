//! The allocator, and how much it has given out: `used_memory` and `maxmemory` need the figure before every command.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed};

use tikv_jemallocator::Jemalloc;

/// A thread reports to the common figure when its own has moved by this much, so that it is not a shared cache line
/// that every allocation writes to. The common figure is wrong by at most this for each other thread.
const REPORT_BYTES: isize = 16 * 1024;

static ALLOCATED: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static UNREPORTED: Cell<isize> = const { Cell::new(0) };
}

/// How jemalloc is set up: unused pages go back to the kernel after a second, by a thread of its own (tables grow leaf by
/// leaf and leave blocks behind), and large blocks are not moved off page boundaries, which costs each of them a page.
// SAFETY: jemalloc declares a weak `const char *` of this name and reads a string that ends in NUL; the first word of
// a slice is its address.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static JEMALLOC_CONF: &[u8] =
    b"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0,cache_oblivious:false\0";

/// jemalloc, counting the bytes asked for.
pub struct CountingAllocator;

/// Bytes allocated by the whole process.
pub fn used() -> usize {
    let own = UNREPORTED.try_with(Cell::get).unwrap_or(0);
    (ALLOCATED.load(Relaxed) + own).max(0) as usize
}

/// The highest value of [`used`] that [`note_peak`] has seen.
pub fn peak() -> usize {
    PEAK.load(Relaxed).max(used())
}

/// Remembers the present figure if it is a new peak. Called once a turn.
pub fn note_peak() {
    PEAK.fetch_max(used(), Relaxed);
}

/// jemalloc's report on itself: how it was built and set up, and what it counts.
pub fn report() -> String {
    /// Appends a piece of the report to the `Vec<u8>` at `report`.
    unsafe extern "C" fn append(report: *mut c_void, piece: *const c_char) {
        // SAFETY: `malloc_stats_print` hands back the pointer that it was given below, and texts that end in NUL.
        let (report, piece) = unsafe { (&mut *report.cast::<Vec<u8>>(), CStr::from_ptr(piece)) };
        report.extend_from_slice(piece.to_bytes());
    }
    let mut report: Vec<u8> = Vec::new();
    // SAFETY: no options; the callback gets the vector, which nobody else has meanwhile. It may allocate.
    unsafe {
        tikv_jemalloc_sys::malloc_stats_print(Some(append), (&raw mut report).cast(), std::ptr::null());
    }
    String::from_utf8_lossy(&report).into_owned()
}

fn charged(size: usize) -> isize {
    cairn_engine::ds::size_class::size_class(size) as isize
}

fn count(bytes: isize) {
    // A thread that is going away has no cell any more.
    let direct = UNREPORTED.try_with(|cell| {
        let unreported = cell.get() + bytes;
        if unreported.abs() < REPORT_BYTES {
            cell.set(unreported);
        } else {
            cell.set(0);
            ALLOCATED.fetch_add(unreported, Relaxed);
        }
    });
    if direct.is_err() {
        ALLOCATED.fetch_add(bytes, Relaxed);
    }
}

// SAFETY: every call goes to jemalloc unchanged; counting touches no memory that it manages and cannot unwind.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(charged(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { Jemalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(charged(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { Jemalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-charged(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { Jemalloc.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(charged(new_size) - charged(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { Jemalloc.realloc(ptr, layout, new_size) }
    }
}
