//! The argument tree of COMMAND DOCS, read from the line of syntax in a command's declaration.
//!
//! ```text
//! syntax   = alternatives
//! alternatives = sequence ("|" sequence)*
//! sequence = item*
//! item     = "[" alternatives "]"        may be left out
//!          | "<" alternatives ">"        one of
//!          | TOKEN                       a word to be given as it is: upper case, or a sign such as "="
//!          | name [":" type]             a value; type "string" unless the name is "key" or "pattern"
//!          | "..."                       what stands before it may be repeated
//! ```
//!
//! `value [value ...]` is one argument that may be repeated; `EX seconds` one with the token `EX`; several values
//! after a token, or repeated together, are a block.

/// An argument as COMMAND DOCS describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Argument {
    pub name: String,
    pub kind: Kind,
    pub token: Option<String>,
    pub optional: bool,
    pub multiple: bool,
    /// The token is repeated with each value.
    pub multiple_token: bool,
    /// Of a block or a choice.
    pub children: Vec<Argument>,
}

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl Kind {
    const TYPES: [(&'static str, Self); 6] = [
        ("string", Self::String),
        ("integer", Self::Integer),
        ("double", Self::Double),
        ("key", Self::Key),
        ("pattern", Self::Pattern),
        ("unix-time", Self::UnixTime),
    ];

    /// The name in COMMAND DOCS.
    pub fn name(self) -> &'static str {
        match self {
            Self::PureToken => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
            _ => Self::TYPES.iter().find(|(_, kind)| *kind == self).expect("every other kind has a type").0,
        }
    }
}

/// Reads a line of syntax; the error says what is wrong with it.
pub(super) fn parse(syntax: &str) -> Result<Vec<Argument>, String> {
    let mut parser = Parser { words: words(syntax), at: 0 };
    let (mut alternatives, repeated) = parser.alternatives()?;
    if let Some(word) = parser.words.get(parser.at) {
        return Err(format!("unexpected '{word}'"));
    }
    if repeated {
        return Err("'...' outside of brackets".to_owned());
    }
    if alternatives.len() > 1 {
        return Ok(vec![choice(alternatives)]);
    }
    Ok(alternatives.pop().unwrap_or_default())
}

fn words(syntax: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in syntax.split_ascii_whitespace() {
        let mut rest = word;
        while let Some(at) = rest.find(['[', ']', '<', '>', '|']) {
            if at > 0 {
                words.push(&rest[..at]);
            }
            words.push(&rest[at..=at]);
            rest = &rest[at + 1..];
        }
        if !rest.is_empty() {
            words.push(rest);
        }
    }
    words
}

struct Parser<'a> {
    words: Vec<&'a str>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.at).copied();
        self.at += usize::from(word.is_some());
        word
    }

    /// Sequences divided by bars, and whether `...` ended the last one.
    fn alternatives(&mut self) -> Result<(Vec<Vec<Argument>>, bool), String> {
        let mut alternatives = Vec::new();
        loop {
            let (sequence, repeated) = self.sequence()?;
            alternatives.push(sequence);
            if self.words.get(self.at) != Some(&"|") {
                return Ok((alternatives, repeated));
            }
            self.at += 1;
        }
    }

    fn sequence(&mut self) -> Result<(Vec<Argument>, bool), String> {
        let mut items: Vec<Argument> = Vec::new();
        let mut repeated = false;
        while let Some(&word) = self.words.get(self.at) {
            match word {
                "|" | "]" | ">" => break,
                "..." => {
                    self.at += 1;
                    match items.last_mut() {
                        // `<…> ...`: only this choice is repeated.
                        Some(last) if last.kind == Kind::OneOf && self.words[self.at - 2] == ">" => {
                            last.multiple = true;
                        }
                        Some(_) => repeated = true,
                        None => return Err("'...' after nothing".to_owned()),
                    }
                }
                "[" => {
                    self.at += 1;
                    let (alternatives, again) = self.alternatives()?;
                    self.close("]")?;
                    add_optional(&mut items, alternatives, again);
                }
                "<" => {
                    self.at += 1;
                    let (alternatives, again) = self.alternatives()?;
                    self.close(">")?;
                    let mut argument = choice(alternatives);
                    argument.multiple |= again;
                    items.push(argument);
                }
                _ => {
                    self.at += 1;
                    items.push(word_argument(word)?);
                }
            }
        }
        Ok((bind_tokens(items), repeated))
    }

    fn close(&mut self, bracket: &str) -> Result<(), String> {
        match self.next() {
            Some(word) if word == bracket => Ok(()),
            Some(word) => Err(format!("'{word}' where '{bracket}' was expected")),
            None => Err(format!("'{bracket}' is missing")),
        }
    }
}

