//! `subgate dev`: a store on disk, test identities and Subgate in front of it, in one process on this
//! machine.
//!
//! Everything is kept in one directory: the second start finds the keys, the registry and the objects of the
//! first.

mod card;
mod certificates;
mod data_file;
mod files;
mod identities;
mod keys;
mod layout;
mod store;

use std::{
    fs::File,
    io::{self, IsTerminal as _},
    net::SocketAddr,
    path::PathBuf,
    time::SystemTime,
};

use clap::Args;
use tokio::signal::unix::Signal;

use self::{
    certificates::DevCertificates, identities::Identity, keys::StoreKeys, layout::Layout, store::DevStore,
};
use super::{configuration::load, exit::CommandError, runtime, serve};
use crate::{config::Source, serve::PassedSockets};

/// The bucket.
const BUCKET: &str = "data-universe";

/// Its region.
const REGION: &str = "us-east-1";

/// The values of `{source}` in the folder template.
const SOURCES: [&str; 2] = ["x", "reddit"];

/// Options of `subgate dev`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  subgate dev
  subgate dev --listen 127.0.0.1:0 --data /tmp/subgate     with a free port, in another directory
  subgate dev --tls                                        over https, with an authority of its own

It prints commands to paste, with which the AWS CLI uploads a file, lists it and is refused.
Ctrl-C stops it. All data stays in --data for the next start; delete that directory to start
afresh.

Made at the first start, and kept:
  wallets/NAME/hotkeys/default   wallets in the form of the Bittensor tools; the names are miner-a,
                                 miner-b, miner-a2, validator and stranger
  registry.json                  who is registered: an edit takes effect at the next request
  store/                         the objects
  certs/                         with --tls: ca.pem, for clients to trust; a certificate for localhost
Written anew at each start:
  aws/config                     an AWS profile for each identity (for AWS_CONFIG_FILE)
  proxy.toml                     the server's configuration, a start for your own `subgate serve`
  store.json                     address and keys of the store (the keys are kept)
  dev.json                       addresses and identities for scripts, while the server runs")]
pub(crate) struct DevOptions {
    /// Address of the server, on this machine only; port 0 takes a free port
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8014")]
    listen: SocketAddr,

    /// Directory of all data; it is created if it is missing
    #[arg(long, value_name = "DIR", default_value = ".subgate")]
    data: PathBuf,

    /// Serve https, with a certificate for localhost, 127.0.0.1 and ::1 that is made here
    #[arg(long)]
    tls: bool,
}

/// The addresses that accept connections.
struct Addresses {
    server: SocketAddr,
    admin: Option<SocketAddr>,
    store: SocketAddr,
    /// Where the server speaks TLS: its certificates.
    tls: Option<DevCertificates>,
}

impl Addresses {
    /// The URL of the server.
    fn server_url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.server)
    }
}

/// The data directory with all that is kept in it.
#[derive(Debug)]
struct Workspace {
    layout: Layout,
    identities: Vec<Identity>,
    store_keys: StoreKeys,
}

impl Workspace {
    /// Reads what is there and makes what is missing.
    fn prepare(layout: Layout) -> Result<Self, CommandError> {
        // Of a process that was killed.
        data_file::remove(&layout.dev_json());
        let identities = identities::open_wallets(&layout)?;
        identities::make_registry(&layout.registry(), &identities)?;
        keys::make_session_key(&layout)?;
        let store_keys = keys::store_keys(&layout.store_file())?;
        data_file::create_dir(&layout.store())?;
        if let Some(dir) = layout.aws_config().parent() {
            data_file::create_dir(dir)?;
        }
        Ok(Self { layout, identities, store_keys })
    }
}

/// Runs the command until a signal stops it.
pub(crate) fn run(options: &DevOptions) -> Result<(), CommandError> {
    if !options.listen.ip().is_loopback() {
        return Err(CommandError::usage(format!(
            "--listen {}: a development server listens on this machine only, as on 127.0.0.1:8014; \
             `subgate serve` is for others",
            options.listen
        )));
    }
    let workspace = Workspace::prepare(Layout::open(&options.data)?)?;
    runtime::multi_thread()?.block_on(run_servers(options, &workspace))
}

async fn run_servers(options: &DevOptions, workspace: &Workspace) -> Result<(), CommandError> {
    // First of all: from here on a signal stops the servers in order.
    let (stop, hangup) = (runtime::stop_signal()?, runtime::hangup_signal()?);
    let store = start_store(workspace).await?;
    workspace.write_store_file(store.address())?;
    let tls = match options.tls {
        true => Some(DevCertificates::open(&workspace.layout.certificates(), SystemTime::now())?),
        false => None,
    };
    workspace.write_proxy_config(options.listen, store.address(), tls.as_ref())?;
    // That file alone: what the environment says is about another server.
    let source = Source::file(&workspace.layout.proxy_config());
    let server = serve::bind(&source, load(&source)?, PassedSockets::default()).await?;
    let addresses =
        Addresses { server: server.address(), admin: server.admin_address(), store: store.address(), tls };
    workspace.write_aws_config(&addresses)?;
    // The socket is open since `bind`, so a client that reads this now can connect.
    workspace.write_dev_json(&addresses)?;
    card::print(workspace, &addresses);
    let stop = async {
        tokio::select! {
            () = stop => {}
            () = terminal_gone(hangup) => {}
        }
    };
    server.run(stop).await;
    workspace.remove_dev_json();
    store.stop().await;
    Ok(())
}

/// Resolves when the terminal is closed from which this was started. Any other SIGHUP changes nothing: the
/// configuration is written by this command and read at its start.
async fn terminal_gone(mut hangup: Signal) {
    let had_terminal = io::stdin().is_terminal();
    while hangup.recv().await.is_some() {
        if had_terminal && File::open("/dev/tty").is_err() {
            return;
        }
        tracing::info!("SIGHUP: `subgate dev` reads its files when it starts, so nothing has changed");
    }
    std::future::pending().await
}

async fn start_store(workspace: &Workspace) -> Result<DevStore, CommandError> {
    let dir = workspace.layout.store();
    let error = |cause: io::Error| CommandError::cannot_create(format!("store {}: {cause}", dir.display()));
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let StoreKeys { access_key, secret_key } = &workspace.store_keys;
    let store = DevStore::start(&dir, access_key, secret_key, listen).await.map_err(error)?;
    store.create_bucket(BUCKET).map_err(error)?;
    Ok(store)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn a_second_start_keeps_keys_and_the_edited_registry() {
        let open = |dir: &Path| Workspace::prepare(Layout::open(dir).unwrap()).unwrap();
        let hotkeys = |workspace: &Workspace| -> Vec<String> {
            workspace.identities.iter().map(|identity| identity.hotkey.to_ss58()).collect()
        };
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("a b");
        let first = open(&dir);
        first.write_store_file("127.0.0.1:1".parse().unwrap()).unwrap();
        let (first_hotkeys, secret) = (hotkeys(&first), first.store_keys.secret_key.clone());
        let session_key = fs::read(first.layout.session_key()).unwrap();
        assert_eq!(session_key.len(), 64);
        fs::write(first.layout.registry(), "{\"identities\": []}").unwrap();
        drop(first);
        let second = open(&dir);
        assert_eq!(hotkeys(&second), first_hotkeys);
        assert_eq!(second.store_keys.secret_key, secret);
        assert_eq!(fs::read(second.layout.session_key()).unwrap(), session_key);
        assert_eq!(fs::read_to_string(second.layout.registry()).unwrap(), "{\"identities\": []}");
    }
}
