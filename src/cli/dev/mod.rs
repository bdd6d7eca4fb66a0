//! `subgate dev`: a store on disk, development identities and Subgate in front, in one process on this machine.
//!
//! Everything lies under one directory, and a second start finds what the first one made: keys, registry, objects.

mod card;
mod data;
mod store;

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

use self::data::{Data, Places};
use self::store::EmbeddedStore;
use super::{exit::CommandError, serve, terminal};

/// The bucket of the development server.
const BUCKET: &str = "data-universe";

/// Its region.
const REGION: &str = "us-east-1";

/// The values of `{source}` in the default folder template.
const SOURCES: [&str; 2] = ["x", "reddit"];

/// Options of `subgate dev`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  subgate dev
  subgate dev --listen 127.0.0.1:0 --data /tmp/subgate     a free port, another place

What it makes under --data, at the first start alone:
  wallets/NAME/hotkeys/default   wallets of miner-a, miner-b, miner-a2, validator, stranger, as Bittensor's tools have them
  registry.json                  who is registered; edit it, and access changes at the next request
  store/                         the objects; store.json has the keys of the embedded store
And at each start:
  aws/config                     an AWS profile for each identity: export AWS_CONFIG_FILE=…/aws/config
  proxy.toml                     the server's configuration, a start for your own `subgate serve`
  dev.json                       addresses and identities for scripts, once connections are accepted")]
pub(crate) struct Options {
    /// Where Subgate listens, on this machine alone; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8014")]
    listen: SocketAddr,

    /// Directory for everything that is kept
    #[arg(long, value_name = "DIR", default_value = ".subgate")]
    data: PathBuf,
}

/// Where things listen.
struct Addresses {
    proxy: SocketAddr,
    admin: Option<SocketAddr>,
    store: SocketAddr,
}

/// Runs until it is told to stop.
pub(crate) fn run(options: &Options) -> Result<(), CommandError> {
    if !options.listen.ip().is_loopback() {
        return Err(CommandError::usage(format!(
            "--listen {}: a development server listens on this machine alone (127.0.0.1); see `subgate serve`",
            options.listen
        )));
    }
    let places = Places::open(&options.data)?;
    let data = Data::prepare(places)?;
    serve::runtime()?.block_on(start(options, &data))
}

async fn start(options: &Options, data: &Data) -> Result<(), CommandError> {
    // Before anything can fail: a signal from now on ends the program in order.
    let stop = serve::stop_signal()?;
    let store = start_store(data).await?;
    let store_address = store.address();
    data.write_store_file(store_address)?;
    data.write_proxy_config(options.listen, store_address)?;
    let server = serve::bind(serve::load(&data.places.proxy_config())?).await?;
    let addresses =
        Addresses { proxy: server.address(), admin: server.admin_address(), store: store_address };
    data.write_aws_config(addresses.proxy)?;
    // Connections wait in the socket's queue from `bind` on, so what is announced here is true.
    data.write_dev_json(&addresses)?;
    card::print(data, &addresses);
    terminal::print_line(format_args!("ready http://{}", addresses.proxy));
    server.run(stop).await;
    data.remove_dev_json();
    store.stop().await;
    Ok(())
}

async fn start_store(data: &Data) -> Result<EmbeddedStore, CommandError> {
    let dir = data.places.store();
    let fault =
        |error: std::io::Error| CommandError::cannot_create(format!("store {}: {error}", dir.display()));
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let keys = &data.store_keys;
    let store =
        EmbeddedStore::start(&dir, &keys.access_key, &keys.secret_key, listen).await.map_err(fault)?;
    store.create_bucket(BUCKET).map_err(fault)?;
    Ok(store)
}
