//! A script that runs for too long, seen by other clients over TCP.

use std::time::{Duration, Instant};

use cairn_tests::golden::{Received, Reply};
use cairn_tests::server::{Connection, Server};

const LIMIT: Duration = Duration::from_secs(20);
const THRESHOLD: [&str; 2] = ["--busy-reply-threshold", "50"];

fn words(line: &[&str]) -> Vec<Vec<u8>> {
    line.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn starts_with(reply: &Reply, text: &str) -> bool {
    matches!(reply, Reply::Error(error) if error.starts_with(text.as_bytes()))
}

/// Sends PING until the answer is BUSY.
fn await_busy(client: &mut Connection) -> anyhow::Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !starts_with(&client.call(&["PING"], LIMIT)?, "BUSY ") {
        anyhow::ensure!(Instant::now() < deadline, "the script is not noticed");
    }
    Ok(())
}

#[test]
fn an_endless_script_is_killed_and_nobody_is_the_worse_for_it() -> anyhow::Result<()> {
    let server = Server::cairn(&THRESHOLD)?;
    let (mut runner, mut early) = (Connection::open(server.addr())?, Connection::open(server.addr())?);
    early.call(&["SET", "k", "before"], LIMIT)?;
    runner.send(&words(&["EVAL", "while true do end", "0"]))?;
    await_busy(&mut early)?;
    // A connection made meanwhile is served as well, whatever the pieces in which its commands come.
    let mut late = Connection::open(server.addr())?;
    late.send_raw(b"*2\r\n$3\r\nGET\r\n$1\r")?;
    await_busy(&mut early)?;
    late.send_raw(b"\nk\r\n*1\r\n$5\r\nMULTI\r\n")?;
    assert!(starts_with(&late.reply(LIMIT)?, "BUSY "));
    assert_eq!(late.reply(LIMIT)?, Reply::Simple(b"OK".to_vec()));
    assert_eq!(early.call(&["SCRIPT", "KILL"], LIMIT)?, Reply::Simple(b"OK".to_vec()));
    assert!(starts_with(&runner.reply(LIMIT)?, "ERR Script killed by user with SCRIPT KILL"));
    late.call(&["GET", "k"], LIMIT)?;
    assert_eq!(late.call(&["EXEC"], LIMIT)?, Reply::Array(vec![Reply::Bulk(b"before".to_vec())]));
    for client in [&mut runner, &mut early, &mut late] {
        assert_eq!(client.call(&["GET", "k"], LIMIT)?, Reply::Bulk(b"before".to_vec()));
    }
    Ok(())
}

#[test]
fn a_client_that_leaves_during_a_script_makes_room_for_another() -> anyhow::Result<()> {
    let server = Server::cairn(&THRESHOLD)?;
    let (mut runner, mut early) = (Connection::open(server.addr())?, Connection::open(server.addr())?);
    runner.send(&words(&["EVAL", "while true do end", "0"]))?;
    await_busy(&mut early)?;
    drop(early);
    for _ in 0..20 {
        await_busy(&mut Connection::open(server.addr())?)?;
    }
    let mut late = Connection::open(server.addr())?;
    assert_eq!(late.call(&["SCRIPT", "KILL"], LIMIT)?, Reply::Simple(b"OK".to_vec()));
    runner.reply(LIMIT)?;
    assert_eq!(late.call(&["PING"], LIMIT)?, Reply::Simple(b"PONG".to_vec()));
    Ok(())
}

#[test]
fn a_script_that_has_written_ends_only_with_the_server_and_leaves_nothing() -> anyhow::Result<()> {
    let mut server = Server::cairn(&THRESHOLD)?;
    let (mut runner, mut other) = (Connection::open(server.addr())?, Connection::open(server.addr())?);
    other.call(&["SET", "k", "before"], LIMIT)?;
    let script = "redis.call('SET', 'k', 'half') while true do end";
    runner.send(&words(&["EVAL", script, "0"]))?;
    await_busy(&mut other)?;
    assert!(starts_with(&other.call(&["SCRIPT", "KILL"], LIMIT)?, "UNKILLABLE "));
    assert!(starts_with(&other.call(&["SHUTDOWN"], LIMIT)?, "BUSY "));
    other.send(&words(&["SHUTDOWN", "NOSAVE"]))?;
    assert!(matches!(other.receive(LIMIT)?, Received::Closed));
    server.restart()?;
    let mut client = Connection::open(server.addr())?;
    assert_eq!(client.call(&["GET", "k"], LIMIT)?, Reply::Bulk(b"before".to_vec()));
    Ok(())
}

/// The signal was seen only after the script.
#[test]
fn a_signal_ends_a_script_that_has_not_written_and_then_the_server() -> anyhow::Result<()> {
    let mut server = Server::cairn(&THRESHOLD)?;
    let (mut runner, mut other) = (Connection::open(server.addr())?, Connection::open(server.addr())?);
    runner.send(&words(&["EVAL", "while true do end", "0"]))?;
    await_busy(&mut other)?;
    server.signal("TERM")?;
    assert_eq!(server.ended(LIMIT)?.and_then(|status| status.code()), Some(0));
    Ok(())
}

#[test]
fn a_second_signal_ends_the_server_in_the_middle_of_a_script_that_has_written() -> anyhow::Result<()> {
    let mut server = Server::cairn(&THRESHOLD)?;
    let (mut runner, mut other) = (Connection::open(server.addr())?, Connection::open(server.addr())?);
    other.call(&["SET", "k", "before"], LIMIT)?;
    runner.send(&words(&["EVAL", "redis.call('SET', 'k', 'half') while true do end", "0"]))?;
    await_busy(&mut other)?;
    server.signal("TERM")?;
    assert_eq!(server.ended(Duration::from_millis(300))?, None, "the script has to come to its own end");
    await_busy(&mut other)?;
    server.signal("TERM")?;
    assert_eq!(server.ended(LIMIT)?.and_then(|status| status.code()), Some(1));
    server.restart()?;
    let mut client = Connection::open(server.addr())?;
    assert_eq!(client.call(&["GET", "k"], LIMIT)?, Reply::Bulk(b"before".to_vec()));
    Ok(())
}

/// A request that never ended took memory without end.
#[test]
fn the_limit_of_unfinished_requests_holds_while_a_script_runs() -> anyhow::Result<()> {
    let server = Server::cairn(&[&THRESHOLD[..], &["--client-query-buffer-limit", "1mb"]].concat())?;
    let (mut runner, mut other) = (Connection::open(server.addr())?, Connection::open(server.addr())?);
    let mut large = Connection::open(server.addr())?;
    large.call(&["PING"], LIMIT)?;
    runner.send(&words(&["EVAL", "while true do end", "0"]))?;
    await_busy(&mut other)?;
    large.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000000\r\n")?;
    large.send_raw(&vec![b'v'; 3 << 20])?;
    assert!(matches!(large.receive(LIMIT)?, Received::Closed));
    await_busy(&mut other)?;
    assert_eq!(other.call(&["SCRIPT", "KILL"], LIMIT)?, Reply::Simple(b"OK".to_vec()));
    Ok(())
}
