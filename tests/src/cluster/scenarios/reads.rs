//! A leader that has been deposed without knowing answers no read with what it had.

use anyhow::{Context, ensure};
use std::time::Duration;

use super::{HEAL_LIMIT, SCENARIO, Scenario, Stage};
use crate::golden::{Received, Reply};
use crate::server::Connection;

/// Connections with a read that waits in the paused node's socket.
const READERS: usize = 40;
/// A reply, an error or the end of the connection comes within this time once the node goes on.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

pub(super) const PAUSED_READS: Scenario = Scenario {
    name: "paused-reads",
    summary: "a paused leader finds reads in its sockets when it goes on, and another has written meanwhile",
    round: paused_reads,
    ..SCENARIO
};

fn paused_reads(stage: &mut Stage) -> anyhow::Result<()> {
    let key = format!("paused-reads-{}", stage.rng.next());
    let leader = stage.leader()?;
    let ok = Reply::Simple(b"OK".to_vec());
    ensure!(stage.cluster.ask(leader, &["SET", &key, "old"])? == ok, "the old value is not taken");
    let directory = stage.cluster.directory();
    let connect = || directory.connect(leader, HEAL_LIMIT);
    let mut readers: Vec<Connection> = (0..READERS).map(|_| connect()).collect::<Result<_, _>>()?;
    for reader in &mut readers {
        // The leader serves this connection itself, and has done so before.
        let read = reader.call(&["GET", &key], HEAL_LIMIT)?;
        ensure!(read == Reply::Bulk(b"old".to_vec()), "GET answers {read}");
    }
    stage.cluster.nodes[leader].pause();
    for reader in &mut readers {
        reader.send(&[b"GET".to_vec(), key.clone().into_bytes()])?;
    }
    stage.cluster.wait("another leader that writes", HEAL_LIMIT, |cluster| {
        let next = cluster.leader()?;
        (cluster.ask(next, &["SET", &key, "new"]).ok()? == Reply::Simple(b"OK".to_vec())).then_some(())
    })?;
    // With the write acknowledged at any point of the old leader's lease as it counts it, and after.
    stage.let_pass(0, 500);
    stage.cluster.nodes[leader].resume();
    let (mut new, mut refused, mut closed) = (0, 0, 0);
    for reader in &mut readers {
        match reader.receive(ANSWER_LIMIT)? {
            Received::Reply(Reply::Bulk(value)) => {
                ensure!(value == b"new", "a read was answered with what another leader has replaced");
                new += 1;
            }
            Received::Reply(Reply::Error(_)) => refused += 1,
            Received::Closed => closed += 1,
            other => anyhow::bail!("a read of a deposed leader is answered with {other:?}"),
        }
    }
    println!("  round {}: {new} new, {refused} errors, {closed} closed", stage.round);
    // Once it follows, it has the new value for all.
    stage.await_caught_up(leader).context("the deposed leader")?;
    stage.cluster.wait("the new value", HEAL_LIMIT, |cluster| {
        (cluster.ask(leader, &["GET", &key]).ok()? == Reply::Bulk(b"new".to_vec())).then_some(())
    })
}
