//! The log: text for a person or JSON for a machine, on standard error or in a file, filtered by
//! `SUBGATE_LOG`.
//!
//! Invariant: a library that can log secrets or every byte at TRACE never does, whatever the filter says.

use std::{
    io::{self, IsTerminal},
    path::Path,
};

use clap::ValueEnum;
use tracing::{Level, Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    filter::{FilterExt, Targets, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{exit::CommandError, terminal};
use crate::log::{
    json::{self, JsonLines},
    output::LogOutput,
    writer::{self, Leaving, LogWriter},
};

/// The environment variable with the filter, in tracing's form: `info,subgate::chain=debug`.
const VARIABLE: &str = "SUBGATE_LOG";

/// Libraries that log up to [`Level::INFO`] only. At TRACE `aws_sigv4` logs canonical requests and keys; the
/// others log what peers sent and the targets of requests, which may contain an operator's key at a provider.
const CAPPED_AT_INFO: &[&str] = &[
    "aws_sigv4",
    "aws_config",
    "aws_smithy",
    "hyper",
    "hyper_util",
    "h2",
    "rustls",
    "tungstenite",
    "tokio_tungstenite",
];

/// Libraries that log up to [`Level::WARN`] only: their spans contain whole requests, credentials included.
const CAPPED_AT_WARN: &[&str] = &["s3s", "s3s_fs"];

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text for a person.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts the log. If no format is given, it is text on a terminal and JSON elsewhere; if no file is given,
/// it goes to standard error.
pub(crate) fn start(format: Option<LogFormat>, file: Option<&Path>) -> Result<(), CommandError> {
    let on_terminal = file.is_none() && io::stderr().is_terminal();
    let directives = std::env::var(VARIABLE).unwrap_or_default();
    let targets = match directives.trim().is_empty() {
        true => Targets::new().with_default(LevelFilter::INFO),
        false => directives
            .parse::<Targets>()
            .map_err(|error| CommandError::usage(format!("{VARIABLE}={directives:?}: {error}")))?,
    };
    let filter = targets.and(filter_fn(is_within_cap));
    let format = format.unwrap_or(if on_terminal { LogFormat::Text } else { LogFormat::Json });
    let output = match file {
        None => LogOutput::Stderr,
        Some(file) => LogOutput::file(file).map_err(|error| {
            CommandError::cannot_create(format!("--log-file {}: {error}", file.display()))
        })?,
    };
    let leaving = if on_terminal { Leaving::AtOnce } else { Leaving::InBatches };
    let tell_lost = match format {
        LogFormat::Text => lost_lines,
        LogFormat::Json => json::lost_lines,
    };
    let writer = LogWriter::start(output, leaving, tell_lost)
        .map_err(|error| CommandError::software(format!("the log's thread cannot start: {error}")))?;
    writer.install();
    flush_on_panic();
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let layer = match format {
        LogFormat::Text => {
            layer.with_ansi(on_terminal && terminal::colours_allowed()).with_filter(filter).boxed()
        }
        LogFormat::Json => layer.event_format(JsonLines).with_filter(filter).boxed(),
    };
    // A second start (tests in one process) keeps the first.
    let _ = tracing_subscriber::registry().with(layer).try_init();
    Ok(())
}

/// The line that tells a person of lines which were lost.
fn lost_lines(lost_lines: u64) -> String {
    format!("{} lost_lines={lost_lines}\n", crate::log::LOST_LINES)
}

/// What was logged before a panic is written before its message.
fn flush_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        writer::flush();
        tell(panic);
    }));
}

fn is_within_cap(metadata: &Metadata<'_>) -> bool {
    let library = metadata.target().split("::").next().unwrap_or_default();
    let in_list = |list: &[&str]| {
        list.iter().any(|name| {
            library.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        })
    };
    // tracing orders levels by how much is logged: TRACE is the greatest.
    if in_list(CAPPED_AT_WARN) {
        *metadata.level() <= Level::WARN
    } else if in_list(CAPPED_AT_INFO) {
        *metadata.level() <= Level::INFO
    } else {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn p51_libraries_that_log_secrets_are_capped_whatever_the_filter_says() {
        let sink = Sink::default();
        let writer = sink.clone();
        let targets: Targets = "trace,aws_sigv4::http_request=trace,s3s_fs=trace".parse().unwrap();
        let filter = targets.and(filter_fn(is_within_cap));
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_filter(filter);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::trace!(target: "aws_sigv4::http_request", "secret 1");
            tracing::debug!(target: "aws_smithy_runtime", "secret 2");
            tracing::info!(target: "s3s_fs::s3", "secret 3");
            tracing::trace!(target: "hyper::proto", "secret 4");
            tracing::info!(target: "aws_sigv4", "kept");
            tracing::trace!(target: "subgate::proxy", "kept too");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("secret") && text.contains("kept") && text.contains("kept too"), "{text}");
    }
}
