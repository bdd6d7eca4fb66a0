//! The findings for a person and for a script.

use serde_json::json;

use super::{
    advice::{Need, Setting},
    checks::{Check, Found},
};
use crate::cli::{
    exit::CommandError,
    terminal::{self, Paint},
};

/// A table of what was found, and the settings.
pub(super) fn print(prefix: &str, checks: &[Check], settings: &[Setting]) {
    let paint = Paint::for_stdout();
    terminal::print_line(format_args!("Tried below {prefix}\n"));
    let width = checks.iter().map(|check| check.check.chars().count()).max().unwrap_or(0);
    for Check { check, found, says } in checks {
        let word = match found {
            Found::Yes => paint.green("yes   "),
            Found::No => paint.yellow("no    "),
            Found::Failed => paint.red("FAILED"),
        };
        terminal::print_line(format_args!("{word}  {check:width$}  {}", one_line(says)));
    }
    if settings.is_empty() {
        return;
    }
    terminal::print_line(format_args!("\nThe settings that fit this store:\n\n{}", paint.bold("[store]")));
    for Setting { setting, value, file, need } in settings {
        let remark = match need {
            Need::No => String::new(),
            Need::May => format!("  # the file says {file}; it may stay"),
            Need::Must => paint.red(&format!("  # the file says {file}: change it")),
        };
        terminal::print_line(format_args!("{setting} = {value}{remark}"));
    }
}

/// All of it as one JSON document.
pub(super) fn print_json(
    prefix: &str,
    checks: &[Check],
    settings: &[Setting],
    left: &[String],
) -> Result<(), CommandError> {
    let report = json!({ "prefix": prefix, "checks": checks, "settings": settings, "left": left });
    let text = serde_json::to_string_pretty(&report).map_err(CommandError::software)?;
    terminal::print_line(text);
    Ok(())
}

/// What a store says may be anything.
fn one_line(text: &str) -> String {
    text.chars().map(|shown| if shown.is_control() { ' ' } else { shown }).collect()
}
