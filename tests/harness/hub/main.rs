//! A Hub of datasets as a program, for clients that are no tests of this crate.
//!
//! ```text
//! cargo run --example hub -- --listen 127.0.0.1:8090 --user alice=hf_alice --dataset alice/x_dataset_7
//! ```
//!
//! It prints its addresses as one line of JSON, and serves until it is killed. What else is ordered and
//! looked up goes by `POST /-/order` and `GET /-/seen`, `/-/violations`, `/-/dataset` and `/-/file`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its addresses, and why it ends")]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a program of the tests: what goes wrong in it ends it"
)]

mod server;

use std::{net::SocketAddr, process::ExitCode};

use clap::Parser;
use serde_json::json;

use self::server::{Hub, repository::Visibility};

#[derive(Debug, Parser)]
#[command(name = "hub", about = "Serve datasets as HuggingFace's Hub does, from memory")]
struct Options {
    /// Where the Hub listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Where large files are: another host, as clients tell hosts apart
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.2:0")]
    listen_cdn: SocketAddr,

    /// A user and the token that may write what is theirs; may be given several times
    #[arg(long = "user", value_name = "NAME=TOKEN")]
    users: Vec<String>,

    /// An empty dataset that everybody may read; may be given several times
    #[arg(long = "dataset", value_name = "USER/NAME")]
    datasets: Vec<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let hub = match Hub::listen(options.listen, options.listen_cdn) {
        Ok(hub) => hub,
        Err(error) => {
            eprintln!("hub: cannot listen: {error}");
            return ExitCode::FAILURE;
        }
    };
    for user in &options.users {
        let Some((name, token)) = user.split_once('=') else {
            eprintln!("hub: --user is NAME=TOKEN");
            return ExitCode::from(2);
        };
        hub.user(name, token, true);
    }
    options.datasets.iter().for_each(|id| hub.dataset(id, Visibility::Public));
    println!("{}", json!({ "endpoint": hub.endpoint, "cdn": hub.cdn }));
    loop {
        std::thread::park();
    }
}
