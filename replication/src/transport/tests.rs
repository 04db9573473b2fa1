//! Two nodes, from the caller's openraft to the callee's.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{pending, poll_fn};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError};
use openraft::network::{RPCOption, RaftNetworkV2};
use openraft::raft::StreamAppendError;
use openraft::{Membership as Members, RaftNetworkFactory};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use tokio::time::Instant;

use super::ListenAt;
use super::client::Client;
use super::net::{Net, TokioNet};
use super::testing::*;
use super::tls::Tls;
use crate::admin::*;
use crate::snapshot::{Snapshot, SnapshotData};
use crate::types::{Membership, SnapshotMeta};

fn ttl(ms: u64) -> RPCOption {
    RPCOption::new(Duration::from_millis(ms))
}

async fn replication(from: &Started, to: u64) -> Client {
    from.peers.factory().new_client(to, &peer(to)).await
}

async fn heartbeats(from: &Started, to: u64) -> Client {
    from.peers.factory().new_heartbeat_client(to, &peer(to)).await
}

/// One heartbeat as openraft sends it.
async fn beat(client: &mut Client) -> Result<(), RPCError<crate::types::TypeConfig>> {
    let requests = stream::iter([heartbeat()]);
    let mut answers = client.stream_append(requests, ttl(100)).await?;
    answers.next().await.expect("an answer or an error")?.expect("a heartbeat never conflicts");
    assert!(answers.next().await.is_none(), "one request, two answers");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_node_says_who_it_is() {
    let net = MemoryNet::new();
    let (one, two) = pair(&net).await;
    assert_eq!(one.peers.hello("n2", 2).await, Ok(info(2)));
    tokio::task::yield_now().await;
    assert_eq!(*one.node.met.lock().expect("sound"), [info(2)]);
    assert_eq!(*two.node.met.lock().expect("sound"), [info(1)]);
    let nobody = one.peers.hello("n3", 2).await.expect_err("nobody is there");
    assert!(nobody.contains("n3:2") && nobody.contains("refused"), "{nobody}");
}

#[tokio::test(start_paused = true)]
async fn secrets_must_agree_on_both_sides() {
    let secrets = [None, Some(b"a".to_vec()), Some(b"b".to_vec())];
    for (mine, theirs) in secrets.iter().flat_map(|mine| secrets.iter().map(move |theirs| (mine, theirs))) {
        let net = MemoryNet::new();
        let mut options = [options(1), options(2)];
        options[0].secret.clone_from(mine);
        options[1].secret.clone_from(theirs);
        let [first, second] = options;
        let one = start(net.clone(), 1, first).await;
        let two = start(net.clone(), 2, second).await;
        let hello = one.peers.hello("n2", 2).await;
        tokio::task::yield_now().await;
        let met = one.node.met.lock().expect("sound").len() + two.node.met.lock().expect("sound").len();
        if mine == theirs {
            assert_eq!((hello, met), (Ok(info(2)), 2));
        } else {
            let error = hello.expect_err("the secrets differ");
            assert!(error.contains("secret"), "{error}");
            assert_eq!(met, 0, "a token was shown to who has proved nothing");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_another_one_is_not_spoken_to() {
    let net = MemoryNet::new();
    let one = start(net.clone(), 1, options(1)).await;
    // At the address of node 2, with an empty disk: a new id.
    let wiped = start(net.clone(), 7, options(2)).await;
    let mut client = replication(&one, 2).await;
    let error = client.append_entries(heartbeat(), ttl(1000)).await.expect_err("it is node 7");
    assert!(matches!(&error, RPCError::Unreachable(_)), "{error:?}");
    assert!(error.to_string().contains("another node"), "{error}");
    assert!(wiped.node.notes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn answers_come_in_order_and_many_requests_are_under_way() {
    let net = MemoryNet::new();
    let (one, two) = pair(&net).await;
    two.node.manner.lock().expect("sound").delay = Duration::from_millis(10);
    let mut client = replication(&one, 2).await;
    let counted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&counted);
    let requests = (0..200).map(|index| append(index, Bytes::from(vec![index as u8; 3000])));
    let requests = stream::iter(requests).inspect(move |_| {
        counter.fetch_add(1, Relaxed);
    });
    let mut answers = client.stream_append(requests, ttl(100)).await.expect("a connection");
    for index in 0..200 {
        let answer = answers.next().await.expect("an answer").expect("a connection");
        assert_eq!(answer, Ok(Some(log_id(index))));
        if index == 0 {
            assert_eq!(counted.load(Relaxed), 64, "the window is to be filled, and not more");
        }
    }
    assert!(answers.next().await.is_none());
    assert_eq!(two.node.entries.lock().expect("sound").len(), 200);
    assert_eq!(net.connections.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_ends_the_stream_and_the_next_one_goes_on() {
    let net = MemoryNet::new();
    let (one, two) = pair(&net).await;
    two.node.manner.lock().expect("sound").conflict_from = Some(3);
    let mut client = replication(&one, 2).await;
    let requests = || stream::iter((0..20).map(|index| append(index, Bytes::from_static(b"batch"))));
    let answers = client.stream_append(requests(), ttl(100)).await.expect("a connection");
    let answers: Vec<_> = answers.map(|answer| answer.expect("a connection")).collect().await;
    let conflict = Err(StreamAppendError::Conflict(log_id(3)));
    assert_eq!(answers, [Ok(Some(log_id(0))), Ok(Some(log_id(1))), Ok(Some(log_id(2))), conflict]);

    *two.node.manner.lock().expect("sound") = Manner::default();
    let answers = client.stream_append(requests(), ttl(100)).await.expect("a connection");
    assert_eq!(answers.count().await, 20);
    assert_eq!(two.node.notes().len(), 3 + 20, "what followed on the conflict was taken");

    two.node.manner.lock().expect("sound").refuse_from = Some(0);
    let mut answers = client.stream_append(requests(), ttl(100)).await.expect("a connection");
    let error = answers.next().await.expect("an answer").expect_err("refused");
    assert!(matches!(&error, RPCError::Unreachable(_)), "{error:?}");
    assert!(error.to_string().contains("the disk is gone"), "{error}");
    assert!(answers.next().await.is_none());
    assert_eq!(net.connections.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_long_entry_does_not_delay_a_heartbeat() {
    let net = MemoryNet::new();
    let (one, two) = pair(&net).await;
    let mut entries = replication(&one, 2).await;
    let mut beats = heartbeats(&one, 2).await;
    let batch = Bytes::from(vec![7; 64 << 20]);
    let log = Arc::clone(&two.node);
    let long = async {
        let appended = entries.append_entries(append(0, batch.clone()), ttl(100)).await;
        log.note("long answered");
        appended.expect("it fits")
    };
    let short = async {
        for _ in 0..5 {
            beat(&mut beats).await.expect("a heartbeat");
            log.note("heartbeat answered");
        }
    };
    let (appended, ()) = tokio::join!(long, short);
    assert!(appended.is_success(), "{appended:?}");
    let notes = two.node.notes();
    let entry = notes.iter().position(|note| note == "entries up to 0").expect("it has arrived");
    let last = notes.iter().rposition(|note| note == "heartbeat answered").expect("they were answered");
    assert!(last < entry, "heartbeats waited for the entry: {notes:?}");
    let received = two.node.entries.lock().expect("sound")[0].payload.clone();
    let openraft::EntryPayload::Normal(received) = received else { panic!("a batch was sent") };
    assert!(received.0 == batch, "the entry has changed on its way");
}

#[tokio::test(start_paused = true)]
async fn whoever_stops_waiting_gets_the_right_answer_next_time() {
    let net = MemoryNet::new();
    let (one, two) = pair(&net).await;
    let mut client = heartbeats(&one, 2).await;
    beat(&mut client).await.expect("a heartbeat");
    two.node.manner.lock().expect("sound").delay = Duration::from_millis(200);
    // openraft's worker gives up after the heartbeat interval.
    for _ in 0..2 {
        tokio::time::timeout(Duration::from_millis(50), beat(&mut client)).await.expect_err("it is slow");
    }
    let late = beat(&mut client).await.expect_err("it takes longer than soft_ttl");
    assert!(matches!(late, RPCError::Timeout(_)), "{late:?}");
    *two.node.manner.lock().expect("sound") = Manner::default();
    tokio::time::sleep(Duration::from_secs(5)).await;
    beat(&mut client).await.expect("it is quick again");
    assert_eq!(two.node.notes().len(), 5);
    assert_eq!(net.connections.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_says_that_it_lives_is_waited_for() {
    let net = MemoryNet::new();
    let (one, two) = pair(&net).await;
    two.node.manner.lock().expect("sound").delay = Duration::from_secs(30);
    let mut client = replication(&one, 2).await;
    let appended = client.append_entries(append(0, Bytes::new()), ttl(100)).await.expect("a slow disk");
    assert!(appended.is_success());
    let joiner = Joiner { id: 3, peer: peer(3) };
    assert_eq!(one.peers.join(&peer(2), joiner).await, Err("there is no room".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_says_nothing_is_given_up() {
    let net = MemoryNet::new();
    let (one, two) = pair(&net).await;
    let (mut entries, mut beats) = (replication(&one, 2).await, heartbeats(&one, 2).await);
    entries.append_entries(append(0, Bytes::new()), ttl(100)).await.expect("a connection");
    beat(&mut beats).await.expect("a connection");
    // As if its process had been stopped.
    net.stopped.store(true, Relaxed);
    let begun = Instant::now();
    let error = entries.append_entries(append(1, Bytes::new()), ttl(100)).await.expect_err("silence");
    assert!(matches!(error, RPCError::Timeout(_)), "{error:?}");
    assert_eq!(begun.elapsed().as_millis(), 1000, "the connection is given up after Options::silence");
    let error = entries.append_entries(append(1, Bytes::new()), ttl(100)).await.expect_err("silence");
    assert!(matches!(error, RPCError::Unreachable(_)), "{error:?}");
    for _ in 0..50 {
        tokio::time::timeout(Duration::from_millis(100), beat(&mut beats))
            .await
            .expect("soft_ttl")
            .expect_err("silence");
    }
    let tried = net.connections.load(Relaxed);
    assert!(tried < 2 + 10, "{tried} connections were made to a node that does not answer");

    net.stopped.store(false, Relaxed);
    while entries.append_entries(append(1, Bytes::new()), ttl(100)).await.is_err() {}
    while beat(&mut beats).await.is_err() {}
    assert_eq!(two.node.entries.lock().expect("sound").last().expect("entries").log_id, log_id(1));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_node_is_found_again() {
    let net = MemoryNet::new();
    let (one, two) = pair(&net).await;
    let mut client = heartbeats(&one, 2).await;
    beat(&mut client).await.expect("a heartbeat");
    drop(two);
    tokio::task::yield_now().await;
    let two = start(net.clone(), 2, options(2)).await;
    beat(&mut client).await.expect("the broken connection is noticed before it is used");
    assert_eq!(two.node.notes(), ["heartbeat"]);
}

#[tokio::test(start_paused = true)]
async fn votes_share_a_connection_and_keep_their_answers_apart() {
    let net = MemoryNet::new();
    let (one, two) = pair(&net).await;
    let mut request = VoteRequest::new(vote(5), Some(log_id(9)));
    request.leadership_transfer = true;
    two.node.manner.lock().expect("sound").delay = Duration::from_millis(100);
    let late = replication(&one, 2).await.vote(request.clone(), ttl(50)).await;
    assert!(matches!(late, Err(RPCError::Timeout(_))), "{late:?}");
    let answer = replication(&one, 2).await.pre_vote(request.clone(), ttl(1000)).await.expect("an answer");
    assert_eq!(answer, VoteResponse::new(vote(5), None, false));
    let answer = replication(&one, 2).await.vote(request, ttl(1000)).await.expect("an answer");
    assert_eq!(answer, VoteResponse::new(vote(5), Some(log_id(9)), true));
    let transfer = TransferLeaderRequest::new(vote(5), 2, Some(log_id(9)));
    assert_eq!(replication(&one, 2).await.transfer_leader(transfer, ttl(1000)).await, Ok(Ok(())));
    assert_eq!(two.node.notes(), ["vote", "pre-vote", "vote", "transfer to 2"]);
    assert_eq!(net.connections.load(Relaxed), 1);
}

fn snapshot(content: &Bytes) -> Snapshot {
    let members = Members::new(vec![BTreeSet::from([1, 2])], BTreeMap::from([(1, peer(1)), (2, peer(2))]));
    let membership = Membership::new(Some(log_id(2)), members.expect("all have addresses"));
    let meta = SnapshotMeta { last_log_id: Some(log_id(41)), last_membership: membership };
    Snapshot { meta, snapshot: SnapshotData::Stored(content.clone()) }
}

fn content(len: usize) -> Bytes {
    (0..len).map(|n| (n * 31 % 253) as u8).collect::<Vec<_>>().into()
}

async fn send_snapshot(
    client: &mut Client,
    content: &Bytes,
) -> Result<Installed, StreamingError<crate::types::TypeConfig>> {
    client.full_snapshot(vote(1), snapshot(content), pending(), ttl(1000)).await
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_goes_on_where_the_connection_broke() {
    let net = MemoryNet::new();
    let (one, two) = pair(&net).await;
    let mut client = one.peers.factory().new_snapshot_client(2, &peer(2)).await;
    let content = content(9_000_001);
    net.cut_after.store(6_000_000, Relaxed);
    let error = send_snapshot(&mut client, &content).await.expect_err("the connection breaks");
    assert!(matches!(error, StreamingError::Network(_)), "{error:?}");
    assert!(two.node.notes().is_empty());

    net.cut_after.store(NEVER, Relaxed);
    let before = net.sent.load(Relaxed);
    let installed = send_snapshot(&mut client, &content).await.expect("the rest of it");
    assert_eq!(installed.vote, vote(1));
    let sent = net.sent.load(Relaxed) - before;
    assert!(sent < 4_000_000, "{sent} bytes: it has begun anew");
    let mut received = two.node.snapshots.lock().expect("sound").pop().expect("a snapshot");
    assert_eq!(received.meta, snapshot(&content).meta);
    assert!(received.content == content, "it is not what was sent");
    received.file.flush().expect("a sound disk");
    assert_eq!(received.file.commit().expect("a sound disk"), content.len() as u64);
    assert!(two.snapshots.map("dump.rdb").expect("it has its name") == content);
}

#[tokio::test(start_paused = true)]
async fn another_snapshot_of_the_same_entry_begins_anew() {
    let net = MemoryNet::new();
    let (one, two) = pair(&net).await;
    let mut client = one.peers.factory().new_snapshot_client(2, &peer(2)).await;
    let first = content(3_000_000);
    let mut other = first.to_vec();
    other[100] ^= 1;
    let other = Bytes::from(other);
    net.cut_after.store(2_000_000, Relaxed);
    send_snapshot(&mut client, &first).await.expect_err("the connection breaks");
    net.cut_after.store(NEVER, Relaxed);
    send_snapshot(&mut client, &other).await.expect("a snapshot");
    let received = two.node.snapshots.lock().expect("sound").pop().expect("a snapshot");
    assert!(received.content == other, "parts of two snapshots were put together");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_called_off_stops() {
    let net = MemoryNet::new();
    let (one, two) = pair(&net).await;
    let mut client = one.peers.factory().new_snapshot_client(2, &peer(2)).await;
    let content = content(3_000_000);
    // After the first pieces.
    let sent = Arc::clone(&net.sent);
    let cancel = poll_fn(move |cx| {
        cx.waker().wake_by_ref();
        if sent.load(Relaxed) > 300_000 {
            Poll::Ready(ReplicationClosed::new("enough"))
        } else {
            Poll::Pending
        }
    });
    let error = client.full_snapshot(vote(1), snapshot(&content), cancel, ttl(1000)).await;
    assert!(matches!(error, Err(StreamingError::Closed(_))), "{error:?}");
    assert!(two.node.notes().is_empty());
    send_snapshot(&mut client, &content).await.expect("on a new connection");
    assert_eq!(net.connections.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn strangers_are_limited_in_number_and_time() {
    let net = MemoryNet::new();
    let (one, _two) = pair(&net).await;
    let mut strangers = Vec::new();
    for _ in 0..64 {
        strangers.push(net.connect("n2", 2).await.expect("it listens"));
    }
    tokio::task::yield_now().await;
    let error = one.peers.hello("n2", 2).await.expect_err("there is no room for another one");
    assert!(error.contains("closed"), "{error}");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(one.peers.hello("n2", 2).await, Ok(info(2)));
    let mut byte = [0];
    for mut stranger in strangers {
        let read = tokio::io::AsyncReadExt::read(&mut stranger, &mut byte).await;
        assert!(matches!(read, Ok(0) | Err(_)), "a stranger is still there");
    }
}

#[tokio::test(start_paused = true)]
async fn the_newest_connections_of_a_peer_are_kept() {
    let net = MemoryNet::new();
    let (one, two) = pair(&net).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = heartbeats(&one, 2).await;
        beat(&mut client).await.expect("a heartbeat");
        clients.push(client);
    }
    beat(&mut clients[19]).await.expect("a heartbeat");
    assert_eq!(net.connections.load(Relaxed), 20);
    beat(&mut clients[0]).await.expect("a heartbeat, over a new connection");
    assert_eq!(net.connections.load(Relaxed), 21);
    assert_eq!(two.node.notes().len(), 22);
}

/// An authority and what makes a node's certificate.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// A certificate signed by this authority, for a node that trusts `trusted`.
    fn node(&self, trusted: &Authority) -> Tls {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["some-name".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Tls::new(vec![certificate.der().clone()], key, vec![trusted.0.der().clone()])
            .expect("sound certificates")
    }
}

async fn with_tls(net: &Arc<MemoryNet>, id: u64, tls: Option<Tls>) -> Started {
    let mut options = options(id);
    options.tls = tls;
    options.secret = Some(b"secret".to_vec());
    start(net.clone(), id, options).await
}

#[tokio::test]
async fn tls_lets_in_who_the_authority_knows_and_nobody_else() {
    let (ours, strange) = (Authority::new(), Authority::new());
    let net = MemoryNet::new();
    let one = with_tls(&net, 1, Some(ours.node(&ours))).await;
    let two = with_tls(&net, 2, Some(ours.node(&ours))).await;
    let mut client = replication(&one, 2).await;
    let batch = Bytes::from(vec![3; 5 << 20]);
    client.append_entries(append(0, batch), ttl(10_000)).await.expect("entries over TLS");
    assert_eq!(two.node.notes(), ["entries up to 0"]);

    // Known to nobody, trusting us; trusting nobody of us; speaking plainly.
    for (id, tls) in [(3, Some(strange.node(&ours))), (4, Some(ours.node(&strange))), (5, None)] {
        let node = with_tls(&net, id, tls).await;
        node.peers.hello("n2", 2).await.expect_err("it is none of us");
        one.peers.hello(&format!("n{id}"), 2).await.expect_err("it is none of us");
        assert!(node.node.met.lock().expect("sound").is_empty(), "node {id} has got in");
    }
    let met = two.node.met.lock().expect("sound").clone();
    assert!(met.iter().all(|peer| peer.id == 1), "{met:?}");
}

#[tokio::test]
async fn renewed_certificates_count_for_new_connections() {
    let (old, new) = (Authority::new(), Authority::new());
    let net = MemoryNet::new();
    let ends = [old.node(&old), old.node(&old)];
    let one = with_tls(&net, 1, Some(ends[0].clone())).await;
    let _two = with_tls(&net, 2, Some(ends[1].clone())).await;
    one.peers.hello("n2", 2).await.expect("one authority");
    ends[1].renew(new.node(&new));
    one.peers.hello("n2", 2).await.expect_err("one goes by the old files");
    ends[0].renew(new.node(&new));
    one.peers.hello("n2", 2).await.expect("one authority again");
}

#[tokio::test]
async fn certificates_come_from_files() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().expect("a directory"));
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::default().signed_by(&key, &authority.0).expect("a certificate");
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("node.crt"), certificate.pem()).expect("a disk");
    std::fs::write(path("node.key"), key.serialize_pem()).expect("a disk");
    std::fs::write(path("ca.crt"), authority.0.pem()).expect("a disk");
    Tls::load(&path("node.crt"), &path("node.key"), &path("ca.crt")).expect("sound files");
    let error =
        Tls::load(&path("node.key"), &path("node.key"), &path("ca.crt")).expect_err("a key, no certificate");
    assert!(error.contains("node.key"), "{error}");
    let error = Tls::load(&path("node.crt"), &path("none.key"), &path("ca.crt")).expect_err("no file");
    assert!(error.contains("none.key"), "{error}");
}

#[tokio::test]
async fn it_works_over_the_operating_system() {
    let net = Arc::new(TokioNet);
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = port.expect("a free port").port();
    let listening = |id| {
        let mut options = options(id);
        let local = ListenAt { host: "127.0.0.1".to_owned(), optional: false };
        options.listen = if id == 2 { vec![local] } else { vec![] };
        options.port = port;
        options.secret = Some(b"secret".to_vec());
        options
    };
    let one = start(net.clone(), 1, listening(1)).await;
    let two = start(net.clone(), 2, listening(2)).await;
    assert_eq!(one.peers.hello("localhost", port).await, Ok(info(2)));
    let mut at = peer(2);
    (at.host, at.cluster_port) = ("127.0.0.1".to_owned(), port);
    let mut client = one.peers.factory().new_client(2, &at).await;
    let requests = stream::iter((0..100).map(|index| append(index, Bytes::from(vec![1; 100_000]))));
    let answers = client.stream_append(requests, ttl(10_000)).await.expect("a connection");
    assert_eq!(answers.count().await, 100);
    let mut client = one.peers.factory().new_snapshot_client(2, &at).await;
    let content = content(5_000_000);
    send_snapshot(&mut client, &content).await.expect("a snapshot");
    assert!(two.node.snapshots.lock().expect("sound")[0].content == content);
}
