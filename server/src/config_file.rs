//! Reads the configuration: a file in the syntax of redis.conf, standard input, the command line.
//!
//! What a directive is and which values it takes is the engine's ([`cairn_engine::config`]); this
//! module finds the lines, follows `include` and says where a mistake is. Later lines win, in the
//! order file, standard input, command line, as in redis-server.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cairn_engine::config::{Config, LoadError, Loader};
use cairn_engine::glob;
use cairn_proto::split_args;

/// A larger config file is a mistake: some other file was named.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Files that include each other in a chain.
const INCLUDE_DEPTH_MAX: usize = 16;
/// Files in all. Bounds what a file that includes itself twice can cost.
const FILES_MAX: usize = 1024;

/// What the configuration is made of, in the order in which it counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    pub file: Option<PathBuf>,
    pub stdin: bool,
    /// The words of each directive of the command line.
    pub flags: Vec<Vec<Vec<u8>>>,
}

/// Where a line stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file, or `<stdin>`, and a line counted from 1.
    Line { file: PathBuf, line: usize },
    /// A directive of the command line.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line } => write!(f, "{}:{line}", file.display()),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    #[error("{place}: {problem}")]
    Line { place: Place, problem: LoadError },
    #[error("can't read config file '{}': {problem}", file.display())]
    Read { file: PathBuf, problem: io::Error },
    #[error("{place}: can't read included file '{}': {problem}", file.display())]
    Include { place: Place, file: PathBuf, problem: io::Error },
    #[error("{place}: 'include' takes one file name or pattern")]
    IncludeArguments { place: Place },
    #[error("{place}: files include each other more than {INCLUDE_DEPTH_MAX} deep")]
    TooDeep { place: Place },
    #[error("{place}: more than {FILES_MAX} files are included")]
    TooMany { place: Place },
    #[error("{problem}")]
    Whole { problem: LoadError },
}

/// Reads all sources. `stdin` is read only if [`Sources::stdin`] says so.
///
/// An `include` names a file, or by a pattern (`*`, `?`, `[…]`) any number of them, relative to the
/// working directory; what it includes stands in its place.
pub fn load(sources: &Sources, stdin: &mut dyn Read) -> Result<Config, ConfigFileError> {
    let mut reader = Reader { loader: Loader::default(), files: 0 };
    if let Some(file) = &sources.file {
        let text =
            read_file(file).map_err(|problem| ConfigFileError::Read { file: file.clone(), problem })?;
        reader.text(file, &text, 0)?;
    }
    if sources.stdin {
        let name = Path::new("<stdin>");
        let text = read_limited(stdin)
            .map_err(|problem| ConfigFileError::Read { file: name.to_owned(), problem })?;
        reader.text(name, &text, 0)?;
    }
    for words in &sources.flags {
        let name = words.first().map(|name| String::from_utf8_lossy(name).into_owned());
        let place = Place::Flag(name.unwrap_or_default());
        reader.words(place, words, 0)?;
    }
    reader.loader.finish().map_err(|problem| ConfigFileError::Whole { problem })
}

struct Reader {
    loader: Loader,
    files: usize,
}

impl Reader {
    fn text(&mut self, file: &Path, text: &[u8], depth: usize) -> Result<(), ConfigFileError> {
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let place = Place::Line { file: file.to_owned(), line: index + 1 };
            match split_args(line) {
                Some(words) if words.is_empty() => {}
                Some(words) => self.words(place, &words, depth)?,
                None => return Err(ConfigFileError::Line { place, problem: LoadError::Unbalanced }),
            }
        }
        Ok(())
    }

    fn words(&mut self, place: Place, words: &[Vec<u8>], depth: usize) -> Result<(), ConfigFileError> {
        match words {
            [name, files @ ..] if name.eq_ignore_ascii_case(b"include") => match files {
                [pattern] => self.include(place, OsStr::from_bytes(pattern), depth + 1),
                _ => Err(ConfigFileError::IncludeArguments { place }),
            },
            _ => self.loader.apply(words).map_err(|problem| ConfigFileError::Line { place, problem }),
        }
    }

    fn include(&mut self, place: Place, pattern: &OsStr, depth: usize) -> Result<(), ConfigFileError> {
        if depth > INCLUDE_DEPTH_MAX {
            return Err(ConfigFileError::TooDeep { place });
        }
        // A pattern may match nothing: an empty conf.d is no mistake. A plain name must exist.
        let files = if is_pattern(pattern) { matching(Path::new(pattern)) } else { vec![pattern.into()] };
        for file in files {
            self.files += 1;
            if self.files > FILES_MAX {
                return Err(ConfigFileError::TooMany { place });
            }
            let text = read_file(&file).map_err(|problem| ConfigFileError::Include {
                place: place.clone(),
                file: file.clone(),
                problem,
            })?;
            self.text(&file, &text, depth)?;
        }
        Ok(())
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    read_limited(&mut File::open(path)?)
}

fn read_limited(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let problem = format!("it is larger than {FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(text)
}

fn is_pattern(name: &OsStr) -> bool {
    name.as_bytes().iter().any(|byte| b"*?[".contains(byte))
}

/// Existing paths that match a pattern, sorted. Each part of the path may be a pattern; one that
/// does not begin with a dot does not match hidden files.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let part = part.as_os_str();
        if !is_pattern(part) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        found = found.iter().flat_map(|directory| entries(directory, part)).collect();
    }
    found.retain(|path| path.exists());
    found.sort();
    found
}

