//! Downloads.

pub(crate) mod folder;
pub(crate) mod local_path;
pub(crate) mod partial;
pub(crate) mod plan;
pub(crate) mod proof;
pub(crate) mod verified;
