//! What a group of nodes promises.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::world::{Group, Machine, Net, peer, timing, until};
use crate::admin::VoteRequest;
use crate::entry::log_id;
use crate::handle::{Order, Role};
use crate::types::Vote;

#[tokio::test(start_paused = true)]
async fn three_nodes_become_one_group_and_agree() {
    let group = Group::boot(3).await;
    group.write(&["a", "b", "c"]).await;
    assert_eq!(group.agree().await, ["a", "b", "c"]);
    let (leader, term) = group.leader().await;
    let status = group.machine(leader).handle.status();
    assert_eq!((status.role, status.leader, status.term), (Role::Leader, Some(leader), term));
    assert_eq!(status.members.len(), 3);
    assert_eq!(group.machine(leader).handle.proposed_bytes(), 0);
    assert_eq!(group.machine(leader).handle.doubt(), None);
}

#[tokio::test(start_paused = true)]
async fn what_was_committed_survives_the_leader_and_its_last_word_is_in_doubt() {
    let group = Group::boot(3).await;
    let (old, term) = group.leader().await;
    group.write(&["a", "b"]).await;
    group.net.cut(old);
    let machine = group.machine(old);
    machine.handle.propose(term, Bytes::from_static(b"lost"));

    let (new, _) = group.leader().await;
    assert_ne!(new, old);
    group.write(&["c"]).await;
    assert_eq!(group.machine(new).batches(), ["a", "b", "c"]);

    group.net.heal(old);
    until("the old leader hears of the new one", || machine.leads().is_none()).await;
    until("the proposal is in doubt", || machine.handle.doubt().is_some()).await;
    assert_eq!(machine.handle.doubt().unwrap().term, term);
    until("its bytes are accounted for", || machine.handle.proposed_bytes() == 0).await;
    assert_eq!(group.agree().await, ["a", "b", "c"]);

    // A proposal for a term that is over never gets into another one.
    machine.handle.propose(term, Bytes::from_static(b"stale"));
    group.machine(new).handle.propose(term, Bytes::from_static(b"stale too"));
    until("they are refused", || group.machines.iter().all(|machine| machine.handle.proposed_bytes() == 0))
        .await;
    group.write(&["d"]).await;
    assert_eq!(group.agree().await, ["a", "b", "c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_over_before_anybody_else_leads() {
    let group = Group::boot(3).await;
    let (old, term) = group.leader().await;
    let machine = group.machine(old);
    until("the leader has a lease", || machine.handle.lease_is_valid(term)).await;
    assert!(machine.handle.lease_ms() > 300);
    group.net.cut(old);
    let begun = Instant::now();
    let mut ended_at = None;
    loop {
        let valid = machine.handle.lease_is_valid(term);
        if !valid && ended_at.is_none() {
            ended_at = Some(begun.elapsed());
        }
        // Even a round begun now does not bring it back.
        machine.handle.confirm_lease();
        let other = group.machines.iter().any(|machine| machine.id != old && machine.leads().is_some());
        assert!(!(valid && other), "two nodes may answer reads");
        if other {
            break;
        }
        sleep(Duration::from_millis(1)).await;
    }
    let ended_at = ended_at.expect("the lease ended");
    assert!(ended_at < timing().election_max, "for a while two nodes may answer reads");
    assert!(!machine.handle.lease_is_valid(term));
}

#[tokio::test(start_paused = true)]
async fn a_round_prolongs_a_lease_and_a_lease_given_up_stays_so() {
    let group = Group::boot(3).await;
    let (leader, term) = group.leader().await;
    let handle = &group.machine(leader).handle;
    // Between heartbeats the lease only gets shorter, but for a round.
    until("the lease has run down a bit", || handle.lease_is_valid(term) && handle.lease_ms() < 490).await;
    let before = handle.lease_ms();
    handle.confirm_lease();
    until("a quorum has confirmed", || handle.lease_ms() > before).await;
    handle.drop_lease();
    handle.confirm_lease();
    sleep(timing().election_max).await;
    assert!(!handle.lease_is_valid(term));
    assert_eq!(handle.leading(), Some(term), "it still leads");
}

#[tokio::test(start_paused = true)]
async fn a_restarted_node_does_not_vote_at_once() {
    let mut group = Group::boot(3).await;
    group.write(&["a"]).await;
    group.agree().await;
    let (leader, term) = group.leader().await;
    let at = group.machines.iter().position(|machine| machine.id != leader).unwrap();
    let candidate =
        group.machines.iter().find(|machine| machine.id != leader && machine.id != group.machines[at].id);
    let candidate = candidate.unwrap().id;
    let last = group.machine(leader).seen.lock().unwrap().entries.last().unwrap().0;
    // Nobody renews a promise meanwhile.
    group.machines.iter().for_each(|machine| group.net.cut(machine.id));
    let machine = group.machines.remove(at);
    let restarted = machine.restart().await;
    let started = Instant::now();
    let net = group.net.clone();
    until("the node serves again", || net.serves(restarted.id)).await;
    let inbound = net.inbound(restarted.id);
    let request = |transfer| VoteRequest {
        leadership_transfer: transfer,
        ..VoteRequest::new(
            Vote::new(term + 5, candidate),
            Some(log_id(last.committed_leader_id().term, last.index)),
        )
    };
    assert!(inbound.pre_vote(request(false)).await.is_err());
    assert!(inbound.vote(request(false)).await.is_err());
    assert!(inbound.vote(request(true)).await.is_err(), "not even in a hand-over");
    assert_eq!(restarted.handle.status().term, term, "it has not stood for election either");
    sleep(timing().election_max.saturating_sub(started.elapsed())).await;
    assert!(inbound.vote(request(false)).await.unwrap().vote_granted);
}

#[tokio::test(start_paused = true)]
async fn a_vote_is_on_disk_before_it_is_given() {
    let group = Group::boot(3).await;
    let (leader, term) = group.leader().await;
    let voter = group.machines.iter().find(|machine| machine.id != leader).unwrap();
    let candidate = group.machines.iter().find(|machine| ![leader, voter.id].contains(&machine.id)).unwrap();
    group.machines.iter().for_each(|machine| group.net.cut(machine.id));
    sleep(timing().election_max * 2).await;
    let slow = Duration::from_secs(5);
    voter.slow_disk.store(slow.as_millis() as u64, Ordering::Relaxed);
    let vote = Vote::new(term + 20, candidate.id);
    let request = VoteRequest::new(vote, Some(log_id(term + 19, 1_000_000)));
    let syncs = voter.disk.syncs();
    let asked = Instant::now();
    let answer = group.net.inbound(voter.id).vote(request).await.unwrap();
    assert!(answer.vote_granted);
    assert!(asked.elapsed() >= slow && voter.disk.syncs() > syncs, "it was given before it was on disk");
}

#[tokio::test(start_paused = true)]
async fn an_entry_is_acknowledged_only_when_it_is_on_a_majority_of_disks() {
    let group = Group::boot(3).await;
    let (leader, term) = group.leader().await;
    let machine = group.machine(leader);
    // The leader's own disk does not matter as long as both others are fast.
    let slow = Duration::from_secs(5);
    machine.slow_disk.store(slow.as_millis() as u64, Ordering::Relaxed);
    let begun = Instant::now();
    group.write(&["a"]).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "it waited for the slowest disk");
    // With one follower slow too it waits for one of the two.
    let follower = group.machines.iter().find(|machine| machine.id != leader).unwrap();
    follower.slow_disk.store(slow.as_millis() as u64, Ordering::Relaxed);
    sleep(slow * 2).await;
    assert_eq!(machine.leads(), Some(term), "slow disks do not cost the leadership");
    let begun = Instant::now();
    group.write(&["b"]).await;
    assert!(begun.elapsed() >= slow, "it was acknowledged with one disk out of three");
}

#[tokio::test(start_paused = true)]
async fn the_leadership_is_handed_over() {
    let group = Group::boot(3).await;
    group.write(&["a"]).await;
    let (old, term) = group.leader().await;
    let machine = group.machine(old);
    let to = group.machines.iter().find(|machine| machine.id != old).unwrap().id;
    let begun = Instant::now();
    machine.order(Order::Transfer { to: Some(to) }).await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());
    assert!(!machine.handle.lease_is_valid(term));
    let (new, next) = group.leader().await;
    assert_eq!(new, to);
    assert!(next > term);
    assert!(machine.order(Order::Transfer { to: None }).await.is_err(), "it does not lead any more");
    group.write(&["b"]).await;
    assert_eq!(group.agree().await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_hand_over_to_nobody_says_so() {
    let group = Group::boot(3).await;
    let (leader, _) = group.leader().await;
    let machine = group.machine(leader);
    assert!(machine.order(Order::Transfer { to: Some(leader) }).await.is_err());
    assert!(machine.order(Order::Transfer { to: Some(4711) }).await.is_err());
    group
        .machines
        .iter()
        .filter(|machine| machine.id != leader)
        .for_each(|machine| group.net.cut(machine.id));
    sleep(timing().election_max).await;
    assert!(machine.order(Order::Transfer { to: None }).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_term_is_given_up_with_others_and_alone() {
    for nodes in [3, 1] {
        let group = Group::boot(nodes).await;
        group.write(&["a"]).await;
        let (leader, term) = group.leader().await;
        group.machine(leader).order(Order::GiveUpTerm { term }).await.unwrap();
        assert_ne!(group.machine(leader).leads(), Some(term));
        until("a later term begins", || group.machines.iter().any(|machine| machine.leads() > Some(term)))
            .await;
        group.write(&["b"]).await;
        assert_eq!(group.agree().await, ["a", "b"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_is_met_and_forgotten() {
    let mut group = Group::boot(1).await;
    group.write(&["a", "b"]).await;
    let met = Machine::new(&group.net, 2, 22, &[]);
    until("it waits to be met", || met.role() == Role::Alone).await;
    let at = |n: u16| Order::Meet {
        host: "127.0.0.1".into(),
        port: peer(n).port,
        cluster_port: peer(n).cluster_port,
    };
    until("it listens", || group.net.serves(22)).await;
    group.machines[0].order(at(2)).await.unwrap();
    group.machines.push(met);
    until("it is a voter", || group.machines.iter().all(|machine| machine.voters() == [11, 22])).await;
    assert_eq!(group.agree().await, ["a", "b"]);
    assert!(group.machines[0].order(at(1)).await.is_err(), "a node does not meet itself");
    group.machines[0].order(at(2)).await.expect("it is a member already");

    // The other way round: an empty node asks a member, which does not have to be the leader.
    let third = Machine::new(&group.net, 3, 33, &[]);
    until("it listens", || group.net.serves(33)).await;
    third.order(at(1)).await.unwrap();
    group.machines.push(third);
    group.write(&["c"]).await;
    assert_eq!(group.agree().await, ["a", "b", "c"]);
    until("all know", || group.machines.iter().all(|machine| machine.voters() == [11, 22, 33])).await;

    let (leader, _) = group.leader().await;
    assert!(group.machine(leader).order(Order::Forget { node: leader }).await.is_err());
    assert!(group.machine(leader).order(Order::Forget { node: 4711 }).await.is_err());
    let node = group.machines.iter().find(|machine| machine.id != leader).unwrap().id;
    group.machine(leader).order(Order::Forget { node }).await.unwrap();
    until("it is no member", || group.machine(leader).handle.status().members.len() == 2).await;
    group.machines.retain(|machine| machine.id != node);
    group.write(&["d"]).await;
    assert_eq!(group.agree().await, ["a", "b", "c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lost_its_disk_takes_its_former_place() {
    let mut group = Group::boot(3).await;
    group.write(&["a", "b"]).await;
    let (leader, _) = group.leader().await;
    let at = group.machines.iter().position(|machine| machine.id != leader).unwrap();
    let lost = group.machines.remove(at);
    let n = lost.peer.port - 7000;
    lost.stop().await;
    let peers = [peer(1), peer(2), peer(3)];
    group.machines.push(Machine::new(&group.net, n, 99, &peers));
    let mut expected: Vec<u64> = group.machines.iter().map(|machine| machine.id).collect();
    expected.sort();
    until("it is a voter in its place", || {
        group
            .machines
            .iter()
            .all(|machine| machine.voters() == expected && machine.handle.status().members.len() == 3)
    })
    .await;
    group.write(&["c"]).await;
    assert_eq!(group.agree().await, ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_takes_the_place_of_a_node_that_lives() {
    let group = Group::boot(3).await;
    let (leader, _) = group.leader().await;
    let victim = group.machines.iter().find(|machine| machine.id != leader).unwrap();
    let joiner = crate::admin::Joiner { id: 4711, peer: victim.peer.clone() };
    let refused = group.net.inbound(leader).join(joiner).await;
    assert!(refused.unwrap_err().contains("alive"));
    assert_eq!(group.machine(leader).voters().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_away_for_long_gets_a_snapshot() {
    let group = Group::boot(3).await;
    let (leader, _) = group.leader().await;
    let away = group.machines.iter().find(|machine| machine.id != leader).unwrap();
    group.write(&["a"]).await;
    group.net.cut(away.id);
    let long = "x".repeat(20_000);
    let many: Vec<String> = (0..30).map(|n| format!("{n}{long}")).collect();
    for batch in &many {
        group.write(&[batch]).await;
    }
    let machine = group.machine(leader);
    let index = machine.snapshot();
    machine.handle.purge(index);
    until("the log is purged", || machine.handle.status().purged == index).await;
    until("its files are gone", || machine.handle.log().first_index() > 10).await;
    group.net.heal(away.id);
    until("the snapshot is installed", || away.seen.lock().unwrap().installed > 0).await;
    group.write(&["z"]).await;
    assert_eq!(group.agree().await.len(), 32);
    until("it is told", || {
        away.handle.status().snapshots_received > 0 && machine.handle.status().snapshots_sent > 0
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_whole_group_that_restarts_has_lost_nothing() {
    let mut group = Group::boot(3).await;
    group.write(&["a", "b", "c"]).await;
    group.agree().await;
    group.machines[0].snapshot();
    let mut restarted = Vec::new();
    for machine in group.machines.drain(..) {
        restarted.push(machine.restart().await);
    }
    group.machines = restarted;
    group.write(&["d"]).await;
    assert_eq!(group.agree().await, ["a", "b", "c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn no_group_begins_before_all_answer() {
    let net = Net::default();
    let peers = [peer(1), peer(2)];
    let first = Machine::new(&net, 1, 11, &peers);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(first.role(), Role::Alone);
    let second = Machine::new(&net, 2, 22, &peers);
    let group = Group { net, machines: vec![first, second] };
    group.write(&["a"]).await;
    assert_eq!(group.agree().await, ["a"]);
}
