//! Definitions as text: what snapshots carry and digests are made of.
//!
//! A line for each command that makes them again, its arguments in quotes where they are not plain. The same definitions give
//! the same text on every node.

use super::Search;
use super::definition::Definition;
use crate::error::CommandError;

/// The first line; another number is another form.
const VERSION: &str = "1";

impl Search {
    /// All definitions; `None` if there are none.
    pub fn to_text(&self) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let mut text = VERSION.to_owned();
        for command in self.to_commands() {
            text.push('\n');
            let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
            text.push_str(&words.join(" "));
        }
        Some(text)
    }

    /// The commands that make the definitions.
    fn to_commands(&self) -> Vec<Vec<Vec<u8>>> {
        let mut commands = Vec::new();
        for entry in self.indexes.values() {
            commands.push(entry.definition.to_command());
            for (word, groups) in entry.index.synonyms.iter() {
                for group in groups {
                    let name = &entry.definition.name;
                    commands.push(vec![
                        b"FT.SYNUPDATE".to_vec(),
                        name.to_vec(),
                        group.clone(),
                        word.to_vec(),
                    ]);
                }
            }
        }
        for (alias, index) in &self.aliases {
            commands.push(vec![b"FT.ALIASADD".to_vec(), alias.to_vec(), index.to_vec()]);
        }
        for (name, words) in &self.dictionaries {
            let mut command = vec![b"FT.DICTADD".to_vec(), name.to_vec()];
            command.extend(words.iter().map(Vec::from));
            commands.push(command);
        }
        commands
    }

    /// Takes over definitions in place of its own. The indexes are empty and wait to be built.
    pub fn restore(&mut self, text: Option<&str>, now_ms: i64) -> Result<(), String> {
        let mut fresh = Self::new(self.seed);
        fresh.settings = std::mem::take(&mut self.settings);
        let mut lines = text.unwrap_or(VERSION).lines();
        if lines.next() != Some(VERSION) {
            return Err("indexes are written in a form that is not known".to_owned());
        }
        for line in lines {
            let words = unquoted(line).ok_or_else(|| format!("not a definition of an index: {line}"))?;
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            fresh.run(&words, now_ms).map_err(|error| {
                format!("a definition of an index is not known: {}", String::from_utf8_lossy(&error.text()))
            })?;
        }
        // Whatever was skipped when the index was made: loading looks at every key.
        fresh.rebuild_all();
        self.clear();
        fresh.trash.append(&mut self.trash);
        *self = fresh;
        Ok(())
    }

    /// Takes over the indexes of another node's state as they are.
    pub fn adopt(&mut self, other: &mut Self) {
        self.clear();
        let fresh = Self::new(other.seed);
        let mut other = std::mem::replace(other, fresh);
        other.trash.append(&mut self.trash);
        other.settings = std::mem::take(&mut self.settings);
        *self = other;
    }

    fn run(&mut self, words: &[&[u8]], now_ms: i64) -> Result<(), CommandError> {
        match words {
            [b"FT.CREATE", name, options @ ..] if self.get(name).is_none() => {
                self.create(Definition::parse(name, options)?, now_ms);
            }
            [b"FT.SYNUPDATE", name, group, word] => {
                let entry = self.find_mut(name).ok_or("no such index")?;
                entry.index.synonyms.add(group, [*word]);
            }
            [b"FT.ALIASADD", alias, index] => {
                self.aliases.insert((*alias).into(), (*index).into());
            }
            [b"FT.DICTADD", name, words @ ..] => {
                let dictionary = self.dictionaries.entry((*name).into()).or_default();
                words.iter().for_each(|word| {
                    dictionary.insert(word);
                });
            }
            _ => return Err("no such command".into()),
        }
        Ok(())
    }
}

/// A word in quotes, with everything that is not plain as `\xHH`.
fn quoted(word: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    let mut text = String::with_capacity(word.len() + 2);
    text.push('"');
    for byte in word {
        if plain(byte) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text.push('"');
    text
}

fn unquoted(line: &str) -> Option<Vec<Vec<u8>>> {
    line.split(' ').map(unquoted_word).collect()
}

fn unquoted_word(text: &str) -> Option<Vec<u8>> {
    let mut rest = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut word = Vec::with_capacity(rest.len());
    while let Some(first) = rest.chars().next() {
        if let Some(escape) = rest.strip_prefix("\\x") {
            word.push(u8::from_str_radix(escape.get(..2)?, 16).ok()?);
            rest = &escape[2..];
        } else {
            word.push(u8::try_from(first).ok()?);
            rest = &rest[first.len_utf8()..];
        }
    }
    Some(word)
}
