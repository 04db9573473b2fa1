//! FT.CONFIG.

use crate::args::Args;
use crate::command::{COMMAND, Category, Command, Flag, Group};
use crate::context::Context;
use crate::error::CommandResult;
use crate::search::cursor::Cursor;
use crate::search::settings::{SETTINGS, Setting};
use cairn_proto::Resp;

pub(super) static FT_CONFIG: Command = Command {
    name: "ft.config",
    arity: -3,
    group: Group::Search,
    since: "1.0.0",
    flags: &[Flag::ReadOnly],
    categories: &[Category::Admin],
    summary: "Reads, changes or explains settings of the commands that search.",
    complexity: "O(N), N being the number of settings",
    syntax: "action option [value]",
    run: config,
    ..COMMAND
};

fn config(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let name = args.at(2);
    if args.is(1, "GET") || args.is(1, "HELP") {
        let all = name == b"*";
        let wanted: Vec<&Setting> = SETTINGS
            .iter()
            .filter(|setting| all || name.eq_ignore_ascii_case(setting.name.as_bytes()))
            .collect();
        show(cx, &wanted, args.is(1, "HELP"));
        return Ok(());
    }
    if !args.is(1, "SET") {
        cx.reply.simple("No such configuration action");
        return Ok(());
    }
    let setting = Setting::find(name).ok_or("Invalid option")?;
    let mut cursor = Cursor::new(args.from(3));
    setting.set(&mut cx.shared.search.settings, &mut cursor)?;
    // Redis sets it all the same.
    cx.reply.simple(if cursor.is_at_end() { "OK" } else { "EXCESSARGS" });
    Ok(())
}

/// In RESP3 a map; in RESP2 each setting is an array of its own.
fn show(cx: &mut Context<'_>, settings: &[&Setting], help: bool) {
    let resp3 = cx.reply.resp == Resp::V3;
    let values: Vec<String> =
        settings.iter().map(|setting| setting.value(&mut cx.shared.search.settings)).collect();
    if resp3 {
        cx.reply.map(settings.len());
    } else {
        cx.reply.array(settings.len());
    }
    for (setting, value) in settings.iter().zip(&values) {
        if !resp3 {
            cx.reply.array(if help { 5 } else { 2 });
        }
        cx.reply.simple(setting.name);
        if help {
            if resp3 {
                cx.reply.map(2);
            }
            cx.reply.simple("Description");
            cx.reply.simple(setting.help);
            cx.reply.simple("Value");
        }
        cx.reply.bulk(value.as_bytes());
    }
}
