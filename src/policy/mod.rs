//! Who may do what: folder templates, roles and their rights.

mod template;

pub use template::{Standing, Template, Values};
