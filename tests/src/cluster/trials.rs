//! What a state has to outlast: a restart of all nodes, the loss of a disk, a failover.

use anyhow::ensure;
use std::time::Duration;

use super::group::{Cluster, SETTLE_LIMIT};
use super::process::Node;
use crate::golden::Reply;

impl Cluster {
    /// Waits until all nodes have the same state, and returns its digest. Nobody writes, and all nodes run.
    pub fn await_alike(&mut self, limit: Duration) -> anyhow::Result<String> {
        self.wait("all nodes to be alike", limit, |cluster| {
            let digests: Vec<String> = cluster.awake().map_while(|node| cluster.digest(node).ok()).collect();
            let all =
                digests.len() == cluster.nodes.len() && digests.iter().all(|digest| *digest == digests[0]);
            all.then(|| digests[0].clone())
        })
    }

    /// `kill -9` of all nodes at once, and a start from what they have on disk.
    pub fn restart_all(&mut self) -> anyhow::Result<()> {
        self.nodes.iter_mut().for_each(Node::kill);
        for node in 0..self.nodes.len() {
            self.spawn(node)?;
        }
        self.await_leader(SETTLE_LIMIT).map(drop)
    }

    /// A follower, which is returned, loses its disk, gets the new one from `prepare`, and the leader's snapshot: the log
    /// that it would need is gone. For that the nodes have small segments and `log-retention-size 0`, and have filled one.
    pub fn lose_a_disk(&mut self, prepare: impl Fn(&Node) -> anyhow::Result<()>) -> anyhow::Result<usize> {
        let leader = self.await_leader(SETTLE_LIMIT)?;
        let follower = (leader + 1) % self.nodes.len();
        self.nodes[follower].kill();
        self.nodes[follower].wipe()?;
        prepare(&self.nodes[follower])?;
        let saved = self.ask_within(leader, &["SAVE"], SETTLE_LIMIT)?;
        ensure!(saved == Reply::Simple(b"OK".to_vec()), "SAVE answers {saved}");
        self.wait("the leader's log to be cut", SETTLE_LIMIT, |cluster| {
            (cluster.figure(leader, "raft_purged").ok()? > 0).then_some(())
        })?;
        self.spawn(follower)?;
        self.wait("a snapshot to be installed", SETTLE_LIMIT, |cluster| {
            (cluster.figure(follower, "raft_snapshots_received").ok()? > 0).then_some(follower)
        })
    }

    /// The leader is killed, another one leads, which is returned, and the old one comes back.
    pub fn fail_over(&mut self) -> anyhow::Result<usize> {
        let leader = self.await_leader(SETTLE_LIMIT)?;
        self.nodes[leader].kill();
        let next = self.await_leader(SETTLE_LIMIT)?;
        ensure!(next != leader, "the dead node leads");
        self.spawn(leader)?;
        self.await_serving(leader, SETTLE_LIMIT)?;
        Ok(next)
    }
}
