//! `subgate credentials`: reads a wallet and prints S3 credentials as AWS's `credential_process` wants them.
//!
//! The format: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>.

use clap::Args;

use super::{exit::CommandError, session_source::SessionOptions, terminal};
use crate::secret::Secret;

/// Options of `subgate credentials`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # In ~/.aws/config; `aws --profile miner s3 …`, boto3 and rclone (env_auth) then just work:
  [profile miner]
  credential_process = subgate credentials --wallet-name miner --endpoint https://s3.example.com
  endpoint_url = https://s3.example.com
  region = us-east-1

  # Show how the server knows you, and your folders:
  subgate credentials --wallet-name miner --endpoint https://s3.example.com --no-cache

  # An encrypted hotkey where nobody can type its password:
  subgate credentials --wallet-name miner --endpoint https://s3.example.com \\
    --password-file /run/secrets/hotkey")]
pub(crate) struct CredentialsOptions {
    #[command(flatten)]
    session: SessionOptions,
}

/// Runs the command.
pub(crate) fn run(options: CredentialsOptions) -> Result<(), CommandError> {
    let source = options.session.checked()?;
    let keyfile = source.read_wallet()?;
    let session = source.obtain(keyfile.address().as_ref(), || source.open(&keyfile))?;
    print(&session.json)
}

fn print(json: &Secret) -> Result<(), CommandError> {
    let text = std::str::from_utf8(json.expose())
        .map_err(|_| CommandError::software("the server's answer is not UTF-8"))?;
    terminal::print_line(text);
    Ok(())
}
