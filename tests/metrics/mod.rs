//! Metrics: that what happens is counted, that labels are bounded (P50), and that the files in `deploy` and
//! the operator's page speak of metrics that exist.

mod counting;
