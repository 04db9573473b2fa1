//! TLS with clients: the real server, and rustls at the other end.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_tests::golden::Reply;
use cairn_tests::server::{Connection, Server};
use cairn_tests::tls::{Authority, Client};
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::version::{TLS12, TLS13};

const LIMIT: Duration = Duration::from_secs(20);

/// A server with a plain port and one for TLS.
struct Served {
    server: Server,
    tls: SocketAddr,
}

fn serve(authority: &Authority, extra: &[&str]) -> Served {
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let files = ["server.pem", "server.key", "ca.pem"].map(|file| authority.path(file));
    // Somebody else may take the port in between.
    for attempt in 0.. {
        let tls = free();
        let port = tls.port().to_string();
        let mut flags = vec!["--tls-port", &port, "--tls-cert-file", &files[0], "--tls-key-file", &files[1]];
        flags.extend(["--tls-ca-cert-file", &files[2]]);
        flags.extend(extra);
        match Server::cairn(&flags) {
            Ok(server) => return Served { server, tls },
            Err(error) => assert!(attempt < 3, "{error:#}"),
        }
    }
    unreachable!()
}

/// Is nothing served there for clients of this authority? What has been let go may be somebody else's port by now.
fn is_left(addr: SocketAddr, config: &Arc<ClientConfig>) -> bool {
    TcpStream::connect(addr).is_err() || Client::connect(addr, config).ping_fails()
}

fn run(server: &Server, command: &[&str]) -> String {
    Connection::open(server.addr()).unwrap().call(command, LIMIT).unwrap().to_string()
}

#[test]
fn commands_go_over_either_version_beside_the_plain_port() {
    let authority = Authority::create();
    let served = serve(&authority, &["--tls-auth-clients", "no"]);
    for version in [&TLS12, &TLS13] {
        let mut client = Client::connect(served.tls, &authority.client(None, version));
        client.talk(b"PING\r\n", b"+PONG\r\n");
        client.talk(b"SET k v\r\nGET k\r\nINCR n\r\nDEL n\r\n", b"+OK\r\n$1\r\nv\r\n:1\r\n:1\r\n");
    }
    assert_eq!(run(&served.server, &["GET", "k"]), "\"v\"");
}

