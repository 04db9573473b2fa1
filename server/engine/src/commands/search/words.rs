//! Words: synonyms of an index, dictionaries for FT.SPELLCHECK.

use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::search::definition::said;
use crate::search::{
    DICTIONARIES_MAX, DICTIONARY_WORD_LEN_MAX, DICTIONARY_WORDS_MAX, SYNONYM_GROUPS_MAX, SYNONYM_WORDS_MAX,
};

pub(super) static FT_SYNUPDATE: Command = Command {
    name: "ft.synupdate",
    arity: -4,
    group: Group::Search,
    since: "1.2.0",
    flags: &[Flag::Write, Flag::DenyOom],
    summary: "Adds words to a group of words that mean the same.",
    complexity: "O(N), N being the number of words; documents are indexed again in the background",
    syntax: "index synonym-group-id [SKIPINITIALSCAN] term [term ...]",
    run: synupdate,
    ..COMMAND
};

fn synupdate(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let group = args.at(2);
    let scan = !args.is(3, "SKIPINITIALSCAN");
    let words = args.from(if scan { 3 } else { 4 });
    let entry = cx.search().find_mut(args.at(1)).ok_or("Unknown index name")?;
    let synonyms = &entry.index.synonyms;
    if synonyms.len() + words.len() > SYNONYM_WORDS_MAX {
        return Err("Maximum synonym terms limit reached".into());
    }
    if words.iter().any(|word| synonyms.groups_of(word) >= SYNONYM_GROUPS_MAX) {
        return Err("Maximum group IDs per term limit reached".into());
    }
    entry.add_synonyms(group, words);
    let name = entry.definition.name.clone();
    if scan {
        cx.shared.search.index_again(&name);
    }
    let mut argv: Vec<&[u8]> = vec![b"FT.SYNUPDATE", &name];
    argv.extend(args.from(2));
    cx.definitions_changed(&argv);
    cx.reply.ok();
    Ok(())
}

pub(super) static FT_SYNDUMP: Command = Command {
    name: "ft.syndump",
    arity: 2,
    group: Group::Search,
    since: "1.2.0",
    flags: &[Flag::ReadOnly, Flag::KeylessRead],
    summary: "Lists the words of an index that have synonyms, with their groups.",
    complexity: "O(N), N being the number of words",
    syntax: "index",
    run: syndump,
    ..COMMAND
};

fn syndump(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let name = args.at(1);
    let entry = cx.shared.search.find(name).ok_or_else(|| said("", name, ": no such index"))?;
    let synonyms = &entry.index.synonyms;
    cx.reply.map(synonyms.len());
    for (word, groups) in synonyms.iter() {
        cx.reply.bulk(word);
        cx.reply.array(groups.len());
        groups.iter().for_each(|group| cx.reply.bulk(group));
    }
    Ok(())
}

pub(super) static FT_DICTADD: Command = Command {
    name: "ft.dictadd",
    arity: -3,
    group: Group::Search,
    since: "1.4.0",
    flags: &[Flag::Write, Flag::DenyOom],
    summary: "Adds words to a dictionary.",
    syntax: "dict term [term ...]",
    run: dictadd,
    ..COMMAND
};

fn dictadd(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (name, words) = (args.at(1), args.from(2));
    let dictionaries = cx.shared.search.dictionaries_mut();
    let known = dictionaries.get(name).map_or(0, |dictionary| dictionary.len());
    if known + words.len() > DICTIONARY_WORDS_MAX {
        return Err(CommandError::new("Maximum dictionary terms limit reached"));
    }
    if words.iter().any(|word| word.len() > DICTIONARY_WORD_LEN_MAX) {
        return Err(format!("Maximum dictionary term length is {DICTIONARY_WORD_LEN_MAX}").into());
    }
    if known == 0 && dictionaries.len() >= DICTIONARIES_MAX {
        return Err(CommandError::new("Maximum number of dictionaries reached"));
    }
    let dictionary = dictionaries.entry(name.into()).or_default();
    let added = words.iter().filter(|word| dictionary.insert(word)).count();
    if added > 0 {
        cx.definitions_changed(args.as_slice());
    }
    cx.reply.int(added as i64);
    Ok(())
}

pub(super) static FT_DICTDEL: Command = Command {
    name: "ft.dictdel",
    arity: -3,
    group: Group::Search,
    since: "1.4.0",
    flags: &[Flag::Write],
    summary: "Removes words from a dictionary.",
    syntax: "dict term [term ...]",
    run: dictdel,
    ..COMMAND
};

fn dictdel(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let name = args.at(1);
    let dictionaries = cx.shared.search.dictionaries_mut();
    let mut removed = 0;
    if let Some(dictionary) = dictionaries.get_mut(name) {
        removed = args.from(2).iter().filter(|word| dictionary.remove(word)).count();
        if dictionary.is_empty() {
            dictionaries.remove(name);
        }
    }
    if removed > 0 {
        cx.definitions_changed(args.as_slice());
    }
    cx.reply.int(removed as i64);
    Ok(())
}

pub(super) static FT_DICTDUMP: Command = Command {
    name: "ft.dictdump",
    arity: 2,
    group: Group::Search,
    since: "1.4.0",
    flags: &[Flag::ReadOnly, Flag::KeylessRead],
    summary: "Lists the words of a dictionary.",
    complexity: "O(N), N being the number of words",
    syntax: "dict",
    run: dictdump,
    ..COMMAND
};

fn dictdump(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let Some(dictionary) = cx.shared.search.dictionaries().get(args.at(1)) else {
        cx.reply.set(0);
        return Ok(());
    };
    cx.reply.set(dictionary.len());
    dictionary.iter().for_each(|word| cx.reply.bulk(word));
    Ok(())
}
