//! The endpoints beside S3, forms, and presigned lists that page.

mod discoveries;
mod forms;
mod lists;
mod miners;
mod open;
mod page;
mod tao;
mod validators;
