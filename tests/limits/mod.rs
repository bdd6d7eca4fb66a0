//! What one party may cost the others: rates, counts, paces, connections, memory.

mod connections;
mod progress;
mod shaping;
