//! Throws mutated inputs at a decoder: `cargo xtask fuzz TARGET --seconds N`.
//!
//! Each input starts from one of the corpus (`corpus/<target>/`), of the target's own samples, or of earlier mutants,
//! and is then flipped, cut, spliced and sprinkled with tokens of the format. A panic, an input that takes more
//! than ten seconds and one that allocates more than the limit are findings; the input is kept, and
//! `--input FILE` runs it again. The seed is printed: the same seed on the same corpus tries the same inputs.
//!
//! No coverage guides it: that needs a nightly compiler. The bodies of the targets therefore take input as orders
//! (build something sound, then damage it) where plain bytes would not come far.

use anyhow::{Context, bail, ensure};
use clap::Parser;
use memmap2::MmapMut;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::OpenOptions;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

/// A decoder to be fuzzed.
struct Target {
    name: &'static str,
    run: fn(&[u8]),
    /// Pieces of the format that chance would not find.
    tokens: &'static [&'static [u8]],
    samples: &'static [&'static [u8]],
}

const TARGETS: &[Target] = &[
    Target {
        name: "request",
        run: cairn_proto::fuzzing::fuzz_request,
        tokens: RESP_TOKENS,
        samples: &[
            b"\x03\0\0\0\0\0\0\0*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPING\r\n",
            b"\x02\0\0\0\0\0\0\0SET key 'a value'\r\nPING \"a\\x00b\"\n",
            b"\x01\0\0\0\0\0\0\0*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n",
        ],
    },
    Target {
        name: "reply",
        run: cairn_proto::fuzzing::fuzz_reply,
        tokens: RESP_TOKENS,
        samples: &[
            b"*3\r\n:1\r\n$1\r\na\r\n+OK\r\n",
            b"%1\r\n$1\r\nk\r\n,1.5\r\n~2\r\n#t\r\n_\r\n>1\r\n(123\r\n=5\r\ntxt:a\r\n-ERR x\r\n",
        ],
    },
    Target {
        name: "log",
        run: cairn_storage::fuzzing::fuzz_log,
        tokens: &[b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\0\0\0\0\0\0\0"],
        samples: &[&[0; 64], &[1; 64], b"\x07\x01abcdefghijklmnopqrstuvwxyz0123456789"],
    },
    Target {
        name: "peer",
        run: cairn_replication::transport::fuzzing::fuzz_peer,
        tokens: &[b"CAIRNPER", b"\x01\x01\0\0", b"\x01\x02\0\0", b"\xfd\xff\xff\xff\xff\xff\xff\xff\xff", b"\xfb\xff\xff"],
        samples: &[&[0; 64], &[1; 64], &[2; 64], cairn_replication::transport::fuzzing::SAMPLE],
    },
    Target {
        name: "json",
        run: cairn_json::fuzzing::fuzz_document,
        tokens: &[b"{\"a\":", b"[", b"]}", b"\"\\u00", b"1e308", b"-0", b"null", b"18446744073709551616"],
        samples: cairn_json::fuzzing::DOCUMENT_SAMPLES,
    },
    Target {
        name: "jsonpath",
        run: cairn_json::fuzzing::fuzz_path,
        tokens: &[b"..", b"[?(", b")]", b"@.a", b"$.b", b"==", b"=~", b"&&", b"||", b"!", b"'a'", b"[-1]", b"[1:2:3]", b"[*]", b" + "],
        samples: cairn_json::fuzzing::PATH_SAMPLES,
    },
    Target {
        name: "rdb",
        run: cairn_engine::rdb::fuzzing::fuzz_rdb,
        tokens: RDB_TOKENS,
        samples: cairn_engine::rdb::fuzzing::RDB_SAMPLES,
    },
    // The samples are the payloads of commands/keys/restore.gold without their footers.
    Target {
        name: "restore",
        run: cairn_engine::rdb::fuzzing::fuzz_restore,
        tokens: RDB_TOKENS,
        samples: &[
            b"\x00\xc190",
            b"\x00\xc3\x0dA\x90\x02aba\xe0\xff\x01\xe0z\x01\x01ab",
            b"\x12\x01\x02\xc3\x19'\x11'\x00\x00\x00\x04\x00\x81a\x02\x01\x01\xf2\x90\xee\xfe\x04\x94x\xe0\x0a\x00\x01\x15\xff",
            b"\x10\x12\x12\x00\x00\x00\x04\x00\x81f\x02\x81v\x02\x81n\x02\x0c\x01\xff",
            b"\x0b\x0e\x02\x00\x00\x00\x03\x00\x00\x00\x01\x00\x02\x00,\x01",
            b"\x02\x01\x01m",
            b"\x07\x81\x45\xe2\x52\x38\xdf\x91\x2c\x03\x05\x0b{\"a\":[1,2]}\x00",
            b"\x07\x81\xbd\xe7-\xa2\xbb\x1e\xb4\x00\x02\x02\x02\x02\x02P\x01\x02\x02\x05\x01a\x05\x02{}\x05\x02\x7f\x00\x02\x06\x02\x01\x02\x00\x02\x01\x02 \x02\x02\x02\x81?\x80\x00\x00?\x80\x00\x00\x05\x01b\x05\x00\x05\x02\x00\x7f\x02\x06\x02\x02\x02\x00\x02\x01\x02 \x02\x01\x02\x81?\x80\x00\x00?\x80\x00\x00\x00",
            b"\x07\x81\xbd\xe7-\xa2\xbb\x1e\xb4\x00\x02\x01\x02\x01\x02P\x02\x02\x01\x02\x02\x05\x08\xf3\x045?\xf3\x045?\x05\x01a\x05\x08\x01\x00\x00\x00\x00\x00\x00\x00\x02\x05\x02\x01\x02\x00\x02\x00\x02 \x02\x80?5\x04\xf3\x00",
            b"\x07\x81\xb6\xb8\x9e\xb7*^\xd0\x01\x02\x01\x05\x03ab\x00\x04\x00\x00\x00\x00\x00\x00\xf0?\x05\x02p\x00\x00",
            b"\x11\x18\x18\x00\x00\x00\x04\x00\x81b\x02\x84-inf\x05\x81a\x02\x831.5\x04\xff",
            b"\x04\x01\x01f\x01v",
            b"\x05\x01\x01a\x00\x00\x00\x00\x00\x00\xf8?",
            b"\x13\x01\x10\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x0133\x00\x00\x00\x13\x00\x02\x01\x00\x01\x01\x01\x81f\x02\x00\x01\x02\x01\x00\x01\x00\x01\x81v\x02\x04\x01\x00\x01\x00\x01\x01\x01\x02\x01\x81f\x02\x81w\x02\x81g\x02\x81x\x02\x08\x01\xff\x02\x01\x02\x01\x01\x00\x00\x02\x01\x03grp\x01\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01TF\x22\xf9\xa1\x01\x00\x00\x01\x01\x05aliceTF\x22\xf9\xa1\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01",
            b"\x0a\x14\x14\x00\x00\x00\x10\x00\x00\x00\x03\x00\x00\x01a\x03\x01b\x03\x01c\xff",
            b"\x0d\x11\x11\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x01f\x03\x01v\xff",
            b"\x0c\x13\x13\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x01m\x03\x032.5\xff",
            b"\x01\x02\x01a\x01b",
            b"\x03\x01\x01m\x031.5",
            b"\x0e\x02\x11\x11\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x01a\x03\x01b\xff\x0e\x0e\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x01c\xff",
        ],
    },
    Target {
        name: "query",
        run: cairn_search::fuzzing::fuzz_query,
        tokens: QUERY_TOKENS,
        samples: &[
            b"\x01hello world|(a -lamp) ~running",
            b"\x01@a:(\"hello world\" | hel* | *orl* | w'h?l*' | %%helo%%)=>{$slop: 2; $inorder: true; $weight: 0.5}",
            b"\x01@t:{x | y z | x*} @n:[(1 +inf] -@g:[1 -1 300 km] @n>=$n @a|a:the",
            b"\x01(@n:[1 4] hello)=>[KNN 3 @v $v EF_RUNTIME 20 AS d]=>{$EPSILON: 0.1}",
            b"\x01@v:[VECTOR_RANGE 2.5 $v]=>{$yield_distance_as: d} | ismissing(@n) | @a:\"\"",
            b"\0hello world | \"goodbye\" moon -@a:x the",
        ],
    },
    Target {
        name: "search",
        run: cairn_engine::search::fuzzing::fuzz_search,
        tokens: SEARCH_TOKENS,
        samples: cairn_engine::search::fuzzing::SAMPLES,
    },
    Target {
        name: "expression",
        run: cairn_search::fuzzing::fuzz_expression,
        tokens: EXPRESSION_TOKENS,
        samples: &[
            b"(@a + 1.5) * -2 ^ 3 % 7 >= 0 && !exists(@b) || case(@a == 'x', 1, 2)",
            b"format('%s and %s', upper(@a), substr(@a, -2, 5))",
            b"timefmt(parsetime('2018-01-31', '%Y-%m-%d'), '%c') == month(@a)",
            b"geodistance(@a, '1,2') < 10 && contains(split(@a, ',', ' '), 'x')",
        ],
    },
    Target {
        name: "filter",
        run: cairn_search::fuzzing::fuzz_filter,
        tokens: &[b".a", b" == ", b"null", b" and ", b" or ", b"not ", b" in ", b"[1, 'x']", b"** ", b"-1", b"\0{\"a\":", b"[", b"\\\""],
        samples: &[
            b"(.a + 2) * 3 >= -4 and not .b in [1, 'x'] or .c == \"y\\n\"\0{\"a\":1,\"b\":[2,\"x\"],\"c\":\"y\\n\"}",
            b"'lic' in .name && !!.active || .gone != null\0{\"name\":\"Alice\",\"x\":{\"y\":[]},\"active\":true,\"gone\":null}",
        ],
    },
];

const SEARCH_TOKENS: &[&[u8]] = &[
    b"\nLIMIT\n0\n3",
    b"\nSORTBY\nn\nDESC",
    b"\nSORTBY\n2\n@n\nASC",
    b"\nRETURN\n1\nt",
    b"\nNOCONTENT",
    b"\nWITHSCORES",
    b"\nWITHSORTKEYS",
    b"\nDIALECT\n3",
    b"\nPARAMS\n2\na\nb",
    b"\nHIGHLIGHT",
    b"\nSUMMARIZE\nFRAGS\n1",
    b"\nINFIELDS\n1\nt",
    b"\nGROUPBY\n1\n@tag",
    b"\nREDUCE\nSUM\n1\n@n",
    b"\nAPPLY\n@n * 2\nAS\nx",
    b"\nFILTER\n@n > 1",
    b"\nLOAD\n1\n@t",
    b"\nLOAD\n*",
    b"\nWITHCURSOR",
    b"\nSCORER\nTFIDF",
    b"\nSCORER\nBM25STD.NORM",
    b"\nADDSCORES",
    b"\nFORMAT\nEXPAND",
    b"\nVERBATIM",
    b"\n-1",
    b"\n",
];
const QUERY_TOKENS: &[&[u8]] = &[
    b"@a:",
    b"@t:{",
    b"@n:[",
    b"@g:[",
    b"@v:[VECTOR_RANGE 1 $v]",
    b"@nosuch:",
    b"(",
    b")",
    b"|",
    b"-",
    b"~",
    b"\"",
    b"*",
    b"%",
    b"=>{$weight: 2}",
    b"=>[KNN 2 @v $v]",
    b"$v",
    b"$n",
    b"inf",
    b" the ",
    b"hello",
    b"\\",
    b"w'",
    b"'",
    b"ismissing(@n)",
    b"@n!=",
    b" as ",
    b"\xff",
    b"\xc3\xa4",
];

const EXPRESSION_TOKENS: &[&[u8]] = &[
    b"@a",
    b"@b",
    b"(",
    b")",
    b",",
    b"'x'",
    b"\"",
    b"\\",
    b"1e308",
    b"-1",
    b"^",
    b"%",
    b"!",
    b"&&",
    b"||",
    b"==",
    b"NULL",
    b"exists(",
    b"case(",
    b"format('%s', ",
    b"split(",
    b"timefmt(",
    b"substr(",
    b"matched_terms(",
    b"inf",
];

const RESP_TOKENS: &[&[u8]] = &[
    b"\r\n",
    b"*1\r\n",
    b"*-1\r\n",
    b"$-1\r\n",
    b"$0\r\n\r\n",
    b"%1\r\n",
    b"~1\r\n",
    b">1\r\n",
    b"_\r\n",
    b"#t\r\n",
    b",inf\r\n",
    b",nan\r\n",
    b"(1\r\n",
    b"=4\r\ntxt:\r\n",
    b"!3\r\nERR\r\n",
    b"*1048577\r\n",
    b"$536870913\r\n",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"\\x",
    b"\"",
    b"'",
];

const RDB_TOKENS: &[&[u8]] = &[
    b"\xff",
    b"\xfe\x00",
    b"\xfc\0\0\0\0\x01\0\0\0",
    b"\xfb\x01\x01",
    b"\xc0\x7f",
    b"\xc1\xff\x7f",
    b"\xc2\xff\xff\xff\x7f",
    b"\xc3\x05\x0a",
    b"\x80\xff\xff\xff\xff",
    b"\x81\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x40\x64",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x10",
    b"\x11",
    b"\x12",
    b"\x14",
    b"\x15",
];

/// An input that takes longer is a finding.
const INPUT_LIMIT: Duration = Duration::from_secs(10);
/// So is one for which more than this is allocated at a time.
const ALLOCATION_LIMIT_BYTES: usize = 512 << 20;
const INPUT_LEN_MAX: usize = 64 << 10;
/// Mutants that are kept as starting points, the oldest giving way.
const POOL_MAX: usize = 1024;

#[derive(Parser)]
#[command(about = "Throws mutated inputs at a decoder")]
struct Options {
    /// Which decoder.
    #[arg(value_parser = TARGETS.iter().map(|t| t.name).collect::<Vec<_>>())]
    target: String,
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Repeats an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// Runs just this file.
    #[arg(long)]
    input: Option<PathBuf>,
    /// Where findings are put.
    #[arg(long, default_value = "target/fuzz")]
    findings: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let target = TARGETS.iter().find(|t| t.name == options.target).expect("clap knows the names");
    if let Some(path) = &options.input {
        (target.run)(&read_input(path).with_context(|| path.display().to_string())?);
        println!("{}: {} passes", target.name, path.display());
        return Ok(());
    }
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let seed = options.seed.unwrap_or(clock.as_nanos() as u64);
    let corpus = corpus_of(target)?;
    println!("{}: seed {seed}, {} inputs to start from", target.name, corpus.len());

    std::fs::create_dir_all(&options.findings)?;
    let current = options.findings.join(format!("{}.input", target.name));
    let mut running = Running::start(&current)?;
    let started = Instant::now();
    let mut mutator = Mutator { rng: StdRng::seed_from_u64(seed), target, pool: corpus.clone() };
    let mut count = 0_u64;
    for input in corpus {
        running.run(target, &input)?;
    }
    while started.elapsed() < Duration::from_secs(options.seconds) {
        let input = mutator.next();
        running.run(target, &input)?;
        count += 1;
    }
    drop(running);
    std::fs::remove_file(&current)?;
    println!("{}: {count} inputs in {} s, no finding", target.name, started.elapsed().as_secs());
    Ok(())
}

/// A file of the corpus as it is; the file that a dead process left (`target/fuzz/*.input`) has the length in front.
fn read_input(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = std::fs::read(path)?;
    if path.extension().is_none_or(|extension| extension != "input") {
        return Ok(bytes);
    }
    let (length, rest) = bytes.split_first_chunk::<8>().context("no length in front")?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    Ok(rest.get(..length).context("shorter than its length")?.to_vec())
}

/// The target's samples and what is in `corpus/<target>/`, among them each finding of the past.
fn corpus_of(target: &Target) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut corpus: Vec<Vec<u8>> = target.samples.iter().map(|sample| sample.to_vec()).collect();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    if dir.exists() {
        let mut paths: Vec<_> =
            std::fs::read_dir(dir)?.map(|e| Ok(e?.path())).collect::<anyhow::Result<_>>()?;
        // The order matters to who repeats a seed.
        paths.sort();
        for path in paths {
            corpus.push(std::fs::read(path)?);
        }
    }
    Ok(corpus)
}

