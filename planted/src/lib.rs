//! Bugs that a test build can be told to have, to show that the tests would find them.
//!
//! A check that has never failed may be blind. So at each place where a rule of the cluster is enforced there is a line that
//! breaks it, `if planted!(VoteNotSynced)`. In an ordinary build that is the constant `false` and nothing is left of it. A build
//! with `--cfg cairn_planted` has all of them and does one at a time: the one that the environment variable `CAIRN_PLANT` names.
//!
//! ```
//! use cairn_planted::planted;
//!
//! assert!(!planted!(ChainOff), "a doctest is an ordinary build");
//! ```
//!
//! `cargo xtask planted` makes that build and runs the tests that must find each bug; `tests/README.md` has the table.
//!
//! # What it is not
//!
//! Not a feature of cargo: `--all-features`, or another crate of the same build, could turn that on in what is shipped.

/// Declares [`Bug`] and [`Bug::ALL`] from one list.
macro_rules! bugs {
    ($($(#[$doc:meta])* $bug:ident,)*) => {
        /// A rule broken in one place.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $($(#[$doc])* $bug,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Bug] = &[$(Bug::$bug,)*];
        }
    };
}

bugs! {
    /// Replies leave when a batch is proposed, not when it is committed.
    ReplyBeforeCommit,
    /// Commands are executed from the election on, not from the own `Blank` on.
    ServeBeforeBlank,
    /// Every batch counts, whatever it follows.
    ChainOff,
    /// A refused proposal, a lost leadership, a release that does not come: the epoch goes on.
    DoubtIgnored,
    /// A deposed leader goes on with the state that it had.
    StateKept,
    /// Clients who wait for a reply when the leadership is lost keep waiting, and may get it.
    StaleSession,
    /// A snapshot of what a deposed leader did alone is finished as if it had been committed.
    SnapshotNotCancelled,
    /// Replies leave without a valid lease.
    LeaseIgnored,
    /// The lease lasts longer than the followers' promise.
    LeaseTooLong,
    /// A vote is given before it is on disk.
    VoteNotSynced,
    /// A node takes an entry for written as soon as it has it.
    AcknowledgedBeforeFlush,
    /// What is to be removed from the log's end stays on disk.
    TruncationNotWritten,
    /// A restarted node votes although it may have promised not to.
    VotesAtOnce,
    /// A snapshot says the wrong epoch.
    SnapshotWithoutChain,
    /// A read of a key does not wait for the key's newest change.
    DirtyReadsNotHeld,
    /// A follower removes what has expired by its own clock.
    FollowerExpires,
    /// The commands of an EXEC that was refused are written down as effects.
    FailedExecLogged,
    /// A client whose forwarded request was lost with the leader goes on as if it had not sent it.
    LostForwardForgotten,
}

/// Is this the bug that `CAIRN_PLANT` names?
///
/// # Panics
/// If that is no bug's name: a test that looks for it would prove nothing.
#[cfg(cairn_planted)]
pub fn is(bug: Bug) -> bool {
    static PLANTED: std::sync::OnceLock<Option<Bug>> = std::sync::OnceLock::new();
    let named = || {
        let name = std::env::var("CAIRN_PLANT").ok()?;
        let bug = Bug::ALL.iter().find(|bug| format!("{bug:?}") == name);
        Some(*bug.unwrap_or_else(|| panic!("CAIRN_PLANT={name}: there is no such bug")))
    };
    *PLANTED.get_or_init(named) == Some(bug)
}

/// No bug is.
#[cfg(not(cairn_planted))]
#[inline(always)]
pub const fn is(_: Bug) -> bool {
    false
}

/// `planted!(ChainOff)`: is that bug to be shown now? Beside the rule that it breaks, with nothing else on the line.
#[macro_export]
macro_rules! planted {
    ($bug:ident) => {
        $crate::is($crate::Bug::$bug)
    };
}
