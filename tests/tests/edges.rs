//! Moments at which a server is easily wrong: a client that goes or comes at the wrong time, a file where none was
//! expected. Each test is the story of a mistake that was made.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use cairn_tests::golden::Reply;
use cairn_tests::server::{Connection, Server};

const LIMIT: Duration = Duration::from_secs(20);

fn ok() -> Reply {
    Reply::Simple(b"OK".to_vec())
}

/// As `printf 'SET k v\r\n' | nc` does. The reply has to wait for the disk, when the end has long been seen.
#[test]
fn a_client_that_has_sent_its_last_is_answered_all_the_same() {
    let server = Server::cairn(&["--appendfsync", "always"]).unwrap();
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(b"SET k v\r\nGET k\r\nBLPOP none 0\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer.escape_ascii().to_string(), b"+OK\r\n$1\r\nv\r\n".escape_ascii().to_string());
}

/// Nobody had told the event loop of such a connection.
#[test]
fn a_connection_made_while_a_script_runs_is_served_after_it() {
    let server = Server::cairn(&["--busy-reply-threshold", "10"]).unwrap();
    let mut runner = Connection::open(server.addr()).unwrap();
    let script = "local n = 0 for i = 1, 60000000 do n = n + 1 end return 'done'";
    let words = ["EVAL", script, "0"].map(|word| word.as_bytes().to_vec());
    runner.send(&words).unwrap();
    // Told BUSY: the script runs, and connections are accepted within it.
    let mut probe = Connection::open(server.addr()).unwrap();
    let busy = probe.call(&["GET", "k"], LIMIT).unwrap();
    assert!(
        matches!(&busy, Reply::Error(text) if text.starts_with(b"BUSY")),
        "the script is too short: {busy}"
    );
    let mut late = Connection::open(server.addr()).unwrap();
    assert_eq!(runner.reply(LIMIT).unwrap(), Reply::Bulk(b"done".to_vec()));
    assert_eq!(late.call(&["PING"], LIMIT).unwrap(), Reply::Simple(b"PONG".to_vec()));
}

/// The log before it was removed, though the next start would look for the snapshot elsewhere.
#[test]
fn a_snapshot_under_another_name_does_not_shorten_the_log() {
    let flags =
        ["--enable-protected-configs", "yes", "--log-segment-size", "1mb", "--log-retention-size", "0"];
    let mut server = Server::cairn(&flags).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    let value = "v".repeat(100_000);
    for i in 0..40 {
        assert_eq!(client.call(&["SET", &format!("k{i}"), &value], LIMIT).unwrap(), ok());
    }
    assert_eq!(client.call(&["CONFIG", "SET", "dbfilename", "backup.rdb"], LIMIT).unwrap(), ok());
    assert_eq!(client.call(&["SAVE"], LIMIT).unwrap(), ok());
    assert_eq!(client.call(&["SET", "last", "v"], LIMIT).unwrap(), ok());
    server.restart().unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    assert_eq!(client.call(&["DBSIZE"], LIMIT).unwrap(), Reply::Integer(41));
}

/// The log's entries were applied to the dump, which made a state that never was.
#[test]
fn a_dump_of_another_server_beside_a_log_is_refused() {
    /// An RDB file without keys, and without the journal position that ours have.
    const EMPTY: &[u8] = b"REDIS0011\xff\0\0\0\0\0\0\0\0";
    let mut server = Server::cairn(&[]).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    assert_eq!(client.call(&["APPEND", "k", "v"], LIMIT).unwrap(), Reply::Integer(1));
    server.kill();
    let dump = server.dir().join("dump.rdb");
    std::fs::write(&dump, EMPTY).unwrap();
    let refusal = server.restart().unwrap_err().to_string();
    assert!(refusal.contains("was made by another server"), "{refusal}");
    std::fs::remove_file(&dump).unwrap();
    server.restart().unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    assert_eq!(client.call(&["GET", "k"], LIMIT).unwrap(), Reply::Bulk(b"v".to_vec()));
}

/// Whoever had the place of the one that asked for the snapshot was told that it is done.
#[test]
fn the_answer_to_save_is_not_given_to_somebody_else() {
    let server = Server::cairn(&[]).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    assert_eq!(client.call(&["DEBUG", "POPULATE", "200000"], LIMIT).unwrap(), ok());
    let mut saver = Connection::open(server.addr()).unwrap();
    saver.send(&[b"SAVE".to_vec()]).unwrap();
    let started = Instant::now();
    loop {
        let Reply::Bulk(info) = client.call(&["INFO", "persistence"], LIMIT).unwrap() else {
            panic!("INFO is text")
        };
        if String::from_utf8_lossy(&info).contains("rdb_bgsave_in_progress:1") {
            break;
        }
        assert!(started.elapsed() < LIMIT, "the snapshot was over before it was seen");
    }
    drop(saver);
    let mut next = Connection::open(server.addr()).unwrap();
    assert_eq!(next.call(&["WAIT", "1", "1500"], LIMIT).unwrap(), Reply::Integer(0));
}

/// They were looked at again only by the next cron.
#[test]
fn commands_behind_one_that_the_host_answers_follow_at_once() {
    let server = Server::cairn(&["--hz", "1"]).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    let started = Instant::now();
    for _ in 0..5 {
        client.send_raw(b"DEBUG RELOAD NOSAVE\r\nPING\r\n").unwrap();
        assert_eq!(client.reply(LIMIT).unwrap(), ok());
        assert_eq!(client.reply(LIMIT).unwrap(), Reply::Simple(b"PONG".to_vec()));
        thread::yield_now();
    }
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}
