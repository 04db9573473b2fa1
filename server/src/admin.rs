//! What `cairn-admin` asks a running server: is it there, can it serve, will another node lead.
//!
//! These are probes for supervisors, so nothing here waits without a limit, and "no" is told from "it could not be
//! asked" only in the message: both are reasons not to send clients there.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cairn_proto::{Value, decode_reply, encode_request};

/// How long a server may take for one answer. Shorter than the time-outs that supervisors give a probe, so that they
/// see the message and not only that it was late.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
/// Longer answers are not those of a server of ours.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Between two looks at who leads.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Where a server listens, and the password it wants.
#[derive(Clone, Debug)]
pub struct Address {
    pub host: String,
    pub port: u16,
    /// `requirepass`; empty = none.
    pub password: String,
}

/// Whether the server answers at all: with an error too, as while it wants a password.
pub fn ping(address: &Address) -> Result<()> {
    Connection::open(address)?.ask(&["PING"]).map(drop)
}

/// Whether clients would be served: by the node itself, or in a cluster by a leader that it can reach.
pub fn ready(address: &Address) -> Result<()> {
    let mut connection = Connection::authenticated(address)?;
    match connection.ask(&["PING"])? {
        Value::Simple(pong) if pong == b"PONG" => {}
        other => bail!("not ready: {}", shown(&other)),
    }
    match cluster_state(&mut connection)? {
        None => Ok(()),
        Some(state) if state == "ok" => Ok(()),
        Some(state) => bail!("not ready: cluster_state:{state}"),
    }
}

