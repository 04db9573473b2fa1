//! A value as text.

use crate::Json;

/// What stands between the parts of a text; all empty: the compact form.
#[derive(Clone, Copy, Debug)]
pub struct Format<'a> {
    /// Before each element and field, once for each level.
    pub indent: &'a [u8],
    /// Before each element and field, and before the end of a container that is not empty.
    pub newline: &'a [u8],
    /// After the colon.
    pub space: &'a [u8],
    /// Writing stops soon after the output has so many bytes: a reply too long to be sent need not be made first.
    pub len_max: usize,
}

impl Default for Format<'_> {
    fn default() -> Self {
        Self { indent: b"", newline: b"", space: b"", len_max: usize::MAX }
    }
}

impl Json {
    /// The compact text.
    pub fn to_text(&self) -> String {
        let mut out = Vec::new();
        self.write(&mut out);
        String::from_utf8(out).expect("names and strings are UTF-8, and so is the rest")
    }

    /// Appends the compact text.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_formatted(out, &Format::default(), 0);
    }

    /// Appends the text. `level` containers are open around the value.
    pub fn write_formatted(&self, out: &mut Vec<u8>, format: &Format<'_>, level: usize) {
        match self {
            Self::Null => out.extend(b"null"),
            Self::Bool(value) => out.extend(if *value { &b"true"[..] } else { b"false" }),
            Self::Int(value) => out.extend(itoa::Buffer::new().format(*value).as_bytes()),
            Self::Uint(value) => out.extend(itoa::Buffer::new().format(*value).as_bytes()),
            Self::Double(value) => out.extend(ryu::Buffer::new().format_finite(*value).as_bytes()),
            Self::Str(text) => write_string(out, text),
            Self::Array(elements) => {
                format.container(out, *b"[]", level, elements.iter(), |out, element| {
                    element.write_formatted(out, format, level + 1);
                });
            }
            Self::Object(object) => {
                format.container(out, *b"{}", level, object.iter(), |out, (name, value)| {
                    format.name(out, name);
                    value.write_formatted(out, format, level + 1);
                });
            }
        }
    }
}

impl Format<'_> {
    /// Appends a container at `level`; `write` appends one of its `items`.
    pub fn container<T>(
        &self,
        out: &mut Vec<u8>,
        [open, close]: [u8; 2],
        level: usize,
        items: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut Vec<u8>, T),
    ) {
        out.push(open);
        let mut empty = true;
        for item in items {
            if out.len() > self.len_max {
                return;
            }
            if !empty {
                out.push(b',');
            }
            empty = false;
            self.line(out, level + 1);
            write(out, item);
        }
        if !empty {
            self.line(out, level);
        }
        out.push(close);
    }

    /// Appends a field's name and what stands between it and the value.
    pub fn name(&self, out: &mut Vec<u8>, name: &str) {
        write_string(out, name);
        out.push(b':');
        out.extend(self.space);
    }

    fn line(&self, out: &mut Vec<u8>, level: usize) {
        out.extend(self.newline);
        for _ in 0..if self.indent.is_empty() { 0 } else { level } {
            out.extend(self.indent);
        }
    }
}

/// Appends a string in quotes.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        out.extend(&rest[..at]);
        match rest[at] {
            byte @ (b'"' | b'\\') => out.extend([b'\\', byte]),
            0x08 => out.extend(b"\\b"),
            b'\t' => out.extend(b"\\t"),
            b'\n' => out.extend(b"\\n"),
            0x0c => out.extend(b"\\f"),
            b'\r' => out.extend(b"\\r"),
            byte => out.extend(format!("\\u{byte:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    out.extend(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_printed_in_their_shortest_form_that_is_a_double() {
        for (text, printed) in [
            ("1.0", "1.0"),
            ("-0", "-0.0"),
            ("100.0", "100.0"),
            ("1e16", "1e16"),
            ("1e15", "1000000000000000.0"),
            ("1.6350000000001313e+308", "1.6350000000001313e308"),
            ("0.00001", "0.00001"),
            ("0.000001", "1e-6"),
            ("1512060373.222988", "1512060373.222988"),
            ("0.1", "0.1"),
            ("18446744073709551616", "1.8446744073709552e19"),
        ] {
            assert_eq!(Json::parse(text).unwrap().to_text(), printed, "{text}");
        }
    }

    #[test]
    fn what_must_be_escaped_is_and_nothing_else() {
        let text = r#""\b \f \n \r \t / \\ \" \u001f \u007f ⭐ \u2b50""#;
        assert_eq!(
            Json::parse(text).unwrap().to_text(),
            "\"\\b \\f \\n \\r \\t / \\\\ \\\" \\u001f \u{7f} ⭐ ⭐\""
        );
    }

    #[test]
    fn formatted() {
        let doc = Json::parse(r#"{"obj":{"f":"v"},"none":{},"arr":[0,[],[1]]}"#).unwrap();
        let format = Format { indent: b"\t", newline: b"\n", space: b" ", ..Format::default() };
        let mut out = Vec::new();
        doc.write_formatted(&mut out, &format, 0);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\n\t\"obj\": {\n\t\t\"f\": \"v\"\n\t},\n\t\"none\": {},\n\t\"arr\": [\n\t\t0,\n\t\t[],\n\t\t[\n\t\t\t1\n\t\t]\n\t]\n}"
        );
    }

    #[test]
    fn writing_stops_at_the_limit() {
        let doc = Json::array(vec![Json::array(vec![Json::Int(1); 1000]); 1000]);
        let mut out = Vec::new();
        doc.write_formatted(&mut out, &Format { len_max: 5000, ..Format::default() }, 0);
        assert!((5000..5010).contains(&out.len()), "{}", out.len());
    }
}
