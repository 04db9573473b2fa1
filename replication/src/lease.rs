//! The leader's lease: until when no other leader can have committed anything.
//!
//! A follower that has heard from a leader refuses its vote to others for [`Timing::election_max`] (but for a hand-over, before
//! which the leader gives its lease up). So when a quorum has answered requests that were *sent* at `t` or later, there is no
//! other leader before `t + election_max`, by the followers' clocks. The lease ends earlier by a tenth and 10 ms, for clocks
//! that run at different speeds.
//!
//! A node that has restarted has forgotten whom it heard from; see `pause` for why that is safe.
//!
//! [`Timing::election_max`]: crate::node::Timing::election_max

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cairn_planted::planted;
use tokio::time::Instant;

/// The lease stops this long before the followers' promise ends, besides a tenth of it.
const MARGIN: Duration = Duration::from_millis(10);

/// Until = for ever: the only voter needs nobody's promise.
const FOR_EVER: u64 = u64::MAX;

fn length(promise: Duration) -> Duration {
    promise.saturating_sub(promise / 10).saturating_sub(MARGIN)
}

/// Written by Raft's thread, read by the executor without a lock.
pub(crate) struct Lease {
    epoch: Instant,
    /// How long this node keeps its own promise.
    promise: Duration,
    /// Microseconds. It only falls: the shortest promise of all nodes counts, whoever has made it.
    length_us: AtomicU64,
    /// The term that is led; 0 if none.
    term: AtomicU64,
    /// Microseconds since the epoch.
    until_us: AtomicU64,
    /// In terms up to this one the lease has been given up.
    dropped: AtomicU64,
}

impl Lease {
    /// `promise` is how long followers refuse their votes after they have heard from a leader.
    pub(crate) fn new(promise: Duration) -> Lease {
        let promise = if planted!(LeaseTooLong) { promise * 2 } else { promise };
        Lease {
            epoch: Instant::now(),
            promise,
            length_us: AtomicU64::new(length(promise).as_micros() as u64),
            term: AtomicU64::new(0),
            until_us: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// How long this node refuses its vote to others after it has heard from a leader.
    pub(crate) fn promise(&self) -> Duration {
        self.promise
    }

    /// Another node promises no more than this. True if the lease is shorter for it from here on.
    pub(crate) fn shorten(&self, promise: Duration) -> bool {
        let shorter = length(promise).as_micros() as u64;
        let shortened = self.length_us.fetch_min(shorter, Ordering::SeqCst) > shorter;
        if shortened {
            // What it was extended by was too long.
            self.until_us.store(0, Ordering::SeqCst);
        }
        shortened
    }

    fn length(&self) -> Duration {
        Duration::from_micros(self.length_us.load(Ordering::SeqCst))
    }

    pub(crate) fn leading(&self) -> Option<u64> {
        Some(self.term.load(Ordering::SeqCst)).filter(|&term| term > 0)
    }

    /// Raft says which term is led.
    pub(crate) fn set_leading(&self, term: Option<u64>) {
        let term = term.unwrap_or(0);
        if self.term.load(Ordering::SeqCst) != term {
            // In this order: nobody may take the old term's lease for the new one's.
            self.until_us.store(0, Ordering::SeqCst);
            self.term.store(term, Ordering::SeqCst);
        }
    }

    /// In this term, a quorum has answered what was sent at `acked`.
    pub(crate) fn extend(&self, term: u64, acked: Instant) {
        if self.leading() == Some(term) {
            let until = (acked + self.length()).saturating_duration_since(self.epoch);
            self.until_us.fetch_max(until.as_micros() as u64, Ordering::SeqCst);
        }
    }

    /// This node is the only voter, or not any more.
    pub(crate) fn set_alone(&self, alone: bool) {
        let until = self.until_us.load(Ordering::SeqCst);
        if alone && self.leading().is_some() {
            self.until_us.store(FOR_EVER, Ordering::SeqCst);
        } else if !alone && until == FOR_EVER {
            self.until_us.store(0, Ordering::SeqCst);
        }
    }

    pub(crate) fn is_valid(&self, term: u64) -> bool {
        // A term that is led ends once and never comes back, so if it is the same before and after, `until` is of it.
        let before = self.term.load(Ordering::SeqCst);
        let left = self.left();
        let after = self.term.load(Ordering::SeqCst);
        term > 0 && before == term && after == term && left > Duration::ZERO
    }

    pub(crate) fn left(&self) -> Duration {
        let until = self.until_us.load(Ordering::SeqCst);
        if self.is_dropped() {
            return Duration::ZERO;
        }
        let now = self.epoch.elapsed().as_micros() as u64;
        let left = Duration::from_micros(until.saturating_sub(now));
        if until == FOR_EVER { self.length() } else { left }
    }

    /// Has the lease of this term been given up?
    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::SeqCst) >= self.term.load(Ordering::SeqCst)
    }

    pub(crate) fn drop_for_this_term(&self) {
        self.dropped.fetch_max(self.term.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMISE: Duration = Duration::from_millis(600);

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_before_the_promise_does() {
        let lease = Lease::new(PROMISE);
        assert!(!lease.is_valid(0) && !lease.is_valid(1));
        lease.set_leading(Some(1));
        assert!(!lease.is_valid(1), "nobody has answered yet");
        lease.extend(1, Instant::now());
        assert!(lease.is_valid(1) && !lease.is_valid(2));
        tokio::time::advance(Duration::from_millis(525)).await;
        assert!(lease.is_valid(1));
        tokio::time::advance(Duration::from_millis(10)).await;
        assert!(!lease.is_valid(1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_shortest_promise_counts() {
        let lease = Lease::new(PROMISE);
        lease.set_leading(Some(1));
        lease.extend(1, Instant::now());
        assert!(!lease.shorten(PROMISE) && lease.is_valid(1));
        assert!(lease.shorten(PROMISE / 2));
        assert!(!lease.is_valid(1), "it was extended by too much");
        lease.extend(1, Instant::now());
        tokio::time::advance(Duration::from_millis(255)).await;
        assert!(lease.is_valid(1));
        tokio::time::advance(Duration::from_millis(10)).await;
        assert!(!lease.is_valid(1));
        assert!(!lease.shorten(PROMISE), "it never grows again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_of_one_term() {
        let lease = Lease::new(PROMISE);
        lease.set_leading(Some(1));
        lease.extend(1, Instant::now());
        lease.set_leading(None);
        assert!(!lease.is_valid(1));
        lease.set_leading(Some(3));
        lease.extend(1, Instant::now());
        assert!(!lease.is_valid(3) && !lease.is_valid(1));
        lease.extend(3, Instant::now());
        assert!(lease.is_valid(3));
        lease.drop_for_this_term();
        lease.extend(3, Instant::now());
        assert!(!lease.is_valid(3));
    }

    #[tokio::test(start_paused = true)]
    async fn the_only_voter_needs_nobody() {
        let lease = Lease::new(PROMISE);
        lease.set_leading(Some(1));
        lease.set_alone(true);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(lease.is_valid(1));
        lease.set_alone(false);
        assert!(!lease.is_valid(1));
    }
}
