//! Writes down what a run has measured: beside the picture, a block of `performance.md` that is named after
//! the run.

use std::{fs, path::Path, process::Command};

use crate::{
    options::Options,
    report::{
        block,
        machine::{self, Machine},
        page::Run,
    },
};

/// The document that holds the blocks.
const DOCUMENT: &str = "performance.md";

/// What is to be told of this run, in which these other programs took part.
pub(crate) fn of_this_run(options: &Options, others: Vec<(String, String)>) -> Run {
    let said = Command::new(options.program()).arg("--version").output().unwrap().stdout;
    let own = machine::version(&String::from_utf8_lossy(&said)).unwrap_or_default();
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    Run {
        command: options.command(),
        machine: Machine {
            date: jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().to_string(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: machine::processor(&file("/proc/cpuinfo")),
            kernel: machine::version(&file("/proc/sys/kernel/osrelease")).unwrap_or_default(),
        },
        programs: std::iter::once(("subgate".to_owned(), own)).chain(others).collect(),
        is_optimised: !cfg!(debug_assertions),
    }
}

/// Fails now rather than after the run, where the block cannot be written.
pub(crate) fn check(options: &Options, name: &str) {
    if let Some(dir) = &options.report {
        assert!(dir.is_dir(), "{} is no directory", dir.display());
        with_block(dir, name, "");
    }
}

/// Writes a block of the document in `dir`, which is begun where there is none.
pub(crate) fn write_block(dir: &Path, name: &str, content: &str) {
    write(dir, DOCUMENT, &with_block(dir, name, content));
}

fn with_block(dir: &Path, name: &str, content: &str) -> String {
    let path = dir.join(DOCUMENT);
    let document = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    };
    block::replaced(&document, name, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Writes a file in `dir`.
pub(crate) fn write(dir: &Path, name: &str, content: &str) {
    let path = dir.join(name);
    fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    println!("written: {}", path.display());
}
