//! Moments at which a server is easily wrong: a client that goes or comes at the wrong time, a file where none was
//! expected. Each test is the story of a mistake that was made.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use cairn_tests::golden::{Received, Reply};
use cairn_tests::server::{Connection, Server};
use cairn_tests::workload::{info_number, poll};

const LIMIT: Duration = Duration::from_secs(20);

fn ok() -> Reply {
    Reply::Simple(b"OK".to_vec())
}

fn error(text: &str) -> Reply {
    Reply::Error(text.as_bytes().to_vec())
}

/// A value of CONFIG GET.
fn setting(client: &mut Connection, name: &str) -> String {
    let Reply::Array(pair) = client.call(&["CONFIG", "GET", name], LIMIT).unwrap() else {
        panic!("CONFIG GET answers pairs")
    };
    let [_, Reply::Bulk(value)] = &pair[..] else { panic!("one directive is called {name}") };
    String::from_utf8_lossy(value).into_owned()
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

/// It answered OK, closed the old port, and could not open the new one: nobody new got in.
#[test]
fn a_port_that_is_taken_is_refused_and_the_old_one_stays_open() {
    let server = Server::cairn(&[]).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    let (port, bind) = (setting(&mut client, "port"), setting(&mut client, "bind"));
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = taken.local_addr().unwrap().port().to_string();
    let refusal = |name, reason| {
        error(&format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"))
    };
    assert_eq!(
        client.call(&["CONFIG", "SET", "hz", "20", "port", &taken], LIMIT).unwrap(),
        refusal("port", "Unable to listen on this port. Check server logs.")
    );
    // An address that no machine has (RFC 5737), beside one that stays.
    assert_eq!(
        client.call(&["CONFIG", "SET", "bind", "127.0.0.1 192.0.2.1"], LIMIT).unwrap(),
        refusal("bind", "Failed to bind to specified addresses.")
    );
    assert_eq!((setting(&mut client, "port"), setting(&mut client, "bind")), (port.clone(), bind));
    assert_eq!(setting(&mut client, "hz"), "10", "all or none");
    let mut late = Connection::open(server.addr()).unwrap();
    assert_eq!(late.call(&["PING"], LIMIT).unwrap(), Reply::Simple(b"PONG".to_vec()));

    // 127.0.0.1 is in the way of all addresses, and goes for them.
    assert_eq!(client.call(&["CONFIG", "SET", "bind", "*"], LIMIT).unwrap(), ok());
    let mut late = Connection::open(server.addr()).unwrap();
    assert_eq!(late.call(&["CONFIG", "SET", "bind", "127.0.0.1"], LIMIT).unwrap(), ok());
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    assert_eq!(late.call(&["CONFIG", "SET", "port", &free.to_string()], LIMIT).unwrap(), ok());
    assert!(Connection::open(server.addr()).is_err(), "the old port is closed");
    let mut late = Connection::open(SocketAddr::from((Ipv4Addr::LOCALHOST, free))).unwrap();
    assert_eq!(late.call(&["PING"], LIMIT).unwrap(), Reply::Simple(b"PONG".to_vec()));
    assert_eq!(client.call(&["PING"], LIMIT).unwrap(), Reply::Simple(b"PONG".to_vec()), "connections stay");
}

/// It answered OK before anything was done.
#[test]
fn the_log_is_on_when_config_set_says_so() {
    let mut server = Server::cairn(&["--appendonly", "no"]).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    assert_eq!(client.call(&["DEBUG", "POPULATE", "200000"], LIMIT).unwrap(), ok());
    // While this snapshot is being written the log cannot be turned on.
    client.call(&["BGSAVE"], LIMIT).unwrap();
    let mut other = Connection::open(server.addr()).unwrap();
    let set = ["CONFIG", "SET", "appendonly", "yes"].map(|word| word.as_bytes().to_vec());
    other.send(&set).unwrap();
    poll("CONFIG SET does not arrive", || setting(&mut client, "appendonly") == "yes");
    assert_eq!(
        client.call(&["CONFIG", "SET", "appendonly", "no"], LIMIT).unwrap(),
        error(
            "ERR CONFIG SET failed (possibly related to argument 'appendonly') - another change is being put into \
             effect"
        ),
        "the snapshot was over before it was seen"
    );
    assert_eq!(other.reply(LIMIT).unwrap(), ok());
    assert_eq!(info_number(&mut other, "aof_enabled"), 1);
    assert_eq!(other.call(&["SET", "k", "v"], LIMIT).unwrap(), ok());
    server.restart().unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    assert_eq!(client.call(&["GET", "k"], LIMIT).unwrap(), Reply::Bulk(b"v".to_vec()));
}

/// The log stayed off, after an OK.
#[test]
fn a_log_that_cannot_be_turned_on_is_refused() {
    let server = Server::cairn(&["--appendonly", "no"]).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    // Where the snapshot that the log begins with should go.
    std::fs::create_dir(server.dir().join("dump.rdb")).unwrap();
    assert_eq!(
        client.call(&["CONFIG", "SET", "appendonly", "yes", "hz", "20"], LIMIT).unwrap(),
        error(
            "ERR CONFIG SET failed (possibly related to argument 'appendonly') - Unable to turn on AOF. Check server \
             logs."
        )
    );
    assert_eq!((setting(&mut client, "appendonly"), setting(&mut client, "hz")), ("no".into(), "10".into()));
    std::fs::remove_dir(server.dir().join("dump.rdb")).unwrap();
    assert_eq!(client.call(&["CONFIG", "SET", "appendonly", "yes"], LIMIT).unwrap(), ok());
}

/// They waited for ever.
#[test]
fn waitaof_ends_when_the_log_is_turned_off() {
    let server = Server::cairn(&[]).unwrap();
    let mut waiting = Connection::open(server.addr()).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    let words = ["WAITAOF", "1", "1", "0"].map(|word| word.as_bytes().to_vec());
    waiting.send(&words).unwrap();
    poll("WAITAOF does not arrive", || info_number(&mut client, "blocked_clients") == 1);
    assert_eq!(client.call(&["CONFIG", "SET", "appendonly", "no"], LIMIT).unwrap(), ok());
    assert_eq!(
        waiting.reply(LIMIT).unwrap(),
        error("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.")
    );
}

/// The count began at zero with each start, and again when a snapshot was done, whatever had come while it was written.
#[test]
fn what_the_log_has_grown_by_is_counted_across_starts_and_snapshots() {
    const GROWN: &str = "log_bytes_since_snapshot";
    let mut server = Server::cairn(&["--hz", "500"]).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    let value = "v".repeat(100_000);
    for i in 0..10 {
        assert_eq!(client.call(&["SET", &format!("k{i}"), &value], LIMIT).unwrap(), ok());
    }
    poll("the figure is not refreshed", || info_number(&mut client, GROWN) > 1_000_000);
    let grown = info_number(&mut client, GROWN);
    assert!(grown < 1_002_000, "{grown}");
    server.restart().unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    poll("forgotten by the restart", || info_number(&mut client, GROWN) == grown);
    assert_eq!(client.call(&["SAVE"], LIMIT).unwrap(), ok());
    assert_eq!(info_number(&mut client, GROWN), 0);
    assert_eq!(client.call(&["SET", "late", &value], LIMIT).unwrap(), ok());
    poll("the figure is not refreshed", || info_number(&mut client, GROWN) > 100_000);
    let grown = info_number(&mut client, GROWN);
    let base = info_number(&mut client, "aof_base_size");
    assert!(base > 0);
    server.restart().unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    poll("forgotten by the restart", || info_number(&mut client, GROWN) == grown);
    assert_eq!(info_number(&mut client, "aof_base_size"), base);
}

/// Only batches carried the time, and a snapshot may be all that there is: what had expired was there again.
#[test]
fn time_does_not_run_behind_a_snapshot() {
    const FIELD: &[u8] = b"cairn-time-ms\x0d";
    let mut server = Server::cairn(&[]).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    assert_eq!(client.call(&["SET", "k", "v"], LIMIT).unwrap(), ok());
    assert_eq!(client.call(&["SAVE"], LIMIT).unwrap(), ok());
    server.kill();
    // As if the clock had been ahead by centuries when the snapshot was taken, and then set back.
    let dump = server.dir().join("dump.rdb");
    let mut bytes = std::fs::read(&dump).unwrap();
    let at = bytes.windows(FIELD.len()).position(|window| window == FIELD).unwrap() + FIELD.len();
    bytes[at] = b'9';
    let checksum = bytes.len() - 8;
    bytes[checksum..].fill(0);
    std::fs::write(&dump, bytes).unwrap();
    server.restart().unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    let Reply::Array(time) = client.call(&["TIME"], LIMIT).unwrap() else { panic!("TIME is a pair") };
    let Reply::Bulk(seconds) = &time[0] else { panic!("TIME is texts") };
    assert!(seconds.starts_with(b"9"), "{}", seconds.escape_ascii());
    assert_eq!(client.call(&["GET", "k"], LIMIT).unwrap(), Reply::Bulk(b"v".to_vec()));
}

/// Nothing was read any more while a shutdown was under way, so that nobody could abort it.
#[test]
fn a_shutdown_can_be_aborted_while_it_saves() {
    let mut server = Server::cairn(&[]).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    assert_eq!(client.call(&["DEBUG", "POPULATE", "200000"], LIMIT).unwrap(), ok());
    assert_eq!(client.call(&["SHUTDOWN", "ABORT"], LIMIT).unwrap(), error("ERR No shutdown in progress."));
    let mut stopping = Connection::open(server.addr()).unwrap();
    stopping.send(&["SHUTDOWN", "SAVE"].map(|word| word.as_bytes().to_vec())).unwrap();
    poll("SHUTDOWN SAVE does not save", || info_number(&mut client, "rdb_bgsave_in_progress") == 1);
    let mut writer = Connection::open(server.addr()).unwrap();
    writer.send(&["SET", "k", "v"].map(|word| word.as_bytes().to_vec())).unwrap();
    poll("the write is not held", || info_number(&mut client, "blocked_clients") == 2);
    assert_eq!(client.call(&["GET", "k"], LIMIT).unwrap(), Reply::Nil, "reads go on");
    assert_eq!(client.call(&["SHUTDOWN", "ABORT"], LIMIT).unwrap(), ok());
    assert_eq!(stopping.reply(LIMIT).unwrap(), error("ERR Errors trying to SHUTDOWN. Check logs."));
    assert_eq!(writer.reply(LIMIT).unwrap(), ok());
    assert_eq!(client.call(&["GET", "k"], LIMIT).unwrap(), Reply::Bulk(b"v".to_vec()));
    stopping.send(&["SHUTDOWN", "NOSAVE"].map(|word| word.as_bytes().to_vec())).unwrap();
    assert_eq!(server.ended(LIMIT).unwrap().and_then(|status| status.code()), Some(0));
}

/// A disk of a few megabytes, in memory; gone when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where nothing may be mounted.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(dir.path()).output();
        mount.is_ok_and(|output| output.status.success()).then(|| Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the server, dropped later, has files open there.
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()),
            "{} is still mounted",
            self.0.path().display()
        );
    }
}

