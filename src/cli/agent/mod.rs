//! `subgate agent`: hands the session of a wallet to the clients on this machine, and renews it, as a
//! container's credential endpoint does for AWS's SDKs. \[IO\]
//!
//! The protocol: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `token_file` | the token that clients show, in a private file |
//! | `listener` | sockets, their bounds, the orderly end |
//! | `entry` | who is answered |
//! | `keeper` | the session that is held, and when it is renewed |
//! | `schedule` | the times of the keeper, as numbers |
//! | `answer` | what is answered, as JSON |
//!
//! Invariants: it listens on loopback alone; whoever does not show the token is told nothing; of many clients
//! that want a session at once, none makes the server issue a second one.

mod answer;
mod entry;
mod keeper;
mod listener;
mod schedule;
mod token_file;

use std::{
    io::{self, IsTerminal as _},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;

use self::{entry::Entry, keeper::Keeper};
use super::{
    exit::CommandError,
    runtime, session_cache,
    session_source::{SessionOptions, SessionSource},
    shell::shell_quote,
    terminal,
    wallet::expand_home,
};

/// The one path that is answered.
const PATH: &str = "/credentials";

/// What has not ended with the last connection gets so long.
const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(1);

/// Options of `subgate agent`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  subgate agent --wallet-name miner --endpoint https://s3.example.com
      and then, where a client runs, the two lines that it prints:
      export AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:8077/credentials
      export AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=/home/me/.cache/subgate/agent-token

  # An encrypted hotkey where nobody can type its password:
  subgate agent --wallet-name miner --endpoint https://s3.example.com \\
    --password-file /run/secrets/hotkey

  # A second wallet, at a port of its own:
  subgate agent --wallet-name other --endpoint https://s3.example.com --listen 127.0.0.1:8078

polars, obstore, DuckDB, boto3 and the AWS SDKs then ask this agent for S3 credentials, and ask again before
those end. Clients prefer AWS_ACCESS_KEY_ID and AWS_PROFILE where these are set.
SIGTERM or Ctrl-C stops it.")]
pub(crate) struct AgentOptions {
    #[command(flatten)]
    session: SessionOptions,

    /// Address to listen on, on this machine only; port 0 takes a free port
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8077")]
    listen: SocketAddr,

    /// File of the token that clients show (mode 0600); it is made if it is missing [default: agent-token in
    /// the directory of the sessions]
    #[arg(long, env = "SUBGATE_AGENT_TOKEN_FILE", hide_env_values = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Runs the command until a signal stops it.
pub(crate) fn run(options: AgentOptions) -> Result<(), CommandError> {
    let AgentOptions { session, listen, token_file } = options;
    if !listen.ip().is_loopback() {
        return Err(CommandError::usage(format!(
            "--listen {listen}: the agent hands out secrets, and listens on this machine only, \
             as on 127.0.0.1:8077"
        )));
    }
    let source = session.checked()?;
    let token_file = match token_file {
        Some(file) => std::path::absolute(expand_home(&file))
            .map_err(|error| CommandError::usage(format!("--token-file {}: {error}", file.display())))?,
        None => default_token_file(&source)?,
    };
    let keyfile = source.read_wallet()?;
    // Before anybody types a password: what cannot be opened is told at once.
    let listener = TcpListener::bind(listen).map_err(|error| cannot_listen(listen, &error, &token_file))?;
    let token = token_file::open(&token_file)?;
    let key = source.open(&keyfile)?;
    drop(keyfile);

    let address = listener.local_addr().unwrap_or(listen);
    let runtime = runtime::multi_thread()?;
    let served = runtime.block_on(async {
        // From here on a signal ends the agent in order.
        let stop = runtime::stop_signal()?;
        let listener = listener
            .set_nonblocking(true)
            .and_then(|()| tokio::net::TcpListener::from_std(listener))
            .map_err(|error| cannot_listen(address, &error, &token_file))?;
        print_exports(address, &token_file);
        tracing::info!(%address, server = source.server(), hotkey = %key.account(), "handing out sessions");
        let hotkey = key.account();
        let keeper = Arc::new(Keeper::new(source.kept(Some(&hotkey))));
        let source = Arc::new(source);
        let obtain = move || source.obtain(Some(&hotkey), || Ok(Arc::clone(&key)));
        tokio::spawn(Arc::clone(&keeper).run(obtain));
        listener::serve(listener, Entry::new(token, address.port()), keeper, stop).await;
        Ok(())
    });
    runtime.shutdown_timeout(SHUTDOWN_TIME_MAX);
    served
}

fn default_token_file(source: &SessionSource) -> Result<PathBuf, CommandError> {
    let dir = source.cache_dir().map(Path::to_owned).or_else(session_cache::default_dir);
    dir.map(|dir| dir.join("agent-token")).ok_or_else(|| {
        CommandError::usage("--token-file is needed, for there is no home directory to keep the token in")
    })
}

fn cannot_listen(address: SocketAddr, error: &io::Error, token_file: &Path) -> CommandError {
    let advice = match error.kind() {
        // Whoever has the port has been shown the token by every client that came.
        io::ErrorKind::AddrInUse => format!(
            " (if that is no program of yours, remove {}, for it may know that token; or give another port)",
            token_file.display()
        ),
        _ => String::new(),
    };
    CommandError::cannot_create(format!("--listen {address}: {error}{advice}"))
}

/// What a client needs to know, as lines for a shell; a person is told what they are for.
fn print_exports(address: SocketAddr, token_file: &Path) {
    if io::stdout().is_terminal() {
        terminal::print_line("# Run these where your S3 client runs; it then renews its session by itself.");
    }
    let file = shell_quote(&token_file.display().to_string());
    terminal::print_line(format_args!(
        "export AWS_CONTAINER_CREDENTIALS_FULL_URI=http://{address}{PATH}\n\
         export AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE={file}"
    ));
}
