//! The operating system's clocks and random numbers, for a process that is a simulation.
//!
//! Whoever asks libc gets the simulation's answers: `SystemTime::now`, `Instant::now`, the keys of std's hash tables and,
//! through those, the seeds of tokio's runtimes. (tokio's own clock is turmoil's.)

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Simulations begin at this moment, in seconds of Unix time.
pub const EPOCH_S: u64 = 1_700_000_000;
/// What a monotonic clock shows then.
const UPTIME: Duration = Duration::from_secs(1000);

static SIMULATING: AtomicBool = AtomicBool::new(false);
static NANOS: AtomicU64 = AtomicU64::new(0);
static SKEW_MS: AtomicI64 = AtomicI64::new(0);
static CHANCE: AtomicU64 = AtomicU64::new(0);

/// From now on this process is a simulation.
pub fn begin(seed: u64) {
    CHANCE.store(seed, Relaxed);
    SIMULATING.store(true, Relaxed);
}

/// So much time has passed since the simulation began. `skew_ms`: how far the wall clock of the machine that runs now is
/// ahead.
pub fn set_now(elapsed: Duration, skew_ms: i64) {
    NANOS.store(elapsed.as_nanos() as u64, Relaxed);
    SKEW_MS.store(skew_ms, Relaxed);
}

/// The time since the simulation began, as it was set last.
pub fn elapsed() -> Duration {
    Duration::from_nanos(NANOS.load(Relaxed))
}

/// What a clock shows, the wall clock or a monotonic one; `None` when this process is no simulation.
pub fn clock(wall: bool) -> Option<Duration> {
    SIMULATING.load(Relaxed).then(|| match wall {
        false => UPTIME + elapsed(),
        true => {
            let skew = Duration::from_millis(SKEW_MS.load(Relaxed).unsigned_abs());
            let exact = Duration::from_secs(EPOCH_S) + elapsed();
            if SKEW_MS.load(Relaxed) < 0 { exact - skew } else { exact + skew }
        }
    })
}

/// Fills `bytes` with what follows from the seed; false when this process is no simulation.
pub fn fill_random(bytes: &mut [u8]) -> bool {
    if !SIMULATING.load(Relaxed) {
        return false;
    }
    for byte in bytes {
        // SplitMix64; one call for each byte is cheap enough.
        let mut x = CHANCE.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        *byte = (x ^ (x >> 31)) as u8;
    }
    true
}