#[test]
fn large_values_and_pipelines_pass_a_slow_reader() {
    let authority = Authority::create();
    let served = serve(&authority, &["--tls-auth-clients", "no"]);
    let mut client = Client::connect(served.tls, &authority.client(None, &TLS13));
    let value: Vec<u8> = (0..20 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut set = format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${}\r\n", value.len()).into_bytes();
    set.extend_from_slice(&value);
    set.extend_from_slice(b"\r\n");
    client.talk(&set, b"+OK\r\n");
    // Two replies of 20 MB wait for somebody who reads nothing meanwhile: the server goes on with others.
    client.stream.write_all(b"GET big\r\nGET big\r\nPING\r\n").unwrap();
    for _ in 0..20 {
        assert_eq!(run(&served.server, &["PING"]), "+PONG");
    }
    let mut reply = format!("${}\r\n", value.len()).into_bytes();
    reply.extend_from_slice(&value);
    reply.extend_from_slice(b"\r\n");
    client.expect(&reply);
    client.expect(&reply);
    client.expect(b"+PONG\r\n");
    let pings = 50_000;
    client.stream.write_all(&b"PING\r\n".repeat(pings)).unwrap();
    client.expect(&b"+PONG\r\n".repeat(pings));
}

#[test]
fn a_blocked_client_and_a_subscriber_are_told() {
    let authority = Authority::create();
    let served = serve(&authority, &["--tls-auth-clients", "no"]);
    let config = authority.client(None, &TLS13);
    let mut blocked = Client::connect(served.tls, &config);
    blocked.talk(b"PING\r\n", b"+PONG\r\n");
    blocked.stream.write_all(b"BLPOP list 0\r\n").unwrap();
    let mut subscriber = Client::connect(served.tls, &config);
    subscriber.talk(b"SUBSCRIBE news\r\n", b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    assert_eq!(run(&served.server, &["RPUSH", "list", "x"]), "1");
    blocked.expect(b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n");
    assert_eq!(run(&served.server, &["PUBLISH", "news", "hello"]), "1");
    subscriber.expect(b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
}

#[test]
fn while_a_script_is_busy_a_client_with_tls_can_kill_it() {
    let authority = Authority::create();
    let served = serve(&authority, &["--tls-auth-clients", "no", "--busy-reply-threshold", "50"]);
    let config = authority.client(None, &TLS13);
    let mut second = Client::connect(served.tls, &config);
    second.talk(b"PING\r\n", b"+PONG\r\n");
    let mut busy = Connection::open(served.server.addr()).unwrap();
    busy.send(&[b"EVAL".to_vec(), b"while true do end".to_vec(), b"0".to_vec()]).unwrap();
    let started = Instant::now();
    loop {
        second.stream.write_all(b"SCRIPT KILL\r\n").unwrap();
        let mut chunk = [0; 1024];
        let count = second.stream.read(&mut chunk).unwrap();
        if &chunk[..count] == b"+OK\r\n" {
            break;
        }
        // Not running yet.
        assert!(chunk.starts_with(b"-NOTBUSY"), "{}", chunk[..count].escape_ascii());
        assert!(started.elapsed() < LIMIT);
    }
    assert!(matches!(busy.reply(LIMIT).unwrap(), Reply::Error(_)));
}

#[test]
fn certificates_of_clients_are_asked_for_as_configured() {
    let (authority, stranger) = (Authority::create(), Authority::create());
    let served = serve(&authority, &[]);
    let with = authority.client(Some("client"), &TLS13);
    let without = authority.client(None, &TLS13);
    // Trusts the server, but has its own certificate from elsewhere.
    fs::copy(stranger.path("client.pem"), authority.path("stranger.pem")).unwrap();
    fs::copy(stranger.path("client.key"), authority.path("stranger.key")).unwrap();
    let wrong = authority.client(Some("stranger"), &TLS13);
    let refused = |config| Client::connect(served.tls, config).ping_fails();
    assert!(!refused(&with));
    assert!(refused(&without), "yes is the default");
    assert!(refused(&wrong));
    assert_eq!(run(&served.server, &["CONFIG", "SET", "tls-auth-clients", "optional"]), "+OK");
    assert!(!refused(&with));
    assert!(!refused(&without));
    assert!(refused(&wrong));
    assert_eq!(run(&served.server, &["CONFIG", "SET", "tls-auth-clients", "no"]), "+OK");
    assert!(!refused(&without));
    assert_eq!(run(&served.server, &["CONFIG", "SET", "tls-protocols", "TLSv1.2"]), "+OK");
    assert!(refused(&without), "only 1.2 is spoken");
    let reply = run(&served.server, &["CONFIG", "SET", "tls-protocols", "SSLv3"]);
    assert!(reply.contains("Unable to update TLS configuration"), "{reply}");
    assert_eq!(run(&served.server, &["CONFIG", "GET", "tls-protocols"]), "[\"tls-protocols\", \"TLSv1.2\"]");
}

#[test]
fn a_plain_client_and_one_that_says_nothing_cost_nobody_else() {
    let authority = Authority::create();
    let served = serve(&authority, &["--tls-auth-clients", "no"]);
    let silent = TcpStream::connect(served.tls).unwrap();
    let mut plain = TcpStream::connect(served.tls).unwrap();
    plain.set_read_timeout(Some(LIMIT)).unwrap();
    plain.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
    let mut answer = Vec::new();
    // An alert, perhaps, and the end.
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.windows(4).any(|bytes| bytes == b"PONG"));
    let mut client = Client::connect(served.tls, &authority.client(None, &TLS13));
    client.talk(b"PING\r\n", b"+PONG\r\n");
    drop(silent);
}

/// The certificate that the server shows.
fn shown(served: &Served, config: &Arc<ClientConfig>) -> Vec<u8> {
    let mut client = Client::connect(served.tls, config);
    client.talk(b"PING\r\n", b"+PONG\r\n");
    client.stream.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn files_are_read_again_when_told_and_bad_ones_change_nothing() {
    let authority = Authority::create();
    let served = serve(&authority, &["--tls-auth-clients", "no"]);
    let config = authority.client(None, &TLS13);
    let mut old = Client::connect(served.tls, &config);
    old.talk(b"PING\r\n", b"+PONG\r\n");
    let before = shown(&served, &config);
    authority.sign("server");
    assert_eq!(shown(&served, &config), before, "not told yet");
    let cert = authority.path("server.pem");
    assert_eq!(run(&served.server, &["CONFIG", "SET", "tls-cert-file", &cert]), "+OK");
    let after = shown(&served, &config);
    assert_ne!(after, before);
    old.talk(b"PING\r\n", b"+PONG\r\n");

    fs::write(Path::new(&cert), "nonsense").unwrap();
    let reply = run(&served.server, &["CONFIG", "SET", "tls-cert-file", &cert]);
    assert!(reply.contains("Unable to update TLS configuration"), "{reply}");
    assert_eq!(shown(&served, &config), after);
}

#[test]
fn the_port_for_tls_moves_and_goes() {
    let authority = Authority::create();
    let served = serve(&authority, &["--tls-auth-clients", "no"]);
    let config = authority.client(None, &TLS13);
    let mut attempts = 0;
    let moved = loop {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let reply = run(&served.server, &["CONFIG", "SET", "tls-port", &free.port().to_string()]);
        if reply == "+OK" {
            break free;
        }
        // Somebody else has taken it in between.
        attempts += 1;
        assert!(attempts < 3, "{reply}");
    };
    Client::connect(moved, &config).talk(b"PING\r\n", b"+PONG\r\n");
    assert!(is_left(served.tls, &config));
    assert_eq!(run(&served.server, &["CONFIG", "SET", "tls-port", "0"]), "+OK");
    assert!(is_left(moved, &config));
    assert_eq!(run(&served.server, &["PING"]), "+PONG");
}
