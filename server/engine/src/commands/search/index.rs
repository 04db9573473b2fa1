//! Indexes come, change and go.

use super::UNKNOWN_INDEX;
use crate::args::Args;
use crate::command::{COMMAND, Category, Command, Flag, Group};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notify::Class;
use crate::search::cursor::Cursor;
use crate::search::definition::Definition;
use crate::search::{INDEXES_MAX, fields};

pub(super) static FT_CREATE: Command = Command {
    name: "ft.create",
    arity: -5,
    group: Group::Search,
    since: "1.0.0",
    flags: &[Flag::Write, Flag::DenyOom],
    summary: "Makes an index over the keys with certain prefixes.",
    complexity: "O(K), K being the number of fields; keys that are there come into it in the background",
    syntax: "index [ON data-type] [PREFIX count:integer prefix [prefix ...]] [FILTER filter] [LANGUAGE default-lang] \
             [LANGUAGE_FIELD lang-attribute] [SCORE default-score:double] [SCORE_FIELD score-attribute] \
             [PAYLOAD_FIELD payload-attribute] [MAXTEXTFIELDS] [TEMPORARY seconds:double] [NOOFFSETS] [NOHL] \
             [NOFIELDS] [NOFREQS] [STOPWORDS count:integer [stopword ...]] [SKIPINITIALSCAN] SCHEMA field-name \
             field-type [option ...]",
    run: create,
    ..COMMAND
};

fn create(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if cx.keys.selected() != 0 {
        return Err("Cannot create index on db != 0".into());
    }
    let name = args.at(1);
    if cx.shared.search.get(name).is_some() {
        return Err("Index already exists".into());
    }
    if cx.shared.search.len() >= INDEXES_MAX {
        return Err(format!("Maximum number of indexes ({INDEXES_MAX}) reached").into());
    }
    let definition = Definition::parse(name, args.from(2))?;
    let command = definition.to_command();
    let argv: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
    let now_ms = cx.now_ms();
    cx.search().create(definition, now_ms);
    cx.definitions_changed(&argv);
    cx.reply.ok();
    Ok(())
}

pub(super) static FT_ALTER: Command = Command {
    name: "ft.alter",
    arity: -5,
    group: Group::Search,
    since: "1.0.0",
    flags: &[Flag::Write, Flag::DenyOom],
    summary: "Adds fields to an index.",
    complexity: "O(K), K being the number of fields; documents are indexed again in the background",
    syntax: "index [SKIPINITIALSCAN] SCHEMA ADD field-name field-type [option ...]",
    run: alter,
    ..COMMAND
};

fn alter(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let mut cursor = Cursor::new(args.from(2));
    let entry = cx.search().find_mut(args.at(1)).ok_or("Unknown index name")?;
    let scan = !cursor.take_if("SKIPINITIALSCAN");
    if !cursor.take_if("SCHEMA") {
        return Err("ALTER must be followed by SCHEMA".into());
    }
    if !cursor.take_if("ADD") {
        return Err("Unknown action passed to ALTER SCHEMA".into());
    }
    if cursor.is_at_end() {
        return Err("No fields provided".into());
    }
    let before = entry.add_fields(&mut cursor)?;
    let name = entry.definition.name.clone();
    let mut command: Vec<Vec<u8>> = vec![b"FT.ALTER".to_vec(), name.to_vec()];
    if !scan {
        command.push(b"SKIPINITIALSCAN".to_vec());
    }
    command.extend([b"SCHEMA".to_vec(), b"ADD".to_vec()]);
    entry.definition.schema.fields()[before..].iter().for_each(|field| fields::put(field, &mut command));
    if scan {
        cx.shared.search.index_again(&name);
    }
    let argv: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
    cx.definitions_changed(&argv);
    cx.reply.ok();
    Ok(())
}

pub(super) static FT_DROP: Command = Command {
    name: "ft.drop",
    arity: -2,
    group: Group::Search,
    since: "1.0.0",
    flags: &[Flag::Write],
    categories: &[Category::Dangerous],
    summary: "Drops an index with the keys in it. FT.DROPINDEX has taken its place.",
    complexity: "O(N), N being the number of keys in the index; O(1) with KEEPDOCS",
    syntax: "index [KEEPDOCS]",
    run: |cx, args| drop_index(cx, args, true),
    ..COMMAND
};

