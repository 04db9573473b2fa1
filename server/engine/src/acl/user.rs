//! A user: whether and how one logs in as them, and what they may do then.

use std::sync::Arc;

use super::password::PasswordHash;
use super::selector::{Denial, KeysOf, RuleError, Selector};
use crate::args::Args;
use crate::command::Entry;

/// The user of connections that have not said who they are.
pub const DEFAULT: &[u8] = b"default";

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    pub name: Arc<[u8]>,
    pub enabled: bool,
    /// Any password will do.
    pub nopass: bool,
    skip_sanitize: bool,
    pub passwords: Vec<PasswordHash>,
    pub root: Selector,
    pub selectors: Vec<Selector>,
    /// Some selector allows everything: nothing need be looked at.
    allows_all: bool,
}

impl User {
    /// A new user: disabled, without a password, who may do nothing.
    pub fn new(name: Arc<[u8]>, all_channels: bool) -> Self {
        Self {
            name,
            enabled: false,
            nopass: false,
            skip_sanitize: false,
            passwords: Vec::new(),
            root: Selector::new(all_channels),
            selectors: Vec::new(),
            allows_all: false,
        }
    }

    /// The default user as it is without any configuration: everybody may do everything.
    pub fn default_user() -> Self {
        let mut user = Self::new(DEFAULT.into(), false);
        for rule in [&b"+@all"[..], b"~*", b"&*", b"on", b"nopass"] {
            user.apply(rule, false).expect("rules that are valid on a new user");
        }
        user
    }

    /// Changes the user by one rule of ACL SETUSER. `all_channels` is what `acl-pubsub-default` says.
    pub fn apply(&mut self, rule: &[u8], all_channels: bool) -> Result<(), RuleError> {
        let result = self.apply_rule(rule, all_channels);
        let allows_all = self.all_selectors().any(Selector::allows_all);
        self.allows_all = allows_all;
        result
    }

    fn apply_rule(&mut self, rule: &[u8], all_channels: bool) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        match rule {
            [] => {}
            _ if is("on") => self.enabled = true,
            _ if is("off") => self.enabled = false,
            _ if is("skip-sanitize-payload") => self.skip_sanitize = true,
            _ if is("sanitize-payload") => self.skip_sanitize = false,
            _ if is("nopass") => {
                self.nopass = true;
                self.passwords.clear();
            }
            _ if is("resetpass") => {
                self.nopass = false;
                self.passwords.clear();
            }
            [b'>', password @ ..] => self.add_password(PasswordHash::of(password)),
            [b'#', hex @ ..] => {
                self.add_password(PasswordHash::parse(hex).ok_or(RuleError::BadHash)?);
            }
            [b'<', password @ ..] => self.remove_password(&PasswordHash::of(password))?,
            [b'!', hex @ ..] => {
                self.remove_password(&PasswordHash::parse(hex).ok_or(RuleError::BadHash)?)?;
            }
            [b'(', rules @ .., b')'] => self.selectors.push(Selector::parse(rules, all_channels)?),
            _ if is("clearselectors") => self.selectors.clear(),
            _ if is("reset") => *self = Self::new(Arc::clone(&self.name), all_channels),
            _ => self.root.apply(rule)?,
        }
        Ok(())
    }

    fn add_password(&mut self, hash: PasswordHash) {
        self.nopass = false;
        if !self.passwords.iter().any(|known| known.same(&hash)) {
            self.passwords.push(hash);
        }
    }

    fn remove_password(&mut self, hash: &PasswordHash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|known| known.same(hash));
        self.passwords.remove(at.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }

    /// Is this the user's password? Takes the same time whichever of them it is, if any.
    pub fn accepts(&self, password: &PasswordHash) -> bool {
        let known = self.passwords.iter().fold(false, |found, known| found | known.same(password));
        self.enabled && (self.nopass || known)
    }

    /// The root selector and the others.
    pub fn all_selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// Is there nothing that the user may not do?
    pub fn allows_all(&self) -> bool {
        self.allows_all
    }

    /// May the user run this command? Of several reasons why not, the one that Redis gives.
    pub fn check(&self, entry: &Entry, args: Args<'_>) -> Result<(), Denial> {
        if self.allows_all {
            return Ok(());
        }
        let mut keys = KeysOf::default();
        let mut denial = Denial::Command;
        for selector in self.all_selectors() {
            match selector.check(entry, args, &mut keys) {
                Ok(()) => return Ok(()),
                Err(reason) => denial = denial.max(reason),
            }
        }
        Err(denial)
    }

    /// May the user run this command and, with the same permissions, read every key? (SORT's patterns)
    pub fn check_reading_all(&self, entry: &Entry, args: Args<'_>) -> bool {
        let mut keys = KeysOf::default();
        self.allows_all
            || self
                .all_selectors()
                .any(|selector| selector.reads_all_keys() && selector.check(entry, args, &mut keys).is_ok())
    }

    /// The flags of ACL GETUSER, in Redis's order.
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.enabled { "on" } else { "off" }];
        if self.nopass {
            flags.push("nopass");
        }
        flags.push(if self.skip_sanitize { "skip-sanitize-payload" } else { "sanitize-payload" });
        flags
    }

    /// The rules that make this user of one who has been `reset`, a word each.
    pub fn rules(&self) -> Vec<Vec<u8>> {
        let mut rules: Vec<Vec<u8>> = self.flags().into_iter().map(Vec::from).collect();
        rules.extend(self.passwords.iter().map(|hash| format!("#{}", hash.hex()).into_bytes()));
        rules.extend(self.root.describe().split(|&byte| byte == b' ').map(<[u8]>::to_vec));
        rules.extend(self.selectors.iter().map(|selector| [b"(", &*selector.describe(), b")"].concat()));
        rules
    }

    /// `user NAME RULES`, the line of ACL LIST and of the ACL file.
    pub fn line(&self) -> Vec<u8> {
        let mut words = vec![b"user".to_vec(), self.name.to_vec()];
        words.extend(self.rules());
        words.join(&b' ')
    }
}
