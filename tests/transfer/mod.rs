//! What moves objects: the commands as they run, with a server and a store that do as they are told.

mod download;
mod upload;
mod usage;
