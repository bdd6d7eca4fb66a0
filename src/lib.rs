//! Subgate: an S3 reverse proxy that makes a Bittensor hotkey an S3 identity.
//!
//! A miner points any S3 client at it and owns its folders; a validator reads every folder; nobody else gets
//! in. Each request is authenticated by the hotkey's signature, judged by the folder policy with what the
//! chain says of the hotkey, signed anew with the server's own credentials and streamed to the real store.
//!
//! # The road of a request
//!
//! ```text
//! accept ─ claim ─ verify ─ who is that ─ parse ─ admit ─ authorise ─ rewrite ─ re-sign ─ stream ─ answer
//! serve    auth    auth     access        s3      limits  policy      proxy     store     body     exchange
//! ```
//!
//! It reads top to bottom in `proxy::Proxy::road`. Each step makes the value that the next one needs, and
//! there is no second way to get it: what is verified comes from [`auth::Verifier`] alone
//! ([`auth::Verifier::verify`] for requests, `auth::Verifier::verify_form` for forms), a `Permit` from
//! `Policy::authorise` alone, and what goes to the store from a permit's own methods alone.
//!
//! # The rooms
//!
//! Upper rooms know lower ones, never the other way round; rooms of one floor do not know each other.
//! `tests/house` holds that.
//!
//! | floor | room | what is in it |
//! | --- | --- | --- |
//! | 13 | [`cli`] | what a person calls; `cli/dev` has the development store, `cli/doctor` tries a server |
//! | 12 | [`serve`] | listeners, PROXY headers, TLS, connections, the orderly end; the operator's listener |
//! | 11 | `front` | endpoint, form or S3: the only room that knows all of them |
//! | 10 | `proxy` | the road, and a file for each family of S3 operations |
//! | 10 | `endpoints` | sessions, the vending server's endpoints, health, the API's description |
//! | 9 | `access` | verifier, registry, validator rule and policy: who is that, at which block |
//! | 9 | `store` | the pooled client, its credentials, its signature; what an outage costs |
//! | 8 | `transfer` | uploads, downloads, what a server holds: plans, parts, proofs, progress |
//! | 8 | [`hub`] | the client of a HuggingFace-compatible Hub: lists, files as streams, commits |
//! | 8 | `exchange` | one request: head, body, answer, access record, and the one reading of the clock |
//! | 7 | `site` | own hosts, trusted edge, the client's address, the scheme of URLs |
//! | 7 | `client` | the S3 client of a Subgate server: sessions, retries, every wait with an end |
//! | 7 | `limits` | what one address and one principal may take: rates, days, places, bytes held |
//! | 6 | `acme` | certificates by ACME: ordered, kept on disk, renewed in time |
//! | 6 | [`body`] | aws-chunked, digests, the last bytes held until the proof, paces |
//! | 5 | [`config`] | TOML to checked values, all faults at once |
//! | 4 | [`auth`] | SigV4 by session or by hotkey, session tokens, btauth/1; the client's side of all that |
//! | 4 | `observe` | what is counted for the operator's Prometheus, and who asks most |
//! | 4 | `policy` | folder templates, roles, rights; permits, and the requests to the store that they make |
//! | 3 | [`s3`] | keys, operations, headers, copy sources, XML |
//! | 3 | [`chain`] | accounts, the snapshot of who is registered; the chain's nodes, the registry file |
//! | 3 | `otel` | OpenTelemetry traces of requests; with the feature `otel` alone |
//! | 2 | [`tls`] | roots and certificates of TLS |
//! | 1 | `endpoint` | the list of endpoints by path |
//! | 1 | `error` | S3's error codes, with a voice for the client and one for the operator |
//! | 1 | `file_access` | who else may read or write a file |
//! | 1 | `log` | how lines of the log leave the process: batches, a file that is opened anew, JSON |
//! | 1 | [`secret`], [`time`] | unprintable secrets; points in time |
//! | 1 | `split` | texts cut at a character, quickly |
//!
//! `auth`, `policy`, `s3`, `body`, `limits` and `site` decide and do no I/O: time, snapshot and bytes are
//! arguments.
//!
//! # Invariants
//!
//! - Nothing of a client's reaches the store without a permit; what no rule allows is refused before the
//!   store is asked. The one question that this server asks for itself is the list of one key of the health
//!   check, which tells nobody a key.
//! - One decoding of the wire's bytes; what is authorised, signed and forwarded is built from it.
//! - An operation, query name or `x-amz-*` header that is not known here goes no further.
//! - The bytes that complete an object leave only after every proof the client gave has held.
//! - No size that a peer declares takes memory; every wait ends; nothing a peer sends panics.
//! - A failure of the store, or of what decides, is a 503 to be retried: never a refusal, never "not there".
//! - Nothing but a valid newer reading of the chain replaces the snapshot; no request waits for the chain.
//! - No secret, token, signature or query stands in a log, an error or a `Debug`.
//!
//! # Left out on purpose
//!
//! No state for each session, no list of uploads, no cache of objects, no retry of a body that has begun. The
//! store's XML is not built anew: the names in it that are the store's own are replaced as it streams.

mod access;
mod acme;
pub mod auth;
pub mod body;
pub mod chain;
pub mod cli;
mod client;
pub mod config;
mod endpoint;
mod endpoints;
pub mod error;
mod exchange;
mod file_access;
mod front;
pub mod hub;
mod limits;
mod log;
mod observe;
#[cfg(feature = "otel")]
mod otel;
pub mod policy;
mod proxy;
pub mod s3;
pub mod secret;
pub mod serve;
mod site;
mod split;
mod store;
pub mod time;
pub mod tls;
mod transfer;
