//! What the tags of a command make of its reply before it is shown.

use super::Source;
use super::args::Variables;
use super::reply::Reply;
use anyhow::{bail, ensure};
use std::collections::BTreeSet;

/// Words that a command line may carry in brackets, parsed.
#[derive(Debug)]
pub struct Tags {
    pub sorted: bool,
    pub pairs: bool,
    pub approx: bool,
    pub type_only: bool,
    pub mask: bool,
    pub fields: Vec<String>,
    pub save: Option<String>,
    pub repeat: Option<usize>,
    pub blocks: bool,
    pub no_reply: bool,
    /// `[7.2]`, `[8.0]`: as that version of Redis answers, `[cairn]`: a behaviour of our own, else as Redis 7.0.
    pub source: Source,
}

impl Tags {
    /// An unknown tag is an error that lists the known ones.
    pub fn parse(words: &BTreeSet<String>) -> anyhow::Result<Tags> {
        let mut tags = Tags {
            sorted: false,
            pairs: false,
            approx: false,
            type_only: false,
            mask: false,
            fields: Vec::new(),
            save: None,
            repeat: None,
            blocks: false,
            no_reply: false,
            source: Source::Redis70,
        };
        for word in words {
            match word.split_once('/').unwrap_or((word, "")) {
                ("sorted", "") => tags.sorted = true,
                ("pairs", "") => tags.pairs = true,
                ("approx", "") => tags.approx = true,
                ("type", "") => tags.type_only = true,
                ("mask", "") => tags.mask = true,
                ("blocks", "") => tags.blocks = true,
                ("noreply", "") => tags.no_reply = true,
                ("7.2", "") => tags.source = Source::Redis72,
                ("8.0", "") => tags.source = Source::Redis80,
                ("cairn", "") => tags.source = Source::Cairn,
                ("field", name) if !name.is_empty() => tags.fields.push(name.into()),
                ("save", name) if !name.is_empty() => tags.save = Some(name.into()),
                ("repeat", count) => tags.repeat = Some(count.parse()?),
                _ => bail!(
                    "unknown tag [{word}]; there are sorted, pairs, approx, type, mask, field/NAME, save/NAME, \
                     repeat/N, blocks, noreply, 7.2, 8.0, cairn (tests/README.md)"
                ),
            }
        }
        ensure!(!(tags.sorted && tags.pairs), "[sorted] and [pairs] exclude each other");
        Ok(tags)
    }

    /// The reply as this command wants it shown.
    pub fn view(&self, reply: Reply, variables: &Variables) -> anyhow::Result<Reply> {
        let mut reply = reply;
        if !self.fields.is_empty() {
            reply = pick(&reply, &self.fields);
        }
        if self.type_only {
            return Ok(reply.map_leaves(&mut type_of));
        }
        if self.approx {
            reply = reply.map_leaves(&mut approximate);
        }
        if self.mask {
            reply = reply.map_leaves(&mut mask);
        }
        if self.sorted || self.pairs {
            reply = sort(reply, self.pairs)?;
        }
        Ok(reply.map_leaves(&mut |leaf| named(leaf, variables)))
    }
}

/// A saved value is shown by its name: it differs from run to run.
fn named(leaf: Reply, variables: &Variables) -> Reply {
    let value = match &leaf {
        Reply::Bulk(bytes) | Reply::Simple(bytes) => bytes.clone(),
        Reply::Integer(n) => n.to_string().into_bytes(),
        _ => return leaf,
    };
    match variables.iter().find(|(_, known)| **known == value) {
        Some((name, _)) => Reply::Masked(format!("{{{name}}}")),
        None => leaf,
    }
}

fn type_of(leaf: Reply) -> Reply {
    let name = match leaf {
        Reply::Integer(_) => "<integer>",
        Reply::Bulk(_) => "<bulk>",
        Reply::Simple(_) => "<simple>",
        Reply::Double(_) => "<double>",
        Reply::Verbatim(..) => "<verbatim>",
        other => return other,
    };
    Reply::Masked(name.into())
}

