//! What came out of a run, as lines for a terminal, as Markdown and as a picture, all out of one value.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `figures` | the rows of the road's table, and the tables that are made of them |
//! | `table` | a table, for a terminal and as Markdown |
//! | `chart` | which figures the picture shows |
//! | `svg` | bars as SVG |
//! | `block` | the part of a document that a run writes |
//! | `machine` | where and with what a run was made |
//! | `page` | the block and the picture of a whole run |
//!
//! Nothing here does I/O or looks at a clock. A bench has no test harness, and its files are out of reach for
//! `tests/`: so `tests.rs` is the root of a test program of its own (`road-report` in `Cargo.toml`) with the
//! same files as its modules. That is why they name each other by `super`.

pub(crate) mod block;
mod chart;
pub(crate) mod figures;
pub(crate) mod machine;
pub(crate) mod page;
mod svg;
pub(crate) mod table;
