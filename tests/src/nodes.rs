//! Servers on threads of the test's own process, for what a process of its own cannot be told: who leads.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::JoinHandle;

use cairn_replication::handle::SessionDoor;
use cairn_server::executor::route::Leading;
use cairn_server::flags::{self, Invocation};
use cairn_server::{config_file, start};
use tokio::sync::oneshot;

/// What sessions show that come from another node.
pub const TOKEN: [u8; 16] = *b"0123456789abcdef";

/// A server on a thread; gone, as if killed, when dropped.
pub struct Node {
    addr: SocketAddr,
    kill: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl Node {
    /// A node that leads.
    pub fn leader(flags: &[&str]) -> Node {
        Self::start(free_addr(), Leading::Myself, flags)
    }

    /// A node that leads, at this address.
    pub fn leader_at(addr: SocketAddr) -> Node {
        Self::start(addr, Leading::Myself, &[])
    }

    /// A node that takes the node at `leader` for its leader, and shows it this token.
    pub fn follower(leader: SocketAddr, token: [u8; 16], flags: &[&str]) -> Node {
        Self::start(free_addr(), led_by(leader, token), flags)
    }

    /// The same, at this address.
    pub fn follower_at(addr: SocketAddr, leader: SocketAddr) -> Node {
        Self::start(addr, led_by(leader, TOKEN), &[])
    }

    /// A node that knows of no leader.
    pub fn leaderless() -> Node {
        Self::start(free_addr(), Leading::Nobody, &[])
    }

    fn start(addr: SocketAddr, leading: Leading, extra: &[&str]) -> Node {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let port = addr.port().to_string();
        let path = dir.path().display().to_string();
        let base = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--dir", &path];
        let fixed = ["--enable-debug-command", "yes", "--appendfsync", "no"];
        let flags = base.iter().chain(&fixed).chain(extra).map(Into::into);
        let Ok(Invocation::Serve(sources)) = flags::parse(flags) else { panic!("flags of a server") };
        let config = config_file::load(&sources, &mut std::io::empty()).expect("good flags");
        let (kill, killed) = oneshot::channel();
        let (serves, served) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let _guard = runtime.enter();
            let mut executor = start::prepare(config, None, Box::new(|_| ())).expect("a server");
            executor.fix_leader(leading, TOKEN);
            serves.send(()).expect("somebody waits for it");
            runtime.block_on(async {
                tokio::select! {
                    _ = executor.run() => {}
                    _ = killed => {}
                }
            });
        });
        served.recv().expect("the server has started");
        Node { addr, kill: Some(kill), thread: Some(thread), _dir: dir }
    }

    /// Where its clients go.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.kill.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server's is the test's: whoever waits for its answers fails.
            let _ = thread.join();
        }
    }
}

fn led_by(leader: SocketAddr, token: [u8; 16]) -> Leading {
    let door = SessionDoor { token, tls_port: 0 };
    Leading::Elsewhere { host: leader.ip().to_string(), port: leader.port(), tls_port: 0, door: Some(door) }
}

/// An address that nobody listens on, most likely.
pub fn free_addr() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
}
