//! The end of a process, and the process that takes its place: what is under way ends, and nobody is refused.

mod drain;
mod hand_over;
mod load;
mod process;
mod service_manager;
