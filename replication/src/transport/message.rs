//! What nodes say to each other, and how it is encoded.
//!
//! Everything short is one [`Control`], encoded by bincode. Entries and snapshots are long: their bytes go raw behind a short head, so
//! that they are neither encoded nor copied on the way. Entries are as in the log.

use bincode::config::{self, Config};
use bincode::{Decode, Encode};
use bytes::{Buf, Bytes};
use openraft::raft::{StreamAppendError, TransferLeaderError};
use openraft::vote::leader_id_std::{CommittedLeaderId, LeaderId};

use super::frame::{Kind, Message, Parts};
use crate::admin::{
    AppendEntriesRequest, Appended, Joiner, PeerInfo, PeerState, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use crate::entry;
use crate::types::{LogId, Membership, NodeId, Peer, SnapshotMeta, Vote};

/// Longest encoding of a [`Control`], and of the head of a message with entries.
/// Enough for some hundred thousand entries; a stranger is held to less by the length of its frames.
const ENCODED_LEN_MAX: usize = 8 << 20;

/// Length of a nonce and of a proof.
pub const NONCE_LEN: usize = 32;

/// A short message.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Control {
    Hello(Hello),
    Challenge(Challenge),
    Proof([u8; NONCE_LEN]),
    Welcome {
        proof: [u8; NONCE_LEN],
        info: WireInfo,
    },
    Refusal(Refusal),
    /// The caller's first message after the welcome: who it is.
    Introduction(WireInfo),

    Vote(WireVoteRequest),
    PreVote(WireVoteRequest),
    TransferLeader {
        from: WireVote,
        to: NodeId,
        last: Option<WireLogId>,
    },
    Join {
        id: NodeId,
        peer: Peer,
    },
    /// A snapshot is to be sent.
    SnapshotBegin {
        vote: WireVote,
        meta: WireMeta,
        len: u64,
    },
    /// Its chunks come from here on: zero, or what was offered.
    SnapshotStart {
        offset: u64,
    },
    /// All chunks have been sent; the checksum of the whole.
    SnapshotEnd {
        crc: u32,
    },

    Appended(WireAppended),
    Voted {
        vote: WireVote,
        granted: bool,
        last: Option<WireLogId>,
    },
    Transferred(Result<(), WireTransferError>),
    Joined(Result<(), String>),
    /// So much of the snapshot is there already, with this checksum.
    SnapshotOffer {
        offset: u64,
        crc: u32,
    },
    /// So much of it has been written.
    SnapshotTaken {
        offset: u64,
    },
    SnapshotInstalled {
        vote: WireVote,
    },
    /// The request was not carried out.
    Refused(String),
    /// The answer is not there yet, but the node is.
    Alive,
}

/// What a connection is for. Each has its own, so that nothing short waits behind something long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Purpose {
    Replication,
    Heartbeat,
    Votes,
    Snapshot,
    Admin,
}

/// The caller's first word.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    pub magic: [u8; 8],
    pub caller: NodeId,
    /// Whom it believes to be calling, if it does.
    pub callee: Option<NodeId>,
    pub purpose: Purpose,
    pub nonce: [u8; NONCE_LEN],
    /// Whether it has a secret.
    pub secret: bool,
    /// How often it wants to hear [`Control::Alive`] while it waits for an answer.
    pub alive_ms: u32,
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Challenge {
    pub callee: NodeId,
    pub nonce: [u8; NONCE_LEN],
    pub secret: bool,
}

