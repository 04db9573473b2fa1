//! Dates of Unix times: C's `strftime` and `strptime`, in UTC and the C locale.

use std::fmt::Write;

pub const DAY: i64 = 86_400;
/// Bytes of a formatted time, as in Redis.
const FORMATTED_MAX: usize = 1024;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A moment in the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    pub year: i64,
    /// From one.
    pub month: i64,
    /// From one.
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    /// From Sunday, which is zero.
    pub weekday: i64,
    /// From zero.
    pub yearday: i64,
}

/// Days since the epoch. The algorithm is Howard Hinnant's `days_from_civil`.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

impl Civil {
    pub fn of(seconds: i64) -> Self {
        let day_number = seconds.div_euclid(DAY);
        let of_day = seconds.rem_euclid(DAY);
        let shifted = day_number + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self {
            year,
            month,
            day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            weekday: (day_number + 4).rem_euclid(7),
            yearday: day_number - days(year, 1, 1),
        }
    }
}

/// `strftime`. None if the text would be empty or too long.
pub fn format(seconds: i64, format: &[u8]) -> Option<Vec<u8>> {
    let civil = Civil::of(seconds);
    let mut out = Vec::new();
    write_format(&civil, seconds, format, &mut out);
    (!out.is_empty() && out.len() < FORMATTED_MAX).then_some(out)
}

fn write_format(civil: &Civil, seconds: i64, format: &[u8], out: &mut Vec<u8>) {
    let Civil { year, month, day, hour, minute, second, weekday, yearday } = *civil;
    let hour_12 = if hour % 12 == 0 { 12 } else { hour % 12 };
    let mut rest = format;
    while let [first, tail @ ..] = rest {
        if out.len() >= FORMATTED_MAX {
            return;
        }
        let (b'%', [kind, tail @ ..]) = (*first, tail) else {
            out.push(*first);
            rest = tail;
            continue;
        };
        rest = tail;
        let mut text = String::new();
        let _ = match kind {
            b'a' => write!(text, "{}", &WEEKDAYS[weekday as usize][..3]),
            b'A' => write!(text, "{}", WEEKDAYS[weekday as usize]),
            b'b' | b'h' => write!(text, "{}", &MONTHS[month as usize - 1][..3]),
            b'B' => write!(text, "{}", MONTHS[month as usize - 1]),
            b'C' => write!(text, "{:02}", year.div_euclid(100)),
            b'd' => write!(text, "{day:02}"),
            b'e' => write!(text, "{day:2}"),
            b'H' => write!(text, "{hour:02}"),
            b'I' => write!(text, "{hour_12:02}"),
            b'k' => write!(text, "{hour:2}"),
            b'l' => write!(text, "{hour_12:2}"),
            b'j' => write!(text, "{:03}", yearday + 1),
            b'm' => write!(text, "{month:02}"),
            b'M' => write!(text, "{minute:02}"),
            b'n' => writeln!(text),
            b'p' => write!(text, "{}", if hour < 12 { "AM" } else { "PM" }),
            b's' => write!(text, "{seconds}"),
            b'S' => write!(text, "{second:02}"),
            b't' => write!(text, "\t"),
            b'u' => write!(text, "{}", if weekday == 0 { 7 } else { weekday }),
            b'w' => write!(text, "{weekday}"),
            b'U' => write!(text, "{:02}", (yearday + 7 - weekday) / 7),
            b'W' => write!(text, "{:02}", (yearday + 7 - (weekday + 6) % 7) / 7),
            b'y' => write!(text, "{:02}", year.rem_euclid(100)),
            b'Y' => write!(text, "{year}"),
            b'z' => write!(text, "+0000"),
            b'Z' => write!(text, "GMT"),
            b'%' => write!(text, "%"),
            b'D' | b'x' => return_to(civil, seconds, b"%m/%d/%y", out),
            b'F' => return_to(civil, seconds, b"%Y-%m-%d", out),
            b'R' => return_to(civil, seconds, b"%H:%M", out),
            b'T' | b'X' => return_to(civil, seconds, b"%H:%M:%S", out),
            b'r' => return_to(civil, seconds, b"%I:%M:%S %p", out),
            b'c' => return_to(civil, seconds, b"%a %b %e %H:%M:%S %Y", out),
            // What is not known stays, as in glibc.
            other => write!(text, "%{}", char::from(*other)),
        };
        out.extend_from_slice(text.as_bytes());
    }
}

fn return_to(civil: &Civil, seconds: i64, format: &[u8], out: &mut Vec<u8>) -> std::fmt::Result {
    write_format(civil, seconds, format, out);
    Ok(())
}

/// `strptime` and `timegm`. None if the text is not of the format; what follows it does not matter.
pub fn parse(text: &[u8], format: &[u8]) -> Option<i64> {
    let mut parsed = Parsed { year: 1900, month: 1, day: 0, ..Parsed::default() };
    parsed.read(text, format)?;
    if parsed.pm && parsed.hour < 12 {
        parsed.hour += 12;
    }
    if let Some(seconds) = parsed.epoch {
        return Some(seconds);
    }
    let date = match parsed.yearday {
        Some(yearday) if parsed.day == 0 => days(parsed.year, 1, 1) + yearday - 1,
        // Without a day C's time begins the day before the first.
        _ => days(parsed.year, parsed.month, 1) + parsed.day - 1,
    };
    Some(date * DAY + parsed.hour * 3600 + parsed.minute * 60 + parsed.second)
}

