//! How the nodes of a test reach each other: over loopback, or each in a network namespace of its own, where single
//! directions between two nodes can be cut.
//!
//! The namespaces have no names and no processes: they live as long as the file descriptors that this process holds, and go
//! with it however it ends. One more, the hub, has a bridge that all are plugged into, and the clients. A cut is an entry in
//! the sender's neighbour table that points nowhere: its packets to that node disappear silently, for connections that are
//! open as well as for new ones, and nothing else changes.

use anyhow::{Context, ensure};
use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The way from clients to nodes, and between nodes.
pub enum Network {
    /// All on 127.0.0.1, told apart by ports.
    Loopback,
    /// A namespace for each node.
    Namespaces(Namespaces),
}

impl Network {
    /// Connects as a client.
    pub fn dial(&self, addr: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        let connect = || {
            let stream = TcpStream::connect_timeout(&addr, limit)?;
            stream.set_nodelay(true)?;
            // A paused node takes nothing any more once its buffers are full.
            stream.set_write_timeout(Some(limit))?;
            Ok(stream)
        };
        match self {
            Network::Loopback => connect(),
            Network::Namespaces(namespaces) => namespaces.in_hub(connect)?,
        }
    }

    /// Makes `command` run where this node lives.
    pub fn place(&self, command: &mut Command, node: usize) {
        if let Network::Namespaces(namespaces) = self {
            enter(command, &namespaces.nodes[node]);
        }
    }

    /// The namespaces, for scenarios that cut.
    pub fn namespaces(&self) -> anyhow::Result<&Namespaces> {
        match self {
            Network::Namespaces(namespaces) => Ok(namespaces),
            Network::Loopback => anyhow::bail!("only nodes in namespaces can be cut off"),
        }
    }
}

/// A network namespace for each node, and one for the bridge and the clients.
pub struct Namespaces {
    hub: File,
    nodes: Vec<File>,
}

impl Namespaces {
    /// Why there can be none on this machine, if so.
    pub fn unavailable() -> Option<&'static str> {
        // SAFETY: geteuid only reads.
        if unsafe { libc::geteuid() } != 0 {
            return Some("network namespaces need root");
        }
        if !Command::new("ip").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
            return Some("ip of iproute2 is missing");
        }
        match new_namespace() {
            Ok(_) => None,
            Err(_) => Some("this system lets nobody make network namespaces"),
        }
    }

    /// Makes namespaces for `nodes` nodes; everybody reaches everybody.
    pub fn new(nodes: usize) -> anyhow::Result<Namespaces> {
        let hub = new_namespace().context("cannot make a network namespace")?;
        let nodes: io::Result<Vec<File>> = (0..nodes).map(|_| new_namespace()).collect();
        let made = Namespaces { hub, nodes: nodes? };
        let mut plan = String::from("link set lo up\nlink add hub type bridge\n");
        plan +=
            &format!("link set hub address {}\naddr add {CLIENTS}/24 dev hub\nlink set hub up\n", mac(253));
        for (node, namespace) in made.nodes.iter().enumerate() {
            let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
            plan += &format!("link add n{node} type veth peer name eth0 netns {path}\n");
            plan += &format!("link set n{node} master hub up\n");
        }
        ip(&made.hub, &plan)?;
        for (node, namespace) in made.nodes.iter().enumerate() {
            let mut plan = String::from("link set lo up\n");
            plan += &format!("link set eth0 address {}\n", mac(node));
            plan += &format!("addr add {}/24 dev eth0\nlink set eth0 up\n", addr_of(node));
            for other in (0..made.nodes.len()).filter(|&other| other != node) {
                plan += &neighbour(other, &mac(other));
            }
            ip(namespace, &plan)?;
        }
        Ok(made)
    }

    /// Everything that `from` sends to `to` disappears from now on.
    pub fn cut(&self, from: usize, to: usize) -> anyhow::Result<()> {
        ip(&self.nodes[from], &neighbour(to, &mac(NOBODY)))
    }

    /// What `from` sends to `to` arrives again.
    pub fn heal(&self, from: usize, to: usize) -> anyhow::Result<()> {
        ip(&self.nodes[from], &neighbour(to, &mac(to)))
    }

    /// Cuts `node` off from all others, in both directions. Clients still reach it.
    pub fn isolate(&self, node: usize) -> anyhow::Result<()> {
        for other in (0..self.nodes.len()).filter(|&other| other != node) {
            self.cut(node, other)?;
            self.cut(other, node)?;
        }
        Ok(())
    }

    /// No direction is cut any longer.
    pub fn heal_all(&self) -> anyhow::Result<()> {
        for from in 0..self.nodes.len() {
            let others = (0..self.nodes.len()).filter(|&other| other != from);
            let plan: String = others.map(|to| neighbour(to, &mac(to))).collect();
            ip(&self.nodes[from], &plan)?;
        }
        Ok(())
    }

    /// Calls `f` as if from the hub: a socket that it makes belongs there for good.
    fn in_hub<T>(&self, f: impl FnOnce() -> T) -> io::Result<T> {
        let home = File::open("/proc/thread-self/ns/net")?;
        set_namespace(self.hub.as_raw_fd())?;
        let result = f();
        // This thread in the wrong place would not know it.
        set_namespace(home.as_raw_fd()).expect("a thread may return to where it came from");
        Ok(result)
    }
}

