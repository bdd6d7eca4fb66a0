//! `subgate completions`: what a shell reads to complete commands and options.

use clap::{Args, Command};
use clap_complete::Shell;

use super::{exit::CommandError, terminal};

/// Options of `subgate completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  subgate completions bash > ~/.local/share/bash-completion/completions/subgate
  subgate completions fish > ~/.config/fish/completions/subgate.fish
  subgate completions zsh > ~/.zfunc/_subgate
      with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc

The Debian package brings them along.")]
pub(crate) struct CompletionsOptions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Runs `subgate completions`.
pub(crate) fn run(options: &CompletionsOptions, command: &mut Command) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, command, "subgate", &mut script);
    terminal::print_line(String::from_utf8(script).map_err(CommandError::software)?.trim_end());
    Ok(())
}
