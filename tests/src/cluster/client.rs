//! A client that follows a failover, and knows of each command whether it was done, was not, or may have been.

use std::time::Duration;

use super::group::Directory;
use crate::golden::{Received, Reply};
use crate::server::Connection;

/// A node that does not take a connection within this time is passed over.
const CONNECT_LIMIT: Duration = Duration::from_millis(500);
/// Between two attempts when a node has refused, so that a cluster without a leader is not flooded.
const BACK_OFF: Duration = Duration::from_millis(5);

/// With one of these words begins the error of a server that has not even begun with the command.
const REFUSALS: &[&str] = &[
    "CLUSTERDOWN",
    "MOVED",
    "LOADING",
    "MASTERDOWN",
    "READONLY",
    "MISCONF",
    "NOREPLICAS",
    "OOM",
    "TRYAGAIN",
    "EXECABORT",
    "FAILOVER",
];
/// With one of these begins the error of a server that no longer knows what became of the command.
const DOUBTS: &[&str] = &["UNBLOCKED"];

/// What a client learns of what it sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T = Reply> {
    /// A reply; errors of the command itself are replies too.
    Reply(T),
    /// The server said that it will not do it.
    Refused(String),
    /// It may be done or not, now or later.
    Unknown(Doubt),
    /// There was no connection to send it on.
    Unsent,
}

/// Why a client does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// The connection was closed before the reply.
    Closed,
    /// No reply in time.
    TimedOut,
    /// The server said so.
    Told,
}

/// What kind of answer a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Of the command itself, its errors among them.
    Reply,
    /// The server has not even begun with it.
    Refused,
    /// The server does not know any more what became of it.
    Doubt,
}

/// Tells a refusal and a doubt from a reply.
pub fn verdict(reply: &Reply) -> Verdict {
    let Reply::Error(text) = reply else { return Verdict::Reply };
    let begins = |words: &[&str]| words.iter().any(|word| text.starts_with(word.as_bytes()));
    match () {
        () if begins(DOUBTS) => Verdict::Doubt,
        () if begins(REFUSALS) => Verdict::Refused,
        () => Verdict::Reply,
    }
}

/// One client with one connection at a time.
pub struct Client {
    directory: Directory,
    /// The node that it is or was connected to.
    node: usize,
    connection: Option<Connection>,
    limit: Duration,
    /// It never goes to another node.
    faithful: bool,
}

impl Client {
    /// A client that begins at `node` and waits up to `limit` for each reply.
    pub fn new(directory: Directory, node: usize, limit: Duration) -> Client {
        Client { directory, node, connection: None, limit, faithful: false }
    }

    /// It stays with its node whatever happens.
    pub fn faithful(self) -> Client {
        Client { faithful: true, ..self }
    }

    /// Has it a connection, as far as it knows?
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Gives the connection up, with what it may have of WATCH and MULTI.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Sends a command, on a new connection if there is none, and waits for the reply.
    pub fn call(&mut self, command: &[&[u8]]) -> Answer {
        match self.call_all(&[command]) {
            Answer::Reply(mut replies) => self.judge(replies.pop().expect("one reply for one command")),
            Answer::Refused(why) => Answer::Refused(why),
            Answer::Unknown(doubt) => Answer::Unknown(doubt),
            Answer::Unsent => Answer::Unsent,
        }
    }

    /// Sends commands at once and waits for all replies, which are not judged.
    pub fn call_all(&mut self, commands: &[&[&[u8]]]) -> Answer<Vec<Reply>> {
        if self.connection.is_none() {
            match self.directory.connect(self.node, CONNECT_LIMIT) {
                Ok(connection) => self.connection = Some(connection),
                Err(_) => {
                    self.move_on();
                    return Answer::Unsent;
                }
            }
        }
        let connection = self.connection.as_mut().expect("it was just made");
        for command in commands {
            let words: Vec<Vec<u8>> = command.iter().map(|word| word.to_vec()).collect();
            if connection.send(&words).is_err() {
                return self.lose(Doubt::Closed);
            }
        }
        let mut replies = Vec::with_capacity(commands.len());
        for _ in commands {
            let connection = self.connection.as_mut().expect("it is given up only below");
            match connection.receive(self.limit) {
                Ok(Received::Reply(reply)) => replies.push(reply),
                Ok(Received::Nothing) => return self.lose(Doubt::TimedOut),
                Ok(Received::Closed) | Err(_) => return self.lose(Doubt::Closed),
            }
        }
        Answer::Reply(replies)
    }

    /// What kind of answer a reply is. After a refusal the client looks elsewhere.
    pub fn judge(&mut self, reply: Reply) -> Answer {
        match verdict(&reply) {
            Verdict::Reply => Answer::Reply(reply),
            Verdict::Doubt => self.lose(Doubt::Told),
            Verdict::Refused => {
                self.move_on();
                Answer::Refused(match reply {
                    Reply::Error(text) => String::from_utf8_lossy(&text).into_owned(),
                    other => other.to_string(),
                })
            }
        }
    }

    fn lose<T>(&mut self, doubt: Doubt) -> Answer<T> {
        self.move_on();
        Answer::Unknown(doubt)
    }

    fn move_on(&mut self) {
        self.connection = None;
        if !self.faithful {
            self.node = (self.node + 1) % self.directory.len();
        }
        std::thread::sleep(BACK_OFF);
    }
}
