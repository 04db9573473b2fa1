//! A server on the network as a target.

use super::{Protocol, Received, Reply, Target};
use crate::server::Connection;
use anyhow::{Context, bail, ensure};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How long the server may take for anything that the runner itself asks of it.
const CONTROL_LIMIT: Duration = Duration::from_secs(10);

/// Clients over TCP, and one more connection to look after the server between scripts.
pub struct Tcp {
    addr: SocketAddr,
    protocol: Protocol,
    clients: BTreeMap<String, Connection>,
    control: Connection,
    /// CONFIG GET * as it was at first: what a script changed is put back.
    config: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Tcp {
    /// Connects to a server that nobody else is using.
    pub fn connect(addr: SocketAddr) -> anyhow::Result<Tcp> {
        let mut control = Connection::open(addr)?;
        let config = config_of(&mut control)?;
        Ok(Tcp { addr, protocol: Protocol::Resp2, clients: BTreeMap::new(), control, config })
    }

    fn client(&mut self, name: &str) -> anyhow::Result<&mut Connection> {
        if !self.clients.contains_key(name) {
            let mut connection = Connection::open(self.addr)?;
            if self.protocol == Protocol::Resp3 {
                match connection.call(&["HELLO", "3"], CONTROL_LIMIT)? {
                    Reply::Map(_) => {}
                    // Who has yet to authenticate is in RESP2 until then.
                    Reply::Error(text) if text.starts_with(b"NOAUTH") => {
                        connection = Connection::open(self.addr)?;
                    }
                    other => bail!("HELLO 3 answered {other}"),
                }
            }
            self.clients.insert(name.into(), connection);
        }
        Ok(self.clients.get_mut(name).expect("inserted above"))
    }

    fn expect_ok(&mut self, command: &[&str]) -> anyhow::Result<()> {
        let reply = self.control.call(command, CONTROL_LIMIT)?;
        ensure!(reply == Reply::Simple(b"OK".to_vec()), "{} answered {reply}", command.join(" "));
        Ok(())
    }
}

impl Target for Tcp {
    fn reset(&mut self, protocol: Protocol) -> anyhow::Result<()> {
        self.clients.clear();
        self.protocol = protocol;
        if self.settle().is_err() {
            // A script has killed this connection, too.
            self.control = Connection::open(self.addr)?;
        }
        self.expect_ok(&["CLIENT", "UNPAUSE"])?;
        for (name, value) in config_of(&mut self.control)? {
            if let Some(original) = self.config.get(&name).filter(|original| **original != value) {
                let args = [b"CONFIG".to_vec(), b"SET".to_vec(), name.clone(), original.clone()];
                self.control.send(&args)?;
                let reply = self.control.reply(CONTROL_LIMIT)?;
                let name = name.escape_ascii();
                ensure!(reply == Reply::Simple(b"OK".to_vec()), "CONFIG SET {name} answered {reply}");
            }
        }
        self.expect_ok(&["FLUSHALL"])?;
        self.expect_ok(&["SCRIPT", "FLUSH"])?;
        self.expect_ok(&["CONFIG", "RESETSTAT"])
    }

    fn send(&mut self, client: &str, args: &[Vec<u8>]) -> anyhow::Result<()> {
        self.client(client)?.send(args)
    }

    fn send_raw(&mut self, client: &str, bytes: &[u8]) -> anyhow::Result<()> {
        self.client(client)?.send_raw(bytes)
    }

    fn receive(&mut self, client: &str, limit: Duration) -> anyhow::Result<Received> {
        self.client(client)?.receive(limit)
    }

    fn blocked_clients(&mut self) -> anyhow::Result<usize> {
        let info = self.control.call(&["INFO", "clients"], CONTROL_LIMIT)?;
        let Reply::Bulk(text) = &info else { bail!("INFO clients answered {info}") };
        let text = String::from_utf8_lossy(text);
        let line = text.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
        Ok(line.context("INFO clients has no blocked_clients")?.trim().parse()?)
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        // Whatever earlier turns of the event loop wrote to other clients has left the server before this answer.
        let reply = self.control.call(&["PING"], CONTROL_LIMIT)?;
        ensure!(reply == Reply::Simple(b"PONG".to_vec()), "PING answered {reply}");
        Ok(())
    }

    fn elapse(&mut self, time: Duration) -> anyhow::Result<()> {
        std::thread::sleep(time);
        Ok(())
    }
}

fn config_of(control: &mut Connection) -> anyhow::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let reply = control.call(&["CONFIG", "GET", "*"], CONTROL_LIMIT)?;
    let Reply::Array(items) = reply else { bail!("CONFIG GET * answered {reply}") };
    let mut pairs = BTreeMap::new();
    for pair in items.chunks(2) {
        let [Reply::Bulk(name), Reply::Bulk(value)] = pair else { bail!("CONFIG GET * is not pairs") };
        pairs.insert(name.clone(), value.clone());
    }
    Ok(pairs)
}
