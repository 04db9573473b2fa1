//! Entries as bytes: what the log holds and what goes over the wire.
//!
//! ```text
//! payload of an entry := kind (1 byte) body
//!   0  blank       nothing
//!   1  batch       the engine's bytes, as they are
//!   2  membership  configurations and nodes, in bincode
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use openraft::EntryPayload;

use crate::handle::Committed;
use crate::types::{Entry, LogId, Membership, NodeId, Peer, Proposal};

const BLANK: u8 = 0;
const BATCH: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// Voters and learners, without the entry that says so.
pub type Members = openraft::Membership<NodeId, Peer>;

/// Does a stored payload say who the members are? Its first byte tells; no batch begins with it.
pub fn is_members(payload: &[u8]) -> bool {
    payload.first() == Some(&MEMBERSHIP)
}

/// An entry's payload in two pieces: the kind, and the body, which for a batch is the batch itself.
pub fn encode(entry: &Entry) -> (Bytes, Bytes) {
    let kind = |kind: &'static [u8; 1]| Bytes::from_static(kind);
    match &entry.payload {
        EntryPayload::Blank => (kind(&[BLANK]), Bytes::new()),
        EntryPayload::Normal(proposal) => (kind(&[BATCH]), proposal.0.clone()),
        EntryPayload::Membership(members) => (kind(&[MEMBERSHIP]), encode_members(members).into()),
    }
}

/// The entry with this id and payload.
pub fn decode(log_id: LogId, payload: &Bytes) -> io::Result<Entry> {
    let payload = match payload.first() {
        Some(&BLANK) if payload.len() == 1 => EntryPayload::Blank,
        Some(&BATCH) => EntryPayload::Normal(Proposal(payload.slice(1..))),
        Some(&MEMBERSHIP) => EntryPayload::Membership(decode_members(&payload[1..])?),
        _ => return Err(invalid(format!("entry {log_id} is of no known kind"))),
    };
    Ok(Entry { log_id, payload })
}

/// Configurations and nodes in bincode.
pub fn encode_members(members: &Members) -> Vec<u8> {
    let configurations = members.get_joint_config();
    let nodes: BTreeMap<NodeId, Peer> = members.nodes().map(|(id, peer)| (*id, peer.clone())).collect();
    bincode::encode_to_vec((configurations, nodes), bincode::config::standard())
        .expect("memory takes any number of bytes")
}

pub fn decode_members(bytes: &[u8]) -> io::Result<Members> {
    // A node's names are short and its group is small; nobody can make this allocate more.
    let config = bincode::config::standard().with_limit::<{ 1 << 20 }>();
    type Parts = (Vec<BTreeSet<NodeId>>, BTreeMap<NodeId, Peer>);
    let decoded = bincode::decode_from_slice::<Parts, _>(bytes, config);
    let ((configurations, nodes), used) =
        decoded.map_err(|error| invalid(format!("a membership that cannot be read: {error}")))?;
    if used != bytes.len() {
        return Err(invalid("bytes after a membership".into()));
    }
    if configurations.is_empty() && nodes.is_empty() {
        return Ok(Members::default());
    }
    Members::new(configurations, nodes).map_err(|error| invalid(format!("an impossible membership: {error}")))
}

/// What the executor sees of an entry.
pub fn committed(entry: Entry) -> (LogId, Committed) {
    let log_id = entry.log_id;
    let committed = match entry.payload {
        EntryPayload::Blank => Committed::Blank,
        EntryPayload::Normal(proposal) => Committed::Batch(proposal.0),
        EntryPayload::Membership(members) => {
            Committed::Membership(Arc::new(Membership::new(Some(log_id), members)))
        }
    };
    (log_id, committed)
}

/// The id of the entry `index` of `term`.
pub fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(term.into(), index)
}

/// The term of an entry.
pub fn term_of(log_id: &LogId) -> u64 {
    log_id.committed_leader_id().term
}

pub(crate) fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> Peer {
        Peer { host: "127.0.0.1".into(), port, cluster_port: port + 10000, tls_port: 0 }
    }

    fn members() -> Members {
        let nodes = BTreeMap::from([(1, peer(7001)), (2, peer(7002)), (u64::MAX, peer(7003))]);
        Members::new(vec![BTreeSet::from([1, 2]), BTreeSet::from([2])], nodes).unwrap()
    }

    #[test]
    fn entries_come_back_as_they_were() {
        let payloads = [
            EntryPayload::Blank,
            EntryPayload::Normal(Proposal(Bytes::from_static(b"batch"))),
            EntryPayload::Normal(Proposal(Bytes::new())),
            EntryPayload::Membership(members()),
        ];
        for payload in payloads {
            let entry = Entry { log_id: log_id(3, 17), payload };
            let (head, body) = encode(&entry);
            let bytes = Bytes::from([&*head, &*body].concat());
            assert_eq!(decode(entry.log_id, &bytes).unwrap(), entry);
        }
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for bytes in [&b""[..], b"\x00x", b"\x07", b"\x02", b"\x02\xff\xff\xff\xff"] {
            assert!(decode(log_id(1, 1), &Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
        let mut long = encode_members(&members());
        long.push(0);
        assert!(decode_members(&long).is_err());
    }
}
