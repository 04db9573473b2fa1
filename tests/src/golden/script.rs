//! Runs a script against a target and compares, or records, what it answers.

use super::args::{self, Variables};
use super::reply::Reply;
use super::view::Tags;
use super::{Protocol, Received, Target};
use anyhow::{Context as _, bail, ensure};
use goldenscript::{Block, Command, Context};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a reply may take before the script fails.
const REPLY_LIMIT: Duration = Duration::from_secs(10);
/// How many rounds of a repeated command are under way at a time.
const REPEAT_PIPELINE: usize = 100;

/// Who answers. Redis 7.0 is the source of all expectations but those tagged `[7.2]` or `[8.0]`, which come from that
/// version, and those tagged `[cairn]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Redis70,
    Redis72,
    Redis80,
    Cairn,
}

impl Source {
    /// Whether what it answers to such a block is to be as recorded.
    fn compares(self, block: Source) -> bool {
        match self {
            Source::Redis70 => block == Source::Redis70,
            Source::Redis72 => matches!(block, Source::Redis70 | Source::Redis72),
            Source::Redis80 => block != Source::Cairn,
            Source::Cairn => true,
        }
    }
}

/// The `.gold` files of a directory, in order.
pub fn scripts_in(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("no directory {}", dir.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|e| Ok(e?.path())).collect::<anyhow::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "gold"));
    paths.sort();
    Ok(paths)
}

/// Runs the script in both protocols; the error tells each block that differs. A block that contains one of `excused` has
/// to differ: an excuse that is not needed any more is an error as well.
pub fn check(path: &Path, target: &mut dyn Target, source: Source, excused: &[&str]) -> anyhow::Result<()> {
    let recorded = std::fs::read_to_string(path)?;
    let actual = play(&recorded, target, |block| source.compares(block))?;
    let mut report = String::new();
    let mut unused = excused.to_vec();
    for (was, is) in blocks_of(&recorded).iter().zip(&blocks_of(&actual)) {
        if was.output == is.output {
            continue;
        }
        let before = unused.len();
        unused.retain(|excuse| !was.commands.contains(excuse));
        if unused.len() == before {
            let (line, name) = (was.line, path.file_name().unwrap_or_default().to_string_lossy());
            report += &format!("{name}:{line}\n{}", was.commands);
            report += &format!("---\n{}\n", difference(&was.output, &is.output));
        }
    }
    if !unused.is_empty() {
        report += &format!("no block differs that has one of {unused:?}: it needs no excuse\n");
    }
    ensure!(report.is_empty(), "{report}");
    Ok(())
}

/// Sends what the script sends, in one protocol, whatever is answered. What it leaves behind stays.
pub fn replay(path: &Path, target: &mut dyn Target, protocol: Protocol) -> anyhow::Result<()> {
    Player::play(&std::fs::read_to_string(path)?, target, protocol).map(drop)
}

