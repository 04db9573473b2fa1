//! Slowing the writing and reading of keys down (`rdb-key-save-delay`, `key-load-delay`): for tests of what happens meanwhile.

use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// Longer waits look at the setting again after so long, so that setting it to 0 ends them.
const SLICE: Duration = Duration::from_millis(10);

/// How long to wait at each key, which may change at any time.
///
/// A positive number is microseconds; a negative one, `-n`, is a microsecond at every n-th key.
#[derive(Debug, Default)]
pub struct Pace {
    delay: AtomicI32,
}

impl Pace {
    pub fn new(delay: i32) -> Self {
        Self { delay: AtomicI32::new(delay) }
    }

    pub fn set(&self, delay: i32) {
        self.delay.store(delay, Ordering::Relaxed);
    }

    /// Waits after the `nth` key.
    pub fn key_done(&self, nth: u64) {
        let delay = self.delay.load(Ordering::Relaxed);
        let mut left = match u64::try_from(delay) {
            Ok(microseconds) => Duration::from_micros(microseconds),
            Err(_) if nth.is_multiple_of(delay.unsigned_abs().into()) => Duration::from_micros(1),
            Err(_) => return,
        };
        while !left.is_zero() {
            sleep(left.min(SLICE));
            left = left.saturating_sub(SLICE);
            if self.delay.load(Ordering::Relaxed) != delay {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::Pace;

    #[test]
    fn each_key_takes_as_long_as_it_is_told() {
        let started = Instant::now();
        let pace = Pace::new(2_000);
        (1..=10).for_each(|nth| pace.key_done(nth));
        assert!(started.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn a_negative_delay_is_for_one_key_in_so_many() {
        let pace = Pace::new(-1_000_000);
        let started = Instant::now();
        (1..1_000_000).for_each(|nth| pace.key_done(nth));
        // Had each of them waited, it would be a minute.
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "no executor has started it")]
    fn setting_it_to_nothing_ends_a_wait() {
        let pace = Arc::new(Pace::new(i32::MAX));
        let waiting = std::thread::spawn({
            let pace = Arc::clone(&pace);
            move || pace.key_done(1)
        });
        pace.set(0);
        waiting.join().expect("it ends, long before half an hour");
    }
}
