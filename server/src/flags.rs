//! The command line: `cairn-server [FILE | -] [--DIRECTIVE VALUE ...]`, as redis-server has it.
//!
//! A flag is a directive of the config file, and what follows it up to the next flag is its value
//! (`--save 900 1 --port 7000`). That is not the shape that an argument parser such as clap
//! describes: values of any number, flags that repeat and add up, a directive and its value in one
//! argument (`"--port 7000"`), values that begin with dashes. So the hundred-odd flags are not
//! declared a second time here; the words go to the same rules as the lines of a file.

use std::ffi::OsString;
use std::iter;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use cairn_engine::config::{Changes, DIRECTIVES, Directive, Effect, Group};
use cairn_proto::split_args;

use crate::config_file::Sources;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Print [`help`] and leave.
    Help,
    /// Print the version and leave.
    Version,
    /// Read the configuration, say whether it is right, and leave.
    CheckConfig(Sources),
    /// Serve.
    Serve(Sources),
}

/// Why the command line is not understood. Values are judged later, with those of files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    #[error("unexpected argument '{0}': a directive begins with '--', and a config file comes first")]
    Stray(String),
    #[error("'{0}': unbalanced quotes")]
    Unbalanced(String),
    #[error("'--' names no directive")]
    Nameless,
}

/// Reads the arguments, without the program's name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, FlagError> {
    let args: Vec<Vec<u8>> = args.into_iter().map(OsString::into_vec).collect();
    match args.first().map(Vec::as_slice) {
        Some(b"-h") => return Ok(Invocation::Help),
        Some(b"-v") => return Ok(Invocation::Version),
        _ => {}
    }

    let mut sources = Sources::default();
    let mut check_only = false;
    // A flag takes what follows it as its value even if that begins with dashes.
    let mut wants_value = false;
    for (at, arg) in args.iter().enumerate() {
        let is_first = at == 0;
        let next = args.get(at + 1);
        if is_first && !arg.starts_with(b"-") {
            sources.file = Some(PathBuf::from(OsString::from_vec(arg.clone())));
        } else if arg == b"-" && (is_first || next.is_none()) {
            sources.stdin = true;
        } else if let (false, Some(flag)) = (wants_value, arg.strip_prefix(b"--")) {
            match flag {
                b"help" => return Ok(Invocation::Help),
                b"version" => return Ok(Invocation::Version),
                b"check-config" => {
                    check_only = true;
                    continue;
                }
                _ => {}
            }
            let mut words = split_args(flag).ok_or_else(|| FlagError::Unbalanced(shown(arg)))?;
            let name = words.first().ok_or(FlagError::Nameless)?;
            // `--save --port 1` is what a script makes of an empty list of rules.
            let empty_save =
                name.eq_ignore_ascii_case(b"save") && next.is_none_or(|next| next.starts_with(b"--"));
            if words.len() == 1 && empty_save {
                words.push(Vec::new());
            }
            wants_value = words.len() == 1;
            sources.flags.push(words);
        } else {
            let words = sources.flags.last_mut().ok_or_else(|| FlagError::Stray(shown(arg)))?;
            words.push(arg.clone());
            wants_value = false;
        }
    }
    Ok(if check_only { Invocation::CheckConfig(sources) } else { Invocation::Serve(sources) })
}

fn shown(arg: &[u8]) -> String {
    String::from_utf8_lossy(arg).into_owned()
}

const USAGE: &str = "\
Cairn, a Redis-compatible server that keeps what it acknowledges.

Usage: cairn-server [FILE | -] [--DIRECTIVE VALUE ...]

  FILE            config file in the syntax of redis.conf; - reads standard input
  --DIRECTIVE     any directive of the file; counts more than the file
  --check-config  say whether the configuration is right, and leave
  -v, --version   print the version
  -h, --help      print this

Examples:
  cairn-server
  cairn-server --port 7000 --dir /var/lib/cairn
  cairn-server cairn.conf --maxmemory 2gb --maxmemory-policy allkeys-lru

Directives and their defaults; * can only be set here or in the file, not by CONFIG SET.
";

const WIDTH_MAX: usize = 110;
/// Where the doc of a directive begins.
const DOC_COLUMN: usize = 40;

/// The text of `--help`, made from the declarations.
pub fn help() -> String {
    let mut text = USAGE.to_owned();
    for group in Group::ALL {
        let (working, idle): (Vec<_>, Vec<_>) = DIRECTIVES
            .iter()
            .filter(|directive| directive.group == group)
            .partition(|directive| directive.effect == Effect::Works);
        text.push('\n');
        text.push_str(group.title());
        text.push('\n');
        for directive in working {
            push_directive(&mut text, directive);
        }
        if !idle.is_empty() {
            let names = idle.iter().map(|directive| directive.name);
            push_wrapped(&mut text, "  Accepted without effect:", 4, names);
        }
    }
    text
}

