//! Real nodes, openraft and all, over this transport. On one runtime, in virtual time.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use cairn_storage::disk::{Disk, SimDisk};
use cairn_storage::log::{Log, LogOptions};
use cairn_storage::writer::SyncPolicy;
use tokio::time::{Instant, sleep};

use super::Peers;
use super::testing::{MemoryNet, options, peer};
use crate::handle::{APPLIED_BYTES_MAX, Applied, Committed, Handle};
use crate::node::{self, Node, Timing};

/// Virtual time for anything to happen in.
const LIMIT: Duration = Duration::from_secs(30);

struct Member {
    handle: Handle,
    batches: Vec<Bytes>,
    /// The newest term whose first entry has come out: before that its leader proposes nothing.
    begun: u64,
}

impl Member {
    fn start(net: &Arc<MemoryNet>, id: u64) -> Member {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(id));
        let log_options = LogOptions { segment_bytes: 1 << 20, salt: 0 };
        let (log, recovered) = Log::open(disk, Path::new("log"), log_options).expect("an empty disk");
        let transport = Peers::new(net.clone(), options(id));
        let options = node::Options {
            id,
            me: peer(id),
            peers: (1..=3).map(peer).collect(),
            timing: Timing::from_node_timeout(Duration::from_secs(1)),
            log,
            recovered,
            policy: SyncPolicy::Always,
            snapshot: None,
            wake: Arc::new(|| {}),
        };
        let delay = Box::new(|| Duration::from_millis(2));
        let handle = Node::spawn(options, transport, delay).expect("an empty log");
        Member { handle, batches: Vec::new(), begun: 0 }
    }

    fn take(&mut self) {
        let mut applied = VecDeque::new();
        while self.handle.take_applied(&mut applied, APPLIED_BYTES_MAX) {
            for applied in applied.drain(..) {
                match applied {
                    Applied::Entry { entry: Committed::Batch(batch), .. } => self.batches.push(batch),
                    Applied::Entry { entry: Committed::Blank, log_id } => self.begun = log_id.leader_id.term,
                    _ => {}
                }
            }
        }
    }
}

async fn until(members: &mut [Member], what: &str, mut done: impl FnMut(&[Member]) -> bool) {
    let begun = Instant::now();
    while !done(members) {
        if begun.elapsed() >= LIMIT {
            for member in members.iter() {
                let (doubt, status) = (member.handle.doubt(), member.handle.status());
                eprintln!("{} batches, doubt {doubt:?}, {status:?}", member.batches.len());
            }
            panic!("not within {LIMIT:?}: {what}");
        }
        sleep(Duration::from_millis(5)).await;
        members.iter_mut().for_each(Member::take);
    }
}

fn leader(members: &[Member]) -> Option<(&Member, u64)> {
    let leading = |member: &Member| member.handle.leading().filter(|term| *term == member.begun);
    members.iter().find_map(|member| Some((member, leading(member)?)))
}

#[tokio::test(start_paused = true)]
async fn three_nodes_agree_on_what_the_leader_proposes() {
    let net = MemoryNet::new();
    let mut members: Vec<Member> = (1..=3).map(|id| Member::start(&net, id)).collect();
    until(&mut members, "a leader", |members| leader(members).is_some()).await;

    let batches: Vec<Bytes> = (0..500_u32).map(|n| n.to_le_bytes().repeat(20).into()).collect();
    // One that takes the connection for a while. Nobody may be voted out for it.
    let long = Bytes::from(vec![9; 24 << 20]);
    let (first, term) = leader(&members).expect("there is one");
    let id = first.handle.id();
    for batch in batches.iter().chain([&long]).chain(&batches) {
        first.handle.propose(term, batch.clone());
    }
    until(&mut members, "all batches on all nodes", |members| {
        members.iter().all(|member| member.batches.len() == 2 * batches.len() + 1)
    })
    .await;
    let expected: Vec<&Bytes> = batches.iter().chain([&long]).chain(&batches).collect();
    for member in &members {
        assert!(member.batches.iter().eq(expected.iter().copied()), "node {} has others", member.handle.id());
        assert!(
            member.handle.session_door_of(id).is_some() || member.handle.id() == id,
            "a token is missing"
        );
    }
    let (last, same_term) = leader(&members).expect("it goes on");
    assert_eq!((last.handle.id(), same_term), (id, term), "the leader has changed");
    // Three for each of the two followers, a few for votes, hello and back. Not one for each request.
    let connections = net.connections.load(Relaxed);
    assert!(connections < 60, "{connections} connections");
}
