//! Which commands a node of a cluster can answer by itself.
//!
//! The class of a command follows from its declaration; the test below names the class of each, so that whoever adds
//! a command has to think of it.

use crate::args::Args;
use crate::client::ClientState;
use crate::cluster::SWITCH_MASTER;
use crate::command::{Entry, Flag, Group, table};
use crate::slot::key_slot;

/// Who can answer a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Any node: it is about the connection or the node itself, or it is not a command.
    Local,
    /// The leader only.
    Leader,
    /// The leader; or this node, from what it has applied, for a client that said READONLY.
    LeaderUnlessReadonlyRead,
}

/// Who can answer this command of this client. A client that has not said READONLY is never told
/// [`Need::LeaderUnlessReadonlyRead`].
pub fn needs_leader(args: Args<'_>, client: &ClientState) -> Need {
    if client.transaction.is_some() {
        // It began on the leader, with all that belongs to it.
        return Need::Leader;
    }
    let Some(entry) = (!args.is_empty()).then(|| table().resolve(args)).flatten() else {
        // Any node can say that it does not know it.
        return Need::Local;
    };
    if is_of_events(entry, args, client) {
        return Need::Local;
    }
    if sets_password(entry, args) {
        return Need::Leader;
    }
    match class(entry) {
        Need::LeaderUnlessReadonlyRead if !client.readonly => Need::Leader,
        class => class,
    }
}

/// Is this about Sentinel's event alone? Each node tells its own clients of it.
fn is_of_events(entry: &Entry, args: Args<'_>, client: &ClientState) -> bool {
    let mut channels = args.from(1).iter().peekable();
    match entry.full_name.as_str() {
        "subscribe" => channels.peek().is_some() && channels.all(|&channel| channel == SWITCH_MASTER),
        // Without channels it means all that the client listens to here.
        "unsubscribe" => client.subscriptions.any() && channels.all(|&channel| channel == SWITCH_MASTER),
        _ => false,
    }
}

/// Is this a change of the default user? Others of the configuration are the node's own.
fn sets_password(entry: &Entry, args: Args<'_>) -> bool {
    let is_requirepass = |name: &&[u8]| name.eq_ignore_ascii_case(b"requirepass");
    entry.full_name == "config|set" && args.from(2).iter().step_by(2).any(is_requirepass)
}

/// The slot that -MOVED names: that of the command's first key, or 0 for a command without keys.
pub fn slot(args: Args<'_>) -> u16 {
    let mut positions = Vec::new();
    if let Some(entry) = (!args.is_empty()).then(|| table().resolve(args)).flatten() {
        // Keys that cannot be told are none: the leader will say what is wrong.
        let _ = entry.key_positions(args, &mut positions);
    }
    positions.first().map_or(0, |&at| key_slot(args.at(at)))
}

