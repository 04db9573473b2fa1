//! WAIT and WAITAOF: who has this connection's writes.

use crate::args::{Args, parse_i64};
use crate::client::{ReplicaWait, TimeoutReply};
use crate::cluster::ClusterView;
use crate::command::{COMMAND, Category, Command, Flag, Group};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::host::Request;

pub(super) static WAIT: Command = Command {
    name: "wait",
    arity: 3,
    group: Group::Generic,
    since: "3.0.0",
    categories: &[Category::Connection],
    summary: "Waits until so many replicas have this connection's writes, and returns how many have.",
    syntax: "numreplicas:integer timeout:integer",
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    run: wait,
    ..COMMAND
};

fn wait(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let wanted = args.int(1)?;
    let deadline_ms = timeout(cx, args.at(2))?;
    let replicas = usize::try_from(wanted).unwrap_or(0);
    if let Some(view) = cx.host.cluster() {
        check_leads(&view, "WAIT")?;
        return wait_for_nodes(cx, replicas, None, deadline_ms);
    }
    check_is_master(cx, "WAIT")?;
    wait_for_replicas(cx, replicas, deadline_ms, None);
    Ok(())
}

/// WAIT of a single node: for replicas of Redis's kind, who are asked how far they have come.
fn wait_for_replicas(cx: &mut Context<'_>, replicas: usize, deadline_ms: Option<i64>, local: Option<bool>) {
    let offset = cx.client.written_offset;
    let position = cx.client.written_seq;
    let mut wait = ReplicaWait { position, replicas, local, index: None, offset };
    let so_far = cx.shared.progress(cx.host, &mut wait);
    if so_far.is_enough(&wait) || !cx.may_block() {
        so_far.reply(&wait, cx.reply);
    } else {
        cx.shared.effects.ask_replicas();
        cx.block_on_replicas(wait, deadline_ms);
    }
}

pub(super) static WAITAOF: Command = Command {
    name: "waitaof",
    arity: 4,
    group: Group::Generic,
    since: "7.2.0",
    flags: &[Flag::Blocking],
    categories: &[Category::Connection],
    summary: "Waits until this connection's writes are on the disk here and on so many replicas.",
    syntax: "numlocal:integer numreplicas:integer timeout:integer",
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    run: waitaof,
    ..COMMAND
};

/// What WAITAOF says when there is no log, and when it goes away meanwhile.
pub(crate) const WAITAOF_WITHOUT_LOG: &str =
    "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";

fn waitaof(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let local = args.int(1)?;
    if !(0..=1).contains(&local) {
        return Err("ERR value is out of range, value must between 0 and 1".into());
    }
    let replicas = args.int(2)?;
    if replicas < 0 {
        return Err("ERR value is out of range, must be positive".into());
    }
    let deadline_ms = timeout(cx, args.at(3))?;
    let cluster = cx.host.cluster();
    match &cluster {
        Some(view) => check_leads(view, "WAITAOF")?,
        None => check_is_master(cx, "WAITAOF")?,
    }
    if local == 1 && !cx.shared.effects.enabled() {
        return Err(WAITAOF_WITHOUT_LOG.into());
    }
    if cluster.is_some() {
        let replicas = usize::try_from(replicas).unwrap_or(usize::MAX);
        return wait_for_nodes(cx, replicas, Some(local == 1), deadline_ms);
    }
    let position = cx.client.written_seq;
    let synced = cx.shared.effects.enabled() && cx.host.facts().log_synced >= position;
    if replicas > 0 {
        let replicas = usize::try_from(replicas).unwrap_or(usize::MAX);
        wait_for_replicas(cx, replicas, deadline_ms, Some(local == 1));
        return Ok(());
    }
    if synced || local == 0 || !cx.may_block() {
        cx.reply.array(2);
        cx.reply.int(i64::from(synced));
        cx.reply.int(0);
        return Ok(());
    }
    cx.host.request(Request::WaitSynced { client: cx.client.slot, position });
    cx.block_on_host(deadline_ms, TimeoutReply::Synced { position, local: local == 1 });
    Ok(())
}

fn check_leads(view: &ClusterView, command: &str) -> CommandResult {
    if view.leads() {
        return Ok(());
    }
    Err(format!("ERR {command} cannot be used with replica instances.").into())
}

/// Of a single server: nobody has more than a replica has.
fn check_is_master(cx: &Context<'_>, command: &str) -> CommandResult {
    if cx.shared.following.is_none() {
        return Ok(());
    }
    // Redis's words.
    let since = if command == "WAIT" {
        " since Redis 4.0 if a replica is configured to be writable (which is not the default)"
    } else {
        ""
    };
    let text = format!(
        "ERR {command} cannot be used with replica instances. Please also note that{since} writes to replicas are just \
         local and are not propagated."
    );
    Err(text.into())
}

