//! What fails around Subgate, and what then holds: an answer in bounded time, S3's code, the old object
//! whole.
//!
//! Modules that are not here are those of `tests/road`; names are cut short.
//!
//! | fault | held by |
//! | --- | --- |
//! | the store refuses connections | `outages`, `streaming::p41_a_store_that_is_away…` |
//! | it is not to be resolved | `store::p47_a_name_that…` |
//! | it accepts and says nothing | `store::p47_a_store_that_accepts…`, `streaming` |
//! | it goes away for 2 s, or for long | `outages` |
//! | it resets an upload, a download | `store::p5_an_upload_that…`, `store::p41_a_download…` |
//! | it closes a kept connection | `outages::p69_an_upload_survives…`, `streaming::p41_a_stale…` |
//! | it stops reading an upload | `store::p47_a_store_that_stops…`, `streaming::p41_a_store_that_answers…` |
//! | it is slow | `streaming::p47_a_silent_store_is_not_waited_for…` |
//! | it drips a head | `store::p47_a_head_that_drips_in…` |
//! | it lies about a length, short, long, twofold | `store::p41_a_body…`, `store::p60_…`, `store::p45_…` |
//! | it says more than it was asked | `store_connections::p60_surplus…` |
//! | it answers 5xx, or refuses this server | `answers::p51_the_stores_words…` |
//! | it redirects | `store::p51_a_redirect_is_never_followed…`, `answers` |
//! | it answers early | `streaming::p41_an_early…`, `store_connections::p60_…` |
//! | its 200 turns out to be an error | `changes::p46_…` |
//! | a client is slow, or stalls | `streaming::p47_a_body…`, `p47_a_trickle…`, `p47_a_head…` |
//! | it reads nothing | `streaming::p47_a_client_that_takes_nothing…` |
//! | it is gone | `clients::p5_a_client_that_leaves…`, `clients::p47_a_client_that_leaves…` |
//! | it is half-closed | `clients::a_client_that_closes_its_half…`, `clients::p5_p42_a_client…` |
//! | it lies about a length | `payloads::p42_…`, `payloads::p5_…`, `clients::p45_…` |
//! | it sends after a refusal | `streaming::p40_…` |
//! | its clock is wrong | `authentication::p9_…` |
//! | the store's clock is wrong | `answers::p51_the_stores_words…` |
//! | this server's clock was wrong | `src/chain/disk.rs`: a snapshot from the future is not taken |
//! | no room for the log, the snapshot | `machine` |
//! | no more files | `machine::p47_without_files_left…` |
//! | the chain's nodes are away, throttle or lie | `chain` |

mod clients;
mod line;
mod machine;
mod outages;
mod store;