/// It waited for room, for ever, and read nothing that could have changed its mind.
#[test]
fn a_shutdown_on_a_full_disk_fails_unless_it_is_forced() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: only root can mount a small disk");
        return;
    };
    let dir = disk.0.path().to_str().unwrap();
    let mut server = Server::cairn(&["--dir", dir, "--log-segment-size", "1mb"]).unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    let value = "v".repeat(300_000);
    assert_eq!(client.call(&["SET", "safe", "v"], LIMIT).unwrap(), ok());
    let mut ballast = std::fs::File::create(disk.0.path().join("ballast")).unwrap();
    while ballast.write_all(&[0; 4096]).is_ok() {}
    // Those that fit into the log's segments are answered; one that does not is held.
    let mut writer = Connection::open(server.addr()).unwrap();
    let set = ["SET", "k", &value].map(|word| word.as_bytes().to_vec());
    let full = |client: &mut Connection| matches!(client.call(&["PING"], LIMIT).unwrap(), Reply::Error(text) if text.starts_with(b"MISCONF"));
    let mut answered = 0;
    while !full(&mut client) {
        writer.send(&set).unwrap();
        poll("neither answered nor full", || {
            full(&mut client)
                || matches!(writer.receive(Duration::from_millis(10)).unwrap(), Received::Reply(_))
        });
        answered += 1;
        assert!(answered < 100, "the disk does not fill");
    }
    let refusal = error("ERR Errors trying to SHUTDOWN. Check logs.");
    assert_eq!(client.call(&["SHUTDOWN", "NOSAVE"], LIMIT).unwrap(), refusal);
    assert_eq!(client.call(&["SHUTDOWN", "NOW"], LIMIT).unwrap(), refusal);
    assert_eq!(client.call(&["SHUTDOWN", "ABORT"], LIMIT).unwrap(), error("ERR No shutdown in progress."));
    assert_eq!(client.call(&["GET", "safe"], LIMIT).unwrap(), Reply::Bulk(b"v".to_vec()), "reads go on");
    client.send(&["SHUTDOWN", "FORCE"].map(|word| word.as_bytes().to_vec())).unwrap();
    assert_eq!(server.ended(LIMIT).unwrap().and_then(|status| status.code()), Some(0));
    std::fs::remove_file(disk.0.path().join("ballast")).unwrap();
    server.restart().unwrap();
    let mut client = Connection::open(server.addr()).unwrap();
    assert_eq!(client.call(&["GET", "safe"], LIMIT).unwrap(), Reply::Bulk(b"v".to_vec()));
    assert_eq!(client.call(&["SET", "k", "v"], LIMIT).unwrap(), ok());
}