/// The answer's lines; behind `-` what was expected and behind `+` what came in its place.
fn difference(expected: &str, answered: &str) -> String {
    let (was, is): (Vec<_>, Vec<_>) = (expected.lines().collect(), answered.lines().collect());
    // common[i][j]: the length of the longest common subsequence of was[i..] and is[j..].
    let mut common = vec![vec![0; is.len() + 1]; was.len() + 1];
    for i in (0..was.len()).rev() {
        for j in (0..is.len()).rev() {
            common[i][j] = if was[i] == is[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut text) = (0, 0, String::new());
    while i < was.len() || j < is.len() {
        if i < was.len() && j < is.len() && was[i] == is[j] {
            text += &format!("  {}\n", is[j]);
            (i, j) = (i + 1, j + 1);
        } else if i < was.len() && (j == is.len() || common[i + 1][j] >= common[i][j + 1]) {
            text += &format!("- {}\n", was[i]);
            i += 1;
        } else {
            text += &format!("+ {}\n", is[j]);
            j += 1;
        }
    }
    text
}

/// Writes the target's answers into the script, where this target is the source of the expectation.
pub fn bless(path: &Path, target: &mut dyn Target, source: Source) -> anyhow::Result<()> {
    let recorded = std::fs::read_to_string(path)?;
    let actual = play(&recorded, target, |block| source == block)?;
    if actual != recorded {
        std::fs::write(path, actual)?;
    }
    Ok(())
}

/// The script with the target's answers in those blocks for which `replace` says so.
fn play(recorded: &str, target: &mut dyn Target, replace: impl Fn(Source) -> bool) -> anyhow::Result<String> {
    let resp2 = Player::play(recorded, target, Protocol::Resp2)?;
    let resp3 = Player::play(recorded, target, Protocol::Resp3)?;
    let answers = resp2.answers.iter().zip(&resp3.answers).map(|(two, three)| merge(two, three));
    let blocks = resp2.sources.iter().zip(blocks_of(recorded));
    // The texts that stay as they are.
    let kept = blocks.map(|(&source, block)| (!replace(source)).then_some(block.output));
    let mut printer =
        Printer { answers: answers.collect::<Vec<_>>().into_iter(), kept: kept.collect(), block: 0 };
    Ok(goldenscript::generate(&mut printer, recorded)?)
}

/// One text where the protocols agree, else both. What RESP3 pushes is an array in RESP2, which goes without saying.
fn merge(resp2: &str, resp3: &str) -> String {
    let agree = |(two, three): (&str, &str)| two == three || three.strip_prefix("push") == Some(two);
    if resp2.lines().count() == resp3.lines().count() && resp2.lines().zip(resp3.lines()).all(agree) {
        return resp3.into();
    }
    let marked: Vec<String> = resp3.lines().map(|line| format!("resp3: {line}")).collect();
    format!("{resp2}\n{}", marked.join("\n"))
}

/// What one run of a script gave.
#[derive(Default)]
struct Played {
    /// What is to be shown for each command.
    answers: Vec<String>,
    /// For each block, where its expectation comes from.
    sources: Vec<Source>,
}

/// Sends the commands and collects the answers.
struct Player<'a> {
    target: &'a mut dyn Target,
    protocol: Protocol,
    variables: Variables,
    blocked: BTreeSet<String>,
    clients: BTreeSet<String>,
    /// That of the block's first command, and whether another one has another.
    block_source: Option<Source>,
    mixed: bool,
    played: Played,
}

impl<'a> Player<'a> {
    fn play(script: &str, target: &'a mut dyn Target, protocol: Protocol) -> anyhow::Result<Played> {
        target.reset(protocol)?;
        let mut player = Player {
            target,
            protocol,
            variables: BTreeMap::new(),
            blocked: BTreeSet::new(),
            clients: BTreeSet::new(),
            block_source: None,
            mixed: false,
            played: Played::default(),
        };
        goldenscript::generate(&mut player, script).with_context(|| format!("{protocol:?}"))?;
        player.expect_nothing_unread()?;
        Ok(player.played)
    }

    fn step(&mut self, command: &Command, context: &Context) -> anyhow::Result<String> {
        let client = context.prefix.clone().unwrap_or_default();
        let tags = Tags::parse(&context.tags)?;
        let arg = |index| match command.args.get(index) {
            Some(goldenscript::Argument::Positional(value)) => Ok(value.as_str()),
            _ => bail!("{} needs {} arguments", command.name, index + 1),
        };
        match command.name.as_str() {
            "receive" if command.args.len() == 1 && arg(0)? == "all" => self.receive_all(&client, &tags),
            "receive" => {
                let count = if command.args.is_empty() { 1 } else { arg(0)?.parse()? };
                self.receive(&client, &tags, count)
            }
            "elapse" => {
                self.target.elapse(Duration::from_millis(arg(0)?.parse()?))?;
                Ok(String::new())
            }
            "await" => self.wait_for(&client, arg(0)?, arg(1)?),
            "raw" => {
                // goldenscript decodes \xHH to the character of that number.
                let bytes: Result<Vec<u8>, _> = arg(0)?.chars().map(u8::try_from).collect();
                let bytes = bytes.context("raw sends bytes: write \\xHH beyond ASCII")?;
                self.clients.insert(client.clone());
                self.target.send_raw(&client, &bytes)?;
                Ok(String::new())
            }
            line => self.command(&client, &tags, line),
        }
    }

    fn command(&mut self, client: &str, tags: &Tags, line: &str) -> anyhow::Result<String> {
        ensure!(!self.blocked.contains(client), "{client} is blocked: it can only receive");
        self.clients.insert(client.into());
        // In pipelines: one by one, each would wait for a disk.
        let rounds: Vec<usize> = (1..tags.repeat.unwrap_or(1)).collect();
        for pipeline in rounds.chunks(REPEAT_PIPELINE) {
            for round in pipeline {
                self.variables.insert("i".into(), round.to_string().into_bytes());
                self.target.send(client, &args::split(line, &self.variables)?)?;
            }
            for _ in pipeline {
                self.target.receive(client, REPLY_LIMIT)?;
            }
        }
        if let Some(last) = tags.repeat {
            self.variables.insert("i".into(), last.to_string().into_bytes());
        }
        let args = args::split(line, &self.variables)?;
        self.variables.remove("i");
        self.target.send(client, &args)?;
        if tags.no_reply {
            return Ok(String::new());
        }
        if tags.blocks {
            return self.expect_blocked(client, tags);
        }
        self.receive(client, tags, 1)
    }

    /// The next things for a client, one per line.
    fn receive(&mut self, client: &str, tags: &Tags, count: usize) -> anyhow::Result<String> {
        let mut lines = Vec::new();
        for _ in 0..count {
            match self.target.receive(client, REPLY_LIMIT)? {
                Received::Reply(reply) => lines.push(self.show(reply, tags)?),
                Received::Closed => lines.push("(closed)".into()),
                Received::Nothing => bail!("no reply within {REPLY_LIMIT:?}"),
            }
        }
        self.blocked.remove(client);
        Ok(lines.join("\n"))
    }

    /// All that has arrived for a client up to now.
    fn receive_all(&mut self, client: &str, tags: &Tags) -> anyhow::Result<String> {
        self.target.settle()?;
        let mut replies = Vec::new();
        while let Received::Reply(reply) = self.target.receive(client, Duration::ZERO)? {
            replies.push(reply);
        }
        if tags.sorted {
            replies.sort();
        }
        let lines: anyhow::Result<Vec<String>> = replies.into_iter().map(|r| self.show(r, tags)).collect();
        let lines = lines?;
        Ok(if lines.is_empty() { "(nothing)".into() } else { lines.join("\n") })
    }

    fn show(&mut self, reply: Reply, tags: &Tags) -> anyhow::Result<String> {
        let shown = tags.view(reply.clone(), &self.variables)?.to_string();
        if let Some(name) = &tags.save {
            let value = match reply {
                // An error is compared like any reply; a server that lacks the command goes on with it.
                Reply::Bulk(bytes) | Reply::Simple(bytes) | Reply::Error(bytes) => bytes,
                Reply::Integer(n) => n.to_string().into_bytes(),
                other => bail!("[save/{name}] wants a string or an integer, not {other}"),
            };
            self.variables.insert(name.clone(), value);
        }
        Ok(shown)
    }

    /// A command that blocks has done so once the server counts one blocked client more.
    fn expect_blocked(&mut self, client: &str, tags: &Tags) -> anyhow::Result<String> {
        let started = Instant::now();
        while self.target.blocked_clients()? <= self.blocked.len() {
            if let Received::Reply(reply) = self.target.receive(client, Duration::ZERO)? {
                return self.show(reply, tags);
            }
            ensure!(started.elapsed() < REPLY_LIMIT, "{client} neither blocks nor gets a reply");
        }
        self.blocked.insert(client.into());
        Ok("(blocked)".into())
    }

    /// Polls INFO until a field has the value: for what a server does in the background.
    fn wait_for(&mut self, client: &str, field: &str, value: &str) -> anyhow::Result<String> {
        let (started, wanted) = (Instant::now(), format!("\r\n{field}:{value}\r\n"));
        loop {
            self.target.send(client, &[b"INFO".to_vec()])?;
            match self.target.receive(client, REPLY_LIMIT)? {
                Received::Reply(Reply::Bulk(text) | Reply::Verbatim(_, text)) => {
                    if String::from_utf8_lossy(&text).contains(&wanted) {
                        return Ok(String::new());
                    }
                }
                other => bail!("INFO answered {other:?}"),
            }
            ensure!(started.elapsed() < REPLY_LIMIT, "{field} did not become {value}");
            self.target.elapse(Duration::from_millis(5))?;
        }
    }

    /// A script must read all that it caused: a message too many is a bug like one too few.
    fn expect_nothing_unread(&mut self) -> anyhow::Result<()> {
        self.target.settle()?;
        for client in &self.clients {
            if let Received::Reply(reply) = self.target.receive(client, Duration::ZERO)? {
                bail!("{:?}: client {client:?} ends the script with unread {reply}", self.protocol);
            }
        }
        Ok(())
    }
}

impl goldenscript::Runner for Player<'_> {
    type Command = Command;

    fn start_block(&mut self, _: &Block) -> Result<String, Box<dyn Error>> {
        self.played.sources.push(Source::Redis70);
        (self.block_source, self.mixed) = (None, false);
        Ok(String::new())
    }

    fn run(&mut self, command: &Command, context: &Context) -> Result<String, Box<dyn Error>> {
        let tags = Tags::parse(&context.tags).map_err(|e| e.to_string())?;
        *self.played.sources.last_mut().expect("commands are in blocks") = tags.source;
        self.mixed |= *self.block_source.get_or_insert(tags.source) != tags.source;
        let answer = self.step(command, context).map_err(|e| format!("{e:#}"))?;
        self.played.answers.push(answer);
        Ok(String::new())
    }

    fn end_block(&mut self, _: &Block) -> Result<String, Box<dyn Error>> {
        if self.mixed {
            return Err("commands tagged [7.2], [8.0] or [cairn] need a block of their own".into());
        }
        Ok(String::new())
    }
}

