//! What to do instead of what a Hub would: when, how often, and to which requests.

use serde::Deserialize;

/// The requests that an order is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// All of them, to both listeners.
    Any,
    /// The user, a dataset, its branches and its commits.
    Info,
    Create,
    Tree,
    Paths,
    /// The URL of a file, which leads to the file itself.
    Resolve,
    /// A small file, at the Hub.
    Small,
    /// A large file, at the CDN.
    Cdn,
    Preupload,
    Batch,
    /// A large file or a part of one on its way in, at the CDN.
    Put,
    Complete,
    Verify,
    Commit,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// An error in the place of the answer, with these headers, such as `retry-after`.
    Status {
        status: u16,
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// This in the place of the answer, whatever it is.
    Said {
        #[serde(default)]
        headers: Vec<(String, String)>,
        body: String,
    },
    /// Does as asked, and answers so much later.
    Late { milliseconds: u64 },
    /// The URL to which a file's URL leads has expired.
    Expired,
    /// A file's URL leads there.
    Redirect { to: String },
    /// As long as it should be, but one byte of it is another; of what comes in too.
    Wrong,
    /// The connection ends after so many bytes of the answer's body.
    Cut { after: u64 },
    /// Nothing comes after so many bytes of the answer's body, and the connection stays.
    Stall { after: u64 },
    /// The answer's body takes its time.
    Slow { bytes_per_second: u64 },
    /// All of a file, although a part of it was asked for.
    Whole,
    /// Does as asked, and ends the connection without saying so.
    Unanswered,
    /// Answers, and then somebody commits to `main`: the first data file is gone and another one is there.
    Moves,
}

/// An order.
#[derive(Debug, Clone, Deserialize)]
pub struct Fault {
    pub on: Place,
    pub failure: Failure,
    /// So many requests go well before.
    #[serde(default)]
    pub after: u64,
    /// So many fail then.
    #[serde(default = "Fault::always")]
    pub times: u64,
    /// Those alone whose target has this in it.
    #[serde(default)]
    pub target: String,
}

impl Fault {
    pub fn always() -> u64 {
        u64::MAX
    }
}

/// What goes wrong with this request, if anything; counts it.
pub fn of_request(faults: &mut [Fault], place: Place, target: &str) -> Option<Failure> {
    let fits = |fault: &&mut Fault| {
        [place, Place::Any].contains(&fault.on) && target.contains(&fault.target) && fault.times > 0
    };
    for fault in faults.iter_mut().filter(fits) {
        if fault.after > 0 {
            fault.after -= 1;
            continue;
        }
        fault.times -= 1;
        return Some(fault.failure.clone());
    }
    None
}
