//! REPLICAOF: a Cairn that follows a redis-server, or another Cairn, with links that break and processes that are killed.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use cairn_tests::golden::Reply;
use cairn_tests::server::{Connection, Server};
use cairn_tests::workload::{
    Dice, LIBRARY, LIMIT, StopOnDrop, assert_equal_but_for_reading, assert_equal_contents, call, compare,
    contents, info, leave_something, open, poll, settle, write,
};

const WRITERS: u64 = 3;
/// Commands of each writer between two cuts of the link.
const COMMANDS_MIN: usize = 400;
/// Keys that are there before anybody follows.
const FILLER: i64 = 20_000;

fn ok() -> Reply {
    Reply::Simple(b"OK".to_vec())
}

fn follow(follower: &mut Connection, addr: SocketAddr) {
    assert_eq!(call(follower, &format!("REPLICAOF 127.0.0.1 {}", addr.port())), ok());
}

fn is_up(follower: &mut Connection) -> bool {
    info(follower, "master_link_status") == "up"
}

fn redis(flags: &[&str]) -> Server {
    Server::redis(&[&["--repl-diskless-sync-delay", "0", "--repl-backlog-size", "64mb"], flags].concat())
        .unwrap()
        .0
}

/// What the server has logged contains this.
fn has_logged(dir: &Path, text: &str) -> bool {
    std::fs::read_to_string(dir.join("server.out")).unwrap_or_default().contains(text)
}

/// A primary under load, from before it is followed to after the link has been cut twice; then promotion.
fn under_load(primary: &Server, is_redis: bool) {
    let follower = Server::cairn(&[]).unwrap();
    let mut client = open(primary.addr());
    let loaded = client.call(&["FUNCTION", "LOAD", LIBRARY], LIMIT).unwrap();
    assert_eq!(loaded, Reply::Bulk(b"counting".to_vec()));
    assert_eq!(call(&mut client, &format!("DEBUG POPULATE {FILLER} filler 20")), ok());
    let mut replica = open(follower.addr());
    assert_eq!(call(&mut replica, "SET own data"), ok());
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut synced = String::new();
    thread::scope(|scope| {
        for seed in 0..WRITERS {
            let (stop, done, addr) = (&stop, &done, primary.addr());
            scope.spawn(move || write(addr, seed, stop, done));
        }
        // Whatever fails below, the writers end.
        let _stop = StopOnDrop(&stop);
        follow(&mut replica, primary.addr());
        let mut more = COMMANDS_MIN;
        for cut in 0..3 {
            poll("the link is up", || is_up(&mut replica));
            if cut == 0 {
                // A FLUSHALL ends the child that writes the data, and with it an attempt.
                synced = info(&mut client, "sync_full");
            }
            more += done.load(Ordering::Relaxed);
            poll("much is written", || done.load(Ordering::Relaxed) > more);
            if cut < 2 {
                // It may not have come back from the cut before.
                poll("a link is cut", || call(&mut client, "CLIENT KILL TYPE replica") == Reply::Integer(1));
            }
        }
    });
    leave_something(&mut client);
    assert_eq!(call(&mut client, "SET last word"), ok());
    assert_eq!(call(&mut client, "WAIT 1 30000"), Reply::Integer(1));
    settle(&mut client);
    assert_eq!(call(&mut replica, "GET own"), Reply::Nil);
    assert_eq!(info(&mut replica, "unexpected_error_replies"), "0");
    if !is_redis {
        assert_equal_contents(primary.addr(), follower.addr());
    } else {
        assert_equal_but_for_reading(primary.addr(), follower.addr());
        assert_eq!(
            info(&mut client, "sync_full"),
            synced,
            "a link that breaks costs no second copy of the data"
        );
        assert_eq!(info(&mut client, "sync_partial_ok"), "2");
    }
    let offset = |client: &mut Connection| info(client, "master_repl_offset").parse::<u64>().unwrap();
    poll("the offsets are equal", || offset(&mut client) == offset(&mut replica));
    assert_eq!(info(&mut client, "master_replid"), info(&mut replica, "master_replid"));

    assert!(matches!(call(&mut replica, "SET k v"), Reply::Error(text) if text.starts_with(b"READONLY ")));
    assert_eq!(call(&mut replica, "REPLICAOF NO ONE"), ok());
    assert_eq!(call(&mut replica, "SET k v"), ok());
    assert_eq!(call(&mut replica, "GET last"), Reply::Bulk(b"word".to_vec()));
    assert_eq!(info(&mut replica, "role"), "master");
    assert_eq!(info(&mut replica, "master_replid2"), info(&mut client, "master_replid"));
    // What was followed is in the log like everything else.
    // (Not by digest: what is over may be there until somebody removes it.)
    let before = contents(follower.addr());
    let mut follower = follower;
    follower.restart().unwrap();
    compare(before, contents(follower.addr()));
}

