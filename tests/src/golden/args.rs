//! From the text of a command line to its arguments, with the quoting of redis-cli.

use anyhow::{bail, ensure};
use std::collections::BTreeMap;

/// Values kept by `[save/NAME]`, and `i` within a `[repeat/N]`: written `{NAME}` in later commands.
pub type Variables = BTreeMap<String, Vec<u8>>;

/// Splits a line as redis-cli does: `"…"` knows `\n \r \t \a \b \xHH`, `'…'` only `\'`, words end at blanks.
///
/// Outside of single quotes `{NAME}` stands for a variable and `{64*ab}` for `ab` sixty-four times; braces that
/// are neither stay as they are.
pub fn split(line: &str, variables: &Variables) -> anyhow::Result<Vec<Vec<u8>>> {
    let input = line.as_bytes();
    let (mut at, mut words) = (0, Vec::new());
    loop {
        while at < input.len() && input[at].is_ascii_whitespace() {
            at += 1;
        }
        if at == input.len() {
            return Ok(words);
        }
        let mut word = Vec::new();
        match input[at] {
            quote @ (b'"' | b'\'') => {
                at = quoted(input, at + 1, quote, variables, &mut word)?;
                ensure!(
                    input.get(at).is_none_or(u8::is_ascii_whitespace),
                    "a blank must follow the closing quote: {line}"
                );
            }
            _ => {
                while at < input.len() && !input[at].is_ascii_whitespace() {
                    at = plain(input, at, variables, &mut word)?;
                }
            }
        }
        words.push(word);
    }
}

/// Decodes from behind the opening quote; answers the position behind the closing one.
fn quoted(
    input: &[u8],
    mut at: usize,
    quote: u8,
    variables: &Variables,
    word: &mut Vec<u8>,
) -> anyhow::Result<usize> {
    while let Some(&byte) = input.get(at) {
        match (byte, input.get(at + 1)) {
            (byte, _) if byte == quote => return Ok(at + 1),
            (b'\\', Some(b'\'')) if quote == b'\'' => {
                word.push(b'\'');
                at += 2;
            }
            (b'\\', Some(&escape)) if quote == b'"' => at = escaped(input, at, escape, word)?,
            _ if quote == b'"' => at = plain(input, at, variables, word)?,
            _ => {
                word.push(byte);
                at += 1;
            }
        }
    }
    bail!("quote without an end: {}", String::from_utf8_lossy(input))
}

fn escaped(input: &[u8], at: usize, escape: u8, word: &mut Vec<u8>) -> anyhow::Result<usize> {
    let hex = input.get(at + 2..at + 4).and_then(|h| std::str::from_utf8(h).ok());
    if let (b'x', Some(Ok(byte))) = (escape, hex.map(|h| u8::from_str_radix(h, 16))) {
        word.push(byte);
        return Ok(at + 4);
    }
    word.push(match escape {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'a' => 7,
        b'b' => 8,
        other => other,
    });
    Ok(at + 2)
}

/// One byte, or a whole `{…}` where that is a variable or a repetition.
fn plain(input: &[u8], at: usize, variables: &Variables, word: &mut Vec<u8>) -> anyhow::Result<usize> {
    if input[at] == b'{'
        && let Some(length) = input[at..].iter().position(|&b| b == b'}')
        && let Ok(inner) = std::str::from_utf8(&input[at + 1..at + length])
    {
        if let Some(value) = variables.get(inner) {
            word.extend_from_slice(value);
            return Ok(at + length + 1);
        }
        if let Some((count, text)) = inner.split_once('*')
            && let Ok(count) = count.parse::<usize>()
        {
            word.extend(text.as_bytes().repeat(count));
            return Ok(at + length + 1);
        }
    }
    word.push(input[at]);
    Ok(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_plain(line: &str) -> Vec<Vec<u8>> {
        split(line, &Variables::new()).unwrap()
    }

    #[test]
    fn quotes_and_escapes_are_those_of_redis_cli() {
        assert_eq!(split_plain(r#"a "b\x00\"c" 'd\'\n' """#), [&b"a"[..], b"b\0\"c", b"d'\\n", b""]);
        assert!(split(r#"a "b"#, &Variables::new()).is_err());
        assert!(split(r#"a "b"c"#, &Variables::new()).is_err());
    }

    #[test]
    fn braces_expand_variables_and_repetitions_only() {
        let variables = Variables::from([("id".into(), b"1-1".to_vec())]);
        assert_eq!(
            split("{id} p{id}s {3*ab} {tag}k '{id}'", &variables).unwrap(),
            [&b"1-1"[..], b"p1-1s", b"ababab", b"{tag}k", b"{id}"]
        );
    }
}
