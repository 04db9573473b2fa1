//! What operators and those who test a server set: what their directives do to a real process.

use std::process::Command;
use std::time::{Duration, Instant};

use cairn_tests::golden::Reply;
use cairn_tests::server::{Connection, Server, cairn_binary};
use cairn_tests::workload::{info_number, poll};

const LIMIT: Duration = Duration::from_secs(20);

fn ok() -> Reply {
    Reply::Simple(b"OK".to_vec())
}

fn text(client: &mut Connection, command: &[&str]) -> String {
    match client.call(command, LIMIT).unwrap() {
        Reply::Bulk(text) | Reply::Simple(text) | Reply::Error(text) => {
            String::from_utf8_lossy(&text).into_owned()
        }
        other => panic!("{command:?} answers {other}"),
    }
}

#[test]
fn a_snapshot_that_is_slowed_down_goes_on_at_once_when_that_is_taken_back() {
    let server = Server::cairn(&["--rdb-key-save-delay", "2000000000", "--save", ""]).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    assert_eq!(client.call(&["MSET", "a", "1", "b", "2"], LIMIT).unwrap(), ok());
    assert_eq!(text(&mut client, &["BGSAVE"]), "Background saving started");
    poll("never begun", || info_number(&mut client, "rdb_bgsave_in_progress") == 1);
    assert_eq!(info_number(&mut client, "rdb_saves"), 0);
    assert_eq!(client.call(&["CONFIG", "SET", "rdb-key-save-delay", "0"], LIMIT).unwrap(), ok());
    poll("never done", || info_number(&mut client, "rdb_saves") == 1);
}

#[test]
fn a_rewrite_of_the_log_waits_while_a_snapshot_is_written() {
    let server = Server::cairn(&["--rdb-key-save-delay", "2000000000", "--save", ""]).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    assert_eq!(client.call(&["SET", "k", "v"], LIMIT).unwrap(), ok());
    assert_eq!(text(&mut client, &["BGSAVE"]), "Background saving started");
    assert_eq!(text(&mut client, &["BGREWRITEAOF"]), "Background append only file rewriting scheduled");
    assert_eq!(info_number(&mut client, "aof_rewrite_scheduled"), 1);
    assert_eq!(info_number(&mut client, "aof_rewrite_in_progress"), 0);
    assert_eq!(client.call(&["CONFIG", "SET", "rdb-key-save-delay", "0"], LIMIT).unwrap(), ok());
    poll("never done", || info_number(&mut client, "rdb_saves") == 2);
}

#[test]
fn a_rewrite_of_the_log_is_not_begun_twice() {
    let server = Server::cairn(&["--rdb-key-save-delay", "2000000000", "--save", ""]).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    assert_eq!(client.call(&["SET", "k", "v"], LIMIT).unwrap(), ok());
    assert_eq!(text(&mut client, &["BGREWRITEAOF"]), "Background append only file rewriting started");
    assert_eq!(info_number(&mut client, "aof_rewrite_in_progress"), 1);
    assert_eq!(
        text(&mut client, &["BGREWRITEAOF"]),
        "ERR Background append only file rewriting already in progress"
    );
}

#[test]
fn loading_is_slowed_down_key_by_key() {
    let mut server = Server::cairn(&["--key-load-delay", "20000"]).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    for key in ["a", "b", "c", "d", "e"] {
        assert_eq!(client.call(&["SET", key, "v"], LIMIT).unwrap(), ok());
    }
    let started = Instant::now();
    server.restart().unwrap();
    assert!(started.elapsed() >= Duration::from_millis(100), "five entries of 20 ms");
    let mut client = Connection::open(server.addr()).unwrap();
    assert_eq!(client.call(&["DBSIZE"], LIMIT).unwrap(), Reply::Integer(5));
}

#[test]
fn what_sigterm_began_waits_while_the_cron_is_paused_and_can_be_taken_back() {
    let server = Server::cairn(&["--enable-debug-command", "yes"]).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    assert_eq!(client.call(&["DEBUG", "PAUSE-CRON", "1"], LIMIT).unwrap(), ok());
    assert_eq!(text(&mut client, &["SHUTDOWN", "ABORT"]), "ERR No shutdown in progress.");
    server.signal("TERM").unwrap();
    poll("the signal never came", || client.call(&["SHUTDOWN", "ABORT"], LIMIT).unwrap() == ok());
    assert_eq!(client.call(&["DEBUG", "PAUSE-CRON", "0"], LIMIT).unwrap(), ok());
    assert_eq!(client.call(&["SET", "k", "v"], LIMIT).unwrap(), ok());
}

#[test]
fn a_client_that_sends_half_a_large_command_is_evicted() {
    let server = Server::cairn(&["--maxmemory-clients", "1mb"]).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    let mut large = Connection::open(server.addr()).unwrap();
    assert_eq!(large.call(&["CLIENT", "SETNAME", "large"], LIMIT).unwrap(), ok());
    large.send_raw(b"*2\r\n$9000000\r\n").unwrap();
    large.send_raw(&[b'x'; 300_000]).unwrap();
    // The length is argument, the rest is looked at when it is whole.
    poll("never received", || text(&mut client, &["CLIENT", "LIST"]).contains(" qbuf=300000 "));
    let line = text(&mut client, &["CLIENT", "LIST"]);
    assert!(line.contains(" argv-mem=14 "), "{line}");
    assert_eq!(info_number(&mut client, "evicted_clients"), 0);
    // The server may close the connection in the middle of it.
    let _ = large.send_raw(&[b'x'; 2_000_000]);
    poll("never evicted", || info_number(&mut client, "evicted_clients") == 1);
    assert!(!text(&mut client, &["CLIENT", "LIST"]).contains("name=large"));
}

#[test]
fn an_oom_score_that_the_kernel_takes_is_in_effect_and_comes_back() {
    let server = Server::cairn(&[]).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    let process = info_number(&mut client, "process_id");
    let score = || {
        let text = std::fs::read_to_string(format!("/proc/{process}/oom_score_adj")).unwrap();
        text.trim().parse::<i32>().unwrap()
    };
    let before = score();
    let set = ["CONFIG", "SET", "oom-score-adj", "yes", "oom-score-adj-values", "7 8 9"];
    assert_eq!(client.call(&set, LIMIT).unwrap(), ok());
    assert_eq!(score(), before + 7);
    assert_eq!(client.call(&["CONFIG", "SET", "oom-score-adj", "no"], LIMIT).unwrap(), ok());
    assert_eq!(score(), before);
}

#[test]
fn a_refused_configuration_is_called_what_tools_look_for() {
    let output = Command::new(cairn_binary().unwrap()).args(["--nonsense", "1"]).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("*** FATAL CONFIG FILE ERROR ***\n"), "{said}");
    assert!(said.contains("unknown directive 'nonsense'"), "{said}");
}