#[derive(Default)]
struct Parsed {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    pm: bool,
    yearday: Option<i64>,
    epoch: Option<i64>,
}

impl Parsed {
    /// Gives back what is left of the text.
    fn read<'a>(&mut self, mut text: &'a [u8], format: &[u8]) -> Option<&'a [u8]> {
        let mut rest = format;
        while let [first, tail @ ..] = rest {
            rest = tail;
            if crate::text::is_space(*first) {
                text = skip_space(text);
                continue;
            }
            if *first != b'%' {
                text = text.strip_prefix(std::slice::from_ref(first))?;
                continue;
            }
            let [kind, tail @ ..] = rest else { return None };
            rest = tail;
            text = self.read_one(*kind, text)?;
        }
        Some(text)
    }

    fn read_one<'a>(&mut self, kind: u8, text: &'a [u8]) -> Option<&'a [u8]> {
        let mut text = text;
        let mut number = |max_digits: usize, range: std::ops::RangeInclusive<i64>| {
            text = skip_space(text);
            let len = text.iter().take(max_digits).take_while(|b| b.is_ascii_digit()).count();
            let value: i64 = std::str::from_utf8(&text[..len]).ok()?.parse().ok()?;
            text = &text[len..];
            range.contains(&value).then_some(value)
        };
        match kind {
            b'Y' => self.year = number(4, 0..=9999)?,
            b'y' => self.year = number(2, 0..=99).map(|y| if y < 69 { 2000 + y } else { 1900 + y })?,
            b'm' => self.month = number(2, 1..=12)?,
            b'd' | b'e' => self.day = number(2, 1..=31)?,
            b'H' | b'k' => self.hour = number(2, 0..=23)?,
            b'I' | b'l' => self.hour = number(2, 1..=12)? % 12,
            b'M' => self.minute = number(2, 0..=59)?,
            b'S' => self.second = number(2, 0..=61)?,
            b'j' => self.yearday = Some(number(3, 1..=366)?),
            b's' => self.epoch = Some(number(18, 0..=i64::MAX)?),
            b'p' => {
                let sign = text.get(..2)?.to_ascii_uppercase();
                self.pm = sign == b"PM";
                if !self.pm && sign != b"AM" {
                    return None;
                }
                text = &text[2..];
            }
            b'b' | b'B' | b'h' => {
                let (month, rest) = read_name(text, &MONTHS)?;
                self.month = month as i64 + 1;
                text = rest;
            }
            b'a' | b'A' => text = read_name(text, &WEEKDAYS)?.1,
            b'n' | b't' => text = skip_space(text),
            b'%' => text = text.strip_prefix(b"%")?,
            b'Z' => {
                let len = text.iter().take_while(|b| b.is_ascii_alphabetic()).count();
                text = &text[len..];
            }
            b'F' => return self.read(text, b"%Y-%m-%d"),
            b'T' => return self.read(text, b"%H:%M:%S"),
            b'R' => return self.read(text, b"%H:%M"),
            b'D' => return self.read(text, b"%m/%d/%y"),
            _ => return None,
        }
        Some(text)
    }
}

fn skip_space(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|&&b| crate::text::is_space(b)).count()..]
}

/// A name in full or its first three letters, in any case.
fn read_name<'a>(text: &'a [u8], names: &[&str]) -> Option<(usize, &'a [u8])> {
    let starts =
        |name: &str| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()));
    let full = names.iter().position(|name| starts(name)).map(|at| (at, names[at].len()));
    let (at, len) = full.or_else(|| names.iter().position(|name| starts(&name[..3])).map(|at| (at, 3)))?;
    Some((at, &text[len..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn formatted(seconds: i64, with: &str) -> String {
        String::from_utf8(format(seconds, with.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn times_are_formatted_as_c_does() {
        assert_eq!(formatted(0, "%FT%TZ"), "1970-01-01T00:00:00Z");
        assert_eq!(
            formatted(1_517_417_144, "%a %A %b %B %d %e %H %I %j %m %M %p %S %u %w %y %Y"),
            "Wed Wednesday Jan January 31 31 16 04 031 01 45 PM 44 3 3 18 2018"
        );
        assert_eq!(formatted(951_782_400, "%D %U %W %%"), "02/29/00 09 09 %");
        assert_eq!(format(0, b""), None);
        assert_eq!(format(0, &b"%c".repeat(1000)), None);
    }

    #[test]
    fn times_are_parsed_as_c_does() {
        assert_eq!(parse(b"2018-01-31T16:45:44Z", b"%FT%TZ"), Some(1_517_417_144));
        assert_eq!(parse(b"31 Jan 2018 04:45 pm", b"%d %b %Y %I:%M %p"), Some(1_517_417_100));
        assert_eq!(parse(b"2018-13-01", b"%F"), None);
        assert_eq!(parse(b"yesterday", b"%F"), None);
    }

    proptest! {
        #[test]
        fn what_was_formatted_is_parsed(seconds in 0i64..253_402_300_799) {
            let text = format(seconds, b"%FT%TZ").unwrap();
            prop_assert_eq!(parse(&text, b"%FT%TZ"), Some(seconds));
            let civil = Civil::of(seconds);
            prop_assert!(civil.yearday <= 365 && (1..=31).contains(&civil.day) && (1..=12).contains(&civil.month));
        }
    }
}
