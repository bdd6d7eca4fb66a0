//! The log that an operator reads: one line for each request, with what an operator asks of it.

mod endings;
mod program;
