//! A hint to the processor that an address will be read soon.
//!
//! A look-up in a large table waits for memory two or three times. Who knows several keys beforehand (a turn of the
//! event loop decodes many commands before it runs them) can let those waits overlap: see `Dict::prefetch`.

/// Starts loading the cache line at `address`. Never faults, whatever the address; does nothing on processors that
/// we have no instruction for.
#[inline(always)]
pub fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint without architectural effect, valid for any address; SSE is part of x86_64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
    #[cfg(target_arch = "aarch64")]
    {
        // SAFETY: as above; the instruction changes no register, no flag and no memory.
        unsafe {
            std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, preserves_flags, readonly));
        }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
