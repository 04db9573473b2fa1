//! What the checks need beside cargo: a redis-server, Python with redis-py, and the state of the work tree.

use crate::steps::cargo;
use anyhow::{Context, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What Python has for the use cases and for the client libraries.
const REQUIREMENTS: &[&str] = &["tests/use_cases/requirements.txt", "tests/clients/requirements.txt"];
const NODE_PACKAGES: &str = "tests/clients/package.json";

/// A redis-server to compare with; installed with apt-get where that is possible.
pub fn ensure_redis() -> anyhow::Result<()> {
    if std::env::var_os("REDIS_SERVER_BIN").is_some()
        || succeeds(Command::new("redis-server").arg("--version"))
    {
        return Ok(());
    }
    apt_install("redis-server").context(
        "redis-server 7.0 is missing, the golden scripts are compared with it: install it, or set REDIS_SERVER_BIN",
    )
}

/// A Python that has the packages of the use cases and the client libraries: a virtual environment in the target directory.
pub fn ensure_python() -> anyhow::Result<Command> {
    let venv = target_dir().join("venv");
    let python = venv.join("bin").join("python");
    let stamp = venv.join("requirements.txt");
    let mut wanted = Vec::new();
    for file in REQUIREMENTS {
        wanted.extend(std::fs::read(file).context(*file)?);
    }
    if std::fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(Command::new(python));
    }
    let make_venv = || succeeds(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    if !make_venv() {
        apt_install("python3-venv")
            .context("python3 with venv is missing, the use cases need it: install it")?;
        ensure!(make_venv(), "python3 -m venv {} fails", venv.display());
    }
    println!("    installing {} into {}", REQUIREMENTS.join(", "), venv.display());
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    for file in REQUIREMENTS {
        pip.args(["-r", file]);
    }
    ensure!(
        pip.status()?.success(),
        "pip cannot install {}; is the package index reachable?",
        REQUIREMENTS.join(", ")
    );
    // Last, so that an interrupted installation is done again.
    std::fs::write(stamp, wanted)?;
    Ok(Command::new(python))
}

/// A `node_modules` in the target directory that has the packages of the client libraries' tests; `None` where npm is missing,
/// which is said.
pub fn ensure_node_modules() -> anyhow::Result<Option<PathBuf>> {
    let prefix = target_dir().join("npm");
    let modules = prefix.join("node_modules");
    let stamp = prefix.join("installed.json");
    let wanted = std::fs::read(NODE_PACKAGES).context(NODE_PACKAGES)?;
    if std::fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(Some(modules.canonicalize()?));
    }
    if !succeeds(Command::new("npm").arg("--version")) {
        println!("    npm is missing: the libraries for node are left out");
        return Ok(None);
    }
    println!("    installing {NODE_PACKAGES} into {}", prefix.display());
    std::fs::create_dir_all(&prefix)?;
    std::fs::write(prefix.join("package.json"), &wanted)?;
    let npm = Command::new("npm")
        .args(["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock", "--prefix"])
        .arg(&prefix)
        .status()?;
    ensure!(npm.success(), "npm cannot install {NODE_PACKAGES}; is the registry reachable?");
    // Last, so that an interrupted installation is done again.
    std::fs::write(stamp, wanted)?;
    // Programs elsewhere look there.
    Ok(Some(modules.canonicalize()?))
}

/// Whether `cargo nextest` is there.
pub fn has_nextest() -> bool {
    succeeds(&mut cargo(&["nextest", "--version"]))
}

/// What git sees as changed; verify must leave it as it was. Empty outside of a repository.
pub fn tree_state() -> anyhow::Result<Vec<u8>> {
    let output = Command::new("git").args(["status", "--porcelain"]).stderr(Stdio::null()).output();
    Ok(output.map(|output| output.stdout).unwrap_or_default())
}

/// An error that shows what has changed since.
pub fn expect_tree_state(before: &[u8]) -> anyhow::Result<()> {
    let after = tree_state()?;
    if after != before {
        bail!("a check has written to the tree, which none may do:\n{}", String::from_utf8_lossy(&after));
    }
    Ok(())
}

fn apt_install(package: &str) -> anyhow::Result<()> {
    let root = succeeds(Command::new("sh").args(["-c", "test \"$(id -u)\" = 0"]));
    let sudo: &[&str] = if root { &[] } else { &["sudo", "-n"] };
    let apt = |args: &[&str]| {
        let words = [sudo, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y"], args].concat();
        let mut command = Command::new(words[0]);
        succeeds(command.args(&words[1..]))
    };
    println!("    installing {package} with apt-get");
    // An index that cannot be refreshed may still know the package.
    let _ = apt(&["update"]);
    ensure!(apt(&["install", "--no-install-recommends", package]), "apt-get cannot install {package}");
    Ok(())
}

fn succeeds(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new("target").to_owned(), PathBuf::from)
}
