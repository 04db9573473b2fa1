//! The categories of commands: derived from a command's flags and group, and what it declares beside them.

use crate::command::{Category, Entry, Flag, Group};

/// Every category, in Redis's order; last, those of what are modules there.
pub const CATEGORIES: [&str; 23] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
    "search",
    "json",
];

/// The category of this name, in any case.
pub fn find(name: &[u8]) -> Option<&'static str> {
    CATEGORIES.into_iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Is the command in this category?
pub fn contains(category: &str, entry: &Entry) -> bool {
    let Entry { spec, flags, .. } = entry;
    let declared = |category: Category| spec.categories.contains(&category);
    // A mere container has no type; and who asks PUBSUB for help is not listening.
    let of_group = |group: Group| spec.group == group && spec.subcommands.is_empty();
    let admin = || flags.has(Flag::Admin) || declared(Category::Admin);
    let scripting = || of_group(Group::Scripting) || declared(Category::Scripting);
    match category {
        "keyspace" => {
            let elsewhere = declared(Category::Connection) || declared(Category::List);
            of_group(Group::Generic) && !elsewhere || declared(Category::Keyspace)
        }
        "read" => flags.has(Flag::ReadOnly) && !scripting(),
        "write" => flags.has(Flag::Write),
        "set" => of_group(Group::Set) || declared(Category::Set),
        "sortedset" => of_group(Group::SortedSet) || declared(Category::SortedSet),
        "list" => of_group(Group::List) || declared(Category::List),
        "hash" => of_group(Group::Hash),
        "string" => of_group(Group::String),
        "bitmap" => of_group(Group::Bitmap),
        "hyperloglog" => of_group(Group::HyperLogLog),
        "geo" => of_group(Group::Geo),
        "stream" => of_group(Group::Stream),
        "pubsub" => flags.has(Flag::PubSub),
        "admin" => admin(),
        "fast" => flags.has(Flag::Fast),
        "slow" => !flags.has(Flag::Fast),
        "blocking" => flags.has(Flag::Blocking),
        "dangerous" => admin() || declared(Category::Dangerous),
        "connection" => of_group(Group::Connection) || declared(Category::Connection),
        "transaction" => of_group(Group::Transactions) || declared(Category::Transaction),
        "scripting" => scripting(),
        "search" => of_group(Group::Search),
        "json" => of_group(Group::Json),
        _ => false,
    }
}

/// The categories of a command, in Redis's order.
pub fn of(entry: &Entry) -> Vec<&'static str> {
    CATEGORIES.into_iter().filter(|category| contains(category, entry)).collect()
}