/// Asks a leader to let another node lead, and waits for up to `time_max` until this node follows one. A node that does
/// not lead has nothing to do. Returns whether it led.
pub fn hand_over(address: &Address, time_max: Duration) -> Result<bool> {
    let deadline = Instant::now() + time_max;
    let mut connection = Connection::authenticated(address)?;
    if cluster_state(&mut connection)?.is_none() || role(&mut connection)? != Role::Leader {
        return Ok(false);
    }
    match connection.ask(&["FAILOVER"])? {
        Value::Error(error) => bail!("FAILOVER: {}", String::from_utf8_lossy(&error)),
        _ => drop(connection),
    }
    loop {
        // A connection for each look: a node that gives up its leadership may close those that it has.
        let found = Connection::authenticated(address).and_then(|mut connection| role(&mut connection));
        if let Ok(Role::Follower) = found {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            let found = found.map_or_else(|error| format!("{error:#}"), |role| format!("{role:?}"));
            bail!("no other node leads after {} s: {found}", time_max.as_secs_f32());
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Role {
    Leader,
    /// Knows its leader and hears from it.
    Follower,
    /// Neither: an election is under way.
    Undecided,
}

fn role(connection: &mut Connection) -> Result<Role> {
    let reply = connection.ask(&["ROLE"])?;
    let Value::Array(fields) = &reply else { bail!("ROLE: {}", shown(&reply)) };
    let field = |at: usize| match fields.get(at) {
        Some(Value::Bulk(text) | Value::Simple(text)) => text.as_slice(),
        _ => b"",
    };
    match (field(0), field(3)) {
        (b"master", _) => Ok(Role::Leader),
        (b"slave", b"connected") => Ok(Role::Follower),
        (b"slave", _) => Ok(Role::Undecided),
        _ => bail!("ROLE: {}", shown(&reply)),
    }
}

/// `cluster_state` of CLUSTER INFO; `None` from a server that is no node of a cluster.
fn cluster_state(connection: &mut Connection) -> Result<Option<String>> {
    match connection.ask(&["CLUSTER", "INFO"])? {
        Value::Bulk(text) | Value::Verbatim { text, .. } => {
            let text = String::from_utf8_lossy(&text);
            let state = text.lines().find_map(|line| line.strip_prefix("cluster_state:"));
            Ok(Some(state.context("CLUSTER INFO has no cluster_state")?.trim().to_owned()))
        }
        Value::Error(error) if error.starts_with(b"ERR This instance has cluster support disabled") => {
            Ok(None)
        }
        other => bail!("CLUSTER INFO: {}", shown(&other)),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Error(text) | Value::Simple(text) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    }
}

/// One connection, one command at a time.
struct Connection {
    stream: TcpStream,
}

impl Connection {
    fn open(address: &Address) -> Result<Connection> {
        let place = || format!("cannot connect to {}:{}", address.host, address.port);
        let mut refused = None;
        for socket_address in (address.host.as_str(), address.port).to_socket_addrs().with_context(place)? {
            match TcpStream::connect_timeout(&socket_address, ANSWER_TIME_MAX) {
                Ok(stream) => return Ok(Connection { stream }),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) => Err(error).with_context(place),
            None => bail!("{} has no address", address.host),
        }
    }

    fn authenticated(address: &Address) -> Result<Connection> {
        let mut connection = Connection::open(address)?;
        if !address.password.is_empty()
            && let Value::Error(error) = connection.ask(&["AUTH", &address.password])?
        {
            bail!("AUTH: {}", String::from_utf8_lossy(&error));
        }
        Ok(connection)
    }

    fn ask(&mut self, words: &[&str]) -> Result<Value> {
        let name = words[0];
        let deadline = Instant::now() + ANSWER_TIME_MAX;
        let mut request = Vec::new();
        encode_request(words, &mut request);
        self.stream.set_write_timeout(Some(ANSWER_TIME_MAX))?;
        self.stream.write_all(&request).with_context(|| format!("cannot send {name}"))?;
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            if let Some((value, _)) = decode_reply(&answer).with_context(|| format!("answer to {name}"))? {
                return Ok(value);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("no answer to {name} within {} s", ANSWER_TIME_MAX.as_secs());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut chunk).with_context(|| format!("no answer to {name}"))? {
                0 => bail!("the server closed the connection before it answered {name}"),
                len => answer.extend_from_slice(&chunk[..len]),
            }
            if answer.len() > ANSWER_BYTES_MAX {
                bail!("the answer to {name} has no end");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_proto::{Decoded, Limits, RequestDecoder};
    use std::net::TcpListener;

    /// A server that knows these requests and their answers, each to be given once and in this order, over any number
    /// of connections; an empty answer closes the connection.
    #[expect(clippy::disallowed_methods, reason = "no executor has started it")]
    fn server(script: &'static [(&'static str, &'static str)]) -> (Address, thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = move || {
            let mut script = script.iter();
            while script.len() > 0 {
                let (mut stream, _) = listener.accept().unwrap();
                let mut received = Vec::new();
                let mut decoder = RequestDecoder::new();
                let mut chunk = [0; 512];
                'connection: loop {
                    while let Ok(Decoded::Request { consumed }) =
                        decoder.decode(&received, &Limits::default())
                    {
                        let request = decoder.args(&received, Vec::new()).join(&b' ');
                        let (expected, answer) = script.next().expect("no more requests than the script has");
                        assert_eq!(String::from_utf8(request).unwrap(), *expected);
                        received.drain(..consumed);
                        if answer.is_empty() {
                            break 'connection;
                        }
                        stream.write_all(answer.as_bytes()).unwrap();
                    }
                    match stream.read(&mut chunk).unwrap() {
                        0 => break,
                        len => received.extend_from_slice(&chunk[..len]),
                    }
                }
            }
        };
        (Address { host: "127.0.0.1".to_owned(), port, password: String::new() }, thread::spawn(serve))
    }

    const PONG: (&str, &str) = ("PING", "+PONG\r\n");
    const CLUSTER_OK: (&str, &str) = ("CLUSTER INFO", "$18\r\ncluster_state:ok\r\n\r\n");
    const NO_CLUSTER: (&str, &str) = ("CLUSTER INFO", "-ERR This instance has cluster support disabled\r\n");
    const LEADS: (&str, &str) = ("ROLE", "*3\r\n$6\r\nmaster\r\n:7\r\n*0\r\n");
    const ELECTS: (&str, &str) = ("ROLE", "*5\r\n$5\r\nslave\r\n$0\r\n\r\n:0\r\n$7\r\nconnect\r\n:-1\r\n");
    const FOLLOWS: (&str, &str) =
        ("ROLE", "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:7001\r\n$9\r\nconnected\r\n:7\r\n");

    fn message(result: Result<()>) -> String {
        format!("{:#}", result.unwrap_err())
    }

    #[test]
    fn a_server_that_answers_with_an_error_is_alive() {
        let (address, thread) = server(&[("PING", "-NOAUTH Authentication required.\r\n")]);
        ping(&address).unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn nobody_there_is_not_alive() {
        // Bound and not listening: the port stays ours, and whoever connects is refused.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        let address = Address { host: "127.0.0.1".to_owned(), port, password: String::new() };
        assert!(message(ping(&address)).starts_with(&format!("cannot connect to 127.0.0.1:{port}")));
    }

    #[test]
    fn a_server_that_closes_the_connection_is_not_alive() {
        let (address, thread) = server(&[("PING", "")]);
        assert!(message(ping(&address)).contains("closed the connection"));
        thread.join().unwrap();
    }

    #[test]
    fn a_single_server_is_ready_when_it_answers_pong() {
        let (address, thread) = server(&[PONG, NO_CLUSTER]);
        ready(&address).unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn a_node_is_ready_while_its_cluster_is_ok() {
        let (address, thread) = server(&[PONG, CLUSTER_OK]);
        ready(&address).unwrap();
        thread.join().unwrap();
        let (address, thread) = server(&[PONG, ("CLUSTER INFO", "$20\r\ncluster_state:fail\r\n\r\n")]);
        assert_eq!(message(ready(&address)), "not ready: cluster_state:fail");
        thread.join().unwrap();
    }

    #[test]
    fn a_server_that_loads_or_wants_a_password_is_not_ready() {
        let (address, thread) = server(&[("PING", "-LOADING the dataset\r\n")]);
        assert_eq!(message(ready(&address)), "not ready: LOADING the dataset");
        thread.join().unwrap();
        let (address, thread) = server(&[("PING", "-NOAUTH Authentication required.\r\n")]);
        assert!(message(ready(&address)).contains("NOAUTH"));
        thread.join().unwrap();
    }

    #[test]
    fn the_password_is_given_before_the_question() {
        let (address, thread) = server(&[("AUTH open sesame", "+OK\r\n"), PONG, CLUSTER_OK]);
        ready(&Address { password: "open sesame".to_owned(), ..address }).unwrap();
        thread.join().unwrap();
        let (address, thread) = server(&[("AUTH wrong", "-WRONGPASS no\r\n")]);
        let outcome = ready(&Address { password: "wrong".to_owned(), ..address });
        assert_eq!(message(outcome), "AUTH: WRONGPASS no");
        thread.join().unwrap();
    }

    #[test]
    fn a_hand_over_waits_until_another_node_leads() {
        let (address, thread) =
            server(&[CLUSTER_OK, LEADS, ("FAILOVER", "+OK\r\n"), LEADS, ("ROLE", ""), ELECTS, FOLLOWS]);
        assert!(hand_over(&address, Duration::from_secs(10)).unwrap());
        thread.join().unwrap();
    }

    #[test]
    fn a_follower_and_a_single_server_have_nothing_to_hand_over() {
        let (address, thread) = server(&[CLUSTER_OK, FOLLOWS]);
        assert!(!hand_over(&address, Duration::from_secs(10)).unwrap());
        thread.join().unwrap();
        let (address, thread) = server(&[NO_CLUSTER]);
        assert!(!hand_over(&address, Duration::from_secs(10)).unwrap());
        thread.join().unwrap();
    }

    #[test]
    fn a_hand_over_that_fails_says_so() {
        let (address, thread) =
            server(&[CLUSTER_OK, LEADS, ("FAILOVER", "-ERR FAILOVER requires connected replicas.\r\n")]);
        let outcome = hand_over(&address, Duration::from_secs(10)).map(drop);
        assert_eq!(message(outcome), "FAILOVER: ERR FAILOVER requires connected replicas.");
        thread.join().unwrap();
        let (address, thread) = server(&[CLUSTER_OK, LEADS, ("FAILOVER", "+OK\r\n"), LEADS]);
        let outcome = hand_over(&address, Duration::ZERO).map(drop);
        assert_eq!(message(outcome), "no other node leads after 0 s: Leader");
        thread.join().unwrap();
    }
}
