//! Glob patterns as Redis's `stringmatchlen` knows them: `*`, `?`, `[a-z]`, `[^a]`, `\x`.

/// Stars (or rows of them) that a pattern may have before its end. One that needs more matches nothing: as in Redis, what a
/// stranger's pattern may cost has an end.
const STARS_MAX: usize = 1000;

/// Does `text` match `pattern`? With `ignore_case`, ASCII letters match in either case.
///
/// Linear in practice and never exponential: a `*` needs to be tried again only from the last one seen, because an
/// earlier one could not match more than the later one lets through.
pub fn matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    // Redis looks at no pattern for an empty text. Where `*` is to mean everything, callers say so themselves.
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    let mut stars = 0;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            while p < pattern.len() && pattern[p] == b'*' {
                p += 1;
            }
            if p == pattern.len() {
                return true;
            }
            stars += 1;
            if stars > STARS_MAX {
                return false;
            }
            retry = Some((p, t));
            continue;
        }
        if t < text.len() && p < pattern.len() {
            let (hit, next) = step(pattern, p, text[t], ignore_case);
            if hit {
                p = next;
                t += 1;
                continue;
            }
        } else if t == text.len() && p == pattern.len() {
            return true;
        }
        match &mut retry {
            Some((after_star, from)) if *from < text.len() => {
                *from += 1;
                p = *after_star;
                t = *from;
            }
            _ => return false,
        }
    }
}

/// Matches one byte against the pattern's element at `p`; returns whether it does and where the next element starts.
fn step(pattern: &[u8], p: usize, byte: u8, ignore_case: bool) -> (bool, usize) {
    let fold = |b: u8| if ignore_case { b.to_ascii_lowercase() } else { b };
    match pattern[p] {
        b'?' => (true, p + 1),
        b'[' => class(pattern, p + 1, byte, ignore_case),
        b'\\' if p + 1 < pattern.len() => (fold(pattern[p + 1]) == fold(byte), p + 2),
        literal => (fold(literal) == fold(byte), p + 1),
    }
}

/// A `[…]` class whose first byte after the bracket is at `p`. An unclosed class ends with the pattern.
fn class(pattern: &[u8], mut p: usize, byte: u8, ignore_case: bool) -> (bool, usize) {
    let fold = |b: u8| if ignore_case { b.to_ascii_lowercase() } else { b };
    let byte = fold(byte);
    let negated = pattern.get(p) == Some(&b'^');
    if negated {
        p += 1;
    }
    let mut hit = false;
    loop {
        match pattern.get(p) {
            None => break,
            Some(b']') => {
                p += 1;
                break;
            }
            Some(b'\\') if p + 1 < pattern.len() => {
                hit |= fold(pattern[p + 1]) == byte;
                p += 2;
            }
            Some(&low) if p + 2 < pattern.len() && pattern[p + 1] == b'-' => {
                let (a, b) = (fold(low), fold(pattern[p + 2]));
                hit |= (a.min(b)..=a.max(b)).contains(&byte);
                p += 3;
            }
            Some(&literal) => {
                hit |= fold(literal) == byte;
                p += 1;
            }
        }
    }
    (hit != negated, p)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("*", "", false),
            ("*", "x", true),
            ("h?llo", "hello", true),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hello", false),
            ("h[^e]llo", "hallo", true),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("[abc", "a", true),
            ("", "", true),
            ("", "x", false),
            ("[\\]]", "]", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes(), false), expected, "{pattern} {text}");
        }
        assert!(matches(b"HeL*", b"hello", true));
    }

    #[test]
    fn too_many_stars_match_nothing() {
        for (stars, expected) in [(1000, true), (1001, false)] {
            let text = "a".repeat(5000);
            assert_eq!(matches("*?".repeat(stars).as_bytes(), text.as_bytes(), false), expected, "{stars}");
            assert!(matches("*".repeat(5000).as_bytes(), text.as_bytes(), false), "a row of stars is one");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "*a".repeat(1000);
        let text = "a".repeat(999) + "b";
        assert!(!matches(pattern.as_bytes(), text.as_bytes(), false));
    }
}
