//! Runs the targets for a bounded time on the stable toolchain: every file of the corpus, then random changes
//! of them.
//!
//! There is no coverage to guide it; the corpus and the words of its formats do. Under cargo-fuzz the same
//! targets run with libFuzzer.

use std::{
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use subgate_fuzz::{TARGETS, Target};

/// Most bytes of an input.
const INPUT_BYTES_MAX: usize = 64 * 1024;

/// What the formats are made of, and what breaks readers of them.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\0",
    b"/",
    b"//",
    b"../",
    b"%2F",
    b"%2e",
    b"%25",
    b"%",
    b"+",
    b" ",
    b"\t",
    b"?",
    b"&",
    b"=",
    b",",
    b";",
    b":",
    b"\"",
    b"'",
    b"<",
    b">",
    b"</",
    b"<!ENTITY a 'b'>",
    b"<![CDATA[",
    b"&amp;",
    b"&#x0;",
    b"--b0",
    b"--b0--\r\n",
    b"0\r\n\r\n",
    b"0",
    b"-1",
    b"1e9",
    b"4294967296",
    b"18446744073709551616",
    b"ffffffffffffffff",
    b";chunk-signature=",
    b"x-amz-",
    b"X-Amz-Signature=",
    b"host",
    b"\xff",
    b"\xef\xbf\xbe",
    "ü".as_bytes(),
    b"[",
    b"]",
    b"{",
    b"}",
    b"arn:",
    b"?versionId=",
];

#[derive(Parser)]
struct Options {
    /// Seconds for each target; one target for each processor runs at a time
    #[arg(long, default_value_t = 20)]
    seconds: u64,

    /// Where the random changes begin; another number at each run, if none is given
    #[arg(long)]
    seed: Option<u64>,

    /// Writes the inputs of the corpus that cannot be written by hand, and ends
    #[arg(long)]
    write_seeds: bool,

    /// Targets to run; all, if none is named
    targets: Vec<String>,
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `end`, and 0 where that is 0.
    fn below(&mut self, end: usize) -> usize {
        self.next().checked_rem(end as u64).unwrap_or(0) as usize
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

fn corpus_of(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

fn read_corpus(target: &Target) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(corpus_of(target)).expect("every target has a corpus");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("an input")).collect()
}

fn write_seeds(target: &Target) {
    fs::create_dir_all(corpus_of(target)).expect("a directory");
    for (name, input) in (target.seeds)() {
        fs::write(corpus_of(target).join(name), input).expect("an input");
    }
}

/// One random change.
fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let end = (at + random.below(32)).min(input.len());
    match random.below(9) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.next() as u8,
        2 => input.insert(at, random.next() as u8),
        3 => drop(input.drain(at..end)),
        4 => {
            let copied = input[at..end].to_vec();
            let to = random.below(input.len() + 1);
            input.splice(to..to, copied);
        }
        5 => drop(input.splice(at..at, random.pick(WORDS).iter().copied())),
        6 => drop(input.splice(at..end, random.pick(WORDS).iter().copied())),
        7 => input.truncate(at),
        _ => {
            let other = random.pick(corpus);
            let from = random.below(other.len() + 1);
            let to = (from + random.below(64)).min(other.len());
            input.splice(at..end, other[from..to].iter().copied());
        }
    }
    input.truncate(INPUT_BYTES_MAX);
}

/// Whether the property held; what failed is kept in a file.
fn holds(target: &Target, input: &[u8]) -> bool {
    let run = target.run;
    if catch_unwind(|| run(input)).is_ok() {
        return true;
    }
    let name = input.iter().fold(0_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    let path = std::env::temp_dir().join(format!("subgate-fuzz-{}-{name:016x}", target.name));
    fs::write(&path, input).expect("a file for what failed");
    eprintln!("{}: the property does not hold for {}", target.name, path.display());
    false
}

fn run(target: &Target, time: Duration, seed: u64) -> bool {
    let corpus = read_corpus(target);
    let mut random = Random(seed);
    let start = Instant::now();
    if !corpus.iter().all(|input| holds(target, input)) {
        return false;
    }
    let mut inputs = 0_u64;
    while start.elapsed() < time {
        let mut input = random.pick(&corpus).clone();
        // One change most often: each further one is more likely to make nothing but noise.
        for _ in 0..=random.next().trailing_zeros() {
            change(&mut input, &corpus, &mut random);
        }
        if !holds(target, &input) {
            return false;
        }
        inputs += 1;
    }
    println!("{:<16}{inputs:>10} inputs beside {} of the corpus", target.name, corpus.len());
    true
}

fn main() -> ExitCode {
    let options = Options::parse();
    let is_meant = |target: &&Target| {
        options.targets.is_empty() || options.targets.iter().any(|name| name == target.name)
    };
    let meant: Vec<_> = TARGETS.iter().filter(is_meant).collect();
    if meant.len() < options.targets.len() {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("the targets are {}", names.join(", "));
        return ExitCode::from(2);
    }
    if options.write_seeds {
        meant.iter().for_each(|target| write_seeds(target));
        return ExitCode::SUCCESS;
    }
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    let seed = options.seed.unwrap_or_else(clock);
    println!("--seed {seed}");
    let time = Duration::from_secs(options.seconds);
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let take_turns = || {
        while let Some(target) = meant.get(next.fetch_add(1, Ordering::Relaxed)) {
            if !run(target, time, seed) {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(take_turns);
        }
    });
    if failed.into_inner() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
