//! Until when a quorum is known to have followed this leader.
//!
//! openraft keeps such times too, but it goes by log ids: an answer to entries counts for every request up to them, and among
//! those may be one that only tells of a commit, was made later, and has not arrived. A lease must not rest on that. Here an
//! answer counts for the request that it answers, from the moment at which that was sent.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::types::NodeId;

/// When the voters were last sent something in one term that they have answered since.
pub(crate) struct Acks {
    me: NodeId,
    term: Mutex<Term>,
    news: Notify,
}

#[derive(Default)]
struct Term {
    term: u64,
    sent_at: HashMap<NodeId, Instant>,
    /// Two sets while the members change: a quorum of each counts.
    voters: Vec<BTreeSet<NodeId>>,
}

impl Acks {
    pub(crate) fn new(me: NodeId) -> Acks {
        Acks { me, term: Mutex::default(), news: Notify::new() }
    }

    fn term(&self) -> MutexGuard<'_, Term> {
        self.term.lock().expect("nothing panics while it has the answers")
    }

    pub(crate) fn set_voters(&self, voters: &[BTreeSet<NodeId>]) {
        let mut now = self.term();
        if now.voters != voters {
            now.voters = voters.to_vec();
        }
    }

    /// `node` has answered what it was sent in `term` at `sent_at`.
    pub(crate) fn note(&self, node: NodeId, term: u64, sent_at: Instant) {
        let mut now = self.term();
        if term > now.term {
            now.term = term;
            now.sent_at.clear();
        }
        if term == now.term {
            let newest = now.sent_at.entry(node).or_insert(sent_at);
            *newest = sent_at.max(*newest);
        }
        drop(now);
        self.news.notify_waiters();
    }

    /// A quorum, this node among it, has answered in `term` what was sent at this moment or later.
    pub(crate) fn quorum(&self, term: u64) -> Option<Instant> {
        let now = self.term();
        let here = Instant::now();
        let sent_at = |&node: &NodeId| {
            let answered = now.sent_at.get(&node).copied().filter(|_| now.term == term);
            if node == self.me { Some(here) } else { answered }
        };
        let of_one = |voters: &BTreeSet<NodeId>| {
            let mut times: Vec<Option<Instant>> = voters.iter().map(sent_at).collect();
            times.sort_unstable_by(|a, b| b.cmp(a));
            times.get(voters.len() / 2).copied().flatten()
        };
        now.voters.iter().map(of_one).min().flatten()
    }

    /// Waits until a quorum has answered what was sent at `since` or later; false if it has not within `limit`.
    pub(crate) async fn confirmed(&self, term: u64, since: Instant, limit: Duration) -> bool {
        let waiting = async {
            loop {
                let news = self.news.notified();
                if self.quorum(term) >= Some(since) {
                    return;
                }
                news.await;
            }
        };
        timeout(limit, waiting).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acks(voters: &[&[NodeId]]) -> Acks {
        let acks = Acks::new(1);
        let sets: Vec<BTreeSet<NodeId>> = voters.iter().map(|set| set.iter().copied().collect()).collect();
        acks.set_voters(&sets);
        acks
    }

    #[tokio::test(start_paused = true)]
    async fn a_quorum_is_as_new_as_its_oldest_answer() {
        let acks = acks(&[&[1, 2, 3, 4, 5]]);
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        tokio::time::advance(Duration::from_millis(100)).await;
        acks.note(2, 7, at(10));
        assert_eq!(acks.quorum(7), None, "two of five");
        acks.note(3, 7, at(20));
        assert_eq!(acks.quorum(7), Some(at(10)));
        acks.note(4, 7, at(30));
        assert_eq!(acks.quorum(7), Some(at(20)));
        acks.note(4, 7, at(5));
        acks.note(9, 7, at(90));
        assert_eq!(acks.quorum(7), Some(at(20)), "no older answer and no stranger changes anything");
    }

    #[tokio::test(start_paused = true)]
    async fn answers_count_in_their_own_term() {
        let acks = acks(&[&[1, 2, 3]]);
        let begun = Instant::now();
        acks.note(2, 7, begun);
        assert_eq!((acks.quorum(6), acks.quorum(7), acks.quorum(8)), (None, Some(begun), None));
        acks.note(3, 8, begun);
        acks.note(2, 7, begun);
        assert_eq!((acks.quorum(7), acks.quorum(8)), (None, Some(begun)));
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_members_change_both_quorums_count() {
        let acks = acks(&[&[1, 2, 3], &[1, 4, 5]]);
        acks.note(2, 7, Instant::now());
        acks.note(3, 7, Instant::now());
        assert_eq!(acks.quorum(7), None);
        acks.note(5, 7, Instant::now());
        assert_eq!(acks.quorum(7), Some(Instant::now()));
        acks.set_voters(&[]);
        assert_eq!(acks.quorum(7), None);
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_was_sent_afterwards_confirms() {
        let acks = acks(&[&[1, 2, 3]]);
        let before = Instant::now();
        tokio::time::advance(Duration::from_millis(1)).await;
        let asked = Instant::now();
        let limit = Duration::from_millis(50);
        let late = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            acks.note(2, 7, before);
        };
        assert!(!tokio::join!(acks.confirmed(7, asked, limit), late).0);
        let asked = Instant::now();
        let fresh = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            acks.note(2, 7, asked);
        };
        assert!(tokio::join!(acks.confirmed(7, asked, limit), fresh).0);
    }
}