/// Prints the collected answers into the script, or the recorded ones where they are to be kept.
struct Printer {
    answers: std::vec::IntoIter<String>,
    kept: Vec<Option<String>>,
    block: usize,
}

impl goldenscript::Runner for Printer {
    type Command = Command;

    fn run(&mut self, _: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let answer = self.answers.next().ok_or("more commands than answers")?;
        Ok(if self.kept_text().is_some() { String::new() } else { answer })
    }

    fn end_block(&mut self, _: &Block) -> Result<String, Box<dyn Error>> {
        let recorded = self.kept_text().map(str::to_owned);
        self.block += 1;
        Ok(recorded.unwrap_or_default())
    }
}

impl Printer {
    fn kept_text(&self) -> Option<&str> {
        self.kept.get(self.block)?.as_deref()
    }
}

/// A block of a script as text, for what goldenscript does not hand out.
struct BlockText {
    line: usize,
    commands: String,
    output: String,
}

/// The blocks that have commands, by goldenscript's rules: `---` ends the commands, a blank line the output.
fn blocks_of(script: &str) -> Vec<BlockText> {
    let (mut blocks, mut in_output) = (Vec::new(), false);
    let mut block = BlockText { line: 1, commands: String::new(), output: String::new() };
    for (index, line) in script.lines().enumerate() {
        match (in_output, line) {
            (false, "---") => in_output = true,
            (false, _) => block.commands += &format!("{line}\n"),
            (true, "") => {
                let next = BlockText { line: index + 2, commands: String::new(), output: String::new() };
                blocks.push(std::mem::replace(&mut block, next));
                in_output = false;
            }
            (true, _) => block.output += &format!("{line}\n"),
        }
    }
    if in_output {
        blocks.push(block);
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::InProcess;

    fn script(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.gold");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn an_answer_other_than_recorded_is_shown_with_its_line() {
        let (_dir, path) = script("> SET k v\n---\n+OK\n\n> GET k\n> GET none\n---\n\"w\"\nnil\n");
        let error = check(&path, &mut InProcess::new(), Source::Cairn, &[]).unwrap_err().to_string();
        assert!(error.contains("test.gold:5\n") && error.contains("- \"w\"\n+ \"v\"\n  nil\n"), "{error}");
        assert!(!error.contains("SET k v"), "{error}");
    }

    #[test]
    fn one_line_more_does_not_shift_the_rest() {
        assert_eq!(difference("a\nb\nc\n", "a\nx\nb\nd\n"), "  a\n+ x\n  b\n- c\n+ d\n");
    }

    #[test]
    fn blessing_replaces_only_what_comes_from_that_source() {
        let text = "> SET k v\n---\nold\n\n[7.2] > GET k\n---\nold\n\n[cairn] > GET k\n---\nold\n";
        let (_dir, path) = script(text);
        bless(&path, &mut InProcess::new(), Source::Cairn).unwrap();
        let blessed = std::fs::read_to_string(&path).unwrap();
        assert_eq!(blessed, text.replace("[cairn] > GET k\n---\nold", "[cairn] > GET k\n---\n\"v\""));
        bless(&path, &mut InProcess::new(), Source::Redis70).unwrap();
        let blessed_again = std::fs::read_to_string(&path).unwrap();
        assert_eq!(blessed_again, blessed.replace("> SET k v\n---\nold", "> SET k v\n---\n+OK"));
    }

    #[test]
    fn a_block_has_one_source() {
        let (_dir, path) = script("[7.2] > GET k\n> GET k\n---\nnil\nnil\n");
        let error = check(&path, &mut InProcess::new(), Source::Cairn, &[]).unwrap_err();
        assert!(format!("{error:#}").contains("a block of their own"), "{error:#}");
    }

    #[test]
    fn a_repeated_command_and_saved_values_expand() {
        let text = "[repeat/12] > APPEND k {i}\n[save/v] > GET k\n> SET copy {v}\n> GET copy\n---\n";
        let (_dir, path) = script(text);
        bless(&path, &mut InProcess::new(), Source::Redis70).unwrap();
        let blessed = std::fs::read_to_string(&path).unwrap();
        assert!(blessed.ends_with("---\n15\n\"123456789101112\"\n+OK\n{v}\n"), "{blessed}");
    }

    #[test]
    fn only_what_differs_is_shown_for_both_protocols() {
        assert_eq!(merge("nil", "nil"), "nil");
        assert_eq!(merge("[1]\n[2]", "push[1]\npush[2]"), "push[1]\npush[2]");
        assert_eq!(merge("[1]", "~[1]"), "[1]\nresp3: ~[1]");
    }

    #[test]
    fn blocks_are_told_apart_as_goldenscript_does() {
        let blocks = blocks_of("# c\n> A\n\n> B\n---\n1\n2\n\n> C\n---\n3\n");
        let outputs: Vec<_> = blocks.iter().map(|b| (b.line, b.output.as_str())).collect();
        assert_eq!(outputs, [(1, "1\n2\n"), (9, "3\n")]);
    }
}
