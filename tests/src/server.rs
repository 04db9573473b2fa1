//! Servers of the tests' own: each on a free port of 127.0.0.1 with an empty directory, gone when dropped.

use crate::golden::{Received, Reply, Source};
use anyhow::{Context, bail};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take until it answers PING.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A server process and its directory.
pub struct Server {
    process: Child,
    addr: SocketAddr,
    dir: tempfile::TempDir,
    binary: PathBuf,
    flags: Vec<String>,
}

impl Server {
    /// Starts the `cairn-server` of this build, with `extra` flags.
    pub fn cairn(extra: &[&str]) -> anyhow::Result<Server> {
        Server::start(&cairn_binary()?, extra)
    }

    /// Starts the redis-server of this machine, or that of `REDIS_SERVER_BIN`, and says which source of
    /// expectations it is.
    pub fn redis(extra: &[&str]) -> anyhow::Result<(Server, Source)> {
        let binary = std::env::var_os("REDIS_SERVER_BIN").map_or("redis-server".into(), PathBuf::from);
        let version = Command::new(&binary).arg("--version").output().with_context(|| {
            format!("{} is missing; apt-get install redis-server, or set REDIS_SERVER_BIN", binary.display())
        })?;
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        let source = match () {
            () if version.contains("v=7.0.") => Source::Redis70,
            () if version.contains("v=7.2.") => Source::Redis72,
            () if version.contains("v=8.0.") => Source::Redis80,
            () => {
                bail!("golden scripts are for redis-server 7.0, 7.2 or 8.0; set REDIS_SERVER_BIN: {version}")
            }
        };
        Ok((Server::start(&binary, &[&["--appendonly", "no"], extra].concat())?, source))
    }

    fn start(binary: &Path, extra: &[&str]) -> anyhow::Result<Server> {
        let mut lost_the_port = None;
        // Between our closing the port and the server's opening it somebody else may take it.
        for _ in 0..3 {
            match Server::start_once(binary, extra) {
                Ok(server) => return Ok(server),
                Err(error) => lost_the_port = Some(error),
            }
        }
        Err(lost_the_port.expect("three attempts were made"))
    }

    fn start_once(binary: &Path, extra: &[&str]) -> anyhow::Result<Server> {
        let dir = tempfile::tempdir()?;
        let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let flags: Vec<String> = extra.iter().map(|&flag| flag.to_owned()).collect();
        let process = spawn(binary, addr, dir.path(), &flags)?;
        let mut server = Server { process, addr, dir, binary: binary.to_owned(), flags };
        server.wait_until_it_serves()?;
        Ok(server)
    }

    /// `kill -9`: whatever the process had in memory is gone.
    pub fn kill(&mut self) {
        // Either fails only if the process has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Asks the process to stop, with a signal by its name: TERM, INT.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let pid = self.process.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status()?;
        anyhow::ensure!(status.success(), "kill -s {name} {pid}: {status}");
        Ok(())
    }

    /// Waits until the process has ended by itself; `None` when it has not within `limit`.
    pub fn ended(&mut self, limit: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let started = Instant::now();
        loop {
            let status = self.process.try_wait()?;
            if status.is_some() || started.elapsed() > limit {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts the server again, on the same directory and port.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        self.process = spawn(&self.binary, self.addr, self.dir.path(), &self.flags)?;
        self.wait_until_it_serves()
    }

    fn wait_until_it_serves(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            if self.answers_ping() {
                return Ok(());
            }
            let exited = self.process.try_wait()?;
            if exited.is_some() || started.elapsed() > START_LIMIT {
                let log = std::fs::read_to_string(self.dir.path().join(LOG)).unwrap_or_default();
                bail!("{} does not serve ({exited:?}):\n{log}", self.binary.display());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn answers_ping(&self) -> bool {
        let ping = || Connection::open(self.addr)?.call(&["PING"], Duration::from_secs(1));
        ping().is_ok_and(|reply| reply == Reply::Simple(b"PONG".to_vec()))
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its `--dir`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a server prints, in its directory.
const LOG: &str = "server.out";

fn spawn(binary: &Path, addr: SocketAddr, dir: &Path, flags: &[String]) -> anyhow::Result<Child> {
    let log = File::options().create(true).append(true).open(dir.join(LOG))?;
    Command::new(binary)
        .args(["--port", &addr.port().to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--enable-debug-command", "yes"])
        .arg("--dir")
        .arg(dir)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {}", binary.display()))
}

/// `CAIRN_SERVER_BIN`, or the binary that lies beside this test in cargo's target directory.
pub fn cairn_binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("CAIRN_SERVER_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    test.ancestors()
        .map(|dir| dir.join("cairn-server"))
        .find(|path| path.is_file())
        .context("no cairn-server beside this test: run cargo build -p cairn-server, or set CAIRN_SERVER_BIN")
}

/// A connection that sends commands and hands out replies one at a time.
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    /// Whether the connection was switched to RESP3, where `$-1` is not how null is written.
    resp3: bool,
}

impl Connection {
    /// Connects; the connection speaks RESP2 until it sends `HELLO 3`.
    pub fn open(addr: SocketAddr) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        Ok(Connection::over(stream))
    }

    /// Speaks over a stream that somebody else has connected.
    pub fn over(stream: TcpStream) -> Connection {
        Connection { stream, unread: Vec::new(), resp3: false }
    }

    /// Sends one command as an array of bulk strings.
    pub fn send(&mut self, args: &[Vec<u8>]) -> anyhow::Result<()> {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            request.extend(format!("${}\r\n", arg.len()).bytes());
            request.extend_from_slice(arg);
            request.extend(b"\r\n");
        }
        match args {
            [name, version, ..] if name.eq_ignore_ascii_case(b"HELLO") => self.resp3 = version == b"3",
            [name] if name.eq_ignore_ascii_case(b"RESET") => self.resp3 = false,
            _ => {}
        }
        self.send_raw(&request)
    }

    /// Sends bytes as they are. A connection that the server has closed shows in what is received.
    pub fn send_raw(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self.stream.write_all(bytes) {
            Err(e) if matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(()),
            other => Ok(other?),
        }
    }

    /// The next reply or push, waiting at most `limit`.
    pub fn receive(&mut self, limit: Duration) -> anyhow::Result<Received> {
        let deadline = Instant::now() + limit;
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some((reply, used)) = Reply::decode(&self.unread)? {
                self.unread.drain(..used);
                return Ok(Received::Reply(if self.resp3 { reply } else { reply.with_resp2_nulls() }));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() && limit > Duration::ZERO {
                return Ok(Received::Nothing);
            }
            self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(Received::Closed),
                Ok(n) => self.unread.extend_from_slice(&chunk[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(Received::Nothing);
                }
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(Received::Closed),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// The next reply; that none comes is an error.
    pub fn reply(&mut self, limit: Duration) -> anyhow::Result<Reply> {
        match self.receive(limit)? {
            Received::Reply(reply) => Ok(reply),
            Received::Closed => bail!("the server closed the connection"),
            Received::Nothing => bail!("no reply within {limit:?}"),
        }
    }

    /// Sends a command and waits for its reply.
    pub fn call(&mut self, command: &[&str], limit: Duration) -> anyhow::Result<Reply> {
        self.send(&command.iter().map(|arg| arg.as_bytes().to_vec()).collect::<Vec<_>>())?;
        self.reply(limit)
    }
}
