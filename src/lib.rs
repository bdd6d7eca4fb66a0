//! Subgate: an S3 reverse proxy that makes a Bittensor hotkey an S3 identity.
//!
//! A miner points any S3 client at it and owns its folders; a validator reads every folder; nobody else gets in. Each
//! request is authenticated by the hotkey's signature, judged by the folder policy with what the chain says of the
//! hotkey, signed anew with the server's own credentials and streamed to the real store.
//!
//! # The road of a request
//!
//! ```text
//! accept ─ claim ─ verify ─ who is that ─ parse ─ authorise ─ admit ─ rewrite ─ re-sign ─ stream ─ answer ─ log
//! serve    auth    auth     chain         s3      policy      proxy   proxy     store     body     proxy    observe
//! ```
//!
//! It reads top to bottom in [`proxy`]. Each step makes the value that the next one needs, and there is no second way
//! to get it: what is verified comes from [`auth::Verifier`] alone ([`auth::Verifier::verify`] for requests,
//! `auth::Verifier::verify_form` for forms), [`policy::Permit`] from [`policy::Policy::authorise`] alone, and what a client
//! sends to the store is built from a permit.
//!
//! # The rooms
//!
//! | room | what is in it | decides or does |
//! | --- | --- | --- |
//! | [`error`], [`secret`] | S3's error codes with two voices; secrets that cannot be printed | |
//! | [`chain`] | accounts, the snapshot of who is registered; the chain's nodes, what their answers are worth, the registry file | decides, and reads nodes and files |
//! | [`s3`] | keys, operations, headers, copy sources, XML | decides |
//! | [`auth`] | SigV4 by session or by hotkey, session tokens, btauth/1; the client's side of all that | decides |
//! | [`policy`] | folder templates, roles, rights | decides |
//! | [`config`] | TOML to checked values, all faults at once | decides, reads key files |
//! | [`body`] | aws-chunked, digests, the last bytes held until the proof, paces | decides |
//! | [`store`] | the pooled client, its credentials, its signature; the embedded store of `dev` | does |
//! | [`proxy`] | the road | does |
//! | [`endpoints`] | endpoints that are not S3's: sessions, the vending server's endpoints, health, the API's description | does |
//! | [`exchange`] | the access record | does |
//! | [`serve`] | listeners, connections, the orderly end; the operator's listener | does |
//! | [`cli`] | what a person calls | does |
//!
//! # Invariants
//!
//! - Nothing of a client's reaches the store without a permit; what no rule allows is refused before the store is asked.
//!   The one question that this server asks for itself is the list of one key of the health check, which tells nobody a key.
//! - One decoding of the wire's bytes; what is authorised, signed and forwarded is built from it.
//! - An operation, query name or `x-amz-*` header that is not known here goes no further.
//! - The bytes that complete an object leave only after every proof the client gave has held.
//! - No size that a peer declares takes memory; every wait ends; nothing a peer sends panics.
//! - A failure of the store, or of what decides, is a 503 to be retried: never a refusal, never "not there".
//! - Nothing but a valid newer reading of the chain replaces the snapshot; no request waits for the chain.
//! - No secret, token, signature or query stands in a log, an error or a `Debug`.
//! - What decides is pure: time, snapshot and bytes are arguments.
//!
//! # Left out on purpose
//!
//! No state for each session, no list of uploads, no cache of objects, no rewriting of the store's XML, no retry of a
//! body that has begun. The TLS listener, rate limits and metrics have their places (`serve`,
//! `policy`, `exchange`) and are not there yet.

mod access;
pub mod auth;
pub mod body;
pub mod chain;
pub mod cli;
pub mod config;
mod endpoint;
mod endpoints;
pub mod error;
mod exchange;
mod front;
pub mod policy;
mod proxy;
pub mod s3;
pub mod secret;
pub mod serve;
mod site;
mod store;
pub mod time;
