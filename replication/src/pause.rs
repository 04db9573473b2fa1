//! A node that has restarted does not vote for a while.
//!
//! A leader's lease rests on the followers' promise not to vote for anybody else for [`Timing::election_max`] after they have
//! heard from it. The promise is kept in memory. A follower that restarts at once has forgotten it: it could vote for a new
//! leader while the old one still answers reads under its lease. So for as long as a promise lasts a node that has voted before
//! neither votes, nor says that it would, nor stands for election.
//!
//! The only voter of a group owes nobody anything, nor does a node that has never voted.
//!
//! [`Timing::election_max`]: crate::node::Timing::election_max

use std::time::Duration;

use cairn_planted::planted;
use tokio::time::Instant;

use crate::admin::Refused;

/// Until when a node neither votes nor stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VotePause {
    until: Option<Instant>,
}

impl VotePause {
    /// `promise` is how long a promise lasts. `others` says whether there are other voters, as far as this node knows.
    pub(crate) fn at_start(has_voted: bool, others: bool, promise: Duration) -> VotePause {
        VotePause { until: (has_voted && others).then(|| Instant::now() + promise) }
    }

    /// Whether the node may vote now, or stand.
    pub(crate) fn check(&self) -> Result<(), Refused> {
        match self.until {
            Some(until) if Instant::now() < until && !planted!(VotesAtOnce) => {
                let left = (until - Instant::now()).as_millis();
                Err(Refused(format!("this node has just started and does not vote for another {left} ms")))
            }
            _ => Ok(()),
        }
    }

    /// Waits until it may.
    pub(crate) async fn over(&self) {
        if let Some(until) = self.until {
            tokio::time::sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMISE: Duration = Duration::from_millis(600);

    #[tokio::test(start_paused = true)]
    async fn who_has_voted_before_waits_as_long_as_a_promise_lasts() {
        let pause = VotePause::at_start(true, true, PROMISE);
        assert!(pause.check().is_err());
        tokio::time::advance(PROMISE - Duration::from_millis(1)).await;
        assert!(pause.check().is_err());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(pause.check().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_promised_nothing_votes_at_once() {
        assert!(VotePause::at_start(false, true, PROMISE).check().is_ok());
        assert!(VotePause::at_start(true, false, PROMISE).check().is_ok());
    }
}