#[test]
fn a_redis_server_is_followed_under_load() {
    under_load(&redis(&[]), true);
}

#[test]
fn a_redis_server_that_sends_a_file_is_followed_under_load() {
    under_load(&redis(&["--repl-diskless-sync", "no"]), true);
}

#[test]
fn a_cairn_is_followed_under_load() {
    under_load(&Server::cairn(&[]).unwrap(), false);
}

#[test]
fn whenever_it_is_killed_the_state_is_the_old_or_the_new_as_a_whole() {
    let primary = redis(&[]);
    let mut client = open(primary.addr());
    assert_eq!(call(&mut client, &format!("DEBUG POPULATE {FILLER} filler 20")), ok());
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut dice = Dice(7);
    let (mut old, mut new) = (0, 0);
    thread::scope(|scope| {
        let (stop, done) = (&stop, &done);
        let addr = primary.addr();
        scope.spawn(move || {
            let mut client = open(addr);
            while !stop.load(Ordering::Relaxed) {
                for line in ["MULTI", "INCR a", "INCR b", "EXEC"] {
                    call(&mut client, line);
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
        let _stop = StopOnDrop(stop);
        for round in 0..12 {
            let mut follower = Server::cairn(&["--rdb-key-save-delay", "-200"]).unwrap();
            let mut replica = open(follower.addr());
            for n in 0..100 {
                call(&mut replica, &format!("SET old:{n} {n}"));
            }
            follow(&mut replica, primary.addr());
            let mut floor = 0;
            if round % 3 == 2 {
                // In the middle of the stream: what was acknowledged is there afterwards.
                poll("the link is up", || is_up(&mut replica));
                call(&mut client, "INCR c");
                assert_eq!(call(&mut client, "WAIT 1 30000"), Reply::Integer(1));
                floor = done.load(Ordering::Relaxed).min(number(&mut replica, "a"));
            } else {
                thread::sleep(Duration::from_millis(dice.roll(600)));
            }
            follower.restart().unwrap();
            let mut replica = open(follower.addr());
            let Reply::Integer(keys) = call(&mut replica, "DBSIZE") else { panic!("a number") };
            if call(&mut replica, "EXISTS old:1") == Reply::Integer(1) {
                assert_eq!(keys, 100, "all of the old, and nothing else");
                assert_eq!(floor, 0, "it was up");
                old += 1;
            } else {
                assert!((FILLER..=FILLER + 3).contains(&keys), "all of the new: {keys}");
                let (a, b) = (number(&mut replica, "a"), number(&mut replica, "b"));
                assert_eq!(a, b, "half of a transaction");
                assert!(a >= floor, "what had been executed and was safe is gone: {a} < {floor}");
                new += 1;
            }
            // It goes on from there as a server like any other.
            assert_eq!(call(&mut replica, "SET after restart"), ok());
        }
    });
    assert!(new >= 4, "{old} old, {new} new");
}

fn number(client: &mut Connection, key: &str) -> usize {
    match call(client, &format!("GET {key}")) {
        Reply::Bulk(text) => String::from_utf8(text).unwrap().parse().unwrap(),
        Reply::Nil => 0,
        other => panic!("{key} is {other}"),
    }
}

#[test]
fn a_chain_with_passwords_passes_everything_on() {
    let first = Server::cairn(&[]).unwrap();
    let second = Server::cairn(&["--masterauth", "one"]).unwrap();
    let third = Server::cairn(&[]).unwrap();
    let mut clients = [&first, &second, &third].map(|server| open(server.addr()));
    let [a, b, c] = &mut clients;
    assert_eq!(call(a, "CONFIG SET requirepass one"), ok());
    follow(b, first.addr());
    poll("the second is up", || is_up(b));
    follow(c, second.addr());
    poll("the third is up", || is_up(c));
    for n in 0..50 {
        call(a, &format!("RPUSH list {n}"));
        call(a, &format!("SET key:{n} {n} PX 100000"));
    }
    poll("the third has it all", || call(c, "LLEN list") == Reply::Integer(50));
    poll("and the last", || call(c, "GET key:49") == Reply::Bulk(b"49".to_vec()));
    assert_eq!(call(a, "PEXPIRETIME key:7"), call(c, "PEXPIRETIME key:7"));
    // A full sync of the one in the middle is one of those behind it.
    assert_eq!(call(b, "REPLICAOF NO ONE"), ok());
    assert_eq!(call(b, "SET only here"), ok());
    poll("the third hears of it", || call(c, "GET only") == Reply::Bulk(b"here".to_vec()));
    follow(b, first.addr());
    poll("the third has lost it again", || is_up(c) && call(c, "GET only") == Reply::Nil);
    assert_eq!(call(c, "LLEN list"), Reply::Integer(50));
}

#[test]
fn a_wrong_password_is_a_link_that_is_down() {
    let primary = Server::cairn(&[]).unwrap();
    assert_eq!(call(&mut open(primary.addr()), "CONFIG SET requirepass right"), ok());
    let follower = Server::cairn(&["--masterauth", "wrong"]).unwrap();
    let mut replica = open(follower.addr());
    call(&mut replica, "SET own data");
    follow(&mut replica, primary.addr());
    poll("it is told", || has_logged(follower.dir(), "Unable to AUTH to PRIMARY"));
    assert_eq!(call(&mut replica, "GET own"), Reply::Bulk(b"data".to_vec()));
    call(&mut replica, "CONFIG SET masterauth right");
    poll("it is up", || is_up(&mut replica));
    assert_eq!(call(&mut replica, "GET own"), Reply::Nil);
}

#[test]
fn what_has_expired_is_hidden_until_the_primary_removes_it() {
    let primary = redis(&[]);
    let follower = Server::cairn(&[]).unwrap();
    let (mut client, mut replica) = (open(primary.addr()), open(follower.addr()));
    follow(&mut replica, primary.addr());
    poll("the link is up", || is_up(&mut replica));
    // The primary expires nothing by itself, and nobody asks it for the key.
    call(&mut client, "DEBUG SET-ACTIVE-EXPIRE 0");
    call(&mut client, "SET k v PX 50");
    call(&mut client, "SET other v");
    poll("it has come", || call(&mut replica, "GET other") == Reply::Bulk(b"v".to_vec()));
    poll("nobody sees it", || call(&mut replica, "GET k") == Reply::Nil);
    assert_eq!(call(&mut replica, "DBSIZE"), Reply::Integer(2), "it is there");
    assert_eq!(info(&mut replica, "expired_keys"), "0");
    // Redis keeps a key to the end of its last millisecond; asking makes it remove the key.
    poll("the primary removes it", || call(&mut client, "GET k") == Reply::Nil);
    poll("the primary has said so", || call(&mut replica, "DBSIZE") == Reply::Integer(1));
    // As a primary it does so itself.
    call(&mut client, "SET k v PX 50");
    poll("another has come", || call(&mut replica, "DBSIZE") == Reply::Integer(2));
    assert_eq!(call(&mut replica, "REPLICAOF NO ONE"), ok());
    poll("it goes by itself", || call(&mut replica, "DBSIZE") == Reply::Integer(1));
}

#[test]
fn a_server_follows_whom_its_configuration_names_and_says_so() {
    let primary = redis(&[]);
    let mut client = open(primary.addr());
    call(&mut client, "SET k v");
    let port = primary.addr().port().to_string();
    let mut follower =
        Server::cairn(&["--replicaof", "127.0.0.1", &port, "--replica-priority", "7"]).unwrap();
    for _ in 0..2 {
        let mut replica = open(follower.addr());
        poll("the link is up", || is_up(&mut replica));
        assert_eq!(call(&mut replica, "GET k"), Reply::Bulk(b"v".to_vec()));
        assert_eq!(info(&mut replica, "slave_priority"), "7");
        let own = follower.addr().port();
        let shown = format!("ip=127.0.0.1,port={own},state=online");
        poll("the primary lists it", || info(&mut client, "slave0").starts_with(&shown));
        follower.restart().unwrap();
    }
}

/// What a primary that the test plays hears and says.
struct Scripted {
    listener: TcpListener,
}

impl Scripted {
    fn new() -> Self {
        Self { listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap() }
    }

    fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Takes the next call, and answers up to PSYNC as one would; returns the words of that.
    fn answer(&self) -> (TcpStream, Vec<String>) {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut writer = stream.try_clone().unwrap();
        loop {
            let words = request(&mut reader);
            match words[0].as_str() {
                "PING" => writer.write_all(b"+PONG\r\n").unwrap(),
                "REPLCONF" => writer.write_all(b"+OK\r\n").unwrap(),
                _ => return (stream, words),
            }
        }
    }
}

fn request(reader: &mut impl BufRead) -> Vec<String> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let mut head = line();
    while head.is_empty() {
        head = line();
    }
    let count: usize = head.strip_prefix('*').expect("a request").parse().unwrap();
    (0..count).map(|_| (line(), line()).1).collect()
}

const ID: &str = "0123456789012345678901234567890123456789";
const EMPTY: &[u8] = b"REDIS0011\xff\0\0\0\0\0\0\0\0";

/// A file with one string key.
fn one_key(key: &str, value: &str) -> Vec<u8> {
    let mut file = b"REDIS0011\xfe\0\0".to_vec();
    for text in [key, value] {
        file.push(text.len() as u8);
        file.extend_from_slice(text.as_bytes());
    }
    file.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
    file
}

#[test]
fn what_a_primary_must_not_say_leaves_the_old_data_as_it_is() {
    let primary = Scripted::new();
    let follower = Server::cairn(&[]).unwrap();
    let mut replica = open(follower.addr());
    call(&mut replica, "SET own data");
    follow(&mut replica, primary.addr());
    let full = format!("+FULLRESYNC {ID} 0\r\n");
    let with = |data: &[u8]| [full.as_bytes(), data].concat();
    let mut broken = one_key("k", "v");
    let at = broken.len() - 1;
    broken[at] = 7;
    let long = |file: &[u8]| with(&[format!("${}\r\n", file.len()).as_bytes(), file].concat());
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"-ERR no\r\n".to_vec(), "it answers PSYNC with '-ERR no'"),
        (b"-NOMASTERLINK Can't SYNC\r\n".to_vec(), "it answers PSYNC with '-NOMASTERLINK"),
        (b"+CONTINUE\r\n".to_vec(), "it answers PSYNC with '+CONTINUE'"),
        (b"+FULLRESYNC short 0\r\n".to_vec(), "it answers PSYNC with '+FULLRESYNC short 0'"),
        (format!("+FULLRESYNC {ID} x\r\n").into_bytes(), "its offset is no number"),
        (with(b"nonsense\r\n"), "its data begins with 'nonsense'"),
        (with(b"$x\r\n"), "its data begins with '$x'"),
        (with(b"$100\r\nREDIS0011"), "it has closed the connection after 9 bytes of its data"),
        (
            with(b"$EOF:0123456789012345678901234567890123456789\r\nREDIS"),
            "it has closed the connection after 5 bytes",
        ),
        (long(b"REDIS0099\xff\0\0\0\0\0\0\0\0"), "is refused at byte"),
        (long(b"REDIS0011\xfe\0\xfd\0"), "is refused at byte"),
        (long(&broken), "is refused at byte"),
        (long(b"REDIS0011\xfe\0\x63\x01k\x01v\xff\0\0\0\0\0\0\0\0"), "99 was found"),
        (long(b"REDIS0011\xfe\x20\0\x01k\x01v\xff\0\0\0\0\0\0\0\0"), "database 32 was found"),
    ];
    for (answer, logged) in cases {
        let (mut stream, words) = primary.answer();
        assert_eq!(words, ["PSYNC", "?", "-1"]);
        stream.write_all(&answer).unwrap();
        let _ = stream.shutdown(Shutdown::Write);
        poll(logged, || has_logged(follower.dir(), logged));
        assert_eq!(call(&mut replica, "GET own"), Reply::Bulk(b"data".to_vec()), "{logged}");
        assert_eq!(info(&mut replica, "master_link_status"), "down");
        // The next attempt need not be waited for.
        assert_eq!(call(&mut replica, "REPLICAOF 127.0.0.1 1"), ok());
        follow(&mut replica, primary.addr());
    }
    poll("nothing is left of them", || {
        let names = std::fs::read_dir(follower.dir()).unwrap().map(|entry| entry.unwrap().file_name());
        !names.into_iter().any(|name| name.to_string_lossy().contains("primary-"))
    });
    let (mut stream, _) = primary.answer();
    stream.write_all(&long(&one_key("k", "v"))).unwrap();
    poll("it is up", || is_up(&mut replica));
    assert_eq!(call(&mut replica, "GET own"), Reply::Nil);
    assert_eq!(call(&mut replica, "GET k"), Reply::Bulk(b"v".to_vec()));
}

#[test]
fn a_primary_that_never_says_anything_keeps_nobody_from_being_served() {
    let primary = Scripted::new();
    let follower = Server::cairn(&[]).unwrap();
    let mut replica = open(follower.addr());
    follow(&mut replica, primary.addr());
    let (mut stream, _) = primary.answer();
    let floods = thread::spawn(move || {
        let nothing = vec![b'\n'; 1 << 20];
        let mut told = 0;
        while stream.write_all(&nothing).is_ok() {
            told += nothing.len();
        }
        told
    });
    let used = |replica: &mut Connection| info(replica, "used_memory").parse::<usize>().unwrap();
    let before = used(&mut replica);
    for n in 0..200 {
        assert_eq!(call(&mut replica, "ECHO served"), Reply::Bulk(b"served".to_vec()), "{n}");
    }
    assert!(used(&mut replica) < before + (8 << 20), "what says nothing is not kept");
    assert_eq!(call(&mut replica, "REPLICAOF NO ONE"), ok());
    assert!(floods.join().unwrap() > 0);
}

/// What runs of a transaction before a command that has to end the link cannot be taken back, and must not run again.
#[test]
fn a_transaction_that_cannot_be_executed_as_a_whole_is_not_tried_again() {
    let primary = Scripted::new();
    let follower = Server::cairn(&[]).unwrap();
    let mut replica = open(follower.addr());
    follow(&mut replica, primary.addr());
    let (mut stream, _) = primary.answer();
    let all = |file: &[u8]| [format!("+FULLRESYNC {ID} 0\r\n${}\r\n", file.len()).as_bytes(), file].concat();
    stream.write_all(&all(EMPTY)).unwrap();
    poll("it is up", || is_up(&mut replica));
    stream.write_all(b"MULTI\r\nINCR a\r\nSELECT 20\r\nINCR b\r\nEXEC\r\n").unwrap();
    let (mut stream, words) = primary.answer();
    assert_eq!(words, ["PSYNC", "?", "-1"], "it knows that its state is at no point of the stream");
    assert_eq!(call(&mut replica, "GET a"), Reply::Bulk(b"1".to_vec()));
    assert_eq!(call(&mut replica, "GET b"), Reply::Nil);
    stream.write_all(&all(&one_key("a", "7"))).unwrap();
    poll("all of the data is here", || call(&mut replica, "GET a") == Reply::Bulk(b"7".to_vec()));
}

/// Reads acknowledgements until the connection ends, or somebody has had enough.
fn acknowledged(stream: &TcpStream) -> Receiver<u64> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (tell, told) = channel();
    thread::spawn(move || {
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|count| count > 0) {
            if line == "ACK\r\n" {
                line.clear();
                reader.read_line(&mut line).unwrap();
                line.clear();
                reader.read_line(&mut line).unwrap();
                if tell.send(line.trim_end().parse().unwrap()).is_err() {
                    return;
                }
            }
            line.clear();
        }
    });
    told
}