/// Why a caller is turned away.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum Refusal {
    #[error("it does not speak the peers' protocol")]
    Magic,
    #[error("its cluster-secret is another one")]
    Secret,
    #[error("it has no cluster-secret, and one is required")]
    SecretMissing,
    #[error("it has a cluster-secret, and none is set here")]
    SecretUnknown,
    #[error("it wants to speak to node {wanted:016x}, and this is {actual:016x}")]
    WrongNode { wanted: NodeId, actual: NodeId },
    #[error("it says that it is another node than at first")]
    Identity,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WireInfo {
    id: NodeId,
    peer: Peer,
    member: bool,
    leader: Option<(NodeId, Peer)>,
    session_token: [u8; 16],
    promise_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WireLogId {
    term: u64,
    index: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WireVote {
    term: u64,
    node: NodeId,
    committed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WireVoteRequest {
    vote: WireVote,
    last: Option<WireLogId>,
    leadership_transfer: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WireMeta {
    last: Option<WireLogId>,
    membership_at: Option<WireLogId>,
    members: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum WireAppended {
    Matching(Option<WireLogId>),
    Conflict(WireLogId),
    HigherVote(WireVote),
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum WireTransferError {
    VoteChanged { expected: WireVote, actual: WireVote },
    LogNotFlushed { expected: Option<WireLogId>, actual: Option<WireLogId> },
}

/// What is wrong with a message whose frames were right: the peer is of another version, or has a fault.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    #[error("a message cannot be read: {0}")]
    Encoding(#[from] bincode::error::DecodeError),
    #[error("a message is longer than what it says")]
    Surplus,
    #[error("a message is shorter than what it says")]
    Short,
    #[error("entries of a message do not follow on what it says they follow on")]
    Order,
    #[error("{0}")]
    Content(#[from] std::io::Error),
    #[error("a message ({0:?}) that does not belong here")]
    Unexpected(Kind),
}

impl Control {
    /// What it is, in short.
    pub fn name(&self) -> String {
        let mut name = format!("{self:?}");
        name.truncate(name.find(|c: char| !c.is_alphanumeric()).unwrap_or(name.len()));
        name
    }

    /// The message's payload.
    pub fn encode(&self) -> Bytes {
        encode(self)
    }

    pub fn decode(message: &Message) -> Result<Control, MessageError> {
        if message.kind != Kind::Control {
            return Err(MessageError::Unexpected(message.kind));
        }
        decode(&message.payload)
    }
}

fn coding() -> impl Config {
    config::standard().with_limit::<ENCODED_LEN_MAX>()
}

fn encode(value: &impl Encode) -> Bytes {
    // What is encoded holds no type that can fail, and goes to memory. The limit is for decoding.
    bincode::encode_to_vec(value, config::standard()).expect("encoding to memory does not fail").into()
}

fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, MessageError> {
    let (value, read) = bincode::decode_from_slice(bytes, coding())?;
    if read == bytes.len() { Ok(value) } else { Err(MessageError::Surplus) }
}

/// Entries on their way, the first of them following on `prev`.
#[derive(Encode, Decode)]
struct AppendHead {
    session: u64,
    vote: WireVote,
    prev: Option<WireLogId>,
    commit: Option<WireLogId>,
    /// Their bodies follow in this order.
    entries: Vec<EntryHead>,
}

#[derive(Encode, Decode)]
struct EntryHead {
    term: u64,
    len: u64,
}

/// The parts of a message with entries. `session` tells the streams of one connection apart.
pub fn encode_append(session: u64, request: &AppendEntriesRequest) -> Vec<Bytes> {
    let bodies: Vec<(Bytes, Bytes)> = request.entries.iter().map(entry::encode).collect();
    let heads = request.entries.iter().zip(&bodies).map(|(entry, (kind, body))| EntryHead {
        term: entry.log_id.leader_id.term,
        len: (kind.len() + body.len()) as u64,
    });
    let head = AppendHead {
        session,
        vote: (&request.vote).into(),
        prev: request.prev_log_id.as_ref().map(Into::into),
        commit: request.leader_commit.as_ref().map(Into::into),
        entries: heads.collect(),
    };
    let head = encode(&head);
    let mut parts = Parts::default();
    parts.copy(&(head.len() as u32).to_le_bytes());
    parts.copy(&head);
    for (kind, body) in &bodies {
        parts.copy(kind);
        parts.share(body);
    }
    parts.finish()
}

/// The session and the request; its entries are slices of `payload`.
pub fn decode_append(mut payload: Bytes) -> Result<(u64, AppendEntriesRequest), MessageError> {
    let head_len = payload.try_get_u32_le().map_err(|_| MessageError::Short)? as usize;
    if payload.len() < head_len {
        return Err(MessageError::Short);
    }
    let head: AppendHead = decode(&payload.split_to(head_len))?;
    let first = head.prev.map_or(0, |prev| prev.index.saturating_add(1));
    let mut entries = Vec::with_capacity(head.entries.len());
    for (n, entry) in head.entries.iter().enumerate() {
        let len = usize::try_from(entry.len).map_err(|_| MessageError::Short)?;
        if payload.len() < len {
            return Err(MessageError::Short);
        }
        let body = payload.split_to(len);
        let index = first.checked_add(n as u64).ok_or(MessageError::Order)?;
        entries.push(entry::decode(WireLogId { term: entry.term, index }.into(), &body)?);
    }
    if !payload.is_empty() {
        return Err(MessageError::Surplus);
    }
    let request = AppendEntriesRequest {
        vote: head.vote.into(),
        prev_log_id: head.prev.map(Into::into),
        entries,
        leader_commit: head.commit.map(Into::into),
    };
    Ok((head.session, request))
}

/// The parts of a piece of a snapshot.
pub fn encode_chunk(offset: u64, bytes: Bytes) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(&offset.to_le_bytes()), bytes]
}

/// Where a piece of a snapshot begins, and the piece.
pub fn decode_chunk(mut payload: Bytes) -> Result<(u64, Bytes), MessageError> {
    let offset = payload.try_get_u64_le().map_err(|_| MessageError::Short)?;
    Ok((offset, payload))
}

impl From<&PeerInfo> for WireInfo {
    fn from(info: &PeerInfo) -> WireInfo {
        WireInfo {
            id: info.id,
            peer: info.peer.clone(),
            member: info.state == PeerState::Member,
            leader: info.leader.clone(),
            session_token: info.session_token,
            promise_ms: info.promise_ms,
        }
    }
}

impl From<WireInfo> for PeerInfo {
    fn from(info: WireInfo) -> PeerInfo {
        PeerInfo {
            id: info.id,
            peer: info.peer,
            state: if info.member { PeerState::Member } else { PeerState::Empty },
            leader: info.leader,
            session_token: info.session_token,
            promise_ms: info.promise_ms,
        }
    }
}

impl From<&LogId> for WireLogId {
    fn from(id: &LogId) -> WireLogId {
        WireLogId { term: id.leader_id.term, index: id.index }
    }
}

impl From<WireLogId> for LogId {
    fn from(id: WireLogId) -> LogId {
        LogId { leader_id: CommittedLeaderId { term: id.term }, index: id.index }
    }
}

impl From<&Vote> for WireVote {
    fn from(vote: &Vote) -> WireVote {
        WireVote { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
    }
}

impl From<WireVote> for Vote {
    fn from(vote: WireVote) -> Vote {
        Vote { leader_id: LeaderId { term: vote.term, voted_for: vote.node }, committed: vote.committed }
    }
}

impl From<&VoteRequest> for WireVoteRequest {
    fn from(request: &VoteRequest) -> WireVoteRequest {
        WireVoteRequest {
            vote: (&request.vote).into(),
            last: request.last_log_id.as_ref().map(Into::into),
            leadership_transfer: request.leadership_transfer,
        }
    }
}

impl From<WireVoteRequest> for VoteRequest {
    fn from(request: WireVoteRequest) -> VoteRequest {
        VoteRequest {
            vote: request.vote.into(),
            last_log_id: request.last.map(Into::into),
            leadership_transfer: request.leadership_transfer,
        }
    }
}

impl From<&VoteResponse> for Control {
    fn from(response: &VoteResponse) -> Control {
        Control::Voted {
            vote: (&response.vote).into(),
            granted: response.vote_granted,
            last: response.last_log_id.as_ref().map(Into::into),
        }
    }
}

impl From<&TransferLeaderRequest> for Control {
    fn from(request: &TransferLeaderRequest) -> Control {
        Control::TransferLeader {
            from: request.from_leader().into(),
            to: *request.to_node_id(),
            last: request.last_log_id().map(Into::into),
        }
    }
}

impl From<&TransferLeaderResponse> for Control {
    fn from(response: &TransferLeaderResponse) -> Control {
        Control::Transferred(response.as_ref().copied().map_err(|error| match error {
            TransferLeaderError::VoteChanged { expected, actual } => {
                WireTransferError::VoteChanged { expected: expected.into(), actual: actual.into() }
            }
            TransferLeaderError::LogNotFlushed { expected, actual } => WireTransferError::LogNotFlushed {
                expected: expected.as_ref().map(Into::into),
                actual: actual.as_ref().map(Into::into),
            },
        }))
    }
}

impl From<WireTransferError> for TransferLeaderError<crate::types::TypeConfig> {
    fn from(error: WireTransferError) -> Self {
        match error {
            WireTransferError::VoteChanged { expected, actual } => {
                TransferLeaderError::VoteChanged { expected: expected.into(), actual: actual.into() }
            }
            WireTransferError::LogNotFlushed { expected, actual } => TransferLeaderError::LogNotFlushed {
                expected: expected.map(Into::into),
                actual: actual.map(Into::into),
            },
        }
    }
}

impl From<&Appended> for WireAppended {
    fn from(appended: &Appended) -> WireAppended {
        match appended {
            Ok(matching) => WireAppended::Matching(matching.as_ref().map(Into::into)),
            Err(StreamAppendError::Conflict(at)) => WireAppended::Conflict(at.into()),
            Err(StreamAppendError::HigherVote(vote)) => WireAppended::HigherVote(vote.into()),
        }
    }
}

impl From<WireAppended> for Appended {
    fn from(appended: WireAppended) -> Appended {
        match appended {
            WireAppended::Matching(matching) => Ok(matching.map(Into::into)),
            WireAppended::Conflict(at) => Err(StreamAppendError::Conflict(at.into())),
            WireAppended::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote.into())),
        }
    }
}

impl From<&SnapshotMeta> for WireMeta {
    fn from(meta: &SnapshotMeta) -> WireMeta {
        WireMeta {
            last: meta.last_log_id.as_ref().map(Into::into),
            membership_at: meta.last_membership.log_id().as_ref().map(Into::into),
            members: entry::encode_members(meta.last_membership.membership()),
        }
    }
}

impl TryFrom<WireMeta> for SnapshotMeta {
    type Error = MessageError;

    fn try_from(meta: WireMeta) -> Result<Self, MessageError> {
        Ok(SnapshotMeta {
            last_log_id: meta.last.map(Into::into),
            last_membership: Membership::new(
                meta.membership_at.map(Into::into),
                entry::decode_members(&meta.members)?,
            ),
        })
    }
}

impl From<Joiner> for Control {
    fn from(joiner: Joiner) -> Control {
        Control::Join { id: joiner.id, peer: joiner.peer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Entry, Proposal};
    use openraft::EntryPayload;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn entry(index: u64, payload: EntryPayload<Proposal, NodeId, Peer>) -> Entry {
        Entry { log_id: WireLogId { term: 3, index }.into(), payload }
    }

    fn joined(request: &AppendEntriesRequest) -> Bytes {
        encode_append(9, request).concat().into()
    }

    fn request() -> AppendEntriesRequest {
        let members = entry::Members::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, Peer::default())]))
            .expect("every voter has an address");
        AppendEntriesRequest {
            vote: WireVote { term: 3, node: 1, committed: true }.into(),
            prev_log_id: Some(WireLogId { term: 2, index: 6 }.into()),
            entries: vec![
                entry(7, EntryPayload::Blank),
                entry(8, EntryPayload::Normal(Proposal(Bytes::from(vec![5; 10_000])))),
                entry(9, EntryPayload::Membership(members)),
                entry(10, EntryPayload::Normal(Proposal(Bytes::new()))),
            ],
            leader_commit: Some(WireLogId { term: 2, index: 4 }.into()),
        }
    }

    #[test]
    fn entries_come_out_as_they_went_in() {
        let request = request();
        let (session, decoded) = decode_append(joined(&request)).expect("a sound message");
        assert_eq!(session, 9);
        assert_eq!(format!("{decoded:?}"), format!("{request:?}"));
        let batches =
            |request: &AppendEntriesRequest| request.entries.iter().map(entry::encode).collect::<Vec<_>>();
        assert_eq!(batches(&decoded), batches(&request));
    }

    #[test]
    fn a_long_batch_is_not_copied() {
        let request = request();
        let EntryPayload::Normal(Proposal(batch)) = &request.entries[1].payload else { unreachable!() };
        let parts = encode_append(9, &request);
        assert!(parts.iter().any(|part| part.as_ptr() == batch.as_ptr() && part.len() == batch.len()));
    }

    #[test]
    fn a_message_cut_or_extended_anywhere_is_refused() {
        let whole = joined(&request());
        for len in 0..whole.len() {
            assert!(
                decode_append(whole.slice(..len)).is_err(),
                "the first {len} bytes were taken for a message"
            );
        }
        assert!(matches!(decode_append([&whole[..], &[0]].concat().into()), Err(MessageError::Surplus)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let payload = Bytes::from(bytes);
            let _ = decode_append(payload.clone());
            let _ = decode_chunk(payload.clone());
            let _ = Control::decode(&Message { kind: Kind::Control, number: 0, payload });
        }
    }
}
