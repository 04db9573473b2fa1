//! One node: a process, its directory, its log. Killed, paused, stopped, started again.

use anyhow::{Context, bail};
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::network::Network;
use crate::server::cairn_binary;

/// A node of a cluster under test, running or not.
pub struct Node {
    /// Its place among the nodes.
    pub number: usize,
    /// Where clients reach it.
    pub addr: SocketAddr,
    /// Its `--dir`.
    pub dir: PathBuf,
    /// What it prints; not in `dir`, so that it outlives the disk.
    pub log: PathBuf,
    /// Flags besides address and directory.
    pub flags: Vec<String>,
    process: Option<Child>,
    paused: bool,
}

impl Node {
    pub fn new(number: usize, addr: SocketAddr, dir: PathBuf, log: PathBuf, flags: Vec<String>) -> Node {
        Node { number, addr, dir, log, flags, process: None, paused: false }
    }

    /// Starts the process. Call it from a thread that lives as long as the test: the system ends the process with it.
    pub fn spawn(&mut self, network: &Network) -> anyhow::Result<()> {
        assert!(self.process.is_none(), "node {} runs already", self.number);
        std::fs::create_dir_all(&self.dir)?;
        let log = File::options().create(true).append(true).open(&self.log)?;
        let binary = cairn_binary()?;
        let mut command = Command::new(&binary);
        command
            .args(["--port", &self.addr.port().to_string()])
            .args(["--save", "", "--enable-debug-command", "yes", "--protected-mode", "no"])
            .arg("--dir")
            .arg(&self.dir)
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        // In a namespace, every address is the node's own, as in a container.
        let host = self.addr.ip().to_string();
        match network {
            Network::Loopback => command.args(["--bind", &host]),
            Network::Namespaces(_) => command.args(["--cluster-announce-ip", &host]),
        };
        network.place(&mut command, self.number);
        // SAFETY: between fork and exec only prctl is called, which is a plain system call.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let process = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        (self.process, self.paused) = (Some(process), false);
        Ok(())
    }

    /// Writes files into its directory, which need not be there.
    pub fn write_files(&self, files: &[(&str, &str)]) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        for (name, content) in files {
            std::fs::write(self.dir.join(name), content)?;
        }
        Ok(())
    }

    /// Is there a process, paused or not?
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Does it run and is not paused?
    pub fn is_awake(&self) -> bool {
        self.is_running() && !self.paused
    }

    /// The process id, while there is a process.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Either fails only if the process has ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
        self.paused = false;
    }

    /// The process gets no time until [`Node::resume`].
    pub fn pause(&mut self) {
        self.signal(libc::SIGSTOP);
        self.paused = true;
    }

    /// It goes on, and does not know that time has passed.
    pub fn resume(&mut self) {
        self.signal(libc::SIGCONT);
        self.paused = false;
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(libc::SIGTERM);
        self.await_end(limit)
    }

    /// Waits for the process to end by itself.
    pub fn await_end(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let started = Instant::now();
        let process = self.process.as_mut().context("the node does not run")?;
        loop {
            if let Some(status) = process.try_wait()? {
                self.process = None;
                return Ok(status);
            }
            if started.elapsed() > limit {
                bail!("node {} still runs after {limit:?}", self.number);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The status of a process that has ended though nobody asked it to.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        let status = self.process.as_mut()?.try_wait().ok()??;
        self.process = None;
        Some(status)
    }

    /// The disk is lost. The node does not run.
    pub fn wipe(&mut self) -> anyhow::Result<()> {
        assert!(self.process.is_none(), "node {} still has its disk in use", self.number);
        std::fs::remove_dir_all(&self.dir).with_context(|| self.dir.display().to_string())
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    fn signal(&self, signal: i32) {
        let Some(process) = &self.process else { return };
        // SAFETY: kill has no memory to get wrong; the process is not reaped yet, so that the id is still its own.
        unsafe { libc::kill(process.id() as i32, signal) };
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
