//! How often and how recently keys are used (LRU, LFU), as `maxmemory-policy` and OBJECT IDLETIME/FREQ mean it.
//!
//! A key's usage word has 24 bits, as in Redis. LRU: the clock in seconds, wrapping. LFU: the high 16 bits are the
//! minute of the last decay, the low 8 a logarithmic counter.

use crate::config::{Config, MaxmemoryPolicy};
use crate::rng::Rng;

/// The LRU clock wraps here.
pub const LRU_CLOCK_MAX: u32 = (1 << 24) - 1;
/// A new key's LFU counter: it must live long enough to be used.
pub const LFU_INIT: u32 = 5;

/// What the policy makes of a use of a key.
#[derive(Clone, Copy, Debug)]
pub struct UsagePolicy {
    lfu: bool,
    pub lfu_log_factor: i64,
    pub lfu_decay_minutes: i64,
    clock_s: u32,
    clock_min: u32,
}

impl UsagePolicy {
    /// For this `maxmemory-policy`, with Redis's default LFU parameters.
    pub fn new(policy: MaxmemoryPolicy) -> Self {
        Self { lfu: policy.is_lfu(), lfu_log_factor: 10, lfu_decay_minutes: 1, clock_s: 0, clock_min: 0 }
    }

    /// Does the word hold LFU figures?
    pub fn is_lfu(&self) -> bool {
        self.lfu
    }

    /// Switches to what the configuration says.
    pub fn configure(&mut self, config: &Config) {
        self.lfu = config.maxmemory_policy.is_lfu();
        self.lfu_log_factor = i64::from(config.lfu_log_factor);
        self.lfu_decay_minutes = i64::from(config.lfu_decay_time);
    }

    pub(super) fn set_now(&mut self, now_ms: i64) {
        self.clock_s = (now_ms / 1000) as u32 & LRU_CLOCK_MAX;
        self.clock_min = (now_ms / 60_000) as u32 & 0xffff;
    }

    pub(super) fn clone_for_touch(&self) -> Self {
        *self
    }

    /// The word of a new key.
    pub fn fresh(&self) -> u32 {
        if self.lfu { self.clock_min << 8 | LFU_INIT } else { self.clock_s }
    }

    /// The word of a key with `usage` after one more use.
    pub fn touched(&self, usage: u32, rng: &Rng) -> u32 {
        if !self.lfu {
            return self.clock_s;
        }
        let mut counter = self.decayed(usage);
        if counter < 255 {
            let base = f64::from(counter.saturating_sub(LFU_INIT));
            if rng.unit() < 1.0 / (base * self.lfu_log_factor as f64 + 1.0) {
                counter += 1;
            }
        }
        self.clock_min << 8 | counter
    }

    /// The LFU counter as it is now, after the decay of the time unused.
    pub fn decayed(&self, usage: u32) -> u32 {
        let counter = usage & 0xff;
        let elapsed = self.clock_min.wrapping_sub(usage >> 8) & 0xffff;
        let periods =
            if self.lfu_decay_minutes > 0 { i64::from(elapsed) / self.lfu_decay_minutes } else { 0 };
        counter.saturating_sub(u32::try_from(periods).unwrap_or(u32::MAX))
    }

    /// Seconds since the last use, of an LRU word.
    pub fn idle_seconds(&self, usage: u32) -> u64 {
        u64::from(self.clock_s.wrapping_sub(usage) & LRU_CLOCK_MAX)
    }

    /// The word of a key unused for so long (RESTORE … IDLETIME, RDB).
    pub fn from_idle_seconds(&self, seconds: u64) -> u32 {
        self.clock_s.wrapping_sub(seconds.min(u64::from(LRU_CLOCK_MAX)) as u32) & LRU_CLOCK_MAX
    }

    /// The word of a key with this LFU counter (RESTORE … FREQ, RDB).
    pub fn from_frequency(&self, counter: u8) -> u32 {
        self.clock_min << 8 | u32::from(counter)
    }
}
