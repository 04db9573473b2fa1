use super::*;

/// What a server that adds them answers: the sum's text, or which step refuses.
fn add(value: &str, increment: &str) -> String {
    let Some(increment) = LongDouble::parse(increment.as_bytes()) else { return "bad increment".to_owned() };
    if increment.is_infinite() {
        return "infinite increment".to_owned();
    }
    let Some(value) = LongDouble::parse(value.as_bytes()) else { return "bad value".to_owned() };
    value.checked_add(increment).map_or_else(|| "infinite".to_owned(), |sum| sum.to_string())
}

/// `value TAB increment TAB answer`, recorded with HSET and HINCRBYFLOAT from redis-server 7.0.15 on x86-64.
#[test]
fn sums_are_those_of_redis() {
    let mut lines = 0;
    for line in include_str!("recorded.tsv").lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[value, increment, answer] = &fields[..] else { panic!("three fields: {line:?}") };
        assert_eq!(add(value, increment), answer, "{value} + {increment}");
        lines += 1;
    }
    assert!(lines > 200, "only {lines} lines recorded");
}

#[test]
fn integers_are_exact() {
    for value in [0, 1, -1, 1 << 53, i64::MAX, i64::MIN] {
        assert_eq!(LongDouble::from(value).to_string(), value.to_string());
        assert_eq!(LongDouble::parse(value.to_string().as_bytes()), Some(LongDouble::from(value)));
    }
}

#[test]
fn the_longest_text_is_bounded() {
    let digits = |len: usize| "0".repeat(len - 1) + "7";
    assert_eq!(LongDouble::parse(digits(TEXT_MAX).as_bytes()), Some(LongDouble::from(7)));
    assert_eq!(LongDouble::parse(digits(TEXT_MAX + 1).as_bytes()), None);
}