/// Adds what stood in square brackets to the items before it: a repetition of the last of them, or an option.
fn add_optional(items: &mut Vec<Argument>, mut alternatives: Vec<Vec<Argument>>, again: bool) {
    if again && alternatives.len() == 1 {
        let group = &alternatives[0];
        // With its token bound already, as in `[PREFIX prefix ...]`.
        let unbound: Vec<&Argument> = group.iter().collect();
        let bound_tail = bind_tokens(items.clone());
        if tail_is(&bound_tail, &unbound) {
            *items = bound_tail;
            let tail = items.split_off(items.len() - group.len());
            items.push(repeat(tail));
            return;
        }
        if tail_is(items, &unbound) {
            let tail = items.split_off(items.len() - group.len());
            items.push(repeat(tail));
            return;
        }
    }
    let mut argument =
        if alternatives.len() == 1 { block(alternatives.remove(0)) } else { choice(alternatives) };
    argument.optional = true;
    argument.multiple |= again;
    items.push(argument);
}

/// Do the last items say the same as the group? Types are given only once.
fn tail_is(items: &[Argument], group: &[&Argument]) -> bool {
    let same = |a: &Argument, b: &Argument| {
        a.name == b.name && a.token == b.token && (a.kind == Kind::PureToken) == (b.kind == Kind::PureToken)
    };
    items.len() >= group.len()
        && items[items.len() - group.len()..].iter().zip(group).all(|(a, b)| same(a, b))
}

fn repeat(mut tail: Vec<Argument>) -> Argument {
    let mut argument = if tail.len() == 1 {
        tail.remove(0)
    } else {
        Argument { kind: Kind::Block, children: tail, ..named("data") }
    };
    argument.multiple = true;
    argument.multiple_token = argument.token.is_some();
    argument
}

/// Gives tokens to the values that follow them: `EX seconds` is one argument.
fn bind_tokens(items: Vec<Argument>) -> Vec<Argument> {
    let mut bound: Vec<Argument> = Vec::new();
    let mut items = items.into_iter().peekable();
    while let Some(item) = items.next() {
        if item.kind != Kind::PureToken {
            bound.push(item);
            continue;
        }
        let mut values = Vec::new();
        while let Some(value) =
            items.next_if(|next| next.kind != Kind::PureToken && !next.optional && next.token.is_none())
        {
            values.push(value);
        }
        bound.push(match values.len() {
            0 => item,
            1 => Argument { token: item.token, ..values.remove(0) },
            _ => Argument { kind: Kind::Block, children: values, ..item },
        });
    }
    bound
}

/// A sequence as one argument.
fn block(mut sequence: Vec<Argument>) -> Argument {
    if sequence.len() == 1 {
        return sequence.remove(0);
    }
    let name = sequence.first().map_or_else(String::new, |first| first.name.clone());
    Argument { kind: Kind::Block, children: sequence, ..named(&name) }
}

/// Alternatives as one argument.
fn choice(alternatives: Vec<Vec<Argument>>) -> Argument {
    let mut children: Vec<Argument> = alternatives.into_iter().map(block).collect();
    if children.len() == 1 {
        return children.remove(0);
    }
    let names: Vec<&str> = children.iter().map(|child| child.name.as_str()).collect();
    let name = if names.len() > 3 { format!("{}-or-other", names[0]) } else { names.join("-or-") };
    Argument { kind: Kind::OneOf, children, ..named(&name) }
}

