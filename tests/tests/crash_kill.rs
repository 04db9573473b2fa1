//! A real server under `kill -9`: sixteen clients write, the process is killed, started again on the same
//! directory, and everything that any client was told is there. `CAIRN_CRASH_ROUNDS` sets the number of rounds.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use cairn_engine::rng::Rng;
use cairn_tests::golden::Reply;
use cairn_tests::server::{Connection, Server};

/// Clients that write at the same time.
const CLIENTS: usize = 16;
/// Rounds in `cargo xtask verify`; `cargo xtask crash` does 100.
const ROUNDS_DEFAULT: usize = 5;
const REPLY_LIMIT: Duration = Duration::from_secs(20);

/// What one client knows: for each of its keys the last value that was acknowledged, and the one that was sent last.
#[derive(Clone, Copy, Default)]
struct Progress {
    acknowledged: u64,
    sent: u64,
}

/// Writes until the server is gone. Each step is a SET, an INCR, an RPUSH and a MULTI of two SETs.
fn write_until_gone(addr: SocketAddr, client: usize, mut progress: Progress, stop: &AtomicBool) -> Progress {
    let Ok(mut connection) = Connection::open(addr) else { return progress };
    while !stop.load(Ordering::Relaxed) {
        progress.sent += 1;
        if step(&mut connection, client, progress.sent).is_none() {
            return progress;
        }
        progress.acknowledged = progress.sent;
    }
    progress
}

/// One step; `None` when any part of it was not answered.
fn step(connection: &mut Connection, client: usize, n: u64) -> Option<()> {
    let n = n.to_string();
    let mut call = |words: &[&str]| connection.call(words, REPLY_LIMIT).ok();
    let ok = |reply: Reply| (reply == Reply::Simple(b"OK".to_vec())).then_some(());
    ok(call(&["SET", &format!("s{client}"), &n])?)?;
    call(&["INCR", &format!("c{client}")])?;
    call(&["RPUSH", &format!("l{client}"), &n])?;
    ok(call(&["MULTI"])?)?;
    call(&["SET", &format!("a{client}"), &n])?;
    call(&["SET", &format!("b{client}"), &n])?;
    match call(&["EXEC"])? {
        Reply::Array(replies) if replies.len() == 2 => Some(()),
        other => panic!("EXEC answered {other}"),
    }
}

fn number(connection: &mut Connection, words: &[&str]) -> u64 {
    match connection.call(words, REPLY_LIMIT).expect("a fresh server answers") {
        Reply::Integer(n) => n as u64,
        Reply::Bulk(text) => String::from_utf8_lossy(&text).parse().expect("a number was written"),
        Reply::Nil => 0,
        other => panic!("{words:?} answered {other}"),
    }
}

/// Everything acknowledged is there, nothing twice, no MULTI half. Returns the progress as the server has it.
fn check(addr: SocketAddr, client: usize, before: Progress) -> Progress {
    let mut connection = Connection::open(addr).expect("the server was just started");
    let range = before.acknowledged..=before.sent;
    let set = number(&mut connection, &["GET", &format!("s{client}")]);
    let counter = number(&mut connection, &["GET", &format!("c{client}")]);
    let list = number(&mut connection, &["LLEN", &format!("l{client}")]);
    let a = number(&mut connection, &["GET", &format!("a{client}")]);
    let b = number(&mut connection, &["GET", &format!("b{client}")]);
    for (what, found) in [("SET", set), ("INCR", counter), ("RPUSH", list), ("MULTI", a)] {
        assert!(range.contains(&found), "client {client}: {what} is at {found}, told {range:?}");
    }
    assert_eq!(a, b, "client {client}: half of a MULTI");
    if list > 0 {
        let last = number(&mut connection, &["LINDEX", &format!("l{client}"), "-1"]);
        assert_eq!(last, list, "client {client}: an element is missing or doubled");
    }
    // Bring all of them to the same step again, whichever of the interrupted writes survived.
    let next = Progress { acknowledged: before.sent, sent: before.sent };
    let n = before.sent.to_string();
    for (command, done) in
        [("SET", set == before.sent), ("INCR", counter == before.sent), ("RPUSH", list == before.sent)]
    {
        if done {
            continue;
        }
        let key = format!(
            "{}{client}",
            match command {
                "SET" => "s",
                "INCR" => "c",
                _ => "l",
            }
        );
        let words: &[&str] = if command == "INCR" { &[command, &key] } else { &[command, &key, &n] };
        connection.call(words, REPLY_LIMIT).expect("a fresh server answers");
    }
    connection
        .call(&["MSET", &format!("a{client}"), &n, &format!("b{client}"), &n], REPLY_LIMIT)
        .expect("a fresh server answers");
    next
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let rounds = std::env::var("CAIRN_CRASH_ROUNDS")
        .map_or(ROUNDS_DEFAULT, |text| text.parse().expect("CAIRN_CRASH_ROUNDS is a number"));
    let rng = Rng::new(42);
    let mut server = Server::cairn(&["--appendfsync", "always", "--log-segment-size", "1mb"]).unwrap();
    let mut progress = [Progress::default(); CLIENTS];
    let mut acknowledged = 0;
    for round in 0..rounds {
        let addr = server.addr();
        let stop = AtomicBool::new(false);
        let after: Vec<Progress> = thread::scope(|scope| {
            let clients: Vec<_> = progress
                .iter()
                .enumerate()
                .map(|(client, &before)| {
                    let stop = &stop;
                    scope.spawn(move || write_until_gone(addr, client, before, stop))
                })
                .collect();
            // Work of a random length, now and then across a snapshot.
            thread::sleep(Duration::from_millis(50 + rng.below(400)));
            if round % 3 == 1 {
                let _ = Connection::open(addr).and_then(|mut c| c.call(&["BGSAVE"], REPLY_LIMIT));
                thread::sleep(Duration::from_millis(rng.below(30)));
            }
            server.kill();
            stop.store(true, Ordering::Relaxed);
            clients.into_iter().map(|client| client.join().expect("a client does not panic")).collect()
        });
        acknowledged +=
            after.iter().zip(&progress).map(|(a, b)| a.acknowledged - b.acknowledged).sum::<u64>();
        server.restart().unwrap();
        for (client, &before) in after.iter().enumerate() {
            progress[client] = check(server.addr(), client, before);
        }
    }
    assert!(acknowledged > rounds as u64 * CLIENTS as u64, "the clients got work done: {acknowledged}");
    println!("{rounds} rounds, {acknowledged} acknowledged steps, none lost");
}
