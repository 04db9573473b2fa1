//! What deploy/ and the READMEs tell people to run, held against the programs: every flag exists, every value is
//! accepted, versions are those of Cargo.toml. Files that nothing reads rot.

use anyhow::{Context, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SERVER: &str = "cairn-server";
const ADMIN: &str = "cairn-admin";
const SAMPLE: &str = "deploy/cairn.conf";
const FILES: &[&str] =
    &["README.md", "deploy/README.md", "deploy/Dockerfile", "deploy/compose.yaml", "deploy/cairn.service"];
const TEMPLATES: &str = "deploy/helm/cairn/templates";

/// All checks, with the programs in `bin`; the error lists every complaint.
pub fn check(bin: &Path) -> anyhow::Result<()> {
    let mut complaints = Vec::new();
    sample(bin, &mut complaints)?;
    let mut files: Vec<PathBuf> = FILES.iter().map(PathBuf::from).collect();
    for entry in fs::read_dir(TEMPLATES).context(TEMPLATES)? {
        files.push(entry?.path());
    }
    files.sort();
    let mut helps = Helps { bin, texts: BTreeMap::new() };
    let mut servers = 0;
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        for call in calls(&text, is_yaml(&file)) {
            servers += usize::from(call.program == SERVER);
            let place = format!("{}:{}", file.display(), call.line);
            flags(&place, &call, &mut helps, &mut complaints)?;
        }
    }
    // Fewer means that the files have taken a form that is not understood here: a check that sees nothing.
    ensure!(servers >= 4, "only {servers} command lines of {SERVER} found in deploy/ and README.md");
    versions(&mut complaints)?;
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}

/// The sample configuration, as it is and with everything that it suggests.
fn sample(bin: &Path, complaints: &mut Vec<String>) -> anyhow::Result<()> {
    let text = fs::read_to_string(SAMPLE).context(SAMPLE)?;
    for (name, text) in
        [(SAMPLE.to_owned(), text.clone()), (format!("{SAMPLE}, all of it"), suggested(&text))]
    {
        let mut child = Command::new(bin.join(SERVER))
            .args(["-", "--check-config"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {SERVER}"))?;
        child.stdin.take().context("stdin is a pipe")?.write_all(text.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            complaints.push(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
    }
    Ok(())
}

/// A configuration with its suggestions taken: lines that begin with # and a letter. Files that it would include are
/// not on this machine.
fn suggested(text: &str) -> String {
    let take =
        |line: &str| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => {
                if rest.starts_with("include ") { String::new() } else { rest.to_owned() }
            }
            _ => line.to_owned(),
        };
    text.lines().map(|line| take(line) + "\n").collect()
}

/// A command line found in a file.
#[derive(Debug, PartialEq)]
struct Call {
    line: usize,
    program: &'static str,
    words: Vec<String>,
}

/// The command lines of our programs: a line of shell (with `\` over several), an array as in JSON, or the items of a
/// YAML list. Words in backticks are prose.
fn calls(text: &str, yaml: bool) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut goes_on = false;
    for (index, line) in text.lines().enumerate() {
        let code = line.trim();
        if code.is_empty() || code.starts_with('#') || (yaml && code.starts_with("{{")) {
            continue;
        }
        let item = code.strip_prefix("- ").filter(|_| yaml);
        let words: Vec<String> = match (item, array(code)) {
            (Some(item), _) => vec![item.trim_matches('"').to_owned()],
            (None, Some(words)) => words,
            (None, None) if yaml => Vec::new(),
            (None, None) => {
                code.split_whitespace().map(|word| word.trim_matches(['"', '\'']).to_owned()).collect()
            }
        };
        // After a flag it is that flag's value: `cargo build -p cairn-server`.
        let is_value = |at: usize| at > 0 && words[at - 1].starts_with('-');
        let starts = (0..words.len()).find(|at| program(&words[*at]).is_some() && !is_value(*at));
        let words = match starts.and_then(|at| Some((at, program(&words[at])?))) {
            Some((at, program)) => {
                calls.push(Call { line: index + 1, program, words: Vec::new() });
                words[at + 1..].to_vec()
            }
            None if goes_on => words,
            None => continue,
        };
        goes_on = if yaml { item.is_some() } else { words.last().is_some_and(|word| word == "\\") };
        let call = calls.last_mut().expect("one was pushed, now or before it went on");
        let ends = |word: &&String| !matches!(word.as_str(), "\\" | "&" | "|" | ";" | "#");
        call.words.extend(words.iter().take_while(ends).cloned());
    }
    calls
}

fn program(word: &str) -> Option<&'static str> {
    let name = word.rsplit_once(['/', '=']).map_or(word, |(_, name)| name);
    [SERVER, ADMIN].into_iter().find(|program| *program == name)
}

/// The strings of a JSON array in this line.
fn array(code: &str) -> Option<Vec<String>> {
    let (from, to) = (code.find("[\"")?, code.rfind(']')?);
    serde_json::from_str(code.get(from..=to)?).ok()
}

fn is_yaml(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "yaml")
}

