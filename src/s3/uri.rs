//! Percent-encoding of S3's paths and queries, decoded once and encoded once.
