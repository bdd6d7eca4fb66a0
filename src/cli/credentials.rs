//! `subgate credentials`: reads a wallet and prints S3 credentials, by default as AWS's `credential_process`
//! wants them.
//!
//! The format: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>.

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    exit::CommandError, session_client::IssuedSession, session_source::SessionOptions, shell::shell_quote,
    terminal,
};
use crate::secret::SecretText;

/// Options of `subgate credentials`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # In ~/.aws/config; `aws --profile miner s3 …`, boto3 and rclone (env_auth) then just work.
  # `subgate setup` prints this for your wallet and server, and what other clients need:
  [profile miner]
  credential_process = subgate credentials --wallet-name miner --endpoint https://s3.example.com
  endpoint_url = https://s3.example.com
  region = us-east-1

  # For a client that reads the environment alone, until the session ends:
  eval \"$(subgate credentials --wallet-name miner --endpoint https://s3.example.com --format env)\"

  # Show how the server knows you, and your folders:
  subgate credentials --wallet-name miner --endpoint https://s3.example.com --no-cache

  # An encrypted hotkey where nobody can type its password:
  subgate credentials --wallet-name miner --endpoint https://s3.example.com \\
    --password-file /run/secrets/hotkey

Formats:
  aws   the server's answer, which AWS's `credential_process` reads: Version, AccessKeyId,
        SecretAccessKey, SessionToken, Expiration; and endpoint, region, bucket, role, folders
  env   `export` lines of a shell for `eval`: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
        AWS_SESSION_TOKEN, AWS_CREDENTIAL_EXPIRATION
  json  the same as aws with the names of one style, for scripts: access_key_id,
        secret_access_key, session_token, expiration, endpoint, region, bucket, role, folders")]
pub(crate) struct CredentialsOptions {
    #[command(flatten)]
    session: SessionOptions,

    /// Form in which the credentials are printed
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Aws)]
    format: Format,
}

/// The forms of the output.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For `credential_process`
    Aws,
    /// For `eval` in a shell
    Env,
    /// For scripts
    Json,
}

/// Runs the command.
pub(crate) fn run(options: &CredentialsOptions) -> Result<(), CommandError> {
    let session = options.session.checked()?.session()?;
    let text = formatted(&session, options.format)
        .ok_or_else(|| CommandError::software("the server's answer cannot be read a second time"))?;
    terminal::print_line(text.expose().trim_end());
    Ok(())
}

fn formatted(session: &IssuedSession, format: Format) -> Option<SecretText> {
    let json = session.json.expose();
    match format {
        Format::Aws => String::from_utf8(json.to_vec()).ok().map(SecretText::new),
        Format::Env => environment(json),
        Format::Json => flat(json),
    }
}

/// The lines that set the variables which every AWS SDK reads.
fn environment(json: &[u8]) -> Option<SecretText> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Credentials {
        access_key_id: String,
        secret_access_key: String,
        session_token: String,
        expiration: String,
    }
    let credentials: Credentials = serde_json::from_slice(json).ok()?;
    let lines = [
        ("AWS_ACCESS_KEY_ID", credentials.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key),
        ("AWS_SESSION_TOKEN", credentials.session_token),
        ("AWS_CREDENTIAL_EXPIRATION", credentials.expiration),
    ];
    let lines = lines.map(|(name, value)| format!("export {name}={}\n", shell_quote(&value)));
    Some(SecretText::new(lines.concat()))
}

/// The answer with names such as `access_key_id`, without the version of AWS's format.
fn flat(json: &[u8]) -> Option<SecretText> {
    let answer: Map<String, Value> = serde_json::from_slice(json).ok()?;
    let flat: Map<String, Value> = answer
        .into_iter()
        .filter(|(name, _)| name != "Version")
        .map(|(name, value)| (snake_case(&name), value))
        .collect();
    serde_json::to_string(&flat).ok().map(SecretText::new)
}

fn snake_case(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Such an answer is no session; a shell would read it right all the same.
    const HOSTILE: &str = r#"{"Version":1,"AccessKeyId":"5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi",
        "SecretAccessKey":"it's $(a) \"secret\"","SessionToken":"t\no","Expiration":"2030-01-01T00:00:00Z",
        "bucket":"b","folders":["data/x/5F/"]}"#;

    const ANSWER: &str = r#"{"Version":1,"AccessKeyId":"5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi",
        "SecretAccessKey":"c2VjcmV0_-","SessionToken":"dG9r+/=","Expiration":"2030-01-01T00:00:00Z",
        "bucket":"b","folders":["data/x/5F/"]}"#;

    fn session() -> IssuedSession {
        IssuedSession::from_json(ANSWER.as_bytes()).unwrap()
    }

    #[test]
    fn a_shell_sets_the_variables_to_the_very_values() {
        let lines = environment(HOSTILE.as_bytes()).unwrap();
        let script = format!(
            "{}printf '%s|' \"$AWS_ACCESS_KEY_ID\" \"$AWS_SECRET_ACCESS_KEY\" \"$AWS_SESSION_TOKEN\" \
             \"$AWS_CREDENTIAL_EXPIRATION\"",
            lines.expose()
        );
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi|it's $(a) \"secret\"|t\no|2030-01-01T00:00:00Z|"
        );
    }

    #[test]
    fn what_could_end_a_string_is_no_session() {
        assert!(IssuedSession::from_json(HOSTILE.as_bytes()).is_none());
        for hostile in [r#"a'b"#, r#"a\"b"#, r#"a\nb"#, "a b", "a$b", "a`b", ""] {
            for name in ["c2VjcmV0_-", "dG9r+/="] {
                let answer = ANSWER.replace(name, hostile);
                assert!(IssuedSession::from_json(answer.as_bytes()).is_none(), "{answer}");
            }
        }
    }

    #[test]
    fn json_has_the_whole_answer_under_names_of_one_style() {
        let text = formatted(&session(), Format::Json).unwrap();
        let flat: Map<String, Value> = serde_json::from_str(text.expose()).unwrap();
        let names: Vec<&str> = flat.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["access_key_id", "bucket", "expiration", "folders", "secret_access_key", "session_token"]
        );
        assert_eq!(flat["folders"][0], "data/x/5F/");
    }

    #[test]
    fn the_format_of_aws_is_the_answer_itself() {
        let text = formatted(&session(), Format::Aws).unwrap();
        let (printed, answer): (Value, Value) =
            (serde_json::from_str(text.expose()).unwrap(), serde_json::from_str(ANSWER).unwrap());
        assert_eq!(printed, answer);
    }
}
