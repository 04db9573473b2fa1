//! The HELP subcommand of every command that has subcommands: made from their declarations.

use crate::args::Args;
use crate::command::table;
use crate::context::Context;
use crate::error::CommandResult;

/// Handler of all HELP subcommands.
pub(super) fn help(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let parent = cx.command.parent.expect("HELP is a subcommand");
    let parent = table().find(parent.as_bytes()).expect("the parent of a declared subcommand");
    let subcommands = parent.spec.subcommands.iter().filter(|sub| sub.name != "help");
    let lines = subcommands.flat_map(|sub| {
        let usage = format!("{} {}", sub.name.to_uppercase(), without_types(sub.syntax));
        [usage.trim_end().to_owned(), format!("    {}", sub.summary)]
    });
    let lines: Vec<String> = lines.collect();
    reply(cx, args, &lines);
    Ok(())
}

/// Writes help as Redis lays it out: a heading, the lines, and what HELP itself does.
pub(super) fn reply<L: AsRef<str>>(cx: &mut Context<'_>, args: Args<'_>, lines: &[L]) {
    let name = String::from_utf8_lossy(args.at(0)).to_uppercase();
    cx.reply.array(lines.len() + 3);
    cx.reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for line in lines {
        cx.reply.simple(line.as_ref());
    }
    cx.reply.simple("HELP");
    cx.reply.simple("    Print this help.");
}

/// `count:integer` is for machines; people are shown `<count>`.
fn without_types(syntax: &str) -> String {
    let mut text = String::new();
    for (at, word) in syntax.split(' ').enumerate() {
        if at > 0 {
            text.push(' ');
        }
        let name_at = word.find(|c: char| c.is_ascii_alphanumeric()).unwrap_or(word.len());
        let (open, rest) = word.split_at(name_at);
        let end = rest.find([']', '>', '.']).unwrap_or(rest.len());
        let (name, close) = rest.split_at(end);
        let bare = name.split(':').next().unwrap_or(name);
        let placeholder = bare.starts_with(|c: char| c.is_ascii_lowercase());
        text.push_str(open);
        text.push_str(&if placeholder { format!("<{bare}>") } else { bare.to_owned() });
        text.push_str(close);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_is_shown_without_types() {
        for (syntax, expected) in [
            ("", ""),
            ("[count:integer]", "[<count>]"),
            ("[NOSAVE | SAVE] [NOW]", "[NOSAVE | SAVE] [NOW]"),
            ("parameter [parameter ...]", "<parameter> [<parameter> ...]"),
            ("[ID client-id:integer [client-id:integer ...]]", "[ID <client-id> [<client-id> ...]]"),
        ] {
            assert_eq!(without_types(syntax), expected);
        }
    }
}