/// The `--help` of each program and subcommand, asked for once.
struct Helps<'a> {
    bin: &'a Path,
    texts: BTreeMap<Vec<String>, String>,
}

impl Helps<'_> {
    /// Whether the help has `--name`.
    fn knows(&mut self, command: &[String], flag: &str) -> anyhow::Result<bool> {
        if !self.texts.contains_key(command) {
            let output = Command::new(self.bin.join(&command[0])).args(&command[1..]).arg("--help").output();
            let output = output.with_context(|| format!("cannot run {}", command[0]))?;
            self.texts.insert(command.to_vec(), String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let mut words = self.texts[command].split_whitespace();
        Ok(words.any(|word| word.trim_start_matches('*') == flag))
    }
}

fn flags(place: &str, call: &Call, helps: &mut Helps, complaints: &mut Vec<String>) -> anyhow::Result<()> {
    let mut command = vec![call.program.to_owned()];
    if call.program == ADMIN {
        command.extend(call.words.first().filter(|word| !word.starts_with('-')).cloned());
    }
    // A flag that a template fills in is not known here.
    let named = call.words.iter().filter(|word| word.starts_with("--") && !word.contains("{{"));
    let before = complaints.len();
    for flag in named {
        if !helps.knows(&command, flag)? {
            complaints.push(format!("{place}: {} has no {flag} (see its --help)", command.join(" ")));
        }
    }
    // Values can be judged only if they are there, and are not worth it if the names are wrong.
    let written_out = !call.words.iter().any(|word| word.contains("{{") || word.contains('$'));
    if call.program == SERVER && written_out && complaints.len() == before {
        let words = call.words.iter().skip_while(|word| !word.starts_with("--"));
        let output = Command::new(helps.bin.join(SERVER)).args(words).arg("--check-config").output()?;
        if !output.status.success() {
            complaints.push(format!("{place}: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
    }
    Ok(())
}

/// The image is built with the Rust that the workspace needs, and the chart starts the version that it is beside.
fn versions(complaints: &mut Vec<String>) -> anyhow::Result<()> {
    let manifest = fs::read_to_string("Cargo.toml").context("Cargo.toml")?;
    let value = |key: &str| {
        let quoted = manifest.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        quoted.map(|quoted| quoted.trim_matches('"')).with_context(|| format!("Cargo.toml has no {key}"))
    };
    for (file, start, version) in [
        ("deploy/Dockerfile", "FROM rust:", value("rust-version")?),
        ("deploy/helm/cairn/Chart.yaml", "appVersion: \"", value("version")?),
    ] {
        let wanted = format!("{start}{version}");
        let text = fs::read_to_string(file).context(file)?;
        if !text.lines().any(|line| line.starts_with(&wanted)) {
            complaints.push(format!("{file}: no line begins with {wanted}, which is what Cargo.toml says"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, yaml: bool) -> Vec<(&'static str, String)> {
        calls(text, yaml).into_iter().map(|call| (call.program, call.words.join(" "))).collect()
    }

    #[test]
    fn a_line_of_shell_is_a_call_and_prose_is_none() {
        let text = "Say `cairn-server --nothing` to see.\n\n    \
                    $ cargo build -p cairn-server --bins\n    $ mkdir n1 && cairn-server --port 7001 --dir \"n1\" &\n    # cairn-server --none\n    \
                    cairn-server --port 1 \\\n      --dir x\n    mkdir y\nExecStart=/usr/bin/cairn-server /etc/c.conf\n";
        let expected =
            [(SERVER, "--port 7001 --dir n1"), (SERVER, "--port 1 --dir x"), (SERVER, "/etc/c.conf")];
        assert_eq!(found(text, false), expected.map(|(program, words)| (program, words.to_owned())));
    }

    #[test]
    fn arrays_and_yaml_lists_are_calls() {
        assert_eq!(
            found("HEALTHCHECK CMD [\"cairn-admin\", \"ping\", \"--ready\"]\n", false),
            [(ADMIN, "ping --ready".to_owned())]
        );
        let text = "command:\n  - cairn-server\n  # Why.\n  - --save\n  - \"900 1\"\n  {{- if x }}\n  - --a\n  {{- end }}\n\
                    secrets:\n  - --none\nexec:\n  command: [\"cairn-admin\", \"ping\"]\nports:\n  - --none\n";
        let expected = [(SERVER, "--save 900 1 --a"), (ADMIN, "ping")];
        assert_eq!(found(text, true), expected.map(|(program, words)| (program, words.to_owned())));
    }

    #[test]
    fn suggestions_are_taken_and_comments_are_not() {
        let text = "# Prose.\n#\nport 1\n#maxmemory 1gb\n#include /x\n";
        assert_eq!(suggested(text), "# Prose.\n#\nport 1\nmaxmemory 1gb\n\n");
    }
}
