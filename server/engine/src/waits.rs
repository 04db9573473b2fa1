//! WAIT, and WAITAOF in a cluster: who has a client's writes.
//!
//! A single node asks its replicas of Redis's kind, who say how much of the stream they have. In a cluster it is the nodes
//! that have the writes on their disks.
//!
//! The engine knows its writes by their journal positions, the cluster by indices of the log. What joins them is the
//! host's picture: it says which batch was the last one applied, and at which index. So the first picture that is not
//! older than the client's last write gives an index that the write is not past; whoever has that much has the write.
//! The count may be too low for a moment. It is never too high.

use cairn_proto::ReplyWriter;

use crate::client::{BlockedOn, FeedStage, ReplicaWait, Slot};
use crate::cluster::ClusterView;
use crate::host::Host;
use crate::shared::Shared;

/// How far the writes of a client have come.
pub(crate) struct Progress {
    /// Other nodes that have them on their disks.
    replicas: usize,
    /// They are on this node's disk.
    synced: bool,
}

impl Progress {
    pub(crate) fn is_enough(&self, wait: &ReplicaWait) -> bool {
        self.replicas >= wait.replicas && (self.synced || wait.local != Some(true))
    }

    pub(crate) fn reply(&self, wait: &ReplicaWait, reply: &mut ReplyWriter) {
        if wait.local.is_some() {
            reply.array(2);
            reply.int(i64::from(self.synced));
        }
        reply.int(self.replicas as i64);
    }
}

impl Shared {
    /// How far the writes that are waited for have come; keeps the index that they are not past.
    pub(crate) fn progress(&self, host: &dyn Host, wait: &mut ReplicaWait) -> Progress {
        let replicas = match host.cluster() {
            Some(view) => self.replicas_with(&view, wait),
            None => self.fed_with(wait.offset, wait.local.is_some()),
        };
        if host.cluster().is_none() {
            let synced =
                wait.local.is_some() && self.effects.enabled() && host.facts().log_synced >= wait.position;
            return Progress { replicas, synced };
        }
        // The disk's progress is an index as well, which no position can be compared with.
        let synced = wait.local.is_some() && wait.index.is_some_and(|index| host.facts().log_synced >= index);
        Progress { replicas, synced }
    }

    fn replicas_with(&self, view: &ClusterView, wait: &mut ReplicaWait) -> usize {
        if wait.index.is_none() && self.released >= wait.position && view.raft.seq >= wait.position {
            wait.index = Some(if wait.position == 0 { 0 } else { view.raft.applied });
        }
        wait.index.map_or(0, |index| view.others_with(index))
    }

    /// How many replicas of Redis's kind have so much of the stream, or have it on their disks.
    fn fed_with(&self, offset: u64, synced: bool) -> usize {
        let has = |slot: Slot| {
            let replica = self.clients.get(slot)?.as_ref()?.state.replica.as_ref()?;
            let has = if synced { replica.synced } else { replica.acknowledged };
            Some(replica.stage == Some(FeedStage::Online) && has >= offset)
        };
        self.replicas.iter().filter(|&&slot| has(slot) == Some(true)).count()
    }

    /// What a client waits for, if it waits for other nodes, and how far that has come.
    pub(crate) fn wait_so_far(&mut self, host: &dyn Host, slot: Slot) -> Option<(ReplicaWait, Progress)> {
        let blocked = self.client(slot)?.state.blocked.as_ref()?;
        let BlockedOn::Replicas(wait) = &blocked.on else { return None };
        let mut wait = wait.clone();
        let so_far = self.progress(host, &mut wait);
        // The index of the first picture is the best one: later ones include writes of others.
        if let Some(blocked) = self.client(slot)?.state.blocked.as_mut() {
            blocked.on = BlockedOn::Replicas(wait.clone());
        }
        Some((wait, so_far))
    }

    /// Answers those whose writes enough nodes have.
    pub(crate) fn serve_waits(&mut self, host: &dyn Host) {
        if self.blocking.on_replicas.is_empty() {
            return;
        }
        for slot in self.blocking.on_replicas.clone() {
            let Some((wait, so_far)) = self.wait_so_far(host, slot) else { continue };
            if so_far.is_enough(&wait)
                && let Some(client) = self.client(slot)
            {
                let from = client.reply.out.end();
                so_far.reply(&wait, &mut client.reply);
                self.end_wait(slot, from);
            }
        }
    }
}