/// Makes inputs out of inputs.
struct Mutator<'a> {
    rng: StdRng,
    target: &'a Target,
    pool: Vec<Vec<u8>>,
}

impl Mutator<'_> {
    fn next(&mut self) -> Vec<u8> {
        let mut input = self.pick();
        for _ in 0..self.rng.random_range(1..=8) {
            self.mutate(&mut input);
        }
        input.truncate(INPUT_LEN_MAX);
        if self.rng.random_ratio(1, 8) {
            if self.pool.len() < POOL_MAX {
                self.pool.push(input.clone());
            } else {
                let place = self.rng.random_range(0..self.pool.len());
                self.pool[place].clone_from(&input);
            }
        }
        input
    }

    fn pick(&mut self) -> Vec<u8> {
        self.pool[self.rng.random_range(0..self.pool.len())].clone()
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let at = self.rng.random_range(0..=input.len());
        let to = self.rng.random_range(at..=input.len());
        match self.rng.random_range(0..9) {
            0 if at < input.len() => input[at] ^= 1 << self.rng.random_range(0..8),
            1 if at < input.len() => input[at] = self.rng.random(),
            2 if at < input.len() => input[at] = *[0, 1, 0x7f, 0x80, 0xff].get(to % 5).unwrap_or(&0),
            3 => input.truncate(at),
            4 => drop(input.drain(at..to)),
            5 => {
                let piece = input[at..to].to_vec();
                input.splice(at..at, piece);
            }
            6 => {
                let other = self.pick();
                let from = self.rng.random_range(0..=other.len());
                input.splice(at..to, other[from..].iter().copied());
            }
            7 => {
                let token = self.target.tokens[self.rng.random_range(0..self.target.tokens.len())];
                input.splice(at..at, token.iter().copied());
            }
            _ => {
                let bytes: Vec<u8> = (0..self.rng.random_range(1..16)).map(|_| self.rng.random()).collect();
                input.splice(at..at, bytes);
            }
        }
    }
}