fn class(entry: &Entry) -> Need {
    let flags = entry.flags;
    let name = entry.full_name.as_str();
    let waits = matches!(name, "wait" | "waitaof");
    // A subcommand that only explains the others.
    let explains = entry.parent.is_some() && entry.spec.name == "help";
    if explains {
        return Need::Local;
    }
    // The leader changes the membership; the others ask it. And who is to hear of changes has to be where they are made.
    if matches!(name, "cluster|forget" | "client|tracking") {
        return Need::Leader;
    }
    // Users are changed by the leader, and asked of it: who has changed one sees that at once.
    let of_users =
        ["acl|deluser", "acl|dryrun", "acl|getuser", "acl|list", "acl|load", "acl|setuser", "acl|users"];
    if of_users.contains(&name) {
        return Need::Leader;
    }
    // Who waits on a follower would not hear of what the leader's clients do.
    if flags.has_any(Flag::Write, Flag::MayReplicate) || flags.has(Flag::Blocking) || waits {
        return Need::Leader;
    }
    if flags.has(Flag::ReadOnly) {
        return Need::LeaderUnlessReadonlyRead;
    }
    match entry.spec.group {
        // Messages, transactions and scripts are on the leader, with the data that they are about.
        Group::PubSub | Group::Transactions | Group::Scripting => Need::Leader,
        _ => Need::Local,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{ClientInfo, Transaction};

    /// About the connection, this node or the cluster; and explanations.
    const LOCAL: &str = "
        acl acl|cat acl|genpass acl|help acl|log acl|save acl|whoami asking auth bgrewriteaof bgsave client client|caching client|getname client|getredir client|help client|id client|info client|kill \
        client|list client|no-evict client|no-touch client|pause client|reply client|setinfo client|setname client|trackinginfo \
        client|unblock client|unpause cluster cluster|addslots cluster|addslotsrange cluster|bumpepoch \
        cluster|count-failure-reports cluster|countkeysinslot cluster|delslots cluster|delslotsrange \
        cluster|failover cluster|flushslots cluster|getkeysinslot cluster|help cluster|info \
        cluster|keyslot cluster|links cluster|meet cluster|myid cluster|myshardid cluster|nodes cluster|replicas \
        cluster|replicate cluster|reset cluster|saveconfig cluster|set-config-epoch cluster|setslot \
        cluster|shards cluster|slaves cluster|slots command command|count command|docs command|getkeys \
        command|getkeysandflags command|help command|info command|list config config|get config|help \
        config|resetstat config|rewrite config|set debug echo failover function|help hello info lastsave memory memory|doctor \
        memory|help memory|malloc-stats memory|purge memory|stats monitor object object|help ping pubsub|help \
        quit readonly readwrite reset role save script|help select sentinel sentinel|ckquorum \
        sentinel|get-master-addr-by-name sentinel|help sentinel|master sentinel|masters sentinel|myid \
        sentinel|replicas sentinel|sentinels sentinel|slaves shutdown slowlog slowlog|get slowlog|help \
        slowlog|len slowlog|reset time xgroup xgroup|help xinfo xinfo|help \
        latency latency|doctor latency|graph latency|help latency|histogram latency|history \
        latency|latest latency|reset module module|help module|list module|load module|loadex module|unload pfselftest psync replconf replicaof \
        slaveof sync";

    /// Writes, scripts, transactions, messages, waiting.
    const LEADER: &str = "
        acl|deluser acl|dryrun acl|getuser acl|list acl|load acl|setuser acl|users append bitfield bitop blmove blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin client|tracking cluster|forget copy decr decrby del \
        discard eval evalsha exec expire expireat fcall flushall flushdb function function|delete function|dump \
        function|flush function|kill function|list function|load function|restore function|stats geoadd georadius georadiusbymember \
        geosearchstore getdel getex getset hdel hexpire hexpireat hgetdel hgetex hincrby hincrbyfloat hmset hpersist \
        hpexpire hpexpireat hset hsetex hsetnx incr incrby incrbyfloat \
        linsert lmove lmpop lpop lpush lpushx lrem lset ltrim move mset msetnx multi persist pexpire pexpireat \
        pfadd pfcount pfmerge psetex psubscribe publish pubsub pubsub|channels pubsub|numpat pubsub|numsub \
        pubsub|shardchannels pubsub|shardnumsub punsubscribe rename renamenx restore rpop rpoplpush rpush rpushx \
        sadd script script|debug script|exists script|flush script|kill script|load script|show sdiffstore set setbit setex \
        setnx setrange sinterstore smove spop spublish srem ssubscribe subscribe sunionstore sunsubscribe unlink \
        unsubscribe unwatch wait waitaof watch xack xadd xautoclaim xclaim xdel xgroup|create \
        xgroup|createconsumer xgroup|delconsumer xgroup|destroy xgroup|setid xread xreadgroup xsetid xtrim zadd \
        zdiffstore zincrby zinterstore zmpop zpopmax zpopmin zrangestore zrem zremrangebylex zremrangebyrank \
        zremrangebyscore zunionstore \
        json.arrappend json.arrinsert json.arrpop json.arrtrim json.clear json.del json.forget json.merge json.mset \
        json.numincrby json.nummultby json.set json.strappend json.toggle \
        ft.aliasadd ft.aliasdel ft.aliasupdate ft.alter ft.create ft.dictadd ft.dictdel ft.drop ft.dropindex \
        ft.sugadd ft.sugdel ft.synupdate vadd vrem vsetattr \
        migrate pfdebug restore-asking sort swapdb";

    /// Reads of what is replicated, none of which waits.
    const READS: &str = "
        bitcount bitfield_ro bitpos dbsize dump eval_ro evalsha_ro exists expiretime fcall_ro geodist geohash geopos \
        georadius_ro georadiusbymember_ro geosearch get getbit getrange hexists hexpiretime hget hgetall hkeys hlen hmget \
        hpexpiretime hpttl hrandfield hscan hstrlen httl hvals keys lindex llen lpos lrange memory|usage mget object|encoding \
        object|freq object|idletime object|refcount pexpiretime pttl randomkey scan scard sdiff sinter \
        sintercard sismember smembers smismember srandmember sscan strlen substr sunion touch ttl type \
        xinfo|consumers xinfo|groups xinfo|stream xlen xpending xrange xrevrange zcard zcount zdiff zinter \
        zintercard zlexcount zmscore zrandmember zrange zrangebylex zrangebyscore zrank zrevrange zrevrangebylex \
        zrevrangebyscore zrevrank zscan zscore zunion \
        json.arrindex json.arrlen json.debug json.get json.mget json.objkeys json.objlen json.resp json.strlen json.type \
        ft._list ft.aggregate ft.config ft.cursor ft.cursor|del ft.cursor|gc ft.cursor|read ft.dictdump ft.explain ft.explaincli ft.get \
        ft.info ft.mget ft.profile ft.search ft.spellcheck ft.sugget ft.suglen ft.syndump ft.tagvals vcard vdim vemb vgetattr vinfo vismember vlinks vrandmember vrange vsim \
        lcs lolwut sort_ro";

    fn client(readonly: bool) -> ClientState {
        let mut client = ClientState::new(1, 0, ClientInfo::default(), 0);
        client.readonly = readonly;
        client
    }

    fn need(line: &str, client: &ClientState) -> Need {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        needs_leader(Args::new(&args), client)
    }

    #[test]
    fn every_command_has_the_class_that_was_chosen_for_it() {
        let chosen = [(LOCAL, Need::Local), (LEADER, Need::Leader), (READS, Need::LeaderUnlessReadonlyRead)];
        let named: Vec<(&str, Need)> = chosen
            .into_iter()
            .flat_map(|(names, need)| names.split_ascii_whitespace().map(move |name| (name, need)))
            .collect();
        for entry in table().entries() {
            let choices: Vec<Need> =
                named.iter().filter(|(name, _)| *name == entry.full_name).map(|&(_, need)| need).collect();
            assert_eq!(choices, [class(entry)], "put {} in the one list where it belongs", entry.full_name);
        }
        assert_eq!(named.len(), table().entries().len(), "a name in the lists is no command");
    }

    #[test]
    fn readonly_clients_may_read_elsewhere_and_nothing_else() {
        let (plain, readonly) = (client(false), client(true));
        for (line, of_readonly) in [
            ("GET k", Need::LeaderUnlessReadonlyRead),
            ("eval_ro s 0", Need::LeaderUnlessReadonlyRead),
            ("EVAL s 0", Need::Leader),
            ("SET k v", Need::Leader),
            ("XREAD BLOCK 0 STREAMS s $", Need::Leader),
            ("PFCOUNT k", Need::Leader),
        ] {
            assert_eq!(need(line, &plain), Need::Leader, "{line}");
            assert_eq!(need(line, &readonly), of_readonly, "{line}");
        }
        for line in
            ["NOSUCH k", "CONFIG NOSUCH", "OBJECT HELP", "config get x", "PING", "CONFIG SET hz requirepass"]
        {
            assert_eq!(need(line, &plain), Need::Local, "{line}");
        }
        assert_eq!(need("CONFIG SET hz 5 RequirePass x", &plain), Need::Leader);
        assert_eq!(needs_leader(Args::new(&[]), &plain), Need::Local);
    }

    #[test]
    fn a_transaction_stays_where_it_began() {
        let mut client = client(true);
        client.transaction = Some(Box::new(Transaction::default()));
        for line in ["GET k", "PING", "NOSUCH"] {
            assert_eq!(need(line, &client), Need::Leader, "{line}");
        }
    }

    #[test]
    fn the_slot_is_that_of_the_first_key() {
        let slot_of = |line: &str| {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            slot(Args::new(&args))
        };
        assert_eq!(slot_of("GET foo"), 12182);
        assert_eq!(slot_of("EVAL s 2 bar foo"), 5061);
        for line in ["MULTI", "EVAL s 0", "EVAL s x foo", "GET", "NOSUCH foo"] {
            assert_eq!(slot_of(line), 0, "{line}");
        }
    }
}