/// WAIT and WAITAOF in a cluster. A write that was acknowledged is on the disks of a majority anyway; this is for who
/// wants more, and tells how many nodes besides this one have it: never more than are known to.
fn wait_for_nodes(
    cx: &mut Context<'_>,
    replicas: usize,
    local: Option<bool>,
    deadline_ms: Option<i64>,
) -> CommandResult {
    // What the running transaction has written so far has a position that nothing shows yet.
    let position =
        if cx.shared.effects.in_unit() { cx.shared.effects.open_seq() } else { cx.client.written_seq };
    let mut wait = ReplicaWait { position, replicas, local, index: None, offset: 0 };
    let so_far = cx.shared.progress(cx.host, &mut wait);
    if so_far.is_enough(&wait) || !cx.may_block() {
        so_far.reply(&wait, cx.reply);
    } else {
        cx.block_on_replicas(wait, deadline_ms);
    }
    Ok(())
}

fn timeout(cx: &Context<'_>, arg: &[u8]) -> CommandResult<Option<i64>> {
    cx.deadline_after(
        parse_i64(arg).ok_or(CommandError::new("ERR timeout is not an integer or out of range"))?,
    )
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use crate::host::Request;
    use crate::testing::{TestEngine, three_nodes};

    #[test]
    fn waitaof_waits_for_its_own_writes_to_be_synced() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        assert_eq!(server.run(a, "WAITAOF 1 0 0"), "*2\r\n:1\r\n:0\r\n", "nothing was written");
        server.run(a, "SET k v");
        assert_eq!(server.run(a, "WAITAOF 1 0 100"), "");
        let position = server.batches.last().unwrap().seq;
        assert_eq!(server.host.requests, [Request::WaitSynced { client: a, position }]);
        server.engine.answer_synced(a, position + 1);
        assert_eq!(server.output(a), b"", "that was for another wait");
        server.engine.answer_synced(a, position);
        assert_eq!(server.output(a), b"*2\r\n:1\r\n:0\r\n");
        server.run(a, "WAITAOF 1 0 100");
        server.advance(101);
        assert_eq!(server.output(a), b"*2\r\n:0\r\n:0\r\n");
        server.host.facts.log_synced = position;
        assert_eq!(server.run(a, "WAITAOF 1 0 0"), "*2\r\n:1\r\n:0\r\n");
        assert_eq!(server.run(a, "WAITAOF 1 1 100"), "", "there are no replicas");
        server.advance(101);
        assert_eq!(server.output(a), b"*2\r\n:1\r\n:0\r\n");
        assert_eq!(
            server.run(a, "WAITAOF 2 0 0"),
            "-ERR value is out of range, value must between 0 and 1\r\n"
        );
        assert_eq!(server.run(a, "WAITAOF 0 -1 0"), "-ERR value is out of range, must be positive\r\n");
        assert_eq!(server.run(a, "WAITAOF 0 0 -1"), "-ERR timeout is negative\r\n");
    }

    #[test]
    fn waitaof_ends_with_the_log_that_it_waits_for() {
        let mut server = TestEngine::new();
        let (a, b, c) = (server.connect(Resp::V2), server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(a, "SET k v");
        server.run(a, "WAITAOF 1 0 0");
        server.run(b, "WAITAOF 1 1 0");
        server.run(c, "WAITAOF 0 1 100");
        server.engine.stop_journal();
        let refusal = format!("-{}\r\n", super::WAITAOF_WITHOUT_LOG);
        for client in [a, b] {
            assert_eq!(String::from_utf8(server.output(client)).unwrap(), refusal);
            assert_eq!(server.run(client, "WAITAOF 1 0 0"), refusal);
        }
        assert_eq!(server.output(c), b"", "it waits for a replica only");
        server.advance(101);
        assert_eq!(server.output(c), b"*2\r\n:0\r\n:0\r\n");
    }

    #[test]
    fn wait_has_no_replicas_to_wait_for() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        assert_eq!(server.run(a, "WAIT 0 0"), ":0\r\n");
        assert_eq!(server.run(a, "WAIT 1 100"), "");
        server.advance(99);
        assert_eq!(server.output(a), b"");
        server.advance(1);
        assert_eq!(server.output(a), b":0\r\n");
        assert_eq!(server.run(a, "WAIT x 0"), "-ERR value is not an integer or out of range\r\n");
        assert_eq!(server.run(a, "WAIT 1 x"), "-ERR timeout is not an integer or out of range\r\n");
        server.run(a, "MULTI");
        server.run(a, "WAIT 1 0");
        assert_eq!(server.run(a, "EXEC"), "*1\r\n:0\r\n");
    }

    /// A leader that has applied `seq` at index `applied`; the others have the log up to `matched`.
    fn show(server: &mut TestEngine, seq: u64, applied: u64, matched: [u64; 2]) {
        let mut view = three_nodes(0, Some(0));
        view.raft.seq = seq;
        view.raft.applied = applied;
        view.nodes[1].matched = Some(matched[0]);
        view.nodes[2].matched = Some(matched[1]);
        server.host.show(view);
    }

    #[test]
    fn wait_counts_the_nodes_that_are_known_to_have_the_write() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        show(&mut server, 0, 10, [10, 7]);
        assert_eq!(server.run(a, "WAIT 1 0"), ":2\r\n", "it has written nothing, which all of them have");
        server.run(a, "SET k v");
        let written = server.batches.last().unwrap().seq;
        assert_eq!(server.run(a, "WAIT 1 0"), "", "the picture is from before the write");
        show(&mut server, written, 20, [20, 19]);
        server.advance(1);
        assert_eq!(server.output(a), b":1\r\n");
        assert_eq!(server.run(a, "WAIT 2 100"), "");
        // Others write on: the second node is behind the newest, but has what this client waits for.
        show(&mut server, written + 5, 30, [30, 21]);
        server.advance(1);
        assert_eq!(server.output(a), b":2\r\n");
        show(&mut server, written + 5, 30, [30, 21]);
        assert_eq!(server.run(a, "WAIT 3 100"), "");
        server.advance(100);
        assert_eq!(server.output(a), b":1\r\n", "all that is known, when the time is over");
    }

    #[test]
    fn wait_does_not_count_what_is_not_released() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.send_held(a, &[b"SET", b"k", b"v"]);
        let written = server.batches.last().unwrap().seq;
        show(&mut server, written, 20, [20, 20]);
        server.send_held(a, &[b"WAIT", b"1", b"0"]);
        assert_eq!(server.output(a), b"");
        server.release();
        server.advance(1);
        assert_eq!(server.output(a), b"+OK\r\n:2\r\n");
        server.run(a, "MULTI");
        server.run(a, "SET k w");
        server.run(a, "WAIT 1 0");
        assert_eq!(server.run(a, "EXEC"), "*2\r\n+OK\r\n:0\r\n", "the transaction is nowhere yet");
    }

    #[test]
    fn waitaof_also_wants_this_nodes_disk() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "SET k v");
        let written = server.batches.last().unwrap().seq;
        show(&mut server, written, 20, [20, 20]);
        assert_eq!(server.run(a, "WAITAOF 0 2 0"), "*2\r\n:0\r\n:2\r\n");
        assert_eq!(server.run(a, "WAITAOF 1 1 0"), "");
        // What is synced is told by index: its numbers are larger than those of batches.
        server.host.facts.log_synced = 19;
        assert!(written < 19);
        server.advance(1);
        assert_eq!(
            server.output(a),
            b"",
            "the entry before the write is on this node's disk, the write is not"
        );
        server.host.facts.log_synced = 20;
        server.advance(1);
        assert_eq!(server.output(a), b"*2\r\n:1\r\n:2\r\n");
        assert_eq!(server.run(a, "WAITAOF 1 3 50"), "");
        server.advance(50);
        assert_eq!(server.output(a), b"*2\r\n:1\r\n:2\r\n");
    }

    #[test]
    fn only_the_leader_knows_who_has_what() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.host.show(three_nodes(1, Some(0)));
        assert_eq!(server.run(a, "WAIT 1 0"), "-ERR WAIT cannot be used with replica instances.\r\n");
        assert_eq!(server.run(a, "WAITAOF 0 1 0"), "-ERR WAITAOF cannot be used with replica instances.\r\n");
        server.host.show(three_nodes(0, Some(0)));
        server.run(a, "SET k v");
        assert_eq!(server.run(a, "WAIT 1 0"), "");
        let b = server.connect(Resp::V2);
        let id = server.engine.client(a).unwrap().state.id;
        assert_eq!(server.run(b, &format!("CLIENT UNBLOCK {id}")), ":1\r\n");
        assert_eq!(server.output(a), b":0\r\n");
        assert_eq!(server.run(a, "WAIT 1 0"), "");
        server.engine.disconnect(a);
        server.advance(1);
    }
}
