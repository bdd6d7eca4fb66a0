//! `subgate store probe`: tries the store with small requests, cleans up, and says which settings fit it.

mod advice;
mod checks;
mod report;

use std::time::Duration;

use clap::Args;

use self::checks::{Found, Trials};
use crate::{
    cli::{
        configuration::{ConfigOption, load},
        exit::{CommandError, Exit},
        runtime,
        terminal::{self, Progress},
    },
    config::Config,
    store::TrialClient,
};

/// How long may be spent on taking away what was made.
const CLEANING_TIME_MAX: Duration = Duration::from_secs(60);

/// Options of `subgate store probe`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  subgate store probe --config proxy.toml
  subgate store probe --config proxy.toml --json | jq -r '.settings[] | select(.need == \"must\") | .setting'

A few dozen small objects are written below one prefix and removed again, also after Ctrl-C; what could not be
removed is named. By default the prefix is in the first folder that Subgate serves, so that the least policy
(`subgate store policy`) allows it.

Exit codes: 0 the settings fit; 1 a setting must change, or the store cannot do what must work; 69 the store
cannot be reached; 77 the store refuses the credentials.")]
pub(crate) struct ProbeOptions {
    #[command(flatten)]
    config: ConfigOption,

    /// What the keys begin with, before .subgate-probe/ [default: the first literal folder of policy.folders]
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,

    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `subgate store probe`.
pub(crate) fn run(options: &ProbeOptions) -> Result<(), CommandError> {
    let config = load(&options.config.source()?)?;
    runtime::current_thread()?.block_on(probe(options, &config))
}

async fn probe(options: &ProbeOptions, config: &Config) -> Result<(), CommandError> {
    let stop = runtime::stop_signal()?;
    let root = config.policy.roots().first().cloned().unwrap_or_default();
    let root = options.prefix.clone().unwrap_or(root);
    let own: String = std::iter::repeat_with(fastrand::alphanumeric).take(16).collect();
    let prefix = format!("{root}.subgate-probe/{own}/");
    let client = TrialClient::new(&config.store, &prefix).await.map_err(CommandError::usage)?;
    let progress = Progress::new();
    let mut trials = Trials::new(client, &config.store, &progress);
    let is_stopped = tokio::select! {
        () = trials.run() => false,
        () = stop => true,
    };
    progress.show("removing what was made …");
    let left = match tokio::time::timeout(CLEANING_TIME_MAX, trials.clean()).await {
        Ok(left) => left,
        Err(_) => vec![prefix.clone()],
    };
    progress.show("");
    for key in &left {
        terminal::print_remark(format_args!("could not be removed: {key}"));
    }
    if is_stopped {
        return Err(CommandError::new(Exit::Failed, "stopped before the end: nothing is known of the store"));
    }
    let (found, findings) = trials.finish();
    let advice = advice::settings(&config.store, &findings);
    match options.json {
        true => report::print_json(&prefix, &found, &advice, &left)?,
        false => report::print(&prefix, &found, &advice),
    }
    if let Some((exit, says)) = findings.unusable {
        return Err(CommandError::new(exit, says));
    }
    let failed = found.iter().filter(|check| check.found == Found::Failed).count();
    let must = advice.iter().filter(|setting| setting.need == advice::Need::Must).count();
    if failed + must > 0 {
        let says = format!("{failed} checks failed, and {must} settings must change");
        return Err(CommandError::new(Exit::Failed, says));
    }
    Ok(())
}
