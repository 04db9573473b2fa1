//! The outer shape of answers.

use cairn_proto::{Deferred, ReplyWriter, Resp};

use super::parsed::{TIMED_OUT, TRUNCATED};

/// What RESP3's answers say beside the results.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Warnings {
    pub timed_out: bool,
    pub truncated: bool,
}

impl Warnings {
    fn texts(self) -> impl Iterator<Item = &'static str> {
        let said = [(self.timed_out, TIMED_OUT), (self.truncated, TRUNCATED)];
        said.into_iter().filter(|(on, _)| *on).map(|(_, text)| text)
    }

    /// As an array of texts; `none` stands for no warning.
    pub fn write(self, reply: &mut ReplyWriter, none: Option<&'static str>) {
        let texts: Vec<&str> = self.texts().chain(none.filter(|_| self.texts().next().is_none())).collect();
        reply.array(texts.len());
        texts.iter().for_each(|text| reply.simple(*text));
    }
}

/// Results being written: in RESP2 an array that begins with their number, in RESP3 a map around them.
pub(super) struct Results {
    list: Deferred,
    /// Elements of the array.
    elements: usize,
}

impl Results {
    /// `total` is what RESP2 says first; RESP3 says it last.
    pub fn begin(reply: &mut ReplyWriter, total: usize, expand: bool) -> Self {
        if reply.resp == Resp::V3 {
            reply.map(5);
            reply.simple("attributes");
            reply.array(0);
            reply.simple("format");
            reply.simple(if expand { "EXPAND" } else { "STRING" });
            reply.simple("results");
            return Self { list: reply.defer(), elements: 0 };
        }
        let list = reply.defer();
        reply.int(total as i64);
        Self { list, elements: 1 }
    }

    /// So many elements were written.
    pub fn add(&mut self, elements: usize) {
        self.elements += elements;
    }

    pub fn finish(self, reply: &mut ReplyWriter, total: usize, warnings: Warnings) {
        reply.finish_array(self.list, self.elements);
        if reply.resp == Resp::V3 {
            reply.simple("total_results");
            reply.int(total as i64);
            reply.simple("warning");
            warnings.write(reply, None);
        }
    }
}
