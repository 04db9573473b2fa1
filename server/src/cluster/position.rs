//! Which moment of the cluster's history a state is: what a snapshot file says of itself in AUX fields.
//!
//! ```text
//! cairn-raft-index 4711         the last entry that the state has in it, and its term
//! cairn-raft-term  3
//! cairn-epoch      3            with cairn-seq: the last batch
//! cairn-members    2:17 voters=1,2,3 nodes=1@host:7001:17001/8001,2@…
//!                               the members from entry 17 of term 2 on, each with its port, its cluster port and, if it
//!                               has one, its TLS port; two groups of voters while they change
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cairn_engine::rdb::Aux;
use cairn_planted::planted;
use cairn_replication::entry::{Members, log_id, term_of};
use cairn_replication::types::{LogId, Membership, NodeId, Peer, SnapshotMeta};

use crate::journal::AuxFields;
use crate::journal::raft::Chain;

const INDEX: &str = "cairn-raft-index";
const TERM: &str = "cairn-raft-term";
const EPOCH: &str = "cairn-epoch";
const MEMBERS: &str = "cairn-members";

/// A position in Raft's log, and what is true there.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    pub chain: Chain,
    pub log_id: LogId,
    pub membership: Arc<Membership>,
}

impl Position {
    /// The fields for a snapshot of the state there; `cairn-seq` is written by everybody.
    pub fn to_aux(&self) -> AuxFields {
        let epoch = if planted!(SnapshotWithoutChain) { 0 } else { self.chain.epoch };
        vec![
            (INDEX, self.log_id.index.to_string()),
            (TERM, term_of(&self.log_id).to_string()),
            (EPOCH, epoch.to_string()),
            (MEMBERS, members_to_text(&self.membership)),
        ]
    }

    /// The position of a loaded snapshot; `None` if no node of a cluster has made it.
    ///
    /// # Errors
    /// If it says so only in part: guessing could apply a log to the wrong state.
    pub fn from_aux(aux: &Aux) -> Result<Option<Self>, String> {
        let field =
            |name: &str| aux.other.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let Some(index) = field(INDEX) else { return Ok(None) };
        let bad = |name: &str| format!("the snapshot's field {name} is missing or malformed");
        let number = |name: &str, value: Option<&str>| {
            value.and_then(|value| value.parse::<u64>().ok()).ok_or_else(|| bad(name))
        };
        let index = number(INDEX, Some(index))?;
        let term = number(TERM, field(TERM))?;
        let epoch = number(EPOCH, field(EPOCH))?;
        let seq = aux.seq.ok_or_else(|| bad("cairn-seq"))?;
        let membership = field(MEMBERS).and_then(members_from_text).ok_or_else(|| bad(MEMBERS))?;
        Ok(Some(Self {
            chain: Chain { epoch, seq },
            log_id: log_id(term, index),
            membership: Arc::new(membership),
        }))
    }

    /// What Raft wants to know of a snapshot.
    pub fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: Some(self.log_id), last_membership: (*self.membership).clone() }
    }
}

fn members_to_text(membership: &Membership) -> String {
    let at = match membership.log_id() {
        Some(at) => format!("{}:{}", term_of(at), at.index),
        None => "none".to_owned(),
    };
    let ids = |ids: &BTreeSet<NodeId>| ids.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let voters: Vec<String> = membership.membership().get_joint_config().iter().map(ids).collect();
    let node = |(id, peer): (&NodeId, &Peer)| {
        let tls = if peer.tls_port == 0 { String::new() } else { format!("/{}", peer.tls_port) };
        format!("{id}@{}:{}:{}{tls}", peer.host, peer.port, peer.cluster_port)
    };
    let nodes: Vec<String> = membership.nodes().map(node).collect();
    format!("{at} voters={} nodes={}", voters.join("|"), nodes.join(","))
}

fn members_from_text(text: &str) -> Option<Membership> {
    let mut parts = text.splitn(3, ' ');
    let at = match parts.next()? {
        "none" => None,
        at => {
            let (term, index) = at.split_once(':')?;
            Some(log_id(term.parse().ok()?, index.parse().ok()?))
        }
    };
    let list = |text: &str| match text {
        "" => Some(BTreeSet::new()),
        text => text.split(',').map(|id| id.parse().ok()).collect(),
    };
    let voters: Vec<BTreeSet<NodeId>> =
        parts.next()?.strip_prefix("voters=")?.split('|').map(list).collect::<Option<_>>()?;
    let nodes = parts.next()?.strip_prefix("nodes=")?;
    let node = |text: &str| {
        let (id, address) = text.split_once('@')?;
        let (address, tls_port) = match address.split_once('/') {
            Some((address, port)) => (address, port.parse().ok()?),
            None => (address, 0),
        };
        let mut from_end = address.rsplitn(3, ':');
        let cluster_port = from_end.next()?.parse().ok()?;
        let port = from_end.next()?.parse().ok()?;
        // An address of IPv6 has colons of its own.
        let host = from_end.next()?.to_owned();
        Some((id.parse().ok()?, Peer { host, port, cluster_port, tls_port }))
    };
    let nodes: BTreeMap<NodeId, Peer> =
        nodes.split(',').filter(|text| !text.is_empty()).map(node).collect::<Option<_>>()?;
    let membership = Members::new(voters, nodes).ok()?;
    Some(Membership::new(at, membership))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_comes_back_from_the_fields_of_a_snapshot() {
        let peer = |n: u16| Peer {
            host: format!("fd00::{n}"),
            port: 7000 + n,
            cluster_port: 17000 + n,
            tls_port: if n == 1 { 0 } else { 8000 + n },
        };
        let nodes: BTreeMap<NodeId, Peer> = (1..=4).map(|n| (u64::from(n), peer(n))).collect();
        for voters in [vec![vec![1, 2, 3]], vec![vec![1, 2, 3], vec![2, 3, 4]], vec![vec![1]]] {
            let voters = voters.into_iter().map(|ids: Vec<u64>| ids.into_iter().collect()).collect();
            let membership = Members::new(voters, nodes.clone()).unwrap();
            let position = Position {
                chain: Chain { epoch: 3, seq: 90 },
                log_id: log_id(4, 4711),
                membership: Arc::new(Membership::new(Some(log_id(2, 17)), membership)),
            };
            let other = position.to_aux().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let aux = Aux { seq: Some(90), other, ..Aux::default() };
            assert_eq!(Position::from_aux(&aux), Ok(Some(position.clone())));
            for missing in 1..aux.other.len() {
                let mut cut = aux.clone();
                cut.other.remove(missing);
                assert!(Position::from_aux(&cut).is_err(), "without {}", aux.other[missing].0);
            }
        }
        assert_eq!(Position::from_aux(&Aux { seq: Some(1), ..Aux::default() }), Ok(None));
    }
}