pub(super) static FT_DROPINDEX: Command = Command {
    name: "ft.dropindex",
    arity: -2,
    group: Group::Search,
    since: "2.0.0",
    flags: &[Flag::Write],
    categories: &[Category::Dangerous],
    summary: "Drops an index, and the keys in it if asked to.",
    complexity: "O(1), or O(N) with DD where N is the number of keys in the index",
    syntax: "index [DD]",
    run: |cx, args| drop_index(cx, args, false),
    ..COMMAND
};

/// FT.DROPINDEX and FT.DROP. `deletes`: keys go with the index unless the client says otherwise.
fn drop_index(cx: &mut Context<'_>, args: Args<'_>, deletes: bool) -> CommandResult {
    if args.len() > 3 {
        return Err(CommandError::Arity(cx.command.full_name.clone()));
    }
    let name = args.at(1);
    if cx.shared.search.find(name).is_none() {
        return Err(UNKNOWN_INDEX);
    }
    let with_keys = match args.get(2) {
        None => deletes,
        Some(_) if args.is(2, "_FORCEKEEPDOCS") => false,
        Some(_) if args.is(2, "KEEPDOCS") && deletes => false,
        Some(_) if args.is(2, "DD") && !deletes => true,
        Some(_) => return Err("Unknown argument".into()),
    };
    if !drop_with_keys(cx, name, with_keys) {
        return Err("The index has too many keys to delete them at once: drop it without them".into());
    }
    cx.reply.ok();
    Ok(())
}

/// Bytes of the effect that deletes a key, beside its name.
const DELETION_BYTES: usize = 64;

/// Drops the index, and the keys that are in it if `with_keys` or if it is a temporary one. What a follower's index holds may be
/// less or more at the moment: it hears of the keys one by one. False, and nothing is dropped, if so many deletions do not fit
/// into one unit.
fn drop_with_keys(cx: &mut Context<'_>, name: &[u8], with_keys: bool) -> bool {
    cx.search();
    let Some(entry) = cx.shared.search.find(name) else { return true };
    let with_keys = !cx.mode.applying && (with_keys || entry.definition.temporary_ms.is_some());
    if with_keys {
        let bytes = entry.index.keys().map(|key| key.len() + DELETION_BYTES).sum();
        if !cx.shared.effects.has_room_for(bytes) {
            return false;
        }
    }
    let Some(entry) = cx.shared.search.drop_index(name) else { return true };
    if with_keys {
        let home = cx.keys.selected();
        cx.keys.select(0);
        for key in entry.index.keys() {
            cx.delete_key(key, Class::Generic, "del");
        }
        cx.keys.select(home);
    }
    let name = entry.definition.name.clone();
    cx.shared.search.discard(entry);
    cx.definitions_changed(&[b"FT.DROPINDEX", &name]);
    true
}

/// A temporary index that nobody has used for long enough goes, with its keys: one of them each time. It stays if they are too
/// many.
pub(crate) fn drop_idle(cx: &mut Context<'_>) {
    let now_ms = cx.now_ms();
    if let Some(name) = cx.shared.search.idle(now_ms).map(Box::<[u8]>::from) {
        drop_with_keys(cx, &name, true);
    }
}

pub(super) static FT_LIST: Command = Command {
    name: "ft._list",
    arity: -1,
    group: Group::Search,
    since: "2.0.0",
    flags: &[Flag::ReadOnly, Flag::KeylessRead],
    categories: &[Category::Admin],
    summary: "Lists all indexes.",
    complexity: "O(N), N being the number of indexes",
    run: list,
    ..COMMAND
};

fn list(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 2 {
        return Err(CommandError::Arity(cx.command.full_name.clone()));
    }
    let search = &cx.shared.search;
    cx.reply.set(search.len());
    search.indexes().for_each(|entry| cx.reply.simple(&entry.definition.name));
    Ok(())
}