/// Entries of a directory whose names match `pattern`; none if it cannot be read, as glob(3) has it.
fn entries(directory: &Path, pattern: &OsStr) -> Vec<PathBuf> {
    let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let Ok(entries) = fs::read_dir(listed) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name()).filter(|name| {
        let hidden = name.as_bytes().starts_with(b".") && !pattern.as_bytes().starts_with(b".");
        !hidden && glob::matches(pattern.as_bytes(), name.as_bytes(), false)
    });
    names.map(|name| directory.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let file = dir.path().join("my.conf");
        fs::write(&file, text).expect("the test's file can be written");
        let sources = Sources { file: Some(file), ..Sources::default() };
        let prefix = format!("{}/", dir.path().display());
        load(&sources, &mut io::empty()).map_err(|error| error.to_string().replace(&prefix, ""))
    }

    #[test]
    fn comments_blank_lines_quotes_and_carriage_returns_are_understood() {
        let config = from_file(
            "# a comment\r\n\r\n  PORT 7000\r\n\trequirepass \"two \\x77ords\"\r\nlogfile ''\n bind 127.0.0.1 -::1",
        )
        .expect("a correct file");
        assert_eq!(config.port, 7000);
        assert_eq!(config.requirepass, "two words");
        assert_eq!(config.bind, ["127.0.0.1", "-::1"]);
    }

    #[test]
    fn a_mistake_names_the_file_and_the_line() {
        for (text, expected) in [
            ("port 1\n\nprot 7000\n", "my.conf:3: unknown directive 'prot'"),
            (
                "port 1\nport 70000",
                "my.conf:2: directive 'port': argument must be between 0 and 65535 inclusive",
            ),
            ("port 1 2", "my.conf:1: directive 'port': wrong number of arguments"),
            ("port", "my.conf:1: directive 'port': wrong number of arguments"),
            ("\nlogfile \"x", "my.conf:2: unbalanced quotes"),
            ("include a b", "my.conf:1: 'include' takes one file name or pattern"),
            ("replicaof 10.0.0.1", "my.conf:1: directive 'replicaof': wrong number of arguments"),
            (
                "tls-ciphers HIGH",
                "my.conf:1: directive 'tls-ciphers' is not supported: ciphers are those that rustls holds to be safe, keys \
                 have no passphrase, nodes use 'tls-cluster'; leave the line out",
            ),
            (
                "include missing-file.conf",
                "my.conf:1: can't read included file 'missing-file.conf': No such file or directory (os error 2)",
            ),
            (
                "daemonize yes",
                "'daemonize yes' is not supported: cairn-server stays in the foreground, run it under systemd or \
                 in a container",
            ),
        ] {
            assert_eq!(from_file(text).expect_err(text), expected);
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let sources = Sources { file: Some("no-such.conf".into()), ..Sources::default() };
        let error = load(&sources, &mut io::empty()).expect_err("there is no such file");
        assert_eq!(
            error.to_string(),
            "can't read config file 'no-such.conf': No such file or directory (os error 2)"
        );
    }

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let error = from_file(&"# filler\n".repeat(600_000)).expect_err("5.4 MB");
        assert_eq!(error, "can't read config file 'my.conf': it is larger than 4194304 bytes");
    }

    #[test]
    fn later_sources_win_and_save_lines_add_up() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let file = dir.path().join("my.conf");
        fs::write(&file, "port 1\nhz 20\nsave 900 1\ntimeout 7").expect("the test's file can be written");
        let word = |word: &str| word.as_bytes().to_vec();
        let sources = Sources {
            file: Some(file),
            stdin: true,
            flags: vec![vec![word("port"), word("3")], vec![word("save"), word("60 5")]],
        };
        let config = load(&sources, &mut &b"port 2\nhz 30"[..]).expect("correct sources");
        assert_eq!((config.port, config.hz, config.timeout), (3, 30, 7));
        assert_eq!(config.get(b"save"), [("save".to_owned(), "900 1 60 5".to_owned())]);
    }

    #[test]
    fn an_include_stands_for_the_lines_of_the_files_it_matches() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let conf_d = dir.path().join("conf.d");
        fs::create_dir(&conf_d).expect("a directory can be made");
        for (name, text) in [
            ("10-a.conf", "port 10\nhz 11"),
            ("20-b.conf", "port 20"),
            (".hidden.conf", "port 66"),
            ("readme", "port 77"),
        ] {
            fs::write(conf_d.join(name), text).expect("the test's file can be written");
        }
        let root = dir.path().display();
        let config =
            from_file(&format!("hz 5\ninclude {root}/c?nf.d/*.conf\nINCLUDE {root}/none/*.conf\ntimeout 9"))
                .expect("the included files are correct");
        assert_eq!((config.port, config.hz, config.timeout), (20, 11, 9));

        fs::write(conf_d.join("30-c.conf"), "\nnonsense 1").expect("the test's file can be written");
        let error = from_file(&format!("include {root}/conf.d/*.conf")).expect_err("a mistake in 30-c.conf");
        assert_eq!(error, format!("{root}/conf.d/30-c.conf:2: unknown directive 'nonsense'"));
    }

    #[test]
    fn files_that_include_themselves_are_refused() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let file = dir.path().join("loop.conf");
        fs::write(&file, format!("include {}", file.display())).expect("the test's file can be written");
        let sources = Sources { file: Some(file.clone()), ..Sources::default() };
        let error = load(&sources, &mut io::empty()).expect_err("an endless chain");
        assert_eq!(
            error.to_string(),
            format!("{}:1: files include each other more than 16 deep", file.display())
        );
    }
}