/// The address of a node in its namespace.
pub fn addr_of(node: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, 0, node as u8 + 1))
}

/// The hub's address, where clients come from.
const CLIENTS: &str = "10.77.0.254";
/// The number of a node that does not exist.
const NOBODY: usize = 200;

fn mac(node: usize) -> String {
    format!("02:00:00:00:77:{:02x}", node + 1)
}

fn neighbour(node: usize, mac: &str) -> String {
    format!("neigh replace {} lladdr {mac} dev eth0 nud permanent\n", addr_of(node))
}

/// A new namespace, as a descriptor that keeps it alive.
fn new_namespace() -> io::Result<File> {
    // On a thread of its own, which ends with the namespace as its only memory.
    let make = || {
        // SAFETY: unshare of the network namespace changes nothing but where this thread makes sockets.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return Err(io::Error::last_os_error());
        }
        File::open("/proc/thread-self/ns/net")
    };
    std::thread::spawn(make).join().expect("the thread does not panic")
}

fn set_namespace(namespace: RawFd) -> io::Result<()> {
    // SAFETY: the descriptor is open, and setns changes nothing but where this thread makes sockets.
    match unsafe { libc::setns(namespace, libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn enter(command: &mut Command, namespace: &File) {
    let namespace = namespace.as_raw_fd();
    // SAFETY: between fork and exec only setns is called, which is a plain system call; the descriptor is the parent's and
    // outlives the call of spawn.
    unsafe { command.pre_exec(move || set_namespace(namespace)) };
}

/// Runs lines of `ip -batch` in a namespace.
fn ip(namespace: &File, lines: &str) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    enter(&mut command, namespace);
    let mut process = command.spawn().context("ip of iproute2")?;
    process.stdin.take().expect("it is piped").write_all(lines.as_bytes())?;
    let output = process.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip -batch fails: {said}\n{lines}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A listener and a connection to it from another node; `None` where there are no namespaces.
    fn two_nodes() -> Option<(Namespaces, TcpListener)> {
        if let Some(why) = Namespaces::unavailable() {
            println!("skipped: {why}");
            return None;
        }
        let namespaces = Namespaces::new(2).unwrap();
        let listener = on(&namespaces.nodes[1], || TcpListener::bind((addr_of(1), 4000)).unwrap());
        Some((namespaces, listener))
    }

    fn on<T: Send>(namespace: &File, f: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let work = || {
                set_namespace(namespace.as_raw_fd()).unwrap();
                f()
            };
            scope.spawn(work).join().unwrap()
        })
    }

    fn connects(namespaces: &Namespaces, from: usize) -> bool {
        let limit = Duration::from_millis(300);
        on(&namespaces.nodes[from], || {
            TcpStream::connect_timeout(&SocketAddr::new(addr_of(1), 4000), limit).is_ok()
        })
    }

    #[test]
    fn a_cut_stops_one_pair_and_not_the_clients() {
        let Some((namespaces, _listener)) = two_nodes() else { return };
        assert!(connects(&namespaces, 0));
        namespaces.cut(1, 0).unwrap();
        assert!(!connects(&namespaces, 0), "the answers do not come back");
        let network = Network::Namespaces(namespaces);
        network.dial(SocketAddr::new(addr_of(1), 4000), Duration::from_secs(1)).unwrap();
        let Network::Namespaces(namespaces) = network else { unreachable!("it was just wrapped") };
        namespaces.heal_all().unwrap();
        assert!(connects(&namespaces, 0));
    }

    #[test]
    fn a_cut_of_one_direction_holds_back_what_is_under_way_until_it_heals() {
        use std::io::Read;
        let Some((namespaces, listener)) = two_nodes() else { return };
        let mut out =
            on(&namespaces.nodes[0], || TcpStream::connect(SocketAddr::new(addr_of(1), 4000)).unwrap());
        let (mut into, _) = listener.accept().unwrap();
        into.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        namespaces.cut(0, 1).unwrap();
        out.write_all(b"x").unwrap();
        assert!(into.read(&mut [0]).is_err(), "nothing comes through");
        namespaces.heal(0, 1).unwrap();
        into.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(into.read(&mut [0]).unwrap(), 1, "sent again once the way is open");
    }
}
