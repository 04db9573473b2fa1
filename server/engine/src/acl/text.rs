//! Users from and to text.

use std::sync::Arc;

use super::selector::{RuleError, has_blanks};
use super::user::User;
use crate::config::quote;

/// Rules with those words put together again that a `(…)` was split into. `Err`: where the one begins that is not closed.
fn merge_selectors<W: AsRef<[u8]>>(words: &[W]) -> Result<Vec<Vec<u8>>, usize> {
    let mut merged = Vec::with_capacity(words.len());
    let mut open: Option<(usize, Vec<u8>)> = None;
    for (at, word) in words.iter().map(AsRef::as_ref).enumerate() {
        open = match open {
            Some((start, mut selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(word);
                if word.ends_with(b")") {
                    merged.push(selector);
                    None
                } else {
                    Some((start, selector))
                }
            }
            None if word.starts_with(b"(") && !word.ends_with(b")") => Some((at, word.to_vec())),
            None => {
                merged.push(word.to_vec());
                None
            }
        };
    }
    match open {
        Some((start, _)) => Err(start),
        None => Ok(merged),
    }
}

/// ACL SETUSER: what the rules make of a user, or of nothing; an error with Redis's words.
pub fn changed<W: AsRef<[u8]>>(
    user: Option<&User>,
    name: &[u8],
    rules: &[W],
    all_channels: bool,
) -> Result<User, Vec<u8>> {
    let rules = merge_selectors(rules).map_err(|at| {
        [b"Unmatched parenthesis in acl selector starting at '", rules[at].as_ref(), b"'."].concat()
    })?;
    let mut user = user.cloned().unwrap_or_else(|| User::new(name.into(), all_channels));
    for rule in rules {
        user.apply(&rule, all_channels).map_err(|error| {
            [b"Error in ACL SETUSER modifier '", &*rule, b"': ", error.to_string().as_bytes()].concat()
        })?;
    }
    Ok(user)
}

/// A `user` line of the config file: the name and the rules.
pub fn configured(words: &[Vec<u8>], all_channels: bool) -> Result<User, String> {
    let [name, rules @ ..] = words else { return Err("wrong number of arguments".to_owned()) };
    if has_blanks(name) {
        return Err("Spaces not allowed in ACL usernames".to_owned());
    }
    changed(None, name, rules, all_channels).map_err(|error| String::from_utf8_lossy(&error).into_owned())
}

/// The users of an ACL file, called `file` in errors, of which there may be many in one text, as in Redis.
pub fn parse_file(file: &str, text: &[u8], all_channels: bool) -> Result<Vec<User>, String> {
    let mut users: Vec<User> = Vec::new();
    let mut errors = String::new();
    for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        let [b"user", name, rules @ ..] = &words[..] else {
            errors += &format!("{file}:{number} should start with user keyword followed by the username. ");
            continue;
        };
        let shown = String::from_utf8_lossy(name);
        if has_blanks(name) {
            errors += &format!("'{file}:{number}: username '{shown}' contains invalid characters. ");
            continue;
        }
        if users.iter().any(|user| *user.name == **name) {
            errors += &format!("WARNING: Duplicate user '{shown}' found on line {number}. ");
            continue;
        }
        let mut user = User::new(Arc::from(*name), all_channels);
        match merge_selectors(rules) {
            Err(_) => {
                errors += &format!("{file}:{number}: Unmatched parenthesis in selector definition.");
            }
            Ok(rules) => errors += &apply_all(&mut user, &rules, &format!("{file}:{number}"), all_channels),
        }
        users.push(user);
    }
    if errors.is_empty() {
        return Ok(users);
    }
    Err(errors + "WARNING: ACL errors detected, no change to the previously active ACL rules was performed")
}

/// Applies the rules of a line; what is wrong with it.
fn apply_all(user: &mut User, rules: &[Vec<u8>], place: &str, all_channels: bool) -> String {
    let mut errors = String::new();
    let mut syntax_error = false;
    for rule in rules {
        match user.apply(rule.trim_ascii(), all_channels) {
            Ok(()) => {}
            Err(error @ RuleError::UnknownCommand) => {
                let rule = String::from_utf8_lossy(rule);
                errors += &format!("{place}: Error in applying operation '{rule}': {error}. ");
            }
            // Only the first one: what follows may be wrong because of it, and it may be about a password.
            Err(error) if !syntax_error => {
                syntax_error = true;
                errors += &format!("{place}: {error}. ");
            }
            Err(_) => {}
        }
    }
    errors
}

/// The text of an ACL file.
pub fn file<'a>(users: impl Iterator<Item = &'a User>) -> Vec<u8> {
    let mut text = Vec::new();
    for user in users {
        text.extend_from_slice(&user.line());
        text.push(b'\n');
    }
    text
}

/// The user as the log and snapshots hold it: name and rules, quoted.
pub fn encode(user: &User) -> String {
    let mut words = vec![quote(&user.name)];
    words.extend(user.rules().iter().map(|rule| quote(rule)));
    words.join(" ")
}

/// Many users, a line for each.
pub fn encode_all<'a>(users: impl Iterator<Item = &'a User>) -> String {
    users.map(encode).collect::<Vec<_>>().join("\n")
}

/// What [`encode`] has made.
pub fn decode(line: &[u8]) -> Result<User, String> {
    let words = cairn_proto::split_args(line).ok_or("a user's quotes are not balanced")?;
    configured(&words, false)
}

/// What [`encode_all`] has made.
pub fn decode_all(text: &str) -> Result<Vec<User>, String> {
    text.lines().map(|line| decode(line.as_bytes())).collect()
}