/// Milliseconds since the start at which the running input began, plus one; 0 while none runs.
static INPUT_SINCE_MS: AtomicU64 = AtomicU64::new(0);
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// The running input, in a file that outlives the process: an abort or a hang leaves no other trace.
struct Running {
    started: Instant,
    current: MmapMut,
    path: PathBuf,
}

impl Running {
    fn start(path: &Path) -> anyhow::Result<Running> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len((INPUT_LEN_MAX + 8) as u64)?;
        // SAFETY: the file is ours alone and is not truncated while it is mapped.
        let current = unsafe { MmapMut::map_mut(&file)? };
        let started = Instant::now();
        let shown = path.to_owned();
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(200));
                let since = INPUT_SINCE_MS.load(Relaxed);
                let now = started.elapsed().as_millis() as u64 + 1;
                if since > 0 && now > since + INPUT_LIMIT.as_millis() as u64 {
                    eprintln!("an input takes longer than {INPUT_LIMIT:?}: {}", shown.display());
                    std::process::abort();
                }
            }
        });
        Ok(Running { started, current, path: path.to_owned() })
    }

    fn run(&mut self, target: &Target, input: &[u8]) -> anyhow::Result<()> {
        ensure!(input.len() <= INPUT_LEN_MAX, "a corpus file is longer than {INPUT_LEN_MAX} bytes");
        self.current[..8].copy_from_slice(&(input.len() as u64).to_le_bytes());
        self.current[8..8 + input.len()].copy_from_slice(input);
        let allocated = ALLOCATED.load(Relaxed);
        INPUT_SINCE_MS.store(self.started.elapsed().as_millis() as u64 + 1, Relaxed);
        let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
        INPUT_SINCE_MS.store(0, Relaxed);
        if result.is_ok() {
            let kept = ALLOCATED.load(Relaxed).saturating_sub(allocated);
            ensure!(kept < ALLOCATION_LIMIT_BYTES, "{} bytes are never freed", kept);
            return Ok(());
        }
        let name = format!("{}-{:08x}", target.name, checksum(input));
        let path = self.path.with_file_name(name);
        std::fs::write(&path, input)?;
        bail!(
            "a finding: {path}\n  run it again:   cargo xtask fuzz {target} --input {path}\n  once repaired:  \
             mv {path} tests/corpus/{target}/",
            path = path.display(),
            target = target.name
        )
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Counts what is allocated, and stops the process past the limit while the input that did it is still known.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let before = ALLOCATED.fetch_add(layout.size(), Relaxed);
        if before.saturating_add(layout.size()) > ALLOCATION_LIMIT_BYTES && INPUT_SINCE_MS.load(Relaxed) > 0 {
            // No eprintln: it would allocate.
            let text = b"an input allocates more than the limit; it is in target/fuzz/*.input\n";
            // SAFETY: writes a static buffer of its own length to standard error.
            unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
            std::process::abort();
        }
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}