#[test]
fn the_stream_is_acknowledged_up_to_whole_units_and_asked_for_from_there() {
    let primary = Scripted::new();
    let follower = Server::cairn(&[]).unwrap();
    let mut replica = open(follower.addr());
    follow(&mut replica, primary.addr());
    let (mut stream, _) = primary.answer();
    // The mark arrives in two pieces.
    stream.write_all(format!("+FULLRESYNC {ID} 1000\r\n$EOF:{ID}\r\n").as_bytes()).unwrap();
    stream.write_all(EMPTY).unwrap();
    stream.write_all(&ID.as_bytes()[..17]).unwrap();
    stream.flush().unwrap();
    thread::sleep(Duration::from_millis(20));
    stream.write_all(&ID.as_bytes()[17..]).unwrap();
    let acks = acknowledged(&stream);
    assert_eq!(acks.recv_timeout(LIMIT), Ok(1000));
    let commands = b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
    let getack = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";
    let half = b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nw\r\n";
    stream.write_all(&[commands.as_slice(), getack].concat()).unwrap();
    // It counts what comes before the question, as Redis's does; the question itself with the next.
    let safe = 1000 + commands.len() as u64;
    poll("that is acknowledged", || acks.recv_timeout(LIMIT).unwrap() >= safe);
    let whole = safe + getack.len() as u64;
    poll("and that", || acks.recv_timeout(LIMIT).unwrap() == whole);
    stream.write_all(half).unwrap();
    poll("half of it is executed", || {
        info(&mut replica, "slave_read_repl_offset") == (whole + half.len() as u64).to_string()
    });
    assert_eq!(info(&mut replica, "slave_repl_offset"), whole.to_string());
    call(&mut replica, "SELECT 3");
    assert_eq!(call(&mut replica, "GET k"), Reply::Bulk(b"v".to_vec()));
    stream.shutdown(Shutdown::Both).unwrap();
    let (mut stream, words) = primary.answer();
    assert_eq!(words, ["PSYNC", ID, &(whole + 1).to_string()]);
    // Under another name: the primary was promoted.
    let other = ID.replace('0', "f");
    stream.write_all(format!("+CONTINUE {other}\r\n").as_bytes()).unwrap();
    // In the database that was selected before.
    stream.write_all(b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n").unwrap();
    poll("it goes on", || call(&mut replica, "GET n") == Reply::Bulk(b"1".to_vec()));
    assert_eq!(info(&mut replica, "master_replid"), other);
    assert_eq!(
        call(&mut replica, "GET k"),
        Reply::Bulk(b"v".to_vec()),
        "the transaction was not carried out"
    );
}

#[test]
fn what_cannot_be_executed_is_counted_and_said_and_a_wrong_database_ends_the_link() {
    let primary = Scripted::new();
    let follower = Server::cairn(&[]).unwrap();
    let mut replica = open(follower.addr());
    follow(&mut replica, primary.addr());
    let (mut stream, _) = primary.answer();
    let full = format!("+FULLRESYNC {ID} 0\r\n${}\r\n", EMPTY.len());
    stream.write_all(&[full.as_bytes(), EMPTY, b"NOSUCH command\r\nSET k v\r\n"].concat()).unwrap();
    poll("it goes on", || call(&mut replica, "GET k") == Reply::Bulk(b"v".to_vec()));
    assert_eq!(info(&mut replica, "unexpected_error_replies"), "1");
    assert!(has_logged(follower.dir(), "== CRITICAL =="));
    stream.write_all(b"SELECT 99\r\nSET k w\r\n").unwrap();
    // From before the SELECT, as often as it takes.
    let (_, words) = primary.answer();
    assert_eq!(words, ["PSYNC", ID, "26"]);
    assert_eq!(
        call(&mut replica, "GET k"),
        Reply::Bulk(b"v".to_vec()),
        "nothing was done to another database"
    );
}