fn push_directive(text: &mut String, directive: &Directive) {
    let at_start = matches!(directive.changes, Changes::AtStart | Changes::Fixed);
    let mark = if at_start { '*' } else { ' ' };
    let mut flag = format!(" {mark}--{} {}", directive.name, directive.default_written());
    if flag.len() >= DOC_COLUMN {
        text.push_str(&flag);
        text.push('\n');
        flag.clear();
    }
    // One less: a blank comes before each word.
    let start = format!("{flag:width$}", width = DOC_COLUMN - 1);
    push_wrapped(text, &start, DOC_COLUMN - 1, directive.doc.split(' '));
}

/// Appends lines of words, the first after `start`, further ones after `indent` blanks.
fn push_wrapped<'a>(text: &mut String, start: &str, indent: usize, words: impl Iterator<Item = &'a str>) {
    let mut column = start.len();
    text.push_str(start);
    for word in words {
        if column + 1 + word.len() > WIDTH_MAX {
            text.push('\n');
            text.extend(iter::repeat_n(' ', indent));
            column = indent;
        }
        text.push(' ');
        text.push_str(word);
        column += 1 + word.len();
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Invocation, FlagError> {
        parse(args.iter().map(OsString::from))
    }

    /// The sources of a command line that serves, each flag's words joined by `|`.
    fn served(args: &[&str]) -> (Option<String>, bool, Vec<String>) {
        let Ok(Invocation::Serve(sources)) = parsed(args) else { panic!("{args:?} does not serve") };
        let flags = sources.flags.iter().map(|words| shown(&words.join(&b'|')));
        (sources.file.map(|file| file.display().to_string()), sources.stdin, flags.collect())
    }

    #[test]
    fn nothing_at_all_serves_with_the_defaults() {
        assert_eq!(parsed(&[]), Ok(Invocation::Serve(Sources::default())));
    }

    #[test]
    fn a_file_comes_first_and_values_reach_to_the_next_flag() {
        let (file, stdin, flags) =
            served(&["my.conf", "--port", "7000", "--save", "3600", "1", "--save", ""]);
        assert_eq!(file.as_deref(), Some("my.conf"));
        assert!(!stdin);
        assert_eq!(flags, ["port|7000", "save|3600|1", "save|"]);
    }

    #[test]
    fn a_dash_at_either_end_reads_standard_input() {
        for args in [&["-", "--port", "1"][..], &["--port", "1", "-"], &["my.conf", "-"]] {
            assert!(served(args).1, "{args:?}");
        }
        assert!(!served(&["--requirepass", "-", "--port", "1"]).1);
    }

    #[test]
    fn a_flag_takes_one_value_that_begins_with_dashes() {
        assert_eq!(served(&["--requirepass", "--port", "--port", "1"]).2, ["requirepass|--port", "port|1"]);
    }

    #[test]
    fn save_without_a_value_means_no_rules() {
        assert_eq!(served(&["--save", "--port", "1"]).2, ["save|", "port|1"]);
        assert_eq!(served(&["--save"]).2, ["save|"]);
    }

    #[test]
    fn a_flag_and_its_value_may_be_one_argument() {
        assert_eq!(served(&["--port 1", "--save 900 1", "--hz", "5"]).2, ["port|1", "save|900|1", "hz|5"]);
    }

    #[test]
    fn help_version_and_check_config_are_not_directives() {
        assert_eq!(parsed(&["-h"]), Ok(Invocation::Help));
        assert_eq!(parsed(&["--port", "1", "--help"]), Ok(Invocation::Help));
        assert_eq!(parsed(&["-v"]), Ok(Invocation::Version));
        assert_eq!(parsed(&["--version"]), Ok(Invocation::Version));
        let word = |word: &str| word.as_bytes().to_vec();
        let flags = vec![vec![word("port"), word("1")]];
        let sources = Sources { file: Some("a.conf".into()), stdin: false, flags };
        assert_eq!(
            parsed(&["a.conf", "--check-config", "--port", "1"]),
            Ok(Invocation::CheckConfig(sources))
        );
    }

    #[test]
    fn arguments_that_belong_to_nothing_are_refused() {
        assert_eq!(parsed(&["a.conf", "b.conf"]), Err(FlagError::Stray("b.conf".to_owned())));
        assert_eq!(parsed(&["-p", "1"]), Err(FlagError::Stray("-p".to_owned())));
        assert_eq!(parsed(&["--", "1"]), Err(FlagError::Nameless));
        assert_eq!(parsed(&["--port \"1"]), Err(FlagError::Unbalanced("--port \"1".to_owned())));
    }

    #[test]
    fn help_shows_every_directive_with_its_default_in_lines_of_a_terminal() {
        let help = help();
        for directive in DIRECTIVES {
            assert!(help.contains(directive.name), "{} is missing", directive.name);
        }
        assert!(help.contains("  --port 6379  "), "{help}");
        assert!(help.contains(" *--log-segment-size 64mb  "), "{help}");
        assert!(help.contains("  --requirepass \"\"  "), "{help}");
        let longest = help.lines().map(str::len).max();
        assert!(longest <= Some(WIDTH_MAX), "{longest:?}");
    }
}
