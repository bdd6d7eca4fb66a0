//! A Hub of datasets in this process, as HuggingFace's clients know it, that can be told to fail.
//!
//! `main.rs` beside this is the same server as a program, for clients that are no tests of this crate.

mod server;

use std::net::SocketAddr;

pub use server::{
    Hub,
    accept::accept,
    fault::{Failure, Fault, Place},
    http::{Seen, Side},
    repository::Visibility,
};

impl Hub {
    /// An empty one on free ports.
    pub fn start() -> Self {
        // Another host, as clients tell hosts apart: some look at the name alone.
        let at = |last| SocketAddr::from(([127, 0, 0, last], 0));
        Self::listen(at(1), at(2)).expect("loopback has a free port")
    }
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Method and target without the query, in which signatures differ.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target.split('?').next().unwrap_or_default())
    }
}

impl Fault {
    /// For every request there, until the Hub recovers.
    pub fn on(on: Place, failure: Failure) -> Self {
        Self { on, failure, after: 0, times: Self::always(), target: String::new() }
    }

    /// An error, which may say after how many seconds to come again.
    pub fn status(on: Place, status: u16, retry_after: Option<u64>) -> Self {
        let header = |seconds: u64| ("retry-after".to_owned(), seconds.to_string());
        Self::on(on, Failure::Status { status, headers: retry_after.map(header).into_iter().collect() })
    }

    /// So many requests fail, and no more.
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// So many requests go well before the first that fails.
    pub fn after(mut self, requests: u64) -> Self {
        self.after = requests;
        self
    }

    /// Only requests whose target (path and query) has this in it.
    pub fn target(mut self, text: &str) -> Self {
        text.clone_into(&mut self.target);
        self
    }
}
