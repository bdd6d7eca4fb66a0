//! What the command line of the road bench means, and how a run tells it. A bench has no test harness: this
//! is a test program of its own.
#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]
#![allow(dead_code, reason = "the bench uses all of it")]

mod options;

use std::path::Path;

use clap::Parser as _;
use options::Options;

#[test]
fn a_build_that_is_named_is_measured_and_told() {
    let options = |arguments: &[&str]| Options::try_parse_from([&["road"], arguments].concat());
    let built = options(&[]).unwrap();
    assert!(built.program().ends_with("subgate") && built.program().is_file());
    assert_eq!(built.only_program(), built.program());
    assert_eq!(built.command(), "cargo bench --bench road -- --report");
    let packed = options(&["--program", "/bin/true", "--report"]).unwrap();
    assert_eq!([packed.program(), packed.only_program()], [Path::new("/bin/true"); 2]);
    assert_eq!(packed.command(), "cargo bench --bench road -- --report --program FILE");
    let both = options(&["--program", "/bin/true", "--before", "/bin/false"]).unwrap();
    assert_eq!([both.program(), both.only_program()], [Path::new("/bin/true"), Path::new("/bin/false")]);
    for option in ["--program", "--before"] {
        let refusal = options(&[option, "/no/such"]).unwrap_err().to_string();
        assert!(refusal.contains(option) && refusal.contains("'/no/such'"), "{refusal}");
    }
}
