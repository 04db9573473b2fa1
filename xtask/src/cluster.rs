//! `cargo xtask cluster 3`: a cluster on this machine to try things on, in the terminal until ctrl-c.

use crate::tools;
use anyhow::{Context, ensure};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// More nodes on one machine show nothing new.
pub const NODES_MAX: u16 = 9;
/// The ports among the nodes are this much higher than those for clients.
const PEER_PORT_OFFSET: u16 = 10_000;
/// How long the first election may take before people are sent to the logs.
const READY_TIME_MAX: Duration = Duration::from_secs(15);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How often SIGINT or SIGTERM came.
static SIGNALS: AtomicUsize = AtomicUsize::new(0);

struct Node {
    name: String,
    port: u16,
    child: Child,
    ended: bool,
}

/// Starts `count` nodes, waits for ctrl-c, stops them. Their directories stay, unless the next call says `fresh`.
pub fn run(count: u16, base_port: u16, fresh: bool, further: &[String]) -> anyhow::Result<()> {
    ensure!(
        base_port.checked_add(PEER_PORT_OFFSET + count).is_some(),
        "--base-port {base_port}: nodes talk to each other on ports {PEER_PORT_OFFSET} higher, and there is none"
    );
    let bin = tools::target_dir().join("release");
    let root = tools::target_dir().join("cluster");
    if fresh && root.exists() {
        fs::remove_dir_all(&root).with_context(|| root.display().to_string())?;
    }
    let ports: Vec<u16> = (base_port..base_port + count).collect();
    let peers: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let peers = peers.join(",");
    catch_signals();
    let mut nodes = Vec::new();
    let outcome = (|| {
        for (number, port) in (1..).zip(ports) {
            nodes.push(start(&bin, &root, &format!("n{number}"), port, &peers, further)?);
        }
        tell(&bin, &root, &mut nodes)?;
        watch(&mut nodes)
    })();
    stop(&mut nodes);
    outcome
}

fn start(
    bin: &Path,
    root: &Path,
    name: &str,
    port: u16,
    peers: &str,
    further: &[String],
) -> anyhow::Result<Node> {
    let dir = root.join(name);
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let log = log_file(root, name);
    let output =
        File::options().create(true).append(true).open(&log).with_context(|| log.display().to_string())?;
    let port_text = port.to_string();
    let mut command = Command::new(bin.join("cairn-server"));
    command.args(["--bind", "127.0.0.1", "--port", &port_text, "--dir"]).arg(&dir);
    command.args(["--cluster-enabled", "yes", "--cluster-peers", peers]).args(further);
    // A group of its own: ctrl-c in the terminal is for us, who then stop the nodes in order.
    command.process_group(0).stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
    println!("{}", shown(&command));
    let child = command.spawn().context("cannot start cairn-server")?;
    Ok(Node { name: name.to_owned(), port, child, ended: false })
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn log_file(root: &Path, name: &str) -> PathBuf {
    root.join(format!("{name}.log"))
}

/// Who is where, and whether they serve.
fn tell(bin: &Path, root: &Path, nodes: &mut [Node]) -> anyhow::Result<()> {
    println!();
    for Node { name, port, child, .. } in nodes.iter() {
        let log = log_file(root, name);
        println!("{name}: redis-cli -p {port}    pid {}    log {}", child.id(), log.display());
    }
    println!();
    let started = Instant::now();
    loop {
        look(nodes)?;
        let ready = |node: &Node| !node.ended && is_ready(bin, node.port);
        let unready: Vec<&str> =
            nodes.iter().filter(|node| !ready(node)).map(|node| node.name.as_str()).collect();
        let seconds = started.elapsed().as_secs_f32();
        if unready.is_empty() {
            println!("all serve after {seconds:.1} s");
            break;
        }
        let gives_up = nodes.iter().any(|node| node.ended) || started.elapsed() > READY_TIME_MAX;
        if gives_up || SIGNALS.load(Ordering::Relaxed) > 0 {
            println!("not ready after {seconds:.1} s: {}; see the logs", unready.join(", "));
            break;
        }
        thread::sleep(LOOK_INTERVAL);
    }
    println!("any node takes any command; try kill -9 on the pid of the one whose ROLE is master");
    println!("ctrl-c stops them all and keeps their data (--fresh begins anew)");
    Ok(())
}

fn is_ready(bin: &Path, port: u16) -> bool {
    let mut command = Command::new(bin.join("cairn-admin"));
    command.args(["ping", "--ready", "--port", &port.to_string()]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Says when a node ends, until a signal comes or none is left.
fn watch(nodes: &mut [Node]) -> anyhow::Result<()> {
    while SIGNALS.load(Ordering::Relaxed) == 0 {
        look(nodes)?;
        ensure!(nodes.iter().any(|node| !node.ended), "no node is left; see the logs");
        thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}

fn look(nodes: &mut [Node]) -> anyhow::Result<()> {
    for node in nodes.iter_mut().filter(|node| !node.ended) {
        if let Some(status) = node.child.try_wait()? {
            node.ended = true;
            println!(
                "{} ended ({status}); start it again in another terminal with its line above",
                node.name
            );
        }
    }
    Ok(())
}

/// SIGTERM to all at once, as a machine does that shuts down; a second ctrl-c kills.
fn stop(nodes: &mut [Node]) {
    println!("stopping");
    for node in nodes.iter().filter(|node| !node.ended) {
        // SAFETY: a plain system call. The child has not been waited for, so that its id is nobody else's.
        unsafe { libc::kill(node.child.id() as libc::pid_t, libc::SIGTERM) };
    }
    let signals = SIGNALS.load(Ordering::Relaxed);
    for node in nodes.iter_mut().filter(|node| !node.ended) {
        while let Ok(None) = node.child.try_wait() {
            if SIGNALS.load(Ordering::Relaxed) > signals {
                println!("killing {}", node.name);
                // Gone just now, perhaps.
                let _ = node.child.kill();
            }
            thread::sleep(LOOK_INTERVAL);
        }
    }
}

fn catch_signals() {
    extern "C" fn count(_signal: libc::c_int) {
        SIGNALS.fetch_add(1, Ordering::Relaxed);
    }
    let handler = count as extern "C" fn(libc::c_int) as libc::sighandler_t;
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only adds to an atomic, which a signal handler may.
        unsafe { libc::signal(signal, handler) };
    }
}
