//! Style that no compiler checks. Each complaint says what to do about it.

use crate::steps::cargo;
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Who may depend on whom, besides on crates of others. `cairn-bench`, `cairn-products`, `cairn-tests` and `xtask` are not shipped.
const ARROWS: &[(&str, &[&str])] = &[
    ("cairn-json", &[]),
    ("cairn-planted", &[]),
    ("cairn-proto", &[]),
    ("cairn-storage", &[]),
    ("cairn-replication", &["cairn-planted", "cairn-storage"]),
    ("cairn-search", &[]),
    ("cairn-engine", &["cairn-json", "cairn-planted", "cairn-proto", "cairn-search"]),
    ("cairn-server", &["cairn-engine", "cairn-planted", "cairn-proto", "cairn-replication", "cairn-storage"]),
    ("cairn-products", &[]),
    ("cairn-bench", &["cairn-products"]),
    (
        "cairn-tests",
        &[
            "cairn-engine",
            "cairn-json",
            "cairn-proto",
            "cairn-replication",
            "cairn-search",
            "cairn-server",
            "cairn-storage",
        ],
    ),
    ("xtask", &["cairn-planted"]),
];

/// The one place that makes bytes durable.
const DISK_MODULE: &str = "storage/src/disk";
/// Calls that sync a file. Within storage the Disk trait has a `sync_data` of its own, which is what is meant there.
const SYNC_CALLS: &[&str] =
    &["fsync(", "fdatasync(", ".sync_all(", ".sync_data(", "sync_file_range(", "msync("];

/// Rust files longer than this need a line that begins with `LONG_FILE_REASON` near their top.
const FILE_LINES_MAX: usize = 900;
const LONG_FILE_REASON: &str = "// One file because ";

/// All rules; the error lists every complaint.
pub fn check(root: &Path) -> anyhow::Result<()> {
    let mut complaints = Vec::new();
    crate_arrows(&mut complaints)?;
    let sources = rust_sources(root)?;
    for path in &sources {
        let text = std::fs::read_to_string(root.join(path)).with_context(|| path.display().to_string())?;
        syncs(path, &text, &mut complaints);
        length(path, &text, &mut complaints);
    }
    architecture(root, &mut complaints)?;
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    Ok(())
}

fn crate_arrows(complaints: &mut Vec<String>) -> anyhow::Result<()> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1", "--locked"]).output()?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    for package in list(&metadata["packages"]) {
        let name = text(&package["name"]);
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
            complaints.push(format!("crate {name}: say in xtask/src/tidy.rs on whom it may depend"));
            continue;
        };
        for dependency in list(&package["dependencies"]) {
            let to = text(&dependency["name"]);
            // Tests may look around; only what is shipped must keep to the arrows.
            let shipped = dependency["kind"].is_null();
            if shipped && ARROWS.iter().any(|(known, _)| *known == to) && !allowed.contains(&to) {
                complaints.push(format!(
                    "{name} depends on {to}, which is no arrow of the design: move the code to where it belongs \
                     (ARCHITECTURE.md), or pass in a trait"
                ));
            }
        }
    }
    Ok(())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Every `.rs` file that git knows or would know, in order.
fn rust_sources(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut files, mut dirs) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(root.join(&dir))? {
            let entry = entry?;
            let name = entry.file_name();
            let path = dir.join(&name);
            let hidden = name.to_string_lossy().starts_with('.');
            if entry.file_type()?.is_dir() && !hidden && name != "target" {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn syncs(path: &Path, source: &str, complaints: &mut Vec<String>) {
    if path.starts_with(DISK_MODULE) || path.starts_with("xtask") {
        return;
    }
    // Behind the Disk trait; there only the system's own calls would go around it.
    let in_storage = path.starts_with("storage/src");
    for (index, line) in source.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let goes_around = |call: &&&str| code.contains(**call) && !(in_storage && call.starts_with(".sync_"));
        if let Some(call) = SYNC_CALLS.iter().find(goes_around) {
            let call = call.trim_matches(['.', '(']);
            complaints.push(format!(
                "{}:{}: {call} outside of {DISK_MODULE}: what must be durable goes through the Disk trait, so that \
                 the crash tests see it",
                path.display(),
                index + 1
            ));
        }
    }
}

fn length(path: &Path, source: &str, complaints: &mut Vec<String>) {
    let lines = source.lines().count();
    let excused = source.lines().take(30).any(|line| line.starts_with(LONG_FILE_REASON));
    if lines > FILE_LINES_MAX && !excused {
        complaints.push(format!(
            "{}: {lines} lines, more than {FILE_LINES_MAX}: split it by what its parts do, or give the reason in a line \
             \"{LONG_FILE_REASON}…\" near its top",
            path.display()
        ));
    }
}

/// A path in backticks is one that has a slash or ends like a file of ours.
fn architecture(root: &Path, complaints: &mut Vec<String>) -> anyhow::Result<()> {
    let Ok(document) = std::fs::read_to_string(root.join("ARCHITECTURE.md")) else {
        complaints.push("ARCHITECTURE.md is missing: it is how people find their way in".into());
        return Ok(());
    };
    for (index, line) in document.lines().enumerate() {
        for quoted in line.split('`').skip(1).step_by(2) {
            if looks_like_path(quoted) && !root.join(quoted.trim_end_matches('/')).exists() {
                complaints.push(format!(
                    "ARCHITECTURE.md:{}: there is no {quoted}: name the file by its path from the root",
                    index + 1
                ));
            }
        }
    }
    Ok(())
}

fn looks_like_path(quoted: &str) -> bool {
    let plain = quoted.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'));
    let directory =
        ["proto/", "storage/", "replication/", "server/", "tests/", "xtask/", "bench/", "deploy/", ".ci/"];
    let file = [".rs", ".md", ".toml", ".py", ".gold"];
    plain && (directory.iter().any(|d| quoted.starts_with(d)) || file.iter().any(|f| quoted.ends_with(f)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints_about(path: &str, source: &str) -> Vec<String> {
        let mut complaints = Vec::new();
        syncs(Path::new(path), source, &mut complaints);
        length(Path::new(path), source, &mut complaints);
        complaints
    }

    #[test]
    fn syncing_belongs_to_the_disk_module() {
        let code = "fn f(file: &File) {\n    file.sync_all().unwrap();\n}\n";
        assert_eq!(complaints_about("storage/src/disk/real.rs", code), [] as [&str; 0]);
        assert!(complaints_about("server/src/net.rs", code)[0].starts_with("server/src/net.rs:2: sync_all"));
        assert_eq!(complaints_about("storage/src/log/mod.rs", code).len(), 0);
        assert_eq!(complaints_about("storage/src/log/mod.rs", "unsafe { libc::fdatasync(fd) };").len(), 1);
        assert_eq!(complaints_about("server/src/net.rs", "// after fsync(2) it is there").len(), 0);
    }

    #[test]
    fn a_long_file_needs_a_reason() {
        let long = "\n".repeat(FILE_LINES_MAX + 1);
        assert_eq!(complaints_about("proto/src/lib.rs", &long).len(), 1);
        let excused = format!("// One file because it is one table.\n{long}");
        assert_eq!(complaints_about("proto/src/lib.rs", &excused).len(), 0);
    }

    #[test]
    fn paths_are_told_from_other_code() {
        assert!(looks_like_path("server/engine/src/lib.rs") && looks_like_path("CHANGELOG.md"));
        assert!(
            !looks_like_path("SET k v")
                && !looks_like_path("cairn-server")
                && !looks_like_path("Arc::make_mut")
        );
    }
}
