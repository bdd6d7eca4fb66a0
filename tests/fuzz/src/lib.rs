//! Every parser that reads what a peer sends, each with a property that holds whatever the bytes are.
//!
//! A target is a function of bytes that panics where its property does not hold. `main.rs` runs them on the
//! stable toolchain, `libfuzzer.rs` under cargo-fuzz. What a target starts from is in `corpus/<name>`; an
//! input that once failed goes there too.

mod bodies;
mod chain;
mod config;
mod connections;
mod documents;
mod hub;
mod signed;

/// One parser with its property.
pub struct Target {
    /// Its name, and that of its directory in `corpus`.
    pub name: &'static str,
    /// Panics where the property does not hold.
    pub run: fn(&[u8]),
    /// Valid inputs that cannot be written by hand, as the files of the corpus that hold them.
    pub seeds: fn() -> Vec<(&'static str, Vec<u8>)>,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "authorization", run: signed::authorization, seeds: signed::authorization_seeds },
    Target { name: "presigned", run: signed::presigned, seeds: signed::presigned_seeds },
    Target { name: "session_token", run: signed::session_token, seeds: signed::session_token_seeds },
    Target { name: "btauth", run: signed::btauth, seeds: signed::btauth_seeds },
    Target { name: "tao", run: signed::tao, seeds: signed::tao_seeds },
    Target { name: "canonical", run: signed::canonical, seeds: none },
    Target { name: "post_policy", run: signed::post_policy, seeds: none },
    Target { name: "chunked", run: bodies::chunked, seeds: bodies::chunked_seeds },
    Target { name: "form", run: bodies::form, seeds: none },
    Target { name: "delete_objects", run: documents::delete_objects, seeds: none },
    Target { name: "complete", run: documents::complete, seeds: none },
    Target { name: "copy_source", run: documents::copy_source, seeds: none },
    Target { name: "ss58", run: chain::ss58, seeds: none },
    Target { name: "metagraph", run: chain::metagraph, seeds: none },
    Target { name: "proxy_header", run: connections::proxy_header, seeds: connections::proxy_header_seeds },
    Target { name: "hub_tree", run: hub::hub_tree, seeds: none },
    Target { name: "hub_link", run: hub::hub_link, seeds: none },
    Target { name: "hub_batch", run: hub::hub_batch, seeds: none },
    Target { name: "config", run: config::config, seeds: config::seeds },
];

fn none() -> Vec<(&'static str, Vec<u8>)> {
    Vec::new()
}
