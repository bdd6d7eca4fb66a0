//! `subgate migrate`: from a dataset repository of a Hub into the own folder.

mod mapping;
