//! This process as the kernel sees it, by the names that Prometheus's client libraries share. \[IO\]
//!
//! Source: <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>. Where there is no
//! `/proc` there are no such metrics.

use std::fs;

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

use super::exposition::Exposition;
use crate::log::writer::lost_lines;

/// What `/proc/self/stat` says, in the kernel's own units.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    /// After the machine's start.
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    /// See `proc_pid_stat(5)`; the name in parentheses may hold anything, so fields count from its end.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The first of them is the third of the page.
        let field = |number: usize| fields.get(number.checked_sub(3)?)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)?.checked_add(field(15)?)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// When the machine started, in seconds since 1970.
fn machine_start_seconds(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

/// Writes what the kernel says of this process, and what its log lost.
#[expect(clippy::cast_precision_loss, reason = "times are shown in seconds with fractions")]
pub(super) fn write(out: &mut Exposition) {
    out.counter("subgate_log_lines_lost", "Lines of the log that its output did not take.")
        .value(lost_lines());
    let stat = fs::read_to_string("/proc/self/stat").ok().and_then(|text| Stat::parse(&text));
    if let Some(stat) = stat {
        let ticks = clock_ticks_per_second().max(1) as f64;
        out.counter("process_cpu_seconds", "User and system time of this process.")
            .value(stat.cpu_ticks as f64 / ticks);
        out.gauge("process_threads", "Threads of this process.").value(stat.threads);
        out.gauge("process_virtual_memory_bytes", "Virtual memory of this process.")
            .value(stat.virtual_bytes);
        out.gauge("process_resident_memory_bytes", "Resident memory of this process.")
            .value(stat.resident_pages.saturating_mul(page_size() as u64));
        let machine = fs::read_to_string("/proc/stat").ok().and_then(|text| machine_start_seconds(&text));
        if let Some(machine) = machine {
            out.gauge("process_start_time_seconds", "When this process started, in seconds since 1970.")
                .value(machine as f64 + stat.start_ticks as f64 / ticks);
        }
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory that is read.
        out.gauge("process_open_fds", "Open files of this process.").value(files.count().saturating_sub(1));
    }
    if let Some(max) = getrlimit(Resource::Nofile).current {
        out.gauge("process_max_fds", "How many files this process may open.").value(max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_read() {
        let text = "4242 (a ) b) S 1 4242 4242 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 1000 8192 77 \
                    18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0";
        let stat = Stat::parse(text).unwrap();
        let expected =
            Stat { cpu_ticks: 300, threads: 9, start_ticks: 1000, virtual_bytes: 8192, resident_pages: 77 };
        assert_eq!(stat, expected);
        assert_eq!(Stat::parse("4242 (a) S 1"), None);
        assert_eq!(machine_start_seconds("cpu 1 2\nbtime 1700000000\nprocesses 5\n"), Some(1_700_000_000));
    }
}
