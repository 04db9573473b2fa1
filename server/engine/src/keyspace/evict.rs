//! How often and how recently keys are used (LRU, LFU), as `maxmemory-policy` and OBJECT IDLETIME/FREQ mean it.
//!
//! A key's usage word has 24 bits, as in Redis. LRU: the clock in seconds, wrapping. LFU: the high 16 bits are the
//! minute of the last decay, the low 8 a logarithmic counter.

use super::{Db, KeyEntry};
use crate::config::{Config, MaxmemoryPolicy};
use crate::rng::Rng;

/// Keys that wait to be evicted, found by sampling.
const CANDIDATES_MAX: usize = 16;

/// The LRU clock wraps here.
pub const LRU_CLOCK_MAX: u32 = (1 << 24) - 1;
/// A new key's LFU counter: it must live long enough to be used.
pub const LFU_INIT: u32 = 5;

/// What the policy makes of a use of a key.
#[derive(Clone, Copy, Debug)]
pub struct UsagePolicy {
    policy: MaxmemoryPolicy,
    pub lfu_log_factor: i64,
    pub lfu_decay_minutes: i64,
    clock_s: u32,
    clock_min: u32,
}

impl UsagePolicy {
    /// For this `maxmemory-policy`, with Redis's default LFU parameters.
    pub fn new(policy: MaxmemoryPolicy) -> Self {
        Self { policy, lfu_log_factor: 10, lfu_decay_minutes: 1, clock_s: 0, clock_min: 0 }
    }

    /// Does the word hold LFU figures?
    pub fn is_lfu(&self) -> bool {
        self.policy.is_lfu()
    }

    /// Does eviction go by the time of the last use?
    pub fn is_lru(&self) -> bool {
        self.policy.is_lru()
    }

    /// Switches to what the configuration says.
    pub fn configure(&mut self, config: &Config) {
        self.policy = config.maxmemory_policy;
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
        if self.is_lfu() { self.clock_min << 8 | LFU_INIT } else { self.clock_s }
    }

    /// The word of a key with `usage` after one more use.
    pub fn touched(&self, usage: u32, rng: &Rng) -> u32 {
        if !self.is_lfu() {
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

/// The best keys to evict that sampling has met so far, as Redis's pool of the same size: what an earlier sample found
/// is not lost, so that few samples come close to true LRU. A candidate may be gone, or in use again, by the time its
/// turn comes.
#[derive(Debug)]
pub(crate) struct Candidates {
    /// The best one last.
    by_score: Vec<Candidate>,
    policy: MaxmemoryPolicy,
    /// The database that was drawn from last by a random policy.
    last_db: usize,
}

#[derive(Debug)]
struct Candidate {
    /// How much it deserves to go.
    score: u64,
    db: usize,
    key: Box<[u8]>,
}

impl Default for Candidates {
    fn default() -> Self {
        Self { by_score: Vec::new(), policy: MaxmemoryPolicy::Noeviction, last_db: 0 }
    }
}

impl Candidates {
    /// A key to evict, and its database; `None` when the policy allows for none.
    pub fn pick(
        &mut self,
        dbs: &[Db],
        policy: MaxmemoryPolicy,
        usage: &UsagePolicy,
        samples: u32,
        rng: &Rng,
    ) -> Option<(usize, Box<[u8]>)> {
        if self.policy != policy {
            // Scores of different policies do not compare.
            self.by_score.clear();
            self.policy = policy;
        }
        match policy {
            MaxmemoryPolicy::Noeviction => None,
            MaxmemoryPolicy::AllkeysRandom | MaxmemoryPolicy::VolatileRandom => self.pick_random(dbs, rng),
            _ => self.pick_best(dbs, usage, samples, rng),
        }
    }

    /// Every database in turn.
    fn pick_random(&mut self, dbs: &[Db], rng: &Rng) -> Option<(usize, Box<[u8]>)> {
        for step in 1..=dbs.len() {
            let db = (self.last_db + step) % dbs.len();
            if let Some(key) = draw(&dbs[db], self.policy, rng) {
                self.last_db = db;
                return Some((db, key.into()));
            }
        }
        None
    }

    fn pick_best(
        &mut self,
        dbs: &[Db],
        usage: &UsagePolicy,
        samples: u32,
        rng: &Rng,
    ) -> Option<(usize, Box<[u8]>)> {
        loop {
            let mut any = false;
            for (index, db) in dbs.iter().enumerate() {
                for _ in 0..samples {
                    let Some(key) = draw(db, self.policy, rng) else { break };
                    any = true;
                    let score = score(db, key, self.policy, usage);
                    self.offer(score, index, key);
                }
            }
            if !any {
                return None;
            }
            while let Some(best) = self.by_score.pop() {
                let db = &dbs[best.db];
                let is_there = match self.policy.is_allkeys() {
                    true => db.dict.contains(&best.key),
                    false => db.expires.contains(&best.key),
                };
                if is_there {
                    return Some((best.db, best.key));
                }
            }
        }
    }

    fn offer(&mut self, score: u64, db: usize, key: &[u8]) {
        let full = self.by_score.len() >= CANDIDATES_MAX;
        if full && score <= self.by_score[0].score {
            return;
        }
        if self.by_score.iter().any(|known| known.db == db && *known.key == *key) {
            return;
        }
        if full {
            self.by_score.remove(0);
        }
        let at = self.by_score.partition_point(|known| known.score < score);
        self.by_score.insert(at, Candidate { score, db, key: key.into() });
    }
}

/// A random key of those that the policy may evict.
fn draw<'a>(db: &'a Db, policy: MaxmemoryPolicy, rng: &Rng) -> Option<&'a [u8]> {
    let below = &mut |n| rng.below(n);
    if policy.is_allkeys() {
        db.dict.random(below).map(|entry| &*entry.key)
    } else {
        db.expires.random(below).map(|entry| &*entry.key)
    }
}

/// How much a key deserves to go: the more the longer unused, the more rarely used, the sooner it expires.
fn score(db: &Db, key: &[u8], policy: MaxmemoryPolicy, usage: &UsagePolicy) -> u64 {
    if policy == MaxmemoryPolicy::VolatileTtl {
        return u64::MAX - db.expire_at(key).map_or(u64::MAX, |at_ms| at_ms.max(0) as u64);
    }
    let word = db.dict.get(key).map_or(0, KeyEntry::usage);
    if policy.is_lfu() { u64::from(255 - usage.decayed(word)) } else { usage.idle_seconds(word) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_candidates_are_kept_in_order() {
        let mut candidates = Candidates::default();
        for i in 0..100u64 {
            let score = i * 37 % 100;
            candidates.offer(score, 0, format!("k{score}").as_bytes());
            candidates.offer(score, 0, format!("k{score}").as_bytes());
        }
        let scores: Vec<u64> = candidates.by_score.iter().map(|candidate| candidate.score).collect();
        assert_eq!(scores, (84..100).collect::<Vec<_>>());
    }
}