fn word_argument(word: &str) -> Result<Argument, String> {
    if !word.starts_with(|c: char| c.is_ascii_lowercase()) {
        let name = match word {
            "=" => "equal".to_owned(),
            "~" => "approximately".to_owned(),
            "*" => "auto-id".to_owned(),
            "$" => "new-id".to_owned(),
            _ => word.to_ascii_lowercase(),
        };
        return Ok(Argument { kind: Kind::PureToken, token: Some(word.to_owned()), ..named(&name) });
    }
    let (name, kind) = match word.split_once(':') {
        Some((name, type_name)) => {
            let known = Kind::TYPES.iter().find(|(known, _)| *known == type_name);
            (name, known.ok_or(format!("'{type_name}' is no type"))?.1)
        }
        None if word == "key" => (word, Kind::Key),
        None if word == "pattern" => (word, Kind::Pattern),
        None => (word, Kind::String),
    };
    Ok(Argument { kind, ..named(name) })
}

fn named(name: &str) -> Argument {
    Argument {
        name: name.to_owned(),
        kind: Kind::String,
        token: None,
        optional: false,
        multiple: false,
        multiple_token: false,
        children: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name:kind`, `TOKEN=` in front, `?` optional, `*` multiple, `+` multiple token, children in parentheses.
    fn shown(arguments: &[Argument]) -> String {
        let one = |a: &Argument| {
            let token = a.token.as_ref().map_or(String::new(), |token| format!("{token}="));
            let mut text = format!("{token}{}:{}", a.name, a.kind.name());
            for (set, mark) in [(a.optional, '?'), (a.multiple, '*'), (a.multiple_token, '+')] {
                text.extend(set.then_some(mark));
            }
            if !a.children.is_empty() {
                text.push_str(&format!("({})", shown(&a.children)));
            }
            text
        };
        arguments.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn trees_of_the_manuals_notation() {
        for (syntax, expected) in [
            ("", ""),
            ("key", "key:key"),
            ("key value", "key:key value:string"),
            ("key [key ...]", "key:key*"),
            ("[section [section ...]]", "section:string?*"),
            ("key score:double member [score member ...]", "key:key data:block*(score:double member:string)"),
            ("key [NX | XX]", "key:key nx-or-xx:oneof?(NX=nx:pure-token XX=xx:pure-token)"),
            (
                "[EX seconds:integer | PXAT at:unix-time | KEEPTTL]",
                "seconds-or-at-or-keepttl:oneof?(EX=seconds:integer PXAT=at:unix-time KEEPTTL=keepttl:pure-token)",
            ),
            ("[LIMIT offset:integer count:integer]", "LIMIT=limit:block?(offset:integer count:integer)"),
            ("[COUNT count:integer [ANY]]", "count:block?(COUNT=count:integer ANY=any:pure-token?)"),
            ("STREAMS key [key ...] id [id ...]", "STREAMS=streams:block(key:key* id:string*)"),
            ("[PREFIX prefix [PREFIX prefix ...]]", "PREFIX=prefix:string?*+"),
            ("[ID id:integer [id:integer ...]]", "ID=id:integer?*"),
            ("key <* | id>", "key:key auto-id-or-id:oneof(*=auto-id:pure-token id:string)"),
            (
                "OVERFLOW <WRAP | FAIL>",
                "OVERFLOW=wrap-or-fail:oneof(WRAP=wrap:pure-token FAIL=fail:pure-token)",
            ),
            ("[WEIGHTS weight:double [weight ...]]", "WEIGHTS=weight:double?*"),
            ("<a | b> ...", "a-or-b:oneof*(a:string b:string)"),
            ("[GET type offset ...]", "GET=get:block?*(type:string offset:string)"),
            ("YES | NO", "yes-or-no:oneof(YES=yes:pure-token NO=no:pure-token)"),
        ] {
            assert_eq!(parse(syntax).map(|tree| shown(&tree)), Ok(expected.to_owned()), "{syntax}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (syntax, expected) in [
            ("[key", "']' is missing"),
            ("<a | b]", "']' where '>' was expected"),
            ("a]", "unexpected ']'"),
            ("n:number", "'number' is no type"),
            ("...", "'...' after nothing"),
            ("key ...", "'...' outside of brackets"),
        ] {
            assert_eq!(parse(syntax), Err(expected.to_owned()), "{syntax}");
        }
    }

    #[test]
    fn the_syntax_of_every_command_can_be_read() {
        for entry in crate::command::table().entries() {
            let tree = parse(entry.spec.syntax);
            assert!(tree.is_ok(), "{}: {:?}", entry.full_name, tree);
        }
    }
}
