//! Patterns of CONFIG GET and of `include`.

/// Whether `text` matches a pattern of `*`, `?`, `[a-z]`, `[^a]` and `\` escapes, case ignored.
pub fn glob_matches(pattern: &[u8], text: &[u8]) -> bool {
    // The position to come back to when what follows the last star does not fit.
    let mut star: Option<(&[u8], &[u8])> = None;
    let (mut pattern, mut text) = (pattern, text);
    loop {
        if let [b'*', rest @ ..] = pattern {
            pattern = rest;
            star = Some((rest, text));
            continue;
        }
        match (one(pattern, text.first().copied()), text) {
            (Some(rest), [_, following @ ..]) => (pattern, text) = (rest, following),
            (_, []) if pattern.is_empty() => return true,
            _ => match star {
                Some((after, [_, following @ ..])) => {
                    (pattern, text) = (after, following);
                    star = Some((after, following));
                }
                _ => return false,
            },
        }
    }
}

/// What is left of the pattern when its first element takes `byte`; `None` if it does not.
fn one(pattern: &[u8], byte: Option<u8>) -> Option<&[u8]> {
    let byte = byte?.to_ascii_lowercase();
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', class @ ..] => {
            let (negated, mut class) = match class {
                [b'^', class @ ..] => (true, class),
                _ => (false, class),
            };
            let mut inside = false;
            loop {
                class = match class {
                    [] => break,
                    [b']', rest @ ..] => {
                        class = rest;
                        break;
                    }
                    [b'\\', literal, rest @ ..] => {
                        inside |= literal.to_ascii_lowercase() == byte;
                        rest
                    }
                    [low, b'-', high, rest @ ..] => {
                        let (low, high) = (low.to_ascii_lowercase(), high.to_ascii_lowercase());
                        inside |= (low.min(high)..=low.max(high)).contains(&byte);
                        rest
                    }
                    [literal, rest @ ..] => {
                        inside |= literal.to_ascii_lowercase() == byte;
                        rest
                    }
                };
            }
            (inside != negated).then_some(class)
        }
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => {
            (literal.to_ascii_lowercase() == byte).then_some(rest)
        }
    }
}