/// Rounds up to the next half of the leading digit's unit: what counts down from a round figure stays there for a
/// while.
fn approximate(leaf: Reply) -> Reply {
    let Reply::Integer(n) = leaf else { return leaf };
    let unit = if n > 0 { (10_i64.pow(n.ilog10()) / 2).max(1) } else { 1 };
    Reply::Masked(format!("~{}", (n + unit - 1) / unit * unit))
}

/// Every run of digits, with the dots and colons inside it, becomes `#`.
fn mask(leaf: Reply) -> Reply {
    let masked = |bytes: Vec<u8>| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (mut out, mut run) = (String::new(), String::new());
        for c in text.chars().chain(['\0']) {
            if c.is_ascii_digit() || (!run.is_empty() && matches!(c, '.' | ':')) {
                run.push(c);
                continue;
            }
            if !run.is_empty() {
                let digits = run.trim_end_matches(['.', ':']);
                out.push('#');
                out.push_str(&run[digits.len()..]);
                run.clear();
            }
            out.push(c);
        }
        out.pop();
        out.into_bytes()
    };
    match leaf {
        Reply::Bulk(bytes) => Reply::Bulk(masked(bytes)),
        Reply::Simple(bytes) => Reply::Simple(masked(bytes)),
        Reply::Error(bytes) => Reply::Error(masked(bytes)),
        Reply::Verbatim(format, bytes) => Reply::Verbatim(format, masked(bytes)),
        Reply::Integer(_) => Reply::Masked("#".into()),
        other => other,
    }
}

fn sort(reply: Reply, pairs: bool) -> anyhow::Result<Reply> {
    Ok(match reply {
        Reply::Array(items) if pairs && !matches!(items.first(), Some(Reply::Array(_))) => {
            ensure!(items.len() % 2 == 0, "[pairs] on an array of {} elements", items.len());
            let mut chunks: Vec<_> = items.chunks(2).map(<[Reply]>::to_vec).collect();
            chunks.sort();
            Reply::Array(chunks.concat())
        }
        Reply::Array(mut items) => {
            items.sort();
            Reply::Array(items)
        }
        Reply::Set(mut items) => {
            items.sort();
            Reply::Set(items)
        }
        Reply::Map(mut items) => {
            items.sort();
            Reply::Map(items)
        }
        other => other,
    })
}

/// Keeps the named fields of a `name:value` text (INFO), a `name=value` line (CLIENT LIST), a map or flat pairs.
fn pick(reply: &Reply, names: &[String]) -> Reply {
    let wanted = |key: &Reply| match key {
        Reply::Bulk(key) | Reply::Simple(key) => names.iter().any(|n| n.as_bytes() == key),
        _ => false,
    };
    match reply {
        Reply::Map(pairs) => Reply::Map(pairs.iter().filter(|(k, _)| wanted(k)).cloned().collect()),
        Reply::Array(items) => {
            Reply::Array(items.chunks(2).filter(|pair| wanted(&pair[0])).flatten().cloned().collect())
        }
        Reply::Bulk(text) | Reply::Simple(text) | Reply::Verbatim(_, text) => {
            let text = String::from_utf8_lossy(text);
            let found = text.split_whitespace().filter(|part| {
                part.split_once([':', '=']).is_some_and(|(name, _)| names.iter().any(|n| n == name))
            });
            Reply::Masked(found.collect::<Vec<_>>().join(" "))
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_countdown_stays_at_its_round_figure() {
        for n in [100_000, 99_999, 96_001] {
            assert_eq!(approximate(Reply::Integer(n)).to_string(), "~100000");
        }
        assert_eq!(approximate(Reply::Integer(-1)).to_string(), "~-1");
        assert_eq!(approximate(Reply::Integer(7)).to_string(), "~7");
    }

    #[test]
    fn masking_keeps_everything_but_digits() {
        let line = Reply::Simple(br#"1.5 [0 127.0.0.1:80] "SET": 3"#.to_vec());
        assert_eq!(mask(line), Reply::Simple(br##"# [# #] "SET": #"##.to_vec()));
    }

    #[test]
    fn unknown_tags_are_refused() {
        assert!(Tags::parse(&BTreeSet::from(["sort".to_string()])).is_err());
    }
}
