//! From the lines of a config file, or the flags of the command line, to a [`Config`].

use cairn_proto::split_args;

use super::directive::shown;
use super::{Config, Directive, DirectiveId};
use crate::acl;

/// Builds a [`Config`] line by line. A later line wins, except that `save` lines add up, the first
/// one replacing the defaults.
#[derive(Debug, Default)]
pub struct Loader {
    config: Config,
    save_seen: bool,
}

/// Why a line is refused. The caller knows the file and the line number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error("unknown directive '{0}'")]
    Unknown(String),
    #[error("directive '{name}' is not supported: {instead}")]
    Unsupported { name: String, instead: &'static str },
    #[error("directive '{name}': {reason}")]
    Refused { name: String, reason: String },
    #[error("unbalanced quotes")]
    Unbalanced,
    #[error("{0}")]
    Contradiction(&'static str),
}

impl Loader {
    /// Takes the words of one line: a directive's name and its value.
    ///
    /// # Panics
    /// If there are no words: an empty line is not a line.
    pub fn apply<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Result<(), LoadError> {
        let (name, values) = words.split_first().expect("the caller skips empty lines");
        let name = name.as_ref();
        if name.eq_ignore_ascii_case(b"user") {
            return self.add_user(values.iter().map(|word| word.as_ref().to_vec()).collect());
        }
        let Some(directive) = Directive::find(name) else {
            return not_a_directive(name);
        };
        let values: Vec<&[u8]> = values.iter().map(AsRef::as_ref).collect();
        let refused = |reason| LoadError::Refused { name: directive.name.to_owned(), reason };
        // `save "900 1"` and `--save "900 1"` mean what `save 900 1` means.
        let set = match values[..] {
            [list] if (directive.many)() && !list.is_empty() => {
                let words = split_args(list).ok_or(LoadError::Unbalanced)?;
                self.set(directive, &words)
            }
            _ if values.len() != 1 && !(directive.many)() => Err("wrong number of arguments".to_owned()),
            _ => self.set(directive, &values),
        };
        set.map_err(refused)
    }

    /// The whole configuration, if its parts agree with each other.
    pub fn finish(self) -> Result<Config, LoadError> {
        if self.config.daemonize {
            let remedy = "'daemonize yes' is not supported: cairn-server stays in the foreground, \
                          run it under systemd or in a container";
            return Err(LoadError::Contradiction(remedy));
        }
        let Config { cluster_enabled, cluster_peers, tls_cluster, .. } = &self.config;
        if *cluster_enabled && !self.config.appendonly {
            let remedy = "a cluster is its log: 'cluster-enabled yes' does not go with 'appendonly no'";
            return Err(LoadError::Contradiction(remedy));
        }
        if !cluster_enabled && !cluster_peers.is_empty() {
            // Serving alone, it would acknowledge writes that no other node has.
            return Err(LoadError::Contradiction("'cluster-peers' needs 'cluster-enabled yes'"));
        }
        if *cluster_enabled && *tls_cluster && self.config.tls_port == 0 {
            let remedy = "'tls-cluster yes' needs a 'tls-port': nodes pass clients' commands on to it";
            return Err(LoadError::Contradiction(remedy));
        }
        if *cluster_enabled && !tls_cluster && self.config.port == 0 {
            let remedy = "'cluster-enabled yes' needs a 'port': nodes pass clients' commands on to it (or 'tls-cluster yes')";
            return Err(LoadError::Contradiction(remedy));
        }
        if *cluster_enabled && !self.config.replicaof.is_empty() {
            return Err(LoadError::Contradiction("replicaof directive not allowed in cluster mode"));
        }
        let Config { tls_cert_file, tls_key_file, tls_ca_cert_file, .. } = &self.config;
        if *tls_cluster && [tls_cert_file, tls_key_file, tls_ca_cert_file].into_iter().any(String::is_empty) {
            let remedy = "'tls-cluster yes' needs 'tls-cert-file', 'tls-key-file' and 'tls-ca-cert-file'";
            return Err(LoadError::Contradiction(remedy));
        }
        let refused = |reason: String| LoadError::Refused { name: "user".to_owned(), reason };
        // What a rule means may have been said after it.
        acl::Acl::new(&self.config).map_err(refused)?;
        if !self.config.users.is_empty() && !self.config.aclfile.is_empty() {
            let remedy = "users are in the config file or in the file that 'aclfile' names, not in both";
            return Err(LoadError::Contradiction(remedy));
        }
        Ok(self.config)
    }

    /// `user NAME RULE…`, or all of it in one pair of quotes.
    fn add_user(&mut self, words: Vec<Vec<u8>>) -> Result<(), LoadError> {
        let refused =
            |reason: &str| LoadError::Refused { name: "user".to_owned(), reason: reason.to_owned() };
        let words = match &words[..] {
            [line] => split_args(line).ok_or(LoadError::Unbalanced)?,
            _ => words,
        };
        let user = acl::text::configured(&words, acl::all_channels(&self.config)).map_err(|e| refused(&e))?;
        if self.config.users.iter().any(|known| *known[0] == *user.name) {
            return Err(refused("Duplicate user found. A user can only be defined once in config files"));
        }
        self.config.users.push(words);
        Ok(())
    }

    fn set<W: AsRef<[u8]>>(&mut self, directive: &Directive, words: &[W]) -> Result<(), String> {
        if directive.id != DirectiveId::save {
            return directive.set(&mut self.config, words).map(drop);
        }
        let mut rules = self.config.save.clone();
        directive.set(&mut self.config, words)?;
        if self.save_seen && !self.config.save.is_empty() {
            rules.append(&mut self.config.save);
            self.config.save = rules;
        }
        self.save_seen = true;
        Ok(())
    }
}

/// Directives that did something in an old Redis and nothing since.
const RETIRED: [&str; 3] = ["list-max-ziplist-entries", "list-max-ziplist-value", "lua-replicate-commands"];

/// Directives of Redis that would be dangerous to ignore, and what to do instead.
const UNSUPPORTED: [(&str, &str); 3] = [
    ("loadmodule", "there are no modules; leave the line out"),
    (
        "rename-command",
        "commands keep their names; keep untrusted clients away with 'requirepass' and 'bind'",
    ),
    ("sentinel", "a Cairn group fails over by itself; no Sentinel is needed"),
];

fn not_a_directive(name: &[u8]) -> Result<(), LoadError> {
    let known = |known: &str| known.as_bytes().eq_ignore_ascii_case(name);
    if RETIRED.into_iter().any(known) {
        return Ok(());
    }
    if let Some((name, instead)) = UNSUPPORTED.into_iter().find(|(name, _)| known(name)) {
        return Err(LoadError::Unsupported { name: name.to_owned(), instead });
    }
    if name.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"tls-")) {
        let instead = "ciphers are those that rustls holds to be safe, keys have no passphrase, nodes use 'tls-cluster'; leave \
                       the line out";
        return Err(LoadError::Unsupported { name: shown(name).into_owned(), instead });
    }
    if name.contains(&b'.') {
        let instead = "it configures a module, and there are none";
        return Err(LoadError::Unsupported { name: shown(name).into_owned(), instead });
    }
    Err(LoadError::Unknown(shown(name).into_owned()))
}
