//! What fails around Subgate, and what then holds: an answer in bounded time, S3's code, the old object
//! whole.
mod clients;
mod line;
mod outages;
mod store;
